//! Pictures in a folder, one file each, nested or not.
//!
//! The records are the files in the order of their paths, name by name and byte by byte. A file's first sub-folder is its
//! class; one that lies in none has no class. A file is a picture if its name ends as one of JPEG, PNG or WebP does, or
//! if its first bytes are of one: so a picture with any name is taken, a damaged one is a record that does not decode,
//! and a README is left alone. Links are followed. Left out, and counted, is what is no picture or one in another format,
//! names that begin with a dot, links that lead nowhere, and what this user may not read.
//!
//! The fingerprint is over all paths and lengths, not over the content: that would be to read it all before the start. A
//! file whose length changed later is an error when it is read.

mod list;
mod look;

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lsgan_spec::{Flip, FolderSource, ImageSpec};

use super::OpenOptions;
use super::encoded::{sample, with_bytes};
use crate::found::{Found, look, other_kind};
use crate::index::Index;
use crate::left_out::LeftOut;
use crate::source::{Stored, check_request};
use crate::transform::Transform;
use crate::{DataError, Fingerprint, RecordError, SampleShape, Source};
use list::List;

/// The kind's word in a run's file.
pub const KIND: &str = "folder";

/// Entries of a folder without pictures that are looked at to say what it is.
const ENTRIES_LOOKED_AT: usize = 1000;

/// An open folder.
pub struct Folder {
    root: PathBuf,
    list: List,
    transform: Transform,
}

impl Folder {
    /// Lists the folder, or takes the list from its index.
    ///
    /// # Errors
    ///
    /// A folder that is missing, cannot be listed, or has no pictures; no `data.image`.
    pub fn open(
        spec: &FolderSource,
        image: Option<&ImageSpec>,
        options: &OpenOptions<'_>,
    ) -> Result<Self, DataError> {
        let transform = Transform::for_pictures(KIND, image)?;
        let root = spec.path.clone();
        match look(KIND, &root)? {
            Found::Directory => {}
            found => return Err(other_kind(root.display().to_string(), found, "folder of pictures")),
        }
        let name = root.to_string_lossy();
        // The times of the folders are in the list, and looked at there.
        let stamp = *blake3::hash(name.as_bytes()).as_bytes();
        let index = Index { kind: KIND, name: &name, is_local: true, stamp, options };
        let list = index.find_or_build(
            |bytes| List::parse(bytes).filter(|list| list.is_current(&root)),
            || List::make(&root, options),
            |list| (list.files(), list.bytes()),
        )?;
        if list.files() == 0 {
            let advice = instead(&root, list.left_out());
            return Err(DataError::no_pictures(root.display(), &advice));
        }
        Ok(Self { root, list, transform })
    }

    /// The one picture of a file, as a folder that has no other.
    ///
    /// # Errors
    ///
    /// A file that is missing or no picture; no `data.image`.
    pub fn of_picture(path: &Path, image: Option<&ImageSpec>) -> Result<Self, DataError> {
        let transform = Transform::for_pictures(KIND, image)?;
        let found = look(KIND, path)?;
        let (Found::Picture(_), Some(name)) = (&found, path.file_name()) else {
            return Err(other_kind(path.display().to_string(), found, "picture"));
        };
        let len_bytes = path.metadata().map_err(DataError::unreadable(path))?.len();
        let root = path.parent().map(Path::to_owned).unwrap_or_default();
        Ok(Self { root, list: List::of_one(name, len_bytes), transform })
    }

    /// The file's path below the root, and its length.
    fn file(&self, record: u64) -> (PathBuf, u64) {
        let (name, len_bytes) = self.list.name(record);
        (Path::new(OsStr::from_bytes(&self.list.run(record).folder)).join(OsStr::from_bytes(name)), len_bytes)
    }
}

impl Source for Folder {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn len(&self) -> u64 {
        self.list.files()
    }

    fn sample_shape(&self) -> SampleShape {
        self.transform.sample_shape()
    }

    fn read(&self, record: u64, out: &mut [f32]) -> Result<(), RecordError> {
        check_request(self, record, out.len())?;
        let (path, len_bytes) = self.file(record);
        let key = || path.display().to_string();
        with_bytes(|bytes| {
            read_whole(&self.root.join(&path), len_bytes, bytes).map_err(|reason| RecordError::Lost {
                kind: KIND,
                key: key(),
                reason,
            })?;
            sample(KIND, key, bytes, &self.transform, out)
        })
    }

    fn stored(&self, record: u64) -> Result<Stored, RecordError> {
        check_request(self, record, self.sample_len())?;
        let (path, len_bytes) = self.file(record);
        let mut bytes = Vec::new();
        let lost = |reason| RecordError::Lost { kind: KIND, key: path.display().to_string(), reason };
        read_whole(&self.root.join(&path), len_bytes, &mut bytes).map_err(lost)?;
        Ok(Stored::Encoded(bytes))
    }

    fn key(&self, record: u64) -> Result<String, RecordError> {
        check_request(self, record, self.sample_len())?;
        Ok(self.file(record).0.display().to_string())
    }

    fn flip(&self) -> Flip {
        self.transform.flip()
    }

    fn left_out(&self) -> &LeftOut {
        self.list.left_out()
    }

    fn class(&self, record: u64) -> Option<u32> {
        if record < self.len() { self.list.run(record).class } else { None }
    }

    fn class_names(&self) -> &[String] {
        self.list.class_names()
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint(self.list.fingerprint())
    }
}

/// What a folder without pictures has instead, and what to do.
fn instead(root: &Path, left_out: &LeftOut) -> String {
    if root.join("data.mdb").is_file() {
        return "It is an LMDB folder: data.source.lsun.path reads it.".to_owned();
    }
    if let Some(pattern) = super::webdataset::pattern_of(root) {
        return format!("It has tar files, which data.source.webdataset.shards reads: '{pattern}'.");
    }
    if let Some((path, found)) = packed(root) {
        return format!("{} is {found}. {}", path.display(), found.advice());
    }
    match left_out.lines() {
        lines if lines.is_empty() => "It is empty: check data.source.folder.path.".to_owned(),
        lines => format!("It has {}.", lines.join("; ")),
    }
}

/// The first file right in a folder that may have pictures in it.
fn packed(root: &Path) -> Option<(PathBuf, Found)> {
    let entries = std::fs::read_dir(root).ok()?.flatten().map(|entry| entry.path()).take(ENTRIES_LOOKED_AT);
    let mut paths: Vec<PathBuf> = entries.collect();
    paths.sort();
    paths.into_iter().find_map(|path| match Found::at(&path).ok()? {
        found @ (Found::Archive(_)
        | Found::Compressed(..)
        | Found::Gzip(_)
        | Found::Idx(_)
        | Found::Lmdb(_)
        | Found::Table(_)) => Some((path, found)),
        _ => None,
    })
}

/// The whole file, if it is as long as it was.
fn read_whole(path: &Path, len_bytes: u64, bytes: &mut Vec<u8>) -> Result<(), String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let found = file.metadata().map_err(|error| error.to_string())?.len();
    if found == len_bytes {
        bytes.clear();
        // A file that grows just now is caught by the one byte more.
        let read = file.by_ref().take(len_bytes + 1).read_to_end(bytes).map_err(|error| error.to_string())?;
        if read as u64 == len_bytes {
            return Ok(());
        }
    }
    Err(format!("it had {len_bytes} bytes when the folder was listed, and now has another length"))
}
