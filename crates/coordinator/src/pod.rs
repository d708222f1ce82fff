//! What is different in a container that is replaced as soon as it ends (`--in-pod`), as the Jobs in `deploy/kubernetes` do it.
//!
//! - [`Followed`]: the run's file is changed where it is, in a mounted ConfigMap. Another container cannot be asked for, since
//!   the template of a Job does not change; so the coordinator goes, and the next one reads the new file.
//! - [`until_free`]: the next one may be there before the last one is gone.
//! - [`tell_the_end`]: nobody starts a coordinator again whose Job is complete, so workers that come late are told by this one.
//!
//! That failing takes a while is in `lsgan_console::slowly_if`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lsgan_console::Failure;
use lsgan_launch::{Places, RunArgs, other_identity};
use lsgan_runfile::{RunFile, to_yaml};
use lsgan_snapshots::Holder;
use tokio::time::{sleep, timeout};

use crate::args::Args;
use crate::service::Service;

/// How often the run's file is looked at. The kubelet takes up to a minute and a half to bring a change.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often the run directory is looked at.
const TRY_EVERY: Duration = Duration::from_millis(250);
/// How long workers are told of the end: a pod that was lost just before is replaced in seconds, within a minute where its node
/// was lost.
const END_IS_TOLD_FOR: Duration = Duration::from_secs(60);

/// The run's file, followed in a pod and nowhere else.
#[derive(Debug)]
pub struct Followed(Option<Following>);

#[derive(Debug)]
struct Following {
    path: PathBuf,
    run: RunArgs,
    /// What the file had in it when it was looked at last.
    text: Vec<u8>,
    /// The run as this process has it.
    file: RunFile,
}

impl Followed {
    /// Reads the file.
    ///
    /// # Errors
    /// All that is wrong with it, with exit code 2.
    pub fn of(args: &Args) -> Result<Self, Failure> {
        let Some(path) = args.run.config.clone().filter(|_| args.in_pod) else { return Ok(Self(None)) };
        // Before the file is parsed: of a change between the two the next look tells.
        let text = std::fs::read(&path).unwrap_or_default();
        let (run, file) = (args.run.clone(), args.run.load_file()?);
        Ok(Self(Some(Following { path, run, text, file })))
    }

    /// Completes once the file describes this run otherwise. A file that is wrong is told, and the run stays as it is.
    pub async fn changed(self) {
        let Some(mut following) = self.0 else { return std::future::pending().await };
        loop {
            sleep(LOOK_EVERY).await;
            match following.look() {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(
                        "the run's file has changed: this coordinator goes, and the next one reads it"
                    );
                    return;
                }
                Err(failure) => {
                    tracing::error!(
                        "the run's file has changed and is not taken, the run stays as it is: {}",
                        failure.text
                    );
                }
            }
        }
    }
}

impl Following {
    /// Whether the file describes the run otherwise; each of its texts is looked at once.
    fn look(&mut self) -> Result<bool, Failure> {
        // A file that cannot be read is being exchanged.
        match std::fs::read(&self.path) {
            Ok(text) if text != self.text => self.text = text,
            _ => return Ok(false),
        }
        let file = self.run.load_file()?;
        let place = |file: &RunFile| Places::of(&file.spec, self.run.run_dir.as_deref());
        let (ours, theirs) = (self.file.spec.identity(), file.spec.identity());
        if ours != theirs && place(&self.file) == place(&file) {
            let began = to_yaml(&self.file.spec);
            return Err(other_identity(&file.spec, (&began, &ours.to_string()), "the run"));
        }
        Ok(file != self.file)
    }
}

/// Waits for the coordinator that holds the run directory to end, however long that takes: it may be on a node that is cut off.
pub async fn until_free(run_dir: &Path) {
    let mut told = false;
    // What cannot be read is for the start to tell.
    while let Ok(Some(holder)) = Holder::of(run_dir) {
        if !std::mem::replace(&mut told, true) {
            tracing::warn!("waits for {}, which is held by {holder}", run_dir.display());
        }
        sleep(TRY_EVERY).await;
    }
}

/// Tells workers for a while that the run is finished, or until this process is asked to end.
pub async fn tell_the_end(service: &Service, asked: impl Future) {
    service.finish();
    // Both mean the end.
    let _ = timeout(END_IS_TOLD_FOR, asked).await;
}
