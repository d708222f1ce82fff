//! Tar shards as the `webdataset` library reads and writes them, on a disk or in an object store.
//!
//! A sample is a run of members whose names are equal up to the first dot after the last slash; the rest of the name is
//! the extension. The record of a sample is its first picture: a member with an extension of JPEG, PNG or WebP, or with
//! the first bytes of one. `NAME.cls` is the sample's class, a whole number in digits. Left out, and counted where a
//! picture may be missed: samples without a picture, members without a sample's name (no dot, or a leading one), links,
//! and archives that were appended behind the end of the first.
//!
//! The records are in the order of the shards in the pattern, and within a shard in the order of the file. The index holds
//! 12 bytes for each: where its header begins, its length, its class. It is valid for the shards' names, lengths and times
//! (in a store: tags). The fingerprint covers the members' names and lengths, and the classes, but not the pictures.
//!
//! Building the index reads only the headers of files on a disk. From an object store it reads nearly everything once,
//! because a request for each header would take longer.

mod blobs;
mod braces;
mod cursor;
mod kinds;
mod members;

use std::path::{Path, PathBuf};

use lsgan_spec::{ImageSpec, WebdatasetSource};

use super::OpenOptions;
use super::pictures::{Content, Pictures, Records, Summary, too_long};
use crate::file_kind::FileKind;
use crate::in_order::in_order;
use crate::index::{Index, Progress};
use crate::{DataError, RecordError, Source};
use blobs::Blob;
use members::{Member, Members, Shard};

pub(super) const KIND: &str = "webdataset";

/// What a shard must be, in messages.
const WANTED: &str = "tar file";

/// Shards that are scanned concurrently: an object store answers many requests as fast as one.
const INDEX_THREADS_MAX: usize = 8;

struct Webdataset {
    blobs: Vec<Box<dyn Blob>>,
    members: Members,
}

pub(super) fn at(place: &str) -> Option<WebdatasetSource> {
    Some(WebdatasetSource { shards: place.to_owned() })
}

/// A tar file, a URL or a pattern; a directory of tar files, as `lsgan dataset pack` writes it. A tar file may also lie with
/// the folders that came out of it: those are a folder of pictures.
pub(super) fn find(place: &str, found: Option<&FileKind>) -> Option<WebdatasetSource> {
    match found {
        None if place.contains("://") || place.contains('{') => at(place),
        Some(FileKind::Tar) => at(place),
        Some(FileKind::Directory) => {
            let entries = std::fs::read_dir(place).ok()?.flatten().map(|entry| entry.path());
            let may_hold_pictures =
                |path: PathBuf| matches!(FileKind::at(&path), Ok(FileKind::Directory | FileKind::Picture(_)));
            let pattern = pattern_of(Path::new(place))?;
            (!entries.into_iter().any(may_hold_pictures)).then(|| at(&pattern))?
        }
        Some(_) | None => None,
    }
}

/// Scans the shards, or reads their index.
pub(super) fn open(
    spec: &WebdatasetSource,
    image: Option<&ImageSpec>,
    options: &OpenOptions<'_>,
) -> Result<Box<dyn Source>, DataError> {
    Pictures::open(image, || {
        let pattern = &spec.shards;
        let names = braces::expand(pattern)
            .map_err(|reason| DataError::spec(format!(
                "data.source.webdataset.shards is `{pattern}`: {reason}; accepted are names with ranges and lists in \
                 braces. Write it as train-{{000000..000099}}.tar, or train-{{a,b}}.tar."
            )))?;
        let is_url = lsgan_objects::is_url(pattern);
        let blobs = if is_url { blobs::in_store(&names)? } else { blobs::on_disk(&names)? };
        let mut hasher = blake3::Hasher::new();
        blobs.iter().for_each(|blob| blob.stamp(&mut hasher));
        let stamp = *hasher.finalize().as_bytes();
        let index = Index { kind: KIND, name: pattern, is_local: !is_url, stamp, options };
        let mut members = index.find_or_build(
            |members: &Members| members.shards() == blobs.len() && members.is_whole(),
            || scan(&blobs, options),
            Members::records,
        )?;
        let left_out = members.take_left_out();
        if members.records() == 0 {
            let advice = match left_out.lines() {
                lines if lines.is_empty() => {
                    "The shards are empty: check data.source.webdataset.shards.".to_owned()
                }
                lines => format!("They have {}.", lines.join("; ")),
            };
            return Err(DataError::no_pictures(pattern, &advice));
        }
        let mut hasher = blake3::Hasher::new();
        let fingerprint = hasher.update(KIND.as_bytes()).update(&members.hash()).finalize();
        let summary = Summary { left_out, ..Summary::new(members.records(), fingerprint) };
        Ok((Webdataset { blobs, members }, summary))
    })
}

/// Scans all shards, several at a time. The error of several is that of the first shard.
fn scan(blobs: &[Box<dyn Blob>], options: &OpenOptions<'_>) -> Result<Members, DataError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(INDEX_THREADS_MAX);
    let total = blobs.len() as u64;
    let mut members = Members::default();
    let scan = |index| Shard::scan(&*blobs[index as usize]);
    in_order(0..total, threads.min(blobs.len()), 1, scan, |index, shard| {
        members.push(shard?);
        (options.progress)(Progress { unit: "shards", done: index + 1, total: Some(total) });
        Ok::<_, DataError>(())
    })?;
    Ok(members)
}

impl Records for Webdataset {
    const KIND: &'static str = KIND;

    fn content<'a>(&'a self, record: u64, bytes: &'a mut Vec<u8>) -> Result<Content<'a>, RecordError> {
        Ok(Content::Encoded(self.member(record, bytes)?.1))
    }

    fn key(&self, record: u64) -> Result<String, RecordError> {
        let mut bytes = Vec::new();
        let name = match self.member(record, &mut bytes) {
            Ok((name, _)) => name,
            // Its name stands before a content that is too long to be read.
            Err(RecordError::Undecodable { key, .. }) => return Ok(key),
            Err(error) => return Err(error),
        };
        Ok(format!("{}: {}", self.blobs[self.members.at(record).0].name(), name.escape_debug()))
    }

    fn class(&self, record: u64) -> Option<u32> {
        self.members.at(record).1.class()
    }
}

impl Webdataset {
    /// Reads a record's member with its headers into `bytes`. Returns its name and its picture.
    fn member<'a>(&self, record: u64, bytes: &'a mut Vec<u8>) -> Result<(String, &'a [u8]), RecordError> {
        let (shard, Member { header_block, len_bytes, .. }) = self.members.at(record);
        let begin = u64::from(header_block) * members::BLOCK_BYTES;
        let key = || format!("{}, byte {begin}", self.blobs[shard].name());
        let lost = |reason: String| RecordError::Lost { kind: KIND, key: key(), reason };
        if let Some(reason) = too_long(len_bytes.into()) {
            return Err(RecordError::Undecodable { kind: KIND, key: key(), reason });
        }
        bytes.resize(len_bytes as usize, 0);
        self.blobs[shard].read_at(begin, bytes).map_err(lost)?;
        members::only_member(bytes).map_err(lost)
    }
}

/// A pattern for all tar files of a directory, in the order of their names. None if there are none, or if braces cannot
/// express their names.
pub(super) fn pattern_of(dir: &Path) -> Option<String> {
    let entries = std::fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    let is_tar =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "tar") && path.is_file();
    let mut names: Vec<String> = Vec::new();
    for path in entries.filter(is_tar) {
        names.push(path.file_stem()?.to_str()?.to_owned());
    }
    names.sort();
    let pattern = dir.join(braces::pattern(&names)? + ".tar").display().to_string();
    // Braces in the directory's own name would expand too.
    braces::expand(&pattern).is_ok_and(|expanded| expanded.len() == names.len()).then_some(pattern)
}
