//! The journal on a thread of its own, which does the writes in order, however long they take.
//!
//! A full disk, or another program that locks the file, blocks only this thread. The shell is told, answers requests, and
//! holds back only what must not be sent before it is written. Where the journal is copied, a write is done when the copy has
//! it.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use lsgan_console::vital;
use lsgan_journal::{JournalError, Snapshot, Wait, Writer, patiently};
use lsgan_spec::{Incarnation, Step};
use tokio::sync::mpsc;

use crate::copy::{Copy, NotCopied};
use crate::grids;

/// Writes that are done in one transaction, at most, so that each is told within a second. A disk takes about as long for one as
/// for many.
const TOGETHER_MAX: usize = 128;

/// How long the end of a run waits for the last writes; shorter if the journal cannot be written at the moment.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);
const DRAIN_WITHIN_STUCK: Duration = Duration::from_millis(600);

/// After so many writes a piece of the copy is created, although more are queued.
const WRITES_IN_A_PIECE: u64 = 1_000;

type Work = Box<dyn FnMut(&mut Writer) -> Result<(), JournalError> + Send>;

struct Write {
    write: Work,
    /// It may be left out, where it is itself at fault.
    may_be_dropped: bool,
}

/// What the thread is told.
enum Job {
    Write(Write),
    /// A message waits for what was written: it is copied now.
    Hurry,
}

/// What the thread tells the shell.
#[derive(Debug)]
pub enum News {
    /// The oldest open write is done, or was given up.
    Written,
    /// It cannot be written at the moment and is tried again.
    Waits(JournalError),
    /// It could be written after all.
    GoesOn,
    /// What a worker reported cannot be written as it is, and is left out.
    Dropped(JournalError),
    /// It cannot be written, and trying again would not help.
    Broken(JournalError),
    /// It cannot be copied at the moment, for this reason, and that is tried again.
    CopyWaits(String),
    /// It could be copied after all.
    CopyGoesOn,
    /// Another coordinator leads the run, as the sentence says. Nothing is written any more.
    Deposed(String),
}

/// Writes wait here for the journal's thread. Unbounded: a worker reads and reports no further than its leases, which are
/// sent when what they depend on is written.
#[derive(Debug)]
pub struct Queue {
    jobs: Option<Sender<Job>>,
    news: mpsc::UnboundedReceiver<News>,
    thread: Option<JoinHandle<()>>,
    /// Writes so far, and those of them that are done.
    handed: u64,
    done: u64,
    waits: bool,
    copy_waits: bool,
    /// The newest write that is copied without delay; none where nothing is copied.
    hurried: Option<u64>,
}

impl Queue {
    /// Starts the thread, with the journal and the copy of it that is kept.
    ///
    /// # Errors
    /// The system has no room for it.
    pub fn start(journal: Writer, copy: Option<Copy>) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let (tell, news) = mpsc::unbounded_channel();
        let hurried = copy.is_some().then_some(0);
        let thread = vital::thread("journal", move || write_and_copy((journal, copy), &queue, &tell))?;
        let (handed, done, waits, copy_waits) = (0, 0, false, false);
        Ok(Self { jobs: Some(jobs), news, thread: Some(thread), handed, done, waits, copy_waits, hurried })
    }

    /// Queues a write. Returns its number, counted from 1; see [`Self::is_done`].
    pub fn write(
        &mut self,
        write: impl FnMut(&mut Writer) -> Result<(), JournalError> + Send + 'static,
    ) -> u64 {
        self.hand(Write { write: Box::new(write), may_be_dropped: false })
    }

    /// The same for what the run can do without: where the row is at fault and not the journal, it is left out. No report of a
    /// worker ends a run.
    pub fn write_report(
        &mut self,
        write: impl FnMut(&mut Writer) -> Result<(), JournalError> + Send + 'static,
    ) -> u64 {
        self.hand(Write { write: Box::new(write), may_be_dropped: true })
    }

    fn hand(&mut self, write: Write) -> u64 {
        self.handed += 1;
        self.tell(Job::Write(write));
        self.handed
    }

    fn tell(&mut self, job: Job) {
        let jobs = self.jobs.as_ref().expect("the queue is open until it is drained");
        // A thread that was deposed takes nothing, and has said so.
        let _ = jobs.send(job);
    }

    /// Something waits for write `number`: it is copied as soon as it is written.
    pub fn hurry(&mut self, number: u64) {
        if !self.is_done(number) && self.hurried.is_some_and(|hurried| hurried < number) {
            self.hurried = Some(self.handed);
            self.tell(Job::Hurry);
        }
    }

    /// Whether a write is done only when a copy has it.
    #[must_use]
    pub fn is_copied(&self) -> bool {
        self.hurried.is_some()
    }

    /// Whether the write of this number is done.
    #[must_use]
    pub fn is_done(&self, number: u64) -> bool {
        self.done >= number
    }

    /// Whether something cannot be written or copied at the moment.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.waits || self.copy_waits
    }

    /// The next news. Never without any to come.
    pub async fn news(&mut self) -> News {
        let Some(news) = self.news.recv().await else { return std::future::pending().await };
        match &news {
            News::Written => self.done += 1,
            News::Waits(_) => self.waits = true,
            News::GoesOn => self.waits = false,
            News::CopyWaits(_) => self.copy_waits = true,
            News::CopyGoesOn => self.copy_waits = false,
            News::Dropped(_) | News::Broken(_) | News::Deposed(_) => {}
        }
        news
    }

    /// Waits for a short time until all is written and the file is closed. Returns whether it is.
    pub async fn drain(mut self) -> bool {
        let within = if self.waits() { DRAIN_WITHIN_STUCK } else { DRAIN_WITHIN };
        self.hurry(self.handed);
        let all = async {
            while self.done < self.handed {
                self.news().await;
            }
            self.jobs.take();
            let thread = self.thread.take();
            // A panic has ended the process.
            let _ = tokio::task::spawn_blocking(|| thread.map(JoinHandle::join)).await;
        };
        tokio::time::timeout(within, all).await.is_ok()
    }
}

/// Writes under their names in [`Writer`]. The caller waits for the completion of none but the first.
impl Queue {
    /// See [`Writer::add_snapshot`]. Returns its number, as [`Self::write`] does.
    pub fn add_snapshot(&mut self, snapshot: Snapshot) -> u64 {
        self.write_report(move |journal| journal.add_snapshot(&snapshot))
    }

    /// See [`Writer::delete_snapshots`].
    pub fn delete_snapshots(&mut self, steps: Vec<Step>) {
        self.write(move |journal| journal.delete_snapshots(&steps));
    }

    /// See [`Writer::add_sample`]; where there are too many, older ones go ([`grids`]).
    pub fn add_sample(&mut self, step: u64, file: PathBuf) {
        self.write_report(move |journal| {
            journal.add_sample(step, &file.to_string_lossy())?;
            grids::delete(&file, &journal.thin_samples(grids::MAX)?);
            Ok(())
        });
    }

    /// See [`Writer::add_event`].
    pub fn add_event(&mut self, at_ms: u64, warning: bool, text: String) {
        self.write_report(move |journal| journal.add_event(at_ms, warning, &text));
    }

    /// See [`Writer::add_standing`].
    pub fn add_standing(&mut self, at_ms: u64, cause: String, text: String) {
        self.write_report(move |journal| journal.add_standing(at_ms, &cause, &text));
    }

    /// See [`Writer::end_warnings`].
    pub fn end_warnings(&mut self, at_ms: u64, cause: String) {
        self.write_report(move |journal| journal.end_warnings(at_ms, &cause));
    }

    /// See [`Writer::set_load`].
    pub fn set_load(&mut self, worker: Incarnation, load: String) {
        self.write_report(move |journal| journal.set_load(worker, &load));
    }

    /// See [`Writer::set_fact`].
    pub fn set_fact(&mut self, key: &'static str, value: String) {
        self.write_report(move |journal| journal.set_fact(key, &value));
    }
}

/// What the thread does until the queue closes. Where the journal is copied, a write is told when the copy has it.
fn write_and_copy(
    (mut journal, mut copy): (Writer, Option<Copy>),
    queue: &Receiver<Job>,
    news: &mpsc::UnboundedSender<News>,
) {
    let (untold, mut hurry, mut waits) = (Cell::new(0_u64), false, false);
    let is_copied = copy.is_some();
    let keep = |what| match what {
        News::Written if is_copied => untold.set(untold.get() + 1),
        what => tell(news, what),
    };
    loop {
        let due = copy.as_ref().map(|copy| copy.due_in(hurry));
        match (next(queue, due, untold.get() < WRITES_IN_A_PIECE), &mut copy) {
            (Ok(first), copy) => {
                let (mut writes, hurries) = take(first, queue);
                write_all(&mut journal, &mut writes, &keep);
                let Some(copy) = copy else { continue };
                if let Err(error) = copy.gather(&mut journal) {
                    tell(news, News::Broken(error));
                }
                let lacks = copy.lacks();
                hurry = lacks && (hurry || hurries);
                // A write that changed nothing is not waited for.
                if lacks {
                    continue;
                }
            }
            (Err(RecvTimeoutError::Timeout), Some(copy)) => match copy.put(&journal) {
                Ok(()) => {
                    hurry = false;
                    if std::mem::take(&mut waits) {
                        tell(news, News::CopyGoesOn);
                    }
                }
                Err(NotCopied::Deposed(why)) => return tell(news, News::Deposed(why)),
                Err(NotCopied::Away(error)) => {
                    if !std::mem::replace(&mut waits, true) {
                        tell(news, News::CopyWaits(error.to_string()));
                    }
                    continue;
                }
            },
            // Without a copy nothing is ever due.
            (Err(_), _) => return,
        }
        (0..untold.take()).for_each(|_| tell(news, News::Written));
    }
}

/// The next job, if it comes before the next piece of the copy is due.
fn next(queue: &Receiver<Job>, due: Option<Duration>, has_room: bool) -> Result<Job, RecvTimeoutError> {
    match due {
        // What was queued meanwhile comes into the same piece.
        Some(due) if due.is_zero() && has_room => queue.try_recv().map_err(|_| RecvTimeoutError::Timeout),
        Some(due) if due.is_zero() => Err(RecvTimeoutError::Timeout),
        Some(due) => queue.recv_timeout(due),
        None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
    }
}

/// The writes that are queued, the first ones of them, and whether a message waits for one.
fn take(first: Job, queue: &Receiver<Job>) -> (Vec<Write>, bool) {
    let (mut writes, mut hurries) = (Vec::new(), false);
    for job in std::iter::once(first).chain(queue.try_iter().take(TOGETHER_MAX - 1)) {
        match job {
            Job::Write(write) => writes.push(write),
            Job::Hurry => hurries = true,
        }
    }
    (writes, hurries)
}

/// Does writes in order, together where that is possible. One that fails is found by halves, so that it costs the others
/// little.
fn write_all(journal: &mut Writer, writes: &mut [Write], tell: &dyn Fn(News)) {
    match writes {
        [] => {}
        [one] => write_one(journal, one, tell),
        [first, rest @ ..] => {
            let mut all = std::iter::once(&mut *first).chain(rest.iter_mut());
            match journal.together(|journal| all.try_for_each(|one| (one.write)(journal))) {
                Ok(()) => writes.iter().for_each(|_| tell(News::Written)),
                Err(error) if error.passes() => {
                    write_one(journal, first, tell);
                    write_all(journal, rest, tell)
                }
                Err(_) => {
                    let (earlier, later) = writes.split_at_mut(writes.len() / 2);
                    write_all(journal, earlier, tell);
                    write_all(journal, later, tell)
                }
            }
        }
    }
}

/// Does a write, however long it takes.
fn write_one(journal: &mut Writer, one: &mut Write, tell: &dyn Fn(News)) {
    let wait = |wait| match wait {
        Wait::Begins(error) => tell(News::Waits(error)),
        Wait::Ends => tell(News::GoesOn),
    };
    match patiently(|| (one.write)(journal), wait) {
        Ok(()) => {}
        Err(error) if one.may_be_dropped && error.is_of_the_row() => tell(News::Dropped(error)),
        Err(error) => tell(News::Broken(error)),
    }
    tell(News::Written);
}

fn tell(news: &mpsc::UnboundedSender<News>, what: News) {
    // Only an ended shell does not listen.
    drop(news.send(what));
}
