//! The files of a folder in the order of their paths.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt::Display;
use std::fs;
use std::io;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::look::{is_hidden, reason_by_content, reason_by_name, this_user};
use crate::DataError;
use crate::index::Meter;
use crate::left_out::{LeftOut, Reason};
use crate::sources::OpenOptions;
use crate::sources::pictures::Summary;

/// The operating system's error number for a cycle of links.
const ELOOP: i32 = 40;
/// Files between two progress reports.
const PROGRESS_FILES: u64 = 20_000;

/// All files. Each takes 16 bytes beside its name.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct List {
    /// All folders, the root included, with their modification times, which change when a file is added or removed.
    folders: Vec<(Vec<u8>, i64)>,
    /// Consecutive files of one folder, in order of `first`.
    runs: Vec<Run>,
    /// The names of the files, concatenated.
    names: Vec<u8>,
    /// For each file, the end of its name in `names`, and its length in bytes.
    files: Vec<(u64, u64)>,
    class_names: Vec<String>,
    fingerprint: [u8; 32],
    left_out: LeftOut,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// The first file.
    first: u64,
    /// The folder's path below the root.
    pub(super) folder: Vec<u8>,
    pub(super) class: Option<u32>,
}

impl List {
    pub(super) fn make(root: &Path, options: &OpenOptions<'_>) -> Result<Self, DataError> {
        let mut list = Self::default();
        let mut hasher = blake3::Hasher::new();
        hasher.update(super::KIND.as_bytes());
        let mut meter = Meter::new(options.progress, "files", None, PROGRESS_FILES);
        let user = this_user();
        // The walk calls the filter while it also lends out entries, so the filter collects what it skips.
        let skipped = RefCell::new(Vec::new());
        let entries = WalkDir::new(root).follow_links(true).sort_by_file_name().into_iter();
        let entries = entries.filter_entry(|entry| {
            let reason = reason_by_name(entry);
            skipped.borrow_mut().extend(reason.map(|reason| (reason, entry.path().to_owned())));
            reason.is_none()
        });
        for entry in entries {
            list.leave_out(root, &skipped);
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    list.leave_out_or_fail(root, &error)?;
                    continue;
                }
            };
            let meta = entry.metadata().map_err(|error| listing(root, &error))?;
            let below = entry.path().strip_prefix(root).unwrap_or(entry.path()).as_os_str().as_bytes();
            if meta.is_dir() {
                list.folders.push((below.to_vec(), time(&meta)));
                continue;
            }
            let reason = reason_by_content(&entry, &meta, user);
            match reason.map_err(|error| not_listed(entry.path(), &error))? {
                Some(reason) => list.left_out.add(reason, || shown(root, entry.path())),
                None => {
                    list.push(below, meta.len(), &mut hasher);
                    meter.done(list.files());
                }
            }
        }
        list.leave_out(root, &skipped);
        list.fingerprint = *hasher.finalize().as_bytes();
        Ok(list)
    }

    fn leave_out(&mut self, root: &Path, skipped: &RefCell<Vec<(Reason, std::path::PathBuf)>>) {
        for (reason, path) in skipped.borrow_mut().drain(..) {
            self.left_out.add(reason, || shown(root, &path));
        }
    }

    /// Leaves out a path that cannot be examined if it certainly is no record for this user: a broken or circular link, or
    /// a path without read permission. Other errors, such as those of a failing disk, are errors of the list.
    fn leave_out_or_fail(&mut self, root: &Path, error: &walkdir::Error) -> Result<(), DataError> {
        let path = error.path().unwrap_or(root);
        let kind = error.io_error().map(io::Error::kind);
        let is_link = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink());
        let is_hidden = path.file_name().is_some_and(is_hidden);
        let reason = match kind {
            _ if path == root => return Err(listing(root, error)),
            Some(
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory,
            ) if is_link && is_hidden => Reason::Hidden,
            Some(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) if is_link => Reason::BrokenLink,
            Some(io::ErrorKind::PermissionDenied) if is_link => Reason::UnreadableFile,
            Some(io::ErrorKind::PermissionDenied) => Reason::UnreadableFolder,
            // A link to itself.
            Some(_)
                if is_link && fs::metadata(path).is_err_and(|error| error.raw_os_error() == Some(ELOOP)) =>
            {
                Reason::BrokenLink
            }
            None if error.loop_ancestor().is_some() => Reason::Loop,
            Some(_) | None => return Err(listing(root, error)),
        };
        self.left_out.add(reason, || shown(root, path));
        Ok(())
    }

    /// A list of one file.
    pub(super) fn of_one(name: &OsStr, len_bytes: u64) -> Self {
        let mut list = Self::default();
        let mut hasher = blake3::Hasher::new();
        hasher.update(super::KIND.as_bytes());
        list.push(name.as_bytes(), len_bytes, &mut hasher);
        list.fingerprint = *hasher.finalize().as_bytes();
        list
    }

    pub(super) fn files(&self) -> u64 {
        self.files.len() as u64
    }

    /// Takes the names of the classes, and what was left out.
    pub(super) fn summary(&mut self) -> Summary {
        let (class_names, left_out) = (mem::take(&mut self.class_names), mem::take(&mut self.left_out));
        Summary { class_names, left_out, ..Summary::new(self.files(), self.fingerprint.into()) }
    }

    fn push(&mut self, path: &[u8], len_bytes: u64, hasher: &mut blake3::Hasher) {
        hasher.update(&(path.len() as u64).to_le_bytes()).update(path);
        hasher.update(&len_bytes.to_le_bytes());
        let slash = path.iter().rposition(|byte| *byte == b'/');
        let (folder, name) = slash.map_or((&path[..0], path), |at| (&path[..at], &path[at + 1..]));
        if self.runs.last().is_none_or(|run| run.folder != folder) {
            let class = self.class_of(folder);
            self.runs.push(Run { first: self.files(), folder: folder.to_vec(), class });
        }
        self.names.extend_from_slice(name);
        self.files.push((self.names.len() as u64, len_bytes));
    }

    /// The class of a folder's files. Classes are numbered in the order of their names.
    fn class_of(&mut self, folder: &[u8]) -> Option<u32> {
        let class = folder.split(|byte| *byte == b'/').next().filter(|class| !class.is_empty())?;
        let class = String::from_utf8_lossy(class);
        if self.class_names.last().is_none_or(|last| *last != class) {
            self.class_names.push(class.into_owned());
        }
        u32::try_from(self.class_names.len() - 1).ok()
    }

    /// The folder of a file below [`files`](Self::files).
    pub(super) fn run(&self, record: u64) -> &Run {
        &self.runs[self.runs.partition_point(|run| run.first <= record) - 1]
    }

    /// The name and the length of a file.
    pub(super) fn name(&self, record: u64) -> (&[u8], u64) {
        let record = record as usize;
        let begin = if record == 0 { 0 } else { self.files[record - 1].0 };
        let (end, len_bytes) = self.files[record];
        (&self.names[begin as usize..end as usize], len_bytes)
    }

    /// Whether each file has a name and a folder. A file that somebody else wrote may say anything.
    pub(super) fn is_whole(&self) -> bool {
        let ends = self.files.iter().map(|(end, _)| *end);
        let firsts = self.runs.iter().map(|run| run.first);
        ends.is_sorted()
            && self.files.last().map_or(0, |(end, _)| *end) == self.names.len() as u64
            && firsts.clone().next().unwrap_or(0) == 0
            && firsts.is_sorted_by(|a, b| a < b)
            && self.runs.last().is_none_or(|run| run.first < self.files())
            && self.files.is_empty() == self.runs.is_empty()
            && self.runs.iter().all(|run| {
                let class = run.class.map_or(0, |class| class as usize + 1);
                let mut folders = Path::new(OsStr::from_bytes(&run.folder)).components();
                class <= self.class_names.len() && folders.all(|it| matches!(it, Component::Normal(_)))
            })
            && !self.names.contains(&b'/')
    }

    /// Whether no file was added or removed since the list was made, and no file that was unreadable may be readable now.
    pub(super) fn is_current(&self, root: &Path) -> bool {
        !self.left_out.may_be_mended()
            && self.folders.iter().all(|(folder, then)| {
                let meta = fs::metadata(root.join(OsStr::from_bytes(folder)));
                meta.is_ok_and(|meta| meta.is_dir() && time(&meta) == *then)
            })
    }
}

/// The modification time in nanoseconds since 1970.
fn time(meta: &fs::Metadata) -> i64 {
    meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec())
}

fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

fn listing(root: &Path, error: &walkdir::Error) -> DataError {
    let reason = error.io_error().map_or_else(|| error.to_string(), io::Error::to_string);
    not_listed(error.path().unwrap_or(root), &reason)
}

fn not_listed(path: &Path, reason: &dyn Display) -> DataError {
    let what = format!("it cannot be listed: {reason}. Check the disk, and that this user may read it.");
    DataError::unusable(path.display(), what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_knows_folders_names_and_classes() {
        let mut list = List::default();
        for (path, len_bytes) in ["0.jpg", "a/1.jpg", "a/b/2.jpg", "a/3.jpg", "c/4.jpg"].iter().zip(10..) {
            list.push(path.as_bytes(), len_bytes, &mut blake3::Hasher::new());
        }
        let shown = |record| {
            let (name, len_bytes) = list.name(record);
            let run = list.run(record);
            (std::str::from_utf8(&run.folder).unwrap(), name, len_bytes, run.class)
        };
        assert_eq!(shown(0), ("", &b"0.jpg"[..], 10, None));
        assert_eq!(shown(1), ("a", &b"1.jpg"[..], 11, Some(0)));
        assert_eq!(shown(2), ("a/b", &b"2.jpg"[..], 12, Some(0)));
        assert_eq!(shown(3), ("a", &b"3.jpg"[..], 13, Some(0)));
        assert_eq!(shown(4), ("c", &b"4.jpg"[..], 14, Some(1)));
        assert_eq!(list.class_names, ["a", "c"]);
    }
}
