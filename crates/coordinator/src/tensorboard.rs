//! The event file of `report.tensorboard`: what `lsgan tensorboard --follow` writes, on a thread of the coordinator: [`EventFile`].
//!
//! It reads the journal's file as any other program does. A folder that cannot be written, or stands still, is told of and holds up
//! nothing but this thread.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use lsgan_journal::{FILE, Reader};
use lsgan_observe::tensorboard::{Error, Follower};
use lsgan_spec::RunSpec;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Between two looks into the journal.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the end of the run waits for the last look.
const LAST_WITHIN: Duration = Duration::from_secs(5);

/// An event file that is written while the run goes on.
#[derive(Debug)]
pub struct EventFile {
    /// Dropped when the run has ended.
    goes_on: Sender<()>,
    /// Dropped after the last look.
    done: oneshot::Receiver<()>,
}

impl EventFile {
    /// Begins that of the run in this directory, anew; none where its file asks for none.
    #[must_use]
    pub fn of(spec: &RunSpec, run_dir: &Path) -> Option<Self> {
        let to = run_dir.join(spec.report.tensorboard.as_deref()?);
        let (goes_on, ends) = channel();
        let (tell, done) = oneshot::channel();
        let mut writing = Writing { run_dir: run_dir.to_owned(), to, follower: None, fails: false };
        // Not vital: a run whose event file nobody writes goes on.
        let thread = std::thread::Builder::new().name("tensorboard".to_owned()).spawn(move || {
            let _tell: oneshot::Sender<()> = tell;
            writing.until(&ends);
        });
        if let Err(error) = thread {
            tracing::warn!(%error, "report.tensorboard: no event file is written: there is no thread for it");
        }
        Some(Self { goes_on, done })
    }

    /// Waits for a short time until all of the journal is in the file, which nobody writes any more.
    pub async fn finish(self) {
        drop(self.goes_on);
        if timeout(LAST_WITHIN, self.done).await.is_err() {
            tracing::warn!(
                "report.tensorboard: the event file lacks the end of the run, which took too long to write; `lsgan tensorboard` \
                 writes all of it"
            );
        }
    }
}

/// The thread's side.
struct Writing {
    run_dir: PathBuf,
    to: PathBuf,
    /// None before the first look, and after a write that failed: then the file is begun anew.
    follower: Option<Follower>,
    /// The last look failed, and was told.
    fails: bool,
}

impl Writing {
    /// Looks until the run has ended, and once more.
    fn until(&mut self, ends: &Receiver<()>) {
        let mut is_last = false;
        loop {
            self.look();
            if is_last {
                return;
            }
            is_last = ends.recv_timeout(LOOK_EVERY) != Err(RecvTimeoutError::Timeout);
        }
    }

    /// Writes what is new. What fails is tried again at the next look, and told once until a look succeeds.
    fn look(&mut self) {
        let looked = self.write();
        match &looked {
            Err(error) if !self.fails => tracing::warn!(
                %error,
                "report.tensorboard: the event file in {} cannot be written; it is tried again, and the run goes on",
                self.to.display()
            ),
            Ok(()) if self.fails => {
                tracing::info!(
                    "report.tensorboard: the event file in {} is written again",
                    self.to.display()
                );
            }
            _ => {}
        }
        self.fails = looked.is_err();
        if let Err(Error::Write { .. }) = looked {
            // A part of a record may be there.
            self.follower = None;
        }
    }

    fn write(&mut self) -> Result<(), Error> {
        let mut journal = Reader::open(&self.run_dir.join(FILE))?;
        let follower = match &mut self.follower {
            Some(follower) => follower,
            none => none.insert(Follower::begin(&self.run_dir, &mut journal, &self.to, 1)?),
        };
        while follower.next(&mut journal)? > 0 {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_fails_is_followed_by_others_and_ends_nothing() {
        let run_dir = tempfile::tempdir().expect("there is room for a directory");
        let to = run_dir.path().join("tensorboard");
        let mut writing = Writing { run_dir: run_dir.path().to_owned(), to, follower: None, fails: false };
        let (goes_on, ends) = channel::<()>();
        drop(goes_on);
        // There is no journal: both looks fail, and it returns.
        writing.until(&ends);
        assert!(writing.fails && writing.follower.is_none());
    }
}
