//! A directory that is filled bit by bit: by one process at a time, and by a later one from where the first died.
//!
//! Its journal is a hidden file of JSON lines. The first says what is being made, so that nothing is mixed; each of the
//! others is something that is finished. The last one may be torn, and then counts for nothing. The lock is the operating
//! system's, on the open journal: it ends with its process, however that ends.

use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};

use super::ToolError;
use super::error::writing;

/// What a file system that is new has in its root.
const LOST_AND_FOUND: &str = "lost+found";

/// A directory held by this process.
#[derive(Debug)]
pub(super) struct Out {
    dir: PathBuf,
    path: PathBuf,
    journal: File,
}

impl Out {
    /// Takes the directory, which is made if it is not there, for what `job` says (a struct of plain values). Returns what
    /// is finished, a JSON text each.
    ///
    /// # Errors
    ///
    /// [`ToolError::Taken`], [`ToolError::Busy`], [`ToolError::Other`], [`ToolError::Io`].
    pub(super) fn open(
        dir: &Path,
        file: &str,
        job: &impl Serialize,
    ) -> Result<(Self, Vec<String>), ToolError> {
        fs::create_dir_all(dir).map_err(writing(dir))?;
        let path = dir.join(file);
        // A link is not ours: what is behind it must not be cut to the length of a journal.
        if path.is_symlink() {
            return Err(ToolError::Taken { dir: dir.into(), found: file.to_owned() });
        }
        if !path.exists() {
            let names = fs::read_dir(dir).map_err(writing(dir))?.flatten().map(|entry| entry.file_name());
            if let Some(found) = names.filter(|name| name != LOST_AND_FOUND).min() {
                return Err(ToolError::Taken {
                    dir: dir.into(),
                    found: found.to_string_lossy().into_owned(),
                });
            }
        }
        // Not truncated: until the lock is taken, the text is another process's.
        let mut journal = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(writing(&path))?;
        match journal.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ToolError::Busy { dir: dir.into() }),
            Err(TryLockError::Error(source)) => return Err(writing(&path)(source)),
        }
        let mut text = String::new();
        journal.read_to_string(&mut text).map_err(writing(&path))?;
        let mut lines: Vec<String> = text
            .split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n').map(str::to_owned))
            .collect();
        let mut out = Self { dir: dir.into(), path, journal };
        if lines.is_empty() {
            out.cut_to(0)?;
            out.append(job)?;
        } else {
            out.check_job(&lines.remove(0), job)?;
        }
        Ok((out, lines))
    }

    /// The directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Something is finished: after this, it is so also for a machine that loses its power.
    pub(super) fn append(&mut self, finished: &impl Serialize) -> Result<(), ToolError> {
        let mut line = serde_json::to_vec(finished).expect("plain values become JSON");
        line.push(b'\n');
        let written = self.journal.write_all(&line).and_then(|()| self.journal.sync_data());
        written.map_err(writing(&self.path))
    }

    /// Takes everything back but the first so many of the `lines` that [`open`](Self::open) gave.
    pub(super) fn keep(&mut self, lines: &[String], count: usize) -> Result<(), ToolError> {
        let mut text = String::new();
        self.journal
            .rewind()
            .and_then(|()| self.journal.read_to_string(&mut text))
            .map_err(writing(&self.path))?;
        let job = text.find('\n').map_or(0, |end| end + 1);
        let kept: usize = lines[..count].iter().map(|line| line.len() + 1).sum();
        self.cut_to((job + kept) as u64)
    }

    fn cut_to(&mut self, len_bytes: u64) -> Result<(), ToolError> {
        let cut = self.journal.set_len(len_bytes);
        cut.and_then(|()| self.journal.seek(SeekFrom::End(0)).map(drop)).map_err(writing(&self.path))
    }

    fn check_job(&self, there: &str, job: &impl Serialize) -> Result<(), ToolError> {
        let here = serde_json::to_value(job).expect("plain values become JSON");
        let other = |difference: String| ToolError::Other { dir: self.dir.clone(), difference };
        let (Ok(Value::Object(there)), Value::Object(here)) = (serde_json::from_str(there), here) else {
            return Err(other(format!("{} is no journal of this program", self.path.display())));
        };
        match difference(&there, &here) {
            Some(found) => Err(other(found)),
            None => Ok(()),
        }
    }
}

/// `size is 64 there and 32 here`, for the first that differs.
fn difference(there: &Map<String, Value>, here: &Map<String, Value>) -> Option<String> {
    let shown = |side: &Map<String, Value>, name: &str| match side.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "missing".to_owned(),
    };
    let names = here.keys().chain(there.keys());
    let mut differing = names.filter(|name| there.get(*name) != here.get(*name));
    let name = differing.next()?;
    Some(format!("{name} is {} there and {} here", shown(there, name), shown(here, name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Job {
        size: u32,
        word: &'static str,
    }

    const JOB: Job = Job { size: 1, word: "a" };
    const FILE: &str = ".journal";

    fn open(dir: &Path, job: &Job) -> Result<(Out, Vec<String>), ToolError> {
        Out::open(dir, FILE, job)
    }

    #[test]
    fn what_is_finished_is_found_again_and_a_torn_line_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (mut out, lines) = open(dir.path(), &JOB).unwrap();
        assert_eq!(lines, [""; 0]);
        (1..4).for_each(|number| out.append(&number).unwrap());
        drop(out);
        let path = dir.path().join(FILE);
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{whole}{{\"tor")).unwrap();
        let (mut out, lines) = open(dir.path(), &JOB).unwrap();
        assert_eq!(lines, ["1", "2", "3"]);
        out.keep(&lines, 2).unwrap();
        out.append(&3).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), whole);
        drop(out);
        // It died while it wrote its first line.
        fs::write(&path, "{\"si").unwrap();
        assert_eq!(open(dir.path(), &JOB).unwrap().1, [""; 0]);
    }

    #[test]
    fn another_job_a_stranger_and_a_second_process_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let held = open(dir.path(), &JOB).unwrap();
        assert!(matches!(open(dir.path(), &JOB), Err(ToolError::Busy { .. })));
        drop(held);
        let error = open(dir.path(), &Job { size: 2, ..JOB }).unwrap_err().to_string();
        assert!(error.contains("made otherwise: size is 1 there and 2 here."), "{error}");
        let strange = tempfile::tempdir().unwrap();
        fs::write(strange.path().join("thesis.tex"), "").unwrap();
        let error = open(strange.path(), &JOB).unwrap_err();
        assert!(matches!(&error, ToolError::Taken { found, .. } if found == "thesis.tex"), "{error}");
        assert!(!strange.path().join(FILE).exists(), "nothing is written there");
        let file = strange.path().join("thesis.tex");
        assert!(matches!(open(&file, &JOB), Err(ToolError::Io { .. })));
    }
}
