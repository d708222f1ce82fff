//! An LMDB folder as LSUN is downloaded: the values are JPEG or WebP, the keys 40 hexadecimal digits.
//!
//! The records are in the order of their keys. Classes there are none: an LMDB of LSUN is one class.
//!
//! The file is read with plain reads and not mapped (see [`pages`]), so one that is cut off or goes away under the run is
//! an error and no crash, no lock file is touched, and a read-only file system will do. The index holds for each leaf of
//! the tree its page and its first record: 1 MB for LSUN bedroom's three millions. It belongs to the file's length, time
//! and first two pages, where every transaction leaves its number.
//!
//! The fingerprint is over all keys and the lengths of their values, not over the content, and not over where in the file
//! they lie: a copy that was compacted is the same data.

mod leaves;
mod pages;

use std::path::{Path, PathBuf};

use lsgan_spec::{Flip, ImageSpec, LsunSource};

use super::OpenOptions;
use super::encoded::{RECORD_BYTES_MAX, sample, with_bytes};
use crate::found::{Found, look, other_kind};
use crate::index::Index;
use crate::source::{Stored, check_request};
use crate::transform::Transform;
use crate::{DataError, Fingerprint, RecordError, SampleShape, Source};
use leaves::Leaves;
use pages::{Page, Pages, Value};

/// The kind's word in a run's file.
pub const KIND: &str = "lsun";

const DATA_FILE: &str = "data.mdb";

/// An open LMDB folder.
pub struct Lsun {
    pages: Pages,
    leaves: Leaves,
    transform: Transform,
}

impl Lsun {
    /// Finds the leaves of the tree, or takes them from their index.
    ///
    /// # Errors
    ///
    /// A file that is missing, of another format or damaged, or without records; no `data.image`.
    pub fn open(
        spec: &LsunSource,
        image: Option<&ImageSpec>,
        options: &OpenOptions<'_>,
    ) -> Result<Self, DataError> {
        let transform = Transform::for_pictures(KIND, image)?;
        let pages = Pages::open(data_file(&spec.path)?)?;
        let name = spec.path.to_string_lossy();
        let index = Index { kind: KIND, name: &name, is_local: true, stamp: pages.stamp(), options };
        let leaves = index.find_or_build(
            Leaves::parse,
            || Leaves::find(&pages, options.progress),
            |leaves| (leaves.records(), leaves.bytes()),
        )?;
        if leaves.records() == 0 {
            let advice = "It has no records at all: check that it was copied whole, and what wrote it.";
            return Err(DataError::no_pictures(spec.path.display(), advice));
        }
        Ok(Self { pages, leaves, transform })
    }

    /// The file that is read.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.pages.path().to_owned()
    }

    /// Lets `act` see a record's key and value.
    fn with_record<T>(&self, record: u64, act: impl FnOnce(&[u8], &[u8]) -> T) -> Result<T, RecordError> {
        let (page_number, index) = self.leaves.place(record);
        let lost = |key: String, reason: String| RecordError::Lost { kind: KIND, key, reason };
        let number = || format!("number {record}");
        self.pages.check_unchanged().map_err(|reason| lost(number(), reason))?;
        let mut page = vec![0; self.pages.page_bytes()];
        self.pages.read_page(page_number, &mut page).map_err(|reason| lost(number(), reason))?;
        let node = Page::leaf(&page).and_then(|leaf| leaf.node(index));
        let node = node.map_err(|reason| lost(number(), format!("page {page_number}: {reason}")))?;
        match node.value {
            Value::Here(value) => Ok(act(node.key, value)),
            Value::Tree => Err(lost(shown(node.key), "it is a named database".to_owned())),
            Value::Pages { first, len_bytes } if len_bytes <= RECORD_BYTES_MAX => with_bytes(|bytes| {
                bytes.resize(len_bytes as usize, 0);
                self.pages.read_value(first, bytes).map_err(|reason| lost(shown(node.key), reason))?;
                Ok(act(node.key, bytes))
            }),
            Value::Pages { len_bytes, .. } => Err(RecordError::Undecodable {
                kind: KIND,
                key: shown(node.key),
                reason: too_long(len_bytes),
            }),
        }
    }
}

/// The file of an LMDB folder, or the one that is named.
fn data_file(path: &Path) -> Result<PathBuf, DataError> {
    let file = if look(KIND, path)? == Found::Directory { path.join(DATA_FILE) } else { path.to_owned() };
    match look(KIND, &file) {
        // What is wrong with it is said by who reads it.
        Ok(Found::Lmdb(_) | Found::Unknown(_)) => Ok(file),
        Ok(found) => Err(other_kind(file.display().to_string(), found, "LMDB file")),
        Err(DataError::Missing { .. }) => {
            let what = format!("there is no data.mdb in this folder. {}", instead(path));
            Err(DataError::unusable(path.display(), what))
        }
        Err(error) => Err(error),
    }
}

/// What a folder without data.mdb has instead.
fn instead(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    let is_lmdb = |path: &&PathBuf| matches!(Found::at(path), Ok(Found::Lmdb(_)));
    if let Some(file) = paths.iter().find(is_lmdb) {
        return format!("Name the file: {}.", file.display());
    }
    if let Some(folder) = paths.iter().find(|path| path.join(DATA_FILE).is_file()) {
        return format!("It lies one folder further down: name {}.", folder.display());
    }
    let has_picture = paths.iter().any(|path| matches!(Found::at(path), Ok(Found::Picture(_))));
    match has_picture {
        true => "It is a folder of pictures: data.source.folder.path reads it.".to_owned(),
        false => "Name the folder with data.mdb in it, as LSUN is downloaded and unpacked.".to_owned(),
    }
}

fn too_long(len_bytes: u64) -> String {
    format!("it has {len_bytes} bytes; at most 2^30 are decoded")
}

/// A key as it stands in messages.
fn shown(key: &[u8]) -> String {
    String::from_utf8_lossy(key).escape_debug().to_string()
}

impl Source for Lsun {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn len(&self) -> u64 {
        self.leaves.records()
    }

    fn sample_shape(&self) -> SampleShape {
        self.transform.sample_shape()
    }

    fn read(&self, record: u64, out: &mut [f32]) -> Result<(), RecordError> {
        check_request(self, record, out.len())?;
        self.with_record(record, |key, value| sample(KIND, || shown(key), value, &self.transform, out))?
    }

    fn stored(&self, record: u64) -> Result<Stored, RecordError> {
        check_request(self, record, self.sample_len())?;
        self.with_record(record, |_, value| Stored::Encoded(value.to_vec()))
    }

    fn key(&self, record: u64) -> Result<String, RecordError> {
        check_request(self, record, self.sample_len())?;
        self.with_record(record, |key, _| shown(key))
    }

    fn flip(&self) -> Flip {
        self.transform.flip()
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint(self.leaves.fingerprint())
    }
}
