//! The journal on a thread of its own: what is to be written, in order, for as long as it takes.
//!
//! A disk that is full, or another program that holds the file, keeps this thread waiting and nobody else: the shell hears
//! of it, answers whoever asks, and holds back only what must not be sent before it is written.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use lsgan_console::vital;
use lsgan_journal::{JournalError, Snapshot, Wait, Writer, patiently};
use lsgan_spec::Step;
use tokio::sync::mpsc;

/// How long the end of a run waits for what is left to be written; and where that cannot be written as it is.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);
const DRAIN_WITHIN_STUCK: Duration = Duration::from_millis(600);

type Write = Box<dyn FnMut(&mut Writer) -> Result<(), JournalError> + Send>;

/// What comes of writing.
#[derive(Debug)]
pub enum News {
    /// The oldest write that was waited for is done, or never will be.
    Written,
    /// It cannot be written at the moment, and is tried again and again; why.
    Waits(JournalError),
    /// It could be written after all.
    GoesOn,
    /// It cannot be written, and trying again would not help.
    Broken(JournalError),
}

/// Writes wait here for the journal's thread. Unbounded: a worker reads and reports no further than its leases, which are
/// sent when what they depend on is written.
#[derive(Debug)]
pub struct Queue {
    writes: Option<Sender<Write>>,
    news: mpsc::UnboundedReceiver<News>,
    thread: Option<JoinHandle<()>>,
    /// Writes so far, and those of them that are done.
    handed: u64,
    done: u64,
    waits: bool,
}

impl Queue {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no room for it.
    pub fn start(mut journal: Writer) -> std::io::Result<Self> {
        let (writes, queue) = channel();
        let (tell, news) = mpsc::unbounded_channel();
        let thread = vital::thread("journal", move || write_each(&mut journal, &queue, &tell))?;
        Ok(Self { writes: Some(writes), news, thread: Some(thread), handed: 0, done: 0, waits: false })
    }

    /// Hands something over to be written. Returns its number, counted from 1; see [`Self::is_done`].
    pub fn write(
        &mut self,
        write: impl FnMut(&mut Writer) -> Result<(), JournalError> + Send + 'static,
    ) -> u64 {
        self.handed += 1;
        let writes = self.writes.as_ref().expect("the queue is open until it is drained");
        writes.send(Box::new(write)).expect("the thread takes writes until the queue closes");
        self.handed
    }

    /// Whether the write of this number is done.
    #[must_use]
    pub fn is_done(&self, number: u64) -> bool {
        self.done >= number
    }

    /// Whether something cannot be written at the moment.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.waits
    }

    /// The next news. Never without any to come.
    pub async fn news(&mut self) -> News {
        let Some(news) = self.news.recv().await else { return std::future::pending().await };
        match &news {
            News::Written => self.done += 1,
            News::Waits(_) => self.waits = true,
            News::GoesOn => self.waits = false,
            News::Broken(_) => {}
        }
        news
    }

    /// Waits until all is written and the file is closed, but not for long. Returns whether that is so.
    pub async fn drain(mut self) -> bool {
        let within = if self.waits { DRAIN_WITHIN_STUCK } else { DRAIN_WITHIN };
        let all = async {
            while self.done < self.handed {
                self.news().await;
            }
            self.writes.take();
            let thread = self.thread.take();
            // A panic has ended the process.
            let _ = tokio::task::spawn_blocking(|| thread.map(JoinHandle::join)).await;
        };
        tokio::time::timeout(within, all).await.is_ok()
    }
}

/// By their names in [`Writer`], for those who need not know when it is written.
impl Queue {
    /// See [`Writer::add_snapshot`].
    pub fn add_snapshot(&mut self, snapshot: Snapshot) {
        self.write(move |journal| journal.add_snapshot(&snapshot));
    }

    /// See [`Writer::delete_snapshots`].
    pub fn delete_snapshots(&mut self, steps: Vec<Step>) {
        self.write(move |journal| journal.delete_snapshots(&steps));
    }

    /// See [`Writer::add_sample`].
    pub fn add_sample(&mut self, step: u64, file: String) {
        self.write(move |journal| journal.add_sample(step, &file));
    }

    /// See [`Writer::add_event`].
    pub fn add_event(&mut self, at_ms: u64, warning: bool, text: String) {
        self.write(move |journal| journal.add_event(at_ms, warning, &text));
    }

    /// See [`Writer::set_fact`].
    pub fn set_fact(&mut self, key: &'static str, value: String) {
        self.write(move |journal| journal.set_fact(key, &value));
    }
}

/// What the thread does until the queue closes.
fn write_each(journal: &mut Writer, queue: &Receiver<Write>, news: &mpsc::UnboundedSender<News>) {
    // Only an ended shell does not listen.
    let tell = |what| drop(news.send(what));
    for mut write in queue {
        let wait = |wait| match wait {
            Wait::Begins(error) => tell(News::Waits(error)),
            Wait::Ends => tell(News::GoesOn),
        };
        if let Err(error) = patiently(|| write(journal), wait) {
            tell(News::Broken(error));
        }
        tell(News::Written);
    }
}
