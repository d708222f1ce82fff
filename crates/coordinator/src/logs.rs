//! The newest lines of the logs of all workers and of this process, in memory: [`LogBook`].
//!
//! Workers send what they print on standard error. Nothing here is kept over a restart: the files beside each process have all
//! of it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use lsgan_console::recent;
use lsgan_control::SessionId;
use lsgan_control::gate::Rejection;
use lsgan_journal::wall_ms;
use lsgan_wire::v1;

use crate::notices::shown;
use crate::shell::Shell;

/// What the coordinator's own lines are called.
pub const COORDINATOR: &str = "coordinator";
/// Lines that are kept, of all processes together.
const LINES_MAX: usize = 1 << 14;
/// No worker sends longer ones.
const LINE_LEN_BYTES_MAX: usize = 1 << 10;
/// The longest name of a process.
const NAME_LEN_BYTES_MAX: usize = 200;
/// Lines in a reply.
const REPLY_LINES_MAX: usize = 512;

/// The newest lines. Clones share them.
#[derive(Clone, Debug)]
pub struct LogBook(Arc<Mutex<Lines>>);

#[derive(Debug)]
struct Lines {
    newest: VecDeque<v1::LogLine>,
    /// The number of the oldest.
    first: u64,
    /// Lines that workers could not keep.
    lost: u64,
}

impl Default for LogBook {
    /// Numbers begin where no earlier life of this coordinator has come, so that who asks for what is behind one of them
    /// misses nothing.
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Lines { newest: VecDeque::new(), first: wall_ms() << 16, lost: 0 })))
    }
}

impl LogBook {
    /// Lines of a process, behind `lost` that it could not keep.
    pub fn add(&self, from: &str, lost: u64, lines: &[String]) {
        let mut book = self.lines();
        book.lost = book.lost.saturating_add(lost);
        book.add(from, lost, lines);
    }

    /// Lines that workers could not keep, all together.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lines().lost
    }

    /// What is asked for: lines of one process or of all, from the number `from` on.
    #[must_use]
    pub fn read(&self, asked: &v1::LogsRequest) -> v1::LogsReply {
        let mut book = self.lines();
        let (lost, own) = recent::take(usize::MAX);
        book.add(COORDINATOR, lost, &own);
        book.read(asked)
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().expect("nothing panics while it is changed")
    }
}

impl Lines {
    fn add(&mut self, from: &str, lost: u64, lines: &[String]) {
        let gap = (lost > 0).then(|| format!("{lost} lines are not here: they came too fast"));
        for text in gap.iter().chain(lines) {
            if self.newest.len() == LINES_MAX {
                self.newest.pop_front();
                self.first += 1;
            }
            let text = shown(text, LINE_LEN_BYTES_MAX);
            self.newest.push_back(v1::LogLine { process: from.to_owned(), text });
        }
    }

    fn read(&self, asked: &v1::LogsRequest) -> v1::LogsReply {
        let skipped = asked.from.saturating_sub(self.first);
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX).min(self.newest.len());
        let mut next = self.first + skipped as u64;
        let mut lines = vec![];
        for line in self.newest.range(skipped..) {
            if lines.len() == REPLY_LINES_MAX {
                break;
            }
            next += 1;
            if asked.process.is_empty() || asked.process == line.process {
                lines.push(line.clone());
            }
        }
        let processes: BTreeSet<_> = self.newest.iter().map(|line| &line.process).collect();
        v1::LogsReply { lines, next, processes: processes.into_iter().cloned().collect() }
    }
}

impl Shell {
    /// A worker sends lines of its log.
    pub(crate) fn log_lines(&mut self, session: SessionId, sent: &v1::LogLines) {
        match self.worker_on(session) {
            Some(worker) => self.logs.add(&process(&worker.name), sent.lost, &sent.lines),
            None => self.reject(session, &Rejection::NoHello),
        }
    }
}

/// What a worker's lines are called: by its name, unless that would make them the coordinator's.
fn process(name: &str) -> String {
    match shown(name, NAME_LEN_BYTES_MAX) {
        name if name.trim() == COORDINATOR => format!("worker {COORDINATOR}"),
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_does_not_speak_as_the_coordinator_and_its_name_is_short() {
        assert_eq!(process("host-3:1"), "host-3:1");
        assert_eq!(process(" coordinator"), "worker coordinator");
        assert_eq!(process(&"x".repeat(4_000)).len(), NAME_LEN_BYTES_MAX);
    }

    fn lines(from: u64, count: u64) -> Vec<String> {
        (from..from + count).map(|number| format!("line {number}")).collect()
    }

    fn asked(process: &str, from: u64) -> v1::LogsRequest {
        v1::LogsRequest { process: process.to_owned(), from }
    }

    #[test]
    fn lines_are_read_in_pieces_of_one_process_or_of_all() {
        let book = LogBook::default();
        book.add("a", 0, &lines(0, 600));
        book.add("b", 3, &["x\u{1b}[2J\ny".to_owned()]);
        let first = book.read(&asked("", 0));
        assert_eq!(
            (first.lines.len(), first.processes),
            (REPLY_LINES_MAX, ["a", "b"].map(str::to_owned).to_vec())
        );
        let second = book.read(&asked("", first.next));
        assert_eq!(second.lines[0].text, "line 512");
        assert_eq!(second.lines.len(), 600 - REPLY_LINES_MAX + 2);
        assert!(book.read(&asked("", second.next)).lines.is_empty());
        let of_b: Vec<_> = book.read(&asked("b", 0)).lines.into_iter().map(|line| line.text).collect();
        assert!(of_b[0].starts_with("3 lines are not here"), "{of_b:?}");
        assert_eq!(of_b[1], "x\\u001b[2J\\ny", "it begins no line and moves no cursor");
        assert_eq!(book.lost(), 3);
    }

    #[test]
    fn the_oldest_lines_go_and_a_later_life_has_later_numbers() {
        let book = LogBook::default();
        book.add("a", 0, &lines(0, LINES_MAX as u64 + 5));
        assert_eq!(book.read(&asked("a", 0)).lines[0].text, "line 5");
        book.add("a", 0, &["ä".repeat(LINE_LEN_BYTES_MAX)]);
        let next = book.lines().first + LINES_MAX as u64 - 1;
        let last = book.read(&asked("a", next));
        assert_eq!(last.lines[0].text.len(), LINE_LEN_BYTES_MAX);
        let later = Lines { newest: VecDeque::new(), first: (wall_ms() + 5_000) << 16, lost: 0 };
        assert!(later.first > last.next);
    }
}
