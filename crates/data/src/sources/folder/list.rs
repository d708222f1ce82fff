//! All files of a folder, in the order of their paths.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt::Display;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use walkdir::WalkDir;

use super::look::{is_hidden, leave_out_at_once, reason_to_leave_out, this_user};
use crate::DataError;
use crate::index::{Meter, Numbers};
use crate::left_out::{LeftOut, Reason};
use crate::sources::OpenOptions;

/// The operating system's number for links that go in circles.
const ELOOP: i32 = 40;
/// Files between two words on how far the listing has come.
const PROGRESS_FILES: u64 = 20_000;

/// All files: a few bytes beside the name for each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    /// All folders, the root included, with their times: what changes when a file comes or goes.
    folders: Vec<(Vec<u8>, i64)>,
    /// Files of one folder that follow each other, in order of `first`.
    runs: Vec<Run>,
    /// The names of the files, one after another.
    names: Vec<u8>,
    /// Where each name ends in `names`, and the length of its file.
    files: Vec<(u64, u64)>,
    class_names: Vec<String>,
    fingerprint: [u8; 32],
    left_out: LeftOut,
}

#[derive(Debug, PartialEq, Eq)]
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
        // The walk asks which folders to go into, and the list is told what it says no to.
        let skipped = RefCell::new(Vec::new());
        let entries = WalkDir::new(root).follow_links(true).sort_by_file_name().into_iter();
        let entries = entries.filter_entry(|entry| match leave_out_at_once(entry) {
            Some(reason) => {
                skipped.borrow_mut().push((reason, entry.path().to_owned()));
                false
            }
            None => true,
        });
        for entry in entries {
            for (reason, path) in skipped.borrow_mut().drain(..) {
                list.left_out.add(reason, || shown(root, &path));
            }
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    list.leave_out_unless_it_matters(root, &error)?;
                    continue;
                }
            };
            let meta = entry.metadata().map_err(|error| listing(root, &error))?;
            let below = entry.path().strip_prefix(root).unwrap_or(entry.path()).as_os_str().as_bytes();
            if meta.is_dir() {
                list.folders.push((below.to_vec(), time(&meta)));
                continue;
            }
            match reason_to_leave_out(&entry, &meta, user)
                .map_err(|error| not_listed(entry.path(), &error))?
            {
                Some(reason) => list.left_out.add(reason, || shown(root, entry.path())),
                None => {
                    hasher.update(&(below.len() as u64).to_le_bytes()).update(below);
                    hasher.update(&meta.len().to_le_bytes());
                    list.push(below, meta.len());
                    meter.done(list.files.len() as u64);
                }
            }
        }
        for (reason, path) in skipped.into_inner() {
            list.left_out.add(reason, || shown(root, &path));
        }
        list.fingerprint = *hasher.finalize().as_bytes();
        Ok(list)
    }

    /// What cannot be looked at is left out where it is sure that it never was a record of this user's: a link that leads
    /// nowhere or in a circle, or what may not be read. A disk that fails is no reason.
    fn leave_out_unless_it_matters(&mut self, root: &Path, error: &walkdir::Error) -> Result<(), DataError> {
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
            // A link to itself: the operating system goes in circles.
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

    /// A single file.
    pub(super) fn of_one(name: &OsStr, len_bytes: u64) -> Self {
        let mut list = Self::default();
        list.push(name.as_bytes(), len_bytes);
        let mut hasher = blake3::Hasher::new();
        hasher.update(super::KIND.as_bytes());
        hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
        list.fingerprint = *hasher.update(&len_bytes.to_le_bytes()).finalize().as_bytes();
        list
    }

    pub(super) fn files(&self) -> u64 {
        self.files.len() as u64
    }

    pub(super) fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    pub(super) fn class_names(&self) -> &[String] {
        &self.class_names
    }

    pub(super) fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    fn push(&mut self, path: &[u8], len_bytes: u64) {
        let slash = path.iter().rposition(|byte| *byte == b'/');
        let (folder, name) = slash.map_or((&path[..0], path), |at| (&path[..at], &path[at + 1..]));
        if self.runs.last().is_none_or(|run| run.folder != folder) {
            let class = self.class_of(folder);
            self.runs.push(Run { first: self.files.len() as u64, folder: folder.to_vec(), class });
        }
        self.names.extend_from_slice(name);
        self.files.push((self.names.len() as u64, len_bytes));
    }

    /// The number of the class that a folder's files are of; classes come in the order of their names.
    fn class_of(&mut self, folder: &[u8]) -> Option<u32> {
        let class = folder.split(|byte| *byte == b'/').next().filter(|class| !class.is_empty())?;
        let class = String::from_utf8_lossy(class);
        if self.class_names.last().is_none_or(|last| *last != class) {
            self.class_names.push(class.into_owned());
        }
        u32::try_from(self.class_names.len() - 1).ok()
    }

    /// The folder of a file, which has to be below [`files`](Self::files).
    pub(super) fn run(&self, record: u64) -> &Run {
        &self.runs[self.runs.partition_point(|run| run.first <= record) - 1]
    }

    /// The name of a file, and its length.
    pub(super) fn name(&self, record: u64) -> (&[u8], u64) {
        let record = record as usize;
        let begin = if record == 0 { 0 } else { self.files[record - 1].0 };
        let (end, len_bytes) = self.files[record];
        (&self.names[begin as usize..end as usize], len_bytes)
    }

    /// No file came or went since the list was made, and none that could not be read may have become readable.
    pub(super) fn is_current(&self, root: &Path) -> bool {
        !self.left_out.may_be_mended()
            && self.folders.iter().all(|(folder, then)| {
                let meta = fs::metadata(root.join(OsStr::from_bytes(folder)));
                meta.is_ok_and(|meta| meta.is_dir() && time(&meta) == *then)
            })
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.names.len() + 16 * self.files.len());
        let text = |out: &mut Vec<u8>, text: &[u8]| {
            out.extend_from_slice(&(text.len() as u64).to_le_bytes());
            out.extend_from_slice(text);
        };
        out.extend_from_slice(&self.fingerprint);
        out.extend_from_slice(&(self.folders.len() as u64).to_le_bytes());
        for (folder, time) in &self.folders {
            text(&mut out, folder);
            out.extend_from_slice(&time.to_le_bytes());
        }
        out.extend_from_slice(&(self.runs.len() as u64).to_le_bytes());
        for run in &self.runs {
            out.extend_from_slice(&run.first.to_le_bytes());
            text(&mut out, &run.folder);
        }
        text(&mut out, &self.names);
        out.extend_from_slice(&(self.files.len() as u64).to_le_bytes());
        for (end, len_bytes) in &self.files {
            out.extend_from_slice(&end.to_le_bytes());
            out.extend_from_slice(&len_bytes.to_le_bytes());
        }
        out.extend_from_slice(&self.left_out.bytes());
        out
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut numbers = Numbers(bytes);
        let mut list = Self { fingerprint: numbers.hash()?, ..Self::default() };
        for _ in 0..numbers.u64()? {
            let len = numbers.u64()?;
            list.folders.push((numbers.bytes(len)?.to_vec(), numbers.u64()? as i64));
        }
        for _ in 0..numbers.u64()? {
            let first = numbers.u64()?;
            let len = numbers.u64()?;
            let folder = numbers.bytes(len)?.to_vec();
            let class = list.class_of(&folder);
            list.runs.push(Run { first, folder, class });
        }
        let len = numbers.u64()?;
        list.names = numbers.bytes(len)?.to_vec();
        for _ in 0..numbers.u64()? {
            list.files.push((numbers.u64()?, numbers.u64()?));
        }
        list.left_out = LeftOut::parse(&mut numbers)?;
        numbers.is_empty().then_some(list)
    }
}

/// Nanoseconds since 1970.
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

    fn list(paths: &[&str]) -> List {
        let mut list = List::default();
        for (path, len_bytes) in paths.iter().zip(10..) {
            list.push(path.as_bytes(), len_bytes);
        }
        list.folders = vec![(vec![], 5), (b"a".to_vec(), -7)];
        list
    }

    #[test]
    fn a_list_knows_folders_names_and_classes_and_is_read_back_as_it_was_written() {
        let list = list(&["0.jpg", "a/1.jpg", "a/b/2.jpg", "a/3.jpg", "c/4.jpg"]);
        let shown = |record| {
            let (name, len_bytes) = list.name(record);
            let run = list.run(record);
            (String::from_utf8_lossy(&run.folder).into_owned(), name, len_bytes, run.class)
        };
        assert_eq!(shown(0), (String::new(), &b"0.jpg"[..], 10, None));
        assert_eq!(shown(1), ("a".into(), &b"1.jpg"[..], 11, Some(0)));
        assert_eq!(shown(2), ("a/b".into(), &b"2.jpg"[..], 12, Some(0)));
        assert_eq!(shown(3), ("a".into(), &b"3.jpg"[..], 13, Some(0)));
        assert_eq!(shown(4), ("c".into(), &b"4.jpg"[..], 14, Some(1)));
        assert_eq!(list.class_names, ["a", "c"]);
        let bytes = list.bytes();
        assert_eq!(List::parse(&bytes), Some(list));
        assert!(
            (0..bytes.len()).all(|cut| List::parse(&bytes[..cut]).is_none()),
            "a payload that is cut off"
        );
    }
}
