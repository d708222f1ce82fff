//! An LMDB folder as LSUN is distributed: the values are JPEG or WebP, the keys 40 hexadecimal digits.
//!
//! The records are in the order of their keys. There are no classes: each LMDB of LSUN is one class.
//!
//! The file is read, not memory-mapped (see [`pages`]). So a file that is truncated or removed during a run is an error
//! and no crash, no lock file is written, and a read-only file system suffices. The index holds the page and the first
//! record of each leaf of the tree: 1 MB for the three million records of LSUN bedroom. It is valid for the file's length,
//! time and first two pages, where every transaction writes its number.
//!
//! The fingerprint covers all keys and the lengths of their values, but neither the content nor the place in the file: a
//! compacted copy is the same data.

mod leaves;
mod pages;

use std::path::{Path, PathBuf};

use lsgan_spec::{ImageSpec, LsunSource};

use super::OpenOptions;
use super::pictures::{Content, Pictures, Records, Summary, too_long};
use crate::file_kind::{FileKind, kind_at, other_kind};
use crate::index::Index;
use crate::{DataError, RecordError, Source};
use leaves::Leaves;
use pages::{Node, Page, Pages, Value};

pub(super) const KIND: &str = "lsun";

const DATA_FILE: &str = "data.mdb";

struct Lsun {
    pages: Pages,
    leaves: Leaves,
}

pub(super) fn at(place: &str) -> Option<LsunSource> {
    Some(LsunSource { path: place.into() })
}

/// A directory with an LMDB file, or the file.
pub(super) fn find(place: &str, found: Option<&FileKind>) -> Option<LsunSource> {
    match found? {
        FileKind::Directory if Path::new(place).join(DATA_FILE).is_file() => at(place),
        FileKind::Lmdb(_) => at(place),
        _ => None,
    }
}

/// Finds the leaves of the tree, or reads them from the index.
pub(super) fn open(
    spec: &LsunSource,
    image: Option<&ImageSpec>,
    options: &OpenOptions<'_>,
) -> Result<Box<dyn Source>, DataError> {
    Pictures::open(image, || {
        let pages = Pages::open(data_file(&spec.path)?)?;
        let name = spec.path.to_string_lossy();
        let index = Index { kind: KIND, name: &name, is_local: true, stamp: pages.stamp(), options };
        let leaves = index.find_or_build(
            Leaves::is_whole,
            || Leaves::find(&pages, options.progress),
            Leaves::records,
        )?;
        if leaves.records() == 0 {
            let advice = "It has no records at all: check that it was copied whole, and what wrote it.";
            return Err(DataError::no_pictures(spec.path.display(), advice));
        }
        let summary = Summary::new(leaves.records(), leaves.fingerprint().into());
        Ok((Lsun { pages, leaves }, summary))
    })
}

impl Records for Lsun {
    const KIND: &'static str = KIND;

    fn content<'a>(&'a self, record: u64, bytes: &'a mut Vec<u8>) -> Result<Content<'a>, RecordError> {
        let mut page = vec![0; self.pages.page_bytes()];
        let node = self.node(record, &mut page)?;
        match node.value {
            Value::Here(value) => {
                bytes.clear();
                bytes.extend_from_slice(value);
            }
            Value::Pages { first, len_bytes } => {
                if let Some(reason) = too_long(len_bytes) {
                    return Err(RecordError::Undecodable { kind: KIND, key: shown(node.key), reason });
                }
                bytes.resize(len_bytes as usize, 0);
                self.pages.read_value(first, bytes).map_err(|reason| lost(shown(node.key), reason))?;
            }
            Value::Tree => return Err(lost(shown(node.key), "it is a named database".to_owned())),
        }
        Ok(Content::Encoded(bytes))
    }

    fn key(&self, record: u64) -> Result<String, RecordError> {
        let mut page = vec![0; self.pages.page_bytes()];
        Ok(shown(self.node(record, &mut page)?.key))
    }
}

impl Lsun {
    /// A record's node, from its page, which is read into `page`.
    fn node<'a>(&self, record: u64, page: &'a mut [u8]) -> Result<Node<'a>, RecordError> {
        let (number, index) = self.leaves.locate(record);
        let lost = |reason: String| lost(format!("number {record}"), reason);
        self.pages.check_unchanged().map_err(lost)?;
        self.pages.read_page(number, page).map_err(lost)?;
        let node = Page::leaf(page).and_then(|leaf| leaf.node(index));
        node.map_err(|reason| lost(format!("page {number}: {reason}")))
    }
}

fn lost(key: String, reason: String) -> RecordError {
    RecordError::Lost { kind: KIND, key, reason }
}

/// The data file of an LMDB folder, or `path` itself if it is a file.
fn data_file(path: &Path) -> Result<PathBuf, DataError> {
    let file =
        if kind_at(KIND, path)? == FileKind::Directory { path.join(DATA_FILE) } else { path.to_owned() };
    match kind_at(KIND, &file) {
        // `Pages::open` reports what is wrong with an unknown file.
        Ok(FileKind::Lmdb(_) | FileKind::Unknown(_)) => Ok(file),
        Ok(found) => Err(other_kind(file.display().to_string(), found, "LMDB file")),
        Err(DataError::Missing { .. }) => {
            let what = format!("there is no data.mdb in this folder. {}", advice_without_data_file(path));
            Err(DataError::unusable(path.display(), what))
        }
        Err(error) => Err(error),
    }
}

/// What to do about a folder without data.mdb, by what it holds.
fn advice_without_data_file(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    let is_lmdb = |path: &&PathBuf| matches!(FileKind::at(path), Ok(FileKind::Lmdb(_)));
    if let Some(file) = paths.iter().find(is_lmdb) {
        return format!("Name the file: {}.", file.display());
    }
    if let Some(folder) = paths.iter().find(|path| path.join(DATA_FILE).is_file()) {
        return format!("It lies one folder further down: name {}.", folder.display());
    }
    match paths.iter().any(|path| matches!(FileKind::at(path), Ok(FileKind::Picture(_)))) {
        true => "It is a folder of pictures: data.source.folder.path reads it.".to_owned(),
        false => "Name the folder with data.mdb in it, as LSUN is downloaded and unpacked.".to_owned(),
    }
}

/// A key for messages.
fn shown(key: &[u8]) -> String {
    String::from_utf8_lossy(key).escape_debug().to_string()
}
