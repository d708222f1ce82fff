//! Pictures in a folder, one file each, nested or not.
//!
//! The records are the files in the order of their paths, compared name by name and byte by byte. A file's first
//! sub-folder is its class; a file in the root has no class. A file is a picture if its name has an extension of JPEG, PNG
//! or WebP, or if its first bytes are those of one. So a picture with any name is a record, a damaged picture is a record
//! that does not decode, and a README is left out. Links are followed. Left out and counted: other files, pictures in
//! other formats, names that begin with a dot, broken links, and what this user may not read.
//!
//! The fingerprint covers all paths and lengths but not the content, which would take too long to read. A file whose
//! length changes later is an error when it is read.

mod list;
mod look;

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lsgan_spec::{FolderSource, ImageSpec, printable};

use super::OpenOptions;
use super::pictures::{Content, Pictures, Records, too_long};
use crate::file_kind::{FileKind, kind_at, other_kind};
use crate::index::Index;
use crate::left_out::LeftOut;
use crate::{DataError, RecordError, Source};
use list::List;

pub const KIND: &str = "folder";

/// The most entries of a folder without pictures that are examined for a message.
const EXAMINED_MAX: usize = 1000;

struct Folder {
    root: PathBuf,
    list: List,
}

pub(super) fn at(place: &str) -> Option<FolderSource> {
    Some(FolderSource { path: place.into() })
}

/// A directory, or a single picture.
pub(super) fn find(place: &str, found: Option<&FileKind>) -> Option<FolderSource> {
    matches!(found?, FileKind::Directory | FileKind::Picture(_)).then(|| at(place))?
}

/// Lists the folder, or reads the list from its index.
pub(super) fn open(
    spec: &FolderSource,
    image: Option<&ImageSpec>,
    options: &OpenOptions<'_>,
) -> Result<Box<dyn Source>, DataError> {
    Pictures::open(image, || {
        let root = spec.path.clone();
        match kind_at(KIND, &root)? {
            FileKind::Directory => {}
            found => return Err(other_kind(root.display().to_string(), found, "folder of pictures")),
        }
        let name = root.to_string_lossy();
        // The list itself holds the times of the folders; `is_current` compares them.
        let stamp = *blake3::hash(name.as_bytes()).as_bytes();
        let index = Index { kind: KIND, name: &name, is_local: true, stamp, options };
        let mut list = index.find_or_build(
            |list: &List| list.is_whole() && list.is_current(&root),
            || List::make(&root, options),
            List::files,
        )?;
        if list.files() == 0 {
            let advice = advice_without_pictures(&root, &list.summary().left_out);
            return Err(DataError::no_pictures(root.display(), &advice));
        }
        let summary = list.summary();
        Ok((Folder { root, list }, summary))
    })
}

/// Opens a single picture as a folder with one file.
///
/// # Errors
///
/// A file that is missing or no picture; a missing `image`.
pub fn open_picture(path: &Path, image: Option<&ImageSpec>) -> Result<Box<dyn Source>, DataError> {
    Pictures::open(image, || {
        let found = kind_at(KIND, path)?;
        let (FileKind::Picture(_), Some(name)) = (&found, path.file_name()) else {
            return Err(other_kind(path.display().to_string(), found, "picture"));
        };
        let len_bytes = path.metadata().map_err(DataError::unreadable(path))?.len();
        let root = path.parent().map(Path::to_owned).unwrap_or_default();
        let mut list = List::of_one(name, len_bytes);
        let summary = list.summary();
        Ok((Folder { root, list }, summary))
    })
}

impl Folder {
    /// The file's path below the root, and its length.
    fn file(&self, record: u64) -> (PathBuf, u64) {
        let (name, len_bytes) = self.list.name(record);
        (Path::new(OsStr::from_bytes(&self.list.run(record).folder)).join(OsStr::from_bytes(name)), len_bytes)
    }
}

impl Records for Folder {
    const KIND: &'static str = KIND;

    fn content<'a>(&'a self, record: u64, bytes: &'a mut Vec<u8>) -> Result<Content<'a>, RecordError> {
        let (path, len_bytes) = self.file(record);
        if let Some(reason) = too_long(len_bytes) {
            return Err(RecordError::Undecodable { kind: KIND, key: shown(&path), reason });
        }
        let lost = |reason| RecordError::Lost { kind: KIND, key: shown(&path), reason };
        read_whole(&self.root.join(&path), len_bytes, bytes).map_err(lost)?;
        Ok(Content::Encoded(bytes))
    }

    fn key(&self, record: u64) -> Result<String, RecordError> {
        Ok(shown(&self.file(record).0))
    }

    fn class(&self, record: u64) -> Option<u32> {
        self.list.run(record).class
    }
}

/// A file's name may have any byte but a slash.
fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy()).into_owned()
}

/// What a folder without pictures holds, and what to do.
fn advice_without_pictures(root: &Path, left_out: &LeftOut) -> String {
    if root.join("data.mdb").is_file() {
        return "It is an LMDB folder: data.source.lsun.path reads it.".to_owned();
    }
    if let Some(pattern) = super::webdataset::pattern_of(root) {
        return format!("It has tar files, which data.source.webdataset.shards reads: '{pattern}'.");
    }
    if let Some((path, found)) = first_container(root) {
        return format!("{} is {found}. {}", path.display(), found.advice());
    }
    match left_out.lines() {
        lines if lines.is_empty() => "It is empty: check data.source.folder.path.".to_owned(),
        lines => format!("It has {}.", lines.join("; ")),
    }
}

/// The first file in `root` that may contain pictures: an archive, a table, or a data set of another kind.
fn first_container(root: &Path) -> Option<(PathBuf, FileKind)> {
    let entries = std::fs::read_dir(root).ok()?.flatten().map(|entry| entry.path()).take(EXAMINED_MAX);
    let mut paths: Vec<PathBuf> = entries.collect();
    paths.sort();
    paths.into_iter().find_map(|path| match FileKind::at(&path).ok()? {
        found @ (FileKind::Archive(_)
        | FileKind::Compressed(..)
        | FileKind::Gzip(_)
        | FileKind::Idx(_)
        | FileKind::Lmdb(_)
        | FileKind::Table(_)) => Some((path, found)),
        _ => None,
    })
}

/// Reads a file that must have `len_bytes`.
fn read_whole(path: &Path, len_bytes: u64, bytes: &mut Vec<u8>) -> Result<(), String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let found = file.metadata().map_err(|error| error.to_string())?.len();
    if found == len_bytes {
        bytes.clear();
        // One byte more detects a file that grows during the read.
        let read = file.by_ref().take(len_bytes + 1).read_to_end(bytes).map_err(|error| error.to_string())?;
        if read as u64 == len_bytes {
            return Ok(());
        }
    }
    Err(format!("it had {len_bytes} bytes when the folder was listed, and now has another length"))
}
