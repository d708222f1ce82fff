//! What this process prints on standard error, kept in a file as well: the log of a coordinator beside its run.
//!
//! A thread of its own writes it, behind a queue with a bound: a disk that is full or stands still loses lines of the file, and
//! holds up nothing. Until the file's place is known, what was printed waits in the queue.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use console::strip_ansi_codes;
use lsgan_spec::printable_lines;

use crate::print;

/// Texts on their way: a disk that lets so many pile up stands still.
const TEXTS_MAX: usize = 4096;
/// A file that would be longer becomes an old one.
const LEN_BYTES_MAX: u64 = 16 << 20;
/// So many old ones stay: `coordinator.log.1` is the newest of them.
const OLD_FILES: u32 = 2;

enum Item {
    Text(String),
    Flush(SyncSender<()>),
}

struct Queue {
    sender: SyncSender<Item>,
    /// Texts that did not fit into the queue.
    lost: AtomicU64,
    /// What the thread reads, until there is one.
    unopened: Mutex<Option<Receiver<Item>>>,
}

static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Texts that the file lacks, of all that were printed.
static LOST: AtomicU64 = AtomicU64::new(0);

/// From now on what is printed waits for the file that [`open`] names.
pub fn keep() {
    QUEUE.get_or_init(|| {
        let (sender, items) = sync_channel(TEXTS_MAX);
        Queue { sender, lost: AtomicU64::new(0), unopened: Mutex::new(Some(items)) }
    });
}

/// Adds what waits to the end of this file, and from now on all that is printed. Only the first call counts, after [`keep`].
pub fn open(path: PathBuf) {
    let Some(items) = QUEUE.get().and_then(|queue| queue.unopened().take()) else { return };
    let place = path.display().to_string();
    let thread = std::thread::Builder::new().name("log file".to_owned());
    if let Err(error) = thread.spawn(move || write_each(&items, path)) {
        print::past_file(&format!("{place}: there is no thread that could write the log: {error}"));
    }
}

/// The files of a log that may be there, the oldest first.
#[must_use]
pub fn all(path: &Path) -> Vec<PathBuf> {
    let old = (1..=OLD_FILES).rev().map(|number| old(path, number));
    old.chain([path.to_owned()]).collect()
}

/// Lines that the file lacks since the process started: its disk was full or stood still.
#[must_use]
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Text that is printed on standard error. Never waits.
pub(crate) fn printed(bytes: &[u8]) {
    let Some(queue) = QUEUE.get() else { return };
    if queue.sender.try_send(Item::Text(plain(bytes))).is_err() {
        queue.lost.fetch_add(1, Ordering::Relaxed);
        LOST.fetch_add(1, Ordering::Relaxed);
    }
}

/// Hears when all that was printed so far is written; none where no file was named.
pub(crate) fn flush() -> Option<Receiver<()>> {
    let queue = QUEUE.get()?;
    if queue.unopened().is_some() {
        return None;
    }
    let (tell, told) = sync_channel(1);
    queue.sender.try_send(Item::Flush(tell)).ok()?;
    Some(told)
}

/// Without colours; other control characters were escaped when it was printed.
fn plain(bytes: &[u8]) -> String {
    printable_lines(&strip_ansi_codes(&String::from_utf8_lossy(bytes))).into_owned()
}

fn old(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

impl Queue {
    fn unopened(&self) -> MutexGuard<'_, Option<Receiver<Item>>> {
        self.unopened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread does, as long as the process lives.
fn write_each(items: &Receiver<Item>, path: PathBuf) {
    let mut log = LogFile::new(path, LEN_BYTES_MAX);
    for item in items {
        match item {
            Item::Text(text) => log.write(&text),
            // The caller may have stopped waiting.
            Item::Flush(tell) => drop(tell.try_send(())),
        }
        let lost = QUEUE.get().map_or(0, |queue| queue.lost.swap(0, Ordering::Relaxed));
        if lost > 0 {
            log.write(&format!("{lost} lines are lost here: the disk took none for too long\n"));
        }
    }
}

struct LogFile {
    path: PathBuf,
    len_bytes_max: u64,
    file: Option<File>,
    len_bytes: u64,
    /// Texts that could not be written since the last one that could.
    lost: u64,
}

impl LogFile {
    fn new(path: PathBuf, len_bytes_max: u64) -> Self {
        Self { path, len_bytes_max, file: None, len_bytes: 0, lost: 0 }
    }

    /// Writes a text, or counts it as lost. A person is told once, until one can be written again.
    fn write(&mut self, text: &str) {
        let Err(error) = self.try_write(text) else { return };
        if self.lost == 0 {
            let place = self.path.display();
            print::past_file(&format!(
                "{place}: the log cannot be written there, and the run goes on without it: {error}"
            ));
        }
        self.lost += 1;
        LOST.fetch_add(1, Ordering::Relaxed);
        // It is opened again for the next text: somebody may have made room, or put another file there.
        self.file = None;
    }

    fn try_write(&mut self, text: &str) -> io::Result<()> {
        // The text before may have been cut off in its middle.
        let gap = (self.lost > 0)
            .then(|| format!("\n{} lines are lost here: the log could not be written\n", self.lost));
        for text in gap.iter().map(String::as_str).chain([text]) {
            let len_bytes = text.len() as u64;
            self.opened(len_bytes)?.write_all(text.as_bytes())?;
            self.len_bytes += len_bytes;
        }
        self.lost = 0;
        Ok(())
    }

    /// The file, with room for so many bytes.
    fn opened(&mut self, more_bytes: u64) -> io::Result<&mut File> {
        if self.file.is_none() {
            self.open()?;
        }
        if self.len_bytes > 0 && self.len_bytes + more_bytes > self.len_bytes_max {
            self.rotate()?;
            self.open()?;
        }
        Ok(self.file.as_mut().expect("it was opened above"))
    }

    fn open(&mut self) -> io::Result<()> {
        // No link: text that others choose is in a log, and would be added to the file behind it.
        let file =
            OpenOptions::new().create(true).append(true).custom_flags(libc::O_NOFOLLOW).open(&self.path)?;
        self.len_bytes = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    /// The file becomes the newest of the old ones, and the oldest makes room.
    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        let files = all(&self.path);
        for pair in files.windows(2) {
            match std::fs::rename(&pair[1], &pair[0]) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn log(len_bytes_max: u64) -> (tempfile::TempDir, LogFile) {
        let dir = tempfile::tempdir().unwrap();
        let file = LogFile::new(dir.path().join("coordinator.log"), len_bytes_max);
        (dir, file)
    }

    #[test]
    fn a_long_log_is_three_files_the_newest_without_a_number() {
        let (dir, mut log) = log(10);
        for number in 1..=5 {
            log.write(&format!("line {number}\n"));
        }
        let texts: Vec<_> = all(&log.path).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        assert_eq!(texts, ["line 3\n", "line 4\n", "line 5\n"]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        // Another process goes on where it ends.
        let mut next = LogFile::new(log.path.clone(), 20);
        next.write("line 6\n");
        assert_eq!(fs::read_to_string(&log.path).unwrap(), "line 5\nline 6\n");
    }

    #[test]
    fn a_full_disk_loses_lines_and_says_how_many_once_there_is_room() {
        let mut full = LogFile::new("/dev/full".into(), 100);
        full.write("a\n");
        full.write("b\n");
        assert_eq!(full.lost, 2);
        assert!(lost() >= 2, "those of this process's other logs are counted as well");
        // Later it is a disk with room.
        let (_dir, mut log) = log(100);
        log.lost = full.lost;
        log.write("c\n");
        let text = fs::read_to_string(&log.path).unwrap();
        assert_eq!(text, "\n2 lines are lost here: the log could not be written\nc\n");
        assert_eq!(log.lost, 0);
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let (dir, mut log) = log(100);
        let precious = dir.path().join("precious");
        fs::write(&precious, "text").unwrap();
        std::os::unix::fs::symlink(&precious, &log.path).unwrap();
        log.write("line\n");
        assert_eq!((fs::read_to_string(&precious).unwrap().as_str(), log.lost), ("text", 1));
    }

    #[test]
    fn a_line_has_no_colours_and_moves_no_cursor() {
        assert_eq!(plain(b"\x1b[2m2026\x1b[0m \x1b[33m WARN\x1b[0m gone\r\n"), "2026  WARN gone\\r\n");
    }
}
