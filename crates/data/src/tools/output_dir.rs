//! A directory that one process at a time fills, and that a later process can complete.
//!
//! Its journal is a hidden file of JSON lines. The first line identifies the job, so that two jobs do not mix; each other
//! line is a finished part. An incomplete last line is ignored. The operating system's lock on the journal ends with its
//! process.

use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};

use super::ToolError;
use super::error::writing;

/// A new file system has this folder in its root.
const LOST_AND_FOUND: &str = "lost+found";

/// A directory that this process has locked.
#[derive(Debug)]
pub(super) struct OutputDir {
    /// Of the journal.
    path: PathBuf,
    journal: File,
}

impl OutputDir {
    /// Locks the directory for `job`, a struct of plain values, and creates it if it is missing. Returns the lines of the
    /// finished parts.
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
        // A link is another program's: its target must not be truncated.
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
        // Not truncated: before the lock succeeds, the file may be in use.
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
        let whole_bytes = text.rfind('\n').map_or(0, |end| end + 1);
        let mut lines = text[..whole_bytes].lines().map(str::to_owned);
        let first = lines.next();
        if let Some(first) = &first {
            check_job(dir, &path, first, job)?;
        }
        let mut out = Self { path, journal };
        out.cut_to(whole_bytes as u64)?;
        if first.is_none() {
            out.append(job)?;
        }
        Ok((out, lines.collect()))
    }

    /// Appends the line of a finished part and syncs it, so that it survives a loss of power.
    pub(super) fn append(&mut self, finished: &impl Serialize) -> Result<(), ToolError> {
        let mut line = serde_json::to_vec(finished).expect("plain values become JSON");
        line.push(b'\n');
        let written = self.journal.write_all(&line).and_then(|()| self.journal.sync_data());
        written.map_err(writing(&self.path))
    }

    /// Removes the last `lines`.
    pub(super) fn remove(&mut self, lines: &[String]) -> Result<(), ToolError> {
        let len_bytes = self.journal.metadata().map_err(writing(&self.path))?.len();
        let removed_bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
        self.cut_to(len_bytes - removed_bytes as u64)
    }

    fn cut_to(&mut self, len_bytes: u64) -> Result<(), ToolError> {
        let cut = self.journal.set_len(len_bytes);
        cut.and_then(|()| self.journal.seek(SeekFrom::End(0)).map(drop)).map_err(writing(&self.path))
    }
}

/// Refuses the directory if `there`, the first line of its journal, is another job.
fn check_job(dir: &Path, journal: &Path, there: &str, job: &impl Serialize) -> Result<(), ToolError> {
    let here = serde_json::to_value(job).expect("plain values become JSON");
    let difference = match (serde_json::from_str(there), here) {
        (Ok(Value::Object(there)), Value::Object(here)) => difference(&there, &here),
        _ => Some(format!("{} is no journal of this program", journal.display())),
    };
    difference.map_or(Ok(()), |difference| Err(ToolError::Other { dir: dir.into(), difference }))
}

/// Describes the first field that differs: `size is 64 there and 32 here`.
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

    fn open(dir: &Path, job: &Job) -> Result<(OutputDir, Vec<String>), ToolError> {
        OutputDir::open(dir, FILE, job)
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
        out.remove(&lines[2..]).unwrap();
        out.append(&3).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), whole);
        drop(out);
        // The process died while it wrote the first line.
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
