//! All files of a folder, in the order of their paths.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use walkdir::{DirEntry, WalkDir};

use crate::DataError;
use crate::decode::{Format, MAGIC_BYTES};
use crate::index::{Meter, Numbers};
use crate::sources::OpenOptions;

const EXTENSIONS: [&str; 6] = ["jpg", "jpeg", "jpe", "jfif", "png", "webp"];
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
        let listing = |reason: String| DataError::Listing { path: root.to_owned(), reason };
        let entries = WalkDir::new(root).follow_links(true).sort_by_file_name().into_iter();
        for entry in entries.filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.file_name())) {
            let entry = entry.map_err(|error| listing(error.to_string()))?;
            let meta = entry.metadata().map_err(|error| listing(error.to_string()))?;
            let below = entry.path().strip_prefix(root).unwrap_or(entry.path()).as_os_str().as_bytes();
            if meta.is_dir() {
                list.folders.push((below.to_vec(), time(&meta)));
            } else if meta.is_file() && is_picture(&entry).map_err(|error| listing(error.to_string()))? {
                hasher.update(&(below.len() as u64).to_le_bytes()).update(below);
                hasher.update(&meta.len().to_le_bytes());
                list.push(below, meta.len());
                meter.done(list.files.len() as u64);
            }
        }
        list.fingerprint = *hasher.finalize().as_bytes();
        Ok(list)
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

    /// No file came or went since the list was made.
    pub(super) fn is_current(&self, root: &Path) -> bool {
        self.folders.iter().all(|(folder, then)| {
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
        numbers.is_empty().then_some(list)
    }
}

/// Nanoseconds since 1970.
fn time(meta: &fs::Metadata) -> i64 {
    meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec())
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

fn is_picture(entry: &DirEntry) -> io::Result<bool> {
    let extension = entry.path().extension().and_then(OsStr::to_str);
    if extension.is_some_and(|found| EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(found))) {
        return Ok(true);
    }
    let mut begin = Vec::with_capacity(MAGIC_BYTES);
    File::open(entry.path())?.take(MAGIC_BYTES as u64).read_to_end(&mut begin)?;
    Ok(Format::of(&begin).is_some())
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
