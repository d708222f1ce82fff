//! Rows of metrics and events for tools on other hosts, a page at a time.
//!
//! They are read from the journal's file, as any other program reads it, and on a thread that may block: the shell has no part in it.
//! A reader that stands still holds a page or two in memory, and not for long.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lsgan_journal::{FILE, JournalError, Reader};
use lsgan_observe::metrics::{Event, Events, Row, Steps, named};
use lsgan_spec::scalars::Scalar;
use lsgan_wire::v1::{self, read_journal_request::Kind};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::service::ending;
use crate::status::StatusFeed;

/// Rows or events in a page, which has less than 2 MiB.
const PAGE_ROWS_MAX: u32 = 1_000;
/// Readers at the same time, on all connections.
const READERS_MAX: usize = 16;
/// How long a reader may take for a page. One that takes longer is let go, so that it keeps nobody else out.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks of a reader that follows.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What a reader is sent.
pub type Pages = ReceiverStream<Result<v1::JournalPage, Status>>;

/// Places for readers. Clones share them.
#[derive(Clone, Debug)]
pub struct Readers(Arc<Semaphore>);

impl Default for Readers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(READERS_MAX)))
    }
}

impl Readers {
    /// Begins to send what is asked for of the journal in this directory. `feed` says when the run has ended.
    ///
    /// # Errors
    /// A request for nothing or for a scalar that nobody knows, or too many readers.
    pub fn read(
        &self,
        asked: v1::ReadJournalRequest,
        run_dir: &Path,
        feed: StatusFeed,
    ) -> Result<Pages, Status> {
        let (next, follows) = (Next::of(asked.kind)?, asked.follow);
        let place = self.0.clone().try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!(
                "{READERS_MAX} programs read this run's journal over its coordinator already, which are as many as may. Try \
                 again later."
            ))
        })?;
        let (sender, pages) = mpsc::channel(1);
        let journal = run_dir.join(FILE);
        // Not vital: a run that nobody reads goes on.
        tokio::spawn(async move {
            let _place = place;
            if let Err(status) = send(&sender, (next, follows), &journal, &feed).await {
                // The reader may have gone.
                let _ = timeout(TAKEN_WITHIN, sender.send(Err(status))).await;
            }
        });
        Ok(ReceiverStream::new(pages))
    }
}

/// Sends pages until there are no more, or the reader has gone.
async fn send(
    sender: &mpsc::Sender<Result<v1::JournalPage, Status>>,
    (mut next, follows): (Next, bool),
    journal: &Path,
    feed: &StatusFeed,
) -> Result<(), Status> {
    loop {
        // Before the look: what is written until then is read.
        let is_last = !follows || feed.is_last();
        loop {
            let (behind, page) = next.page(journal.to_owned()).await?;
            next = behind;
            if page.rows.is_empty() && page.events.is_empty() {
                break;
            }
            let taken = timeout(TAKEN_WITHIN, sender.send(Ok(page))).await;
            let slow = |_| Status::deadline_exceeded("the pages of the journal were not taken in time");
            if taken.map_err(slow)?.is_err() {
                return Ok(());
            }
        }
        if is_last {
            let is_going = follows && feed.newest().outcome.is_none();
            return if is_going { Err(ending()) } else { Ok(()) };
        }
        tokio::select! {
            () = sender.closed() => return Ok(()),
            _ = timeout(LOOK_EVERY, feed.over()) => {}
        }
    }
}

/// What comes next.
#[derive(Debug)]
enum Next {
    Metrics(Steps),
    Events(Events),
}

impl Next {
    fn of(asked: Option<Kind>) -> Result<Self, Status> {
        match asked {
            Some(Kind::Metrics(v1::MetricsFrom { step, names })) => {
                let wanted = named(&names).map_err(Status::invalid_argument)?;
                Ok(Self::Metrics(Steps::new(wanted, step, PAGE_ROWS_MAX)))
            }
            Some(Kind::Events(v1::EventsAfter { id })) => Ok(Self::Events(Events::new(id, PAGE_ROWS_MAX))),
            None => {
                Err(Status::invalid_argument("neither metrics nor events are asked for, of this version"))
            }
        }
    }

    /// The next page, and what comes behind it. The file is opened anew each time: one that nobody had open is not read any
    /// further.
    async fn page(mut self, journal: PathBuf) -> Result<(Self, v1::JournalPage), Status> {
        let read = tokio::task::spawn_blocking(move || {
            let page = self.read(&mut Reader::open(&journal)?)?;
            Ok::<_, JournalError>((self, page))
        });
        let read = read.await.map_err(|_| ending())?;
        read.map_err(|error| Status::unavailable(error.to_string()))
    }

    fn read(&mut self, journal: &mut Reader) -> Result<v1::JournalPage, JournalError> {
        let mut page = v1::JournalPage::default();
        match self {
            Self::Metrics(steps) => {
                let rows = steps.next(journal)?;
                page.rows = rows.into_iter().map(|row| step_metrics(row, steps.wanted())).collect();
            }
            Self::Events(events) => page.events = events.next(journal)?.into_iter().map(event).collect(),
        }
        Ok(page)
    }
}

fn step_metrics((step, wall_ms, values): Row, wanted: &[Scalar]) -> v1::StepMetrics {
    let measured =
        wanted.iter().zip(values).filter_map(|(scalar, value)| Some((scalar.name.to_owned(), value?)));
    v1::StepMetrics { step, wall_ms, scalars: measured.collect() }
}

fn event(Event { id, at_ms, warning, text }: Event) -> v1::JournalEvent {
    v1::JournalEvent { id, at_ms, warning, text }
}
