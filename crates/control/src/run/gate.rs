//! The gate: whether a message of a worker is acted upon. Every message passes here before anything follows from it, in the
//! machine or beside it ([`Run::admits`], [`Run::admits_metrics`], [`clean`]).
//!
//! - Whose it is: a stream without an incarnation says Hello, once, and nothing else. What is said of a generation is said by
//!   its members, rows of metrics by its first rank, the end of a task by the worker that has it.
//! - What it means: no number is beyond what this run has, no text longer or other than what people read.
//!
//! What was right when it was sent and is late is no fault of its sender: [`Rejection::Late`], or nothing follows from it
//! in the machine.

use core::net::SocketAddr;
use std::fmt;

use lsgan_spec::{Generation, Reduction, Step, is_printable};

use super::attendance::Worker;
use super::event::SessionId;
use super::machine::{Phase, Run};
use crate::Report;
use crate::protocol::Task;
use crate::report::{CorruptRecord, FinalFile};

/// The longest text, in bytes. Longer ones are cut.
const TEXT_BYTES_MAX: usize = 4 << 10;
/// The largest picture, in bytes.
pub const PICTURE_BYTES_MAX: usize = 8 << 20;
/// What a PNG file begins with (<https://www.w3.org/TR/png-3/>, 5.2).
const PNG_BEGINS: &[u8] = b"\x89PNG\r\n\x1a\n";
/// The final weights are three files. Some room for those of later versions.
const FILES_MAX: usize = 16;

/// Why a message is not acted upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Its stream has not said Hello.
    NoHello,
    /// Its stream has said Hello before.
    SecondHello,
    /// Its sender may not say that.
    NotEntitled {
        /// What it says, such as `that it is ready`.
        says: &'static str,
        /// Who may say it.
        may: &'static str,
    },
    /// A value that this run cannot have.
    OutOfBounds {
        /// Its name, such as `a step`.
        field: &'static str,
        /// What was said.
        value: String,
        /// What can be.
        accepted: String,
    },
    /// It was right once. Honest workers send such messages.
    Late,
}

/// For people, after `a message of worker 3 is ignored: `.
impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHello => f.write_str("it came before the Hello that says who sends it"),
            Self::SecondHello => f.write_str("it is a second Hello on one stream; one is accepted"),
            Self::NotEntitled { says, may } => write!(f, "it says {says}, which only {may} may say"),
            Self::OutOfBounds { field, value, accepted } => {
                write!(f, "{field} is {value}; accepted is {accepted}")
            }
            Self::Late => f.write_str("it came too late"),
        }
    }
}

type Admission = Result<(), Rejection>;

impl Run {
    /// Whether a report that comes on `session` is acted upon.
    ///
    /// # Errors
    /// Why it is not.
    pub fn admits(&self, session: SessionId, report: &Report) -> Admission {
        if let Report::Hello(hello) = report {
            return match self.sessions.contains_key(&session) {
                true => Err(Rejection::SecondHello),
                false => address("a worker's address", &hello.address),
            };
        }
        let incarnation = self.sessions.get(&session).ok_or(Rejection::NoHello)?;
        let worker = &self.workers[incarnation];
        match report {
            Report::Hello(_) | Report::WantsLeave | Report::Warning { .. } | Report::Tried { .. } => Ok(()),
            Report::Heartbeat { applied, .. } => reached(worker, *applied),
            Report::Progress { generation } => self.of_member(worker, *generation, "how far it has formed"),
            Report::Ready { generation, applied } => {
                self.of_member(worker, *generation, "that it is ready")?;
                self.starts_from(*generation, *applied)
            }
            Report::Parked { applied, .. } => reached(worker, *applied),
            Report::CutOff { generation, .. } => {
                self.of_member(worker, *generation, "whom it does not reach")
            }
            Report::Consumed { virtual_rank, ordinals } => {
                let count = u64::from(self.config.virtual_ranks);
                below("a virtual rank", u64::from(virtual_rank.0), count)?;
                at_most("the positions consumed", *ordinals, self.leased[virtual_rank.0 as usize])
            }
            Report::StateHash { step, .. } => {
                of_trained(worker, "what its state hashes to")?;
                within(worker, *step)
            }
            Report::StoreProof(proof) if proof.why_not.is_empty() => plain_name("an answer", &proof.answer),
            Report::StoreProof(_) => Ok(()),
            Report::SnapshotWritten(written) => {
                of_trained(worker, "that it wrote a snapshot")?;
                within(worker, written.step)
            }
            Report::SnapshotFailed { step, .. } => {
                of_trained(worker, "that it could not write a snapshot")?;
                within(worker, *step).and_then(|()| self.of_writer(session))
            }
            Report::TaskDone { files } => match self.task_of(session) {
                Some(task) => final_files(task, files),
                None => late_or(worker, "that its task is done", "the worker that has the task"),
            },
            Report::TaskFailed { .. } => match self.task_of(session) {
                Some(_) => Ok(()),
                None => late_or(worker, "that its task failed", "the worker that has the task"),
            },
            Report::CorruptRecords(records) => {
                of_trained(worker, "which records do not decode")?;
                records.iter().try_for_each(|record| self.corrupt(worker, record))
            }
            Report::Sample { step, png } => {
                if !worker.rights.led {
                    return late_or(worker, "what samples look like", "the first rank");
                }
                within(worker, *step)?;
                picture(png)
            }
        }
    }

    /// Whether rows of metrics of these steps, which came on `session`, are stored. Rows that are there stay, so that rows of
    /// steps that are not done would keep the true ones out.
    ///
    /// # Errors
    /// Why they are not.
    pub fn admits_metrics(&self, session: SessionId, steps: impl IntoIterator<Item = Step>) -> Admission {
        let incarnation = self.sessions.get(&session).ok_or(Rejection::NoHello)?;
        let worker = &self.workers[incarnation];
        let first = match self.members.first() {
            Some(first) if self.is_member(*incarnation) => first.incarnation == *incarnation,
            // It was the first rank, and came back under another incarnation or to another coordinator.
            _ => worker.rights.led && worker.rights.generation == self.generation,
        };
        if !first {
            return late_or(worker, "what was measured", "the first rank of the newest generation");
        }
        let last = steps.into_iter().max().unwrap_or_default();
        below("the step of a row of metrics", last.0, worker.rights.until.0)
    }

    /// A report of a member of the newest generation about that, or about an earlier one, which comes to nothing.
    fn of_member(&self, worker: &Worker, generation: Generation, says: &'static str) -> Admission {
        if generation != self.generation || self.is_member(worker.rights.incarnation) {
            return Ok(());
        }
        if worker.rights.generation == generation {
            return Err(Rejection::Late); // it came back under another incarnation since
        }
        Err(Rejection::NotEntitled { says, may: "a member of the newest generation" })
    }

    /// A report of the worker that writes snapshots, or has the task to. Operators who wait for one are told that it failed: the
    /// word of another worker would end their wait for nothing.
    fn of_writer(&self, session: SessionId) -> Admission {
        let writes = self.writer.is_some() && self.sessions.get(&session).copied() == self.writer;
        if writes || self.task_of(session).is_some() { Ok(()) } else { Err(Rejection::Late) }
    }

    /// All members of a generation are ready with the state that it starts from, and with no other.
    fn starts_from(&self, generation: Generation, applied: Reduction) -> Admission {
        let forms = generation == self.generation && matches!(self.phase, Phase::Forming { .. });
        match self.attempts.from() {
            Some(from) if forms && applied != from => {
                Err(out("the state of a ready member", applied.0, format!("reduction {from}")))
            }
            _ => Ok(()),
        }
    }

    /// The task that the worker on this stream has, if it has one.
    #[must_use]
    pub fn task_of(&self, session: SessionId) -> Option<Task> {
        match &self.phase {
            Phase::Closing { writer, task, .. } if self.sessions.get(&session) == Some(writer) => Some(*task),
            _ => None,
        }
    }

    fn corrupt(&self, worker: &Worker, record: &CorruptRecord) -> Admission {
        below("a record", record.record, self.config.records)?;
        within(worker, record.step)
    }
}

/// What an honest worker says late where it was told to form a generation once, and what nobody else says.
fn late_or(worker: &Worker, says: &'static str, may: &'static str) -> Admission {
    if worker.rights.trained() { Err(Rejection::Late) } else { Err(Rejection::NotEntitled { says, may }) }
}

fn of_trained(worker: &Worker, says: &'static str) -> Admission {
    if worker.rights.trained() {
        return Ok(());
    }
    Err(Rejection::NotEntitled { says, may: "a worker that was told to form a generation" })
}

/// A state that the worker's newest generation can have reached.
fn reached(worker: &Worker, applied: Option<Reduction>) -> Admission {
    let most = worker.rights.until.first_reduction();
    // What an idle worker says of its state beyond what is known is not believed, and its heartbeat still is one.
    match applied.filter(|_| worker.computing) {
        Some(applied) => at_most("the reductions applied", applied.0, most.0),
        None => Ok(()),
    }
}

fn within(worker: &Worker, step: Step) -> Admission {
    at_most("a step", step.0, worker.rights.until.0)
}

fn at_most(field: &'static str, value: u64, most: u64) -> Admission {
    if value <= most { Ok(()) } else { Err(out(field, value, format!("at most {most}"))) }
}

fn below(field: &'static str, value: u64, count: u64) -> Admission {
    if value < count { Ok(()) } else { Err(out(field, value, format!("less than {count}"))) }
}

fn picture(png: &[u8]) -> Admission {
    if png.len() > PICTURE_BYTES_MAX {
        let accepted = format!("at most {PICTURE_BYTES_MAX} bytes");
        return Err(out("the size of a picture", png.len() as u64, accepted));
    }
    if !png.starts_with(PNG_BEGINS) {
        return Err(out("a picture", png.len() as u64, "the bytes of a PNG file".to_owned()));
    }
    Ok(())
}

/// Where peers can connect to.
fn address(field: &'static str, said: &str) -> Admission {
    let usable = |at: SocketAddr| !at.ip().is_unspecified() && !at.ip().is_multicast() && at.port() != 0;
    match said.parse() {
        Ok(at) if usable(at) => Ok(()),
        _ => Err(Rejection::OutOfBounds {
            field,
            value: format!("`{said}`"),
            accepted: "IP:PORT of a host that others reach; --advertise IP sets it".to_owned(),
        }),
    }
}

fn final_files(task: Task, files: &[FinalFile]) -> Admission {
    let least = usize::from(task == Task::Final);
    if !(least..=FILES_MAX).contains(&files.len()) {
        let accepted = format!("{least} to {FILES_MAX}");
        return Err(out("the number of final files", files.len() as u64, accepted));
    }
    files.iter().try_for_each(|file| plain_name("a final file", &file.name))
}

/// A name that leads to no other folder.
fn plain_name(field: &'static str, name: &str) -> Admission {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.chars().all(plain) && !name.starts_with('.') && !name.is_empty() && name.len() <= 255 {
        return Ok(());
    }
    let (value, accepted) = (format!("`{name}`"), "a name of letters, digits, `-`, `_` and `.`".to_owned());
    Err(Rejection::OutOfBounds { field, value, accepted })
}

fn out(field: &'static str, value: u64, accepted: String) -> Rejection {
    Rejection::OutOfBounds { field, value: value.to_string(), accepted }
}

/// The report with texts that can be shown: cut to 4 KiB, and a space for each character that could steer a terminal, begin a
/// line of a log, or turn the direction of writing.
#[must_use]
pub fn clean(report: Report) -> Report {
    let mut report = report;
    match &mut report {
        Report::Hello(hello) => {
            let numerics = &mut hello.numerics;
            let texts = [&mut numerics.libtorch, &mut numerics.model, &mut numerics.instructions];
            texts.into_iter().for_each(clean_text);
            [&mut hello.name, &mut hello.address, &mut hello.data_fingerprint]
                .into_iter()
                .for_each(clean_text);
        }
        Report::Parked { reason, .. } => match reason {
            crate::ParkReason::Broken(why) | crate::ParkReason::Failed(why) => clean_text(why),
            crate::ParkReason::Boundary | crate::ParkReason::Aborted => {}
        },
        Report::CutOff { why, .. } | Report::SnapshotFailed { why, .. } | Report::TaskFailed { why } => {
            clean_text(why);
        }
        Report::Tried { missing, .. } => missing.iter_mut().for_each(|(_, why)| clean_text(why)),
        Report::StoreProof(proof) => {
            [&mut proof.secret, &mut proof.answer, &mut proof.why_not].into_iter().for_each(clean_text);
        }
        Report::SnapshotWritten(written) => {
            [&mut written.url, &mut written.blake3].into_iter().for_each(clean_text);
        }
        Report::TaskDone { files } => files.iter_mut().for_each(|file| {
            [&mut file.name, &mut file.url, &mut file.blake3].into_iter().for_each(clean_text);
        }),
        Report::CorruptRecords(records) => records.iter_mut().for_each(|record| {
            [&mut record.key, &mut record.reason].into_iter().for_each(clean_text);
        }),
        Report::Warning { text } => clean_text(text),
        Report::Heartbeat { .. }
        | Report::Progress { .. }
        | Report::Ready { .. }
        | Report::Consumed { .. }
        | Report::WantsLeave
        | Report::StateHash { .. }
        | Report::Sample { .. } => {}
    }
    report
}

/// See [`clean`].
fn clean_text(text: &mut String) {
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    if !text.chars().all(is_printable) {
        *text = text.chars().map(|c| if is_printable(c) { c } else { ' ' }).collect();
    }
}
