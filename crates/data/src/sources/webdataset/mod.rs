//! Tar shards as the `webdataset` library reads and writes them, on a disk or in an object store.
//!
//! A sample is the run of members whose names are the same up to the first dot after the last slash; what follows says
//! what a member is. Of each sample its first picture is the record: a member that is called as JPEG, PNG or WebP are, or
//! that begins as one does. `NAME.cls` beside it, a whole number in digits, is its class. Samples without a picture are
//! left out, and so is what no name is made for (no dot, or a leading one), links, and what was appended to an archive
//! behind its end. What of that may be missed is counted and named.
//!
//! The records are in the order of the shards, as the pattern names them, and in each in the order of the file. The index
//! holds 12 bytes for each: where its header begins, how long both are, its class. It belongs to the shards' names, lengths
//! and times (in a store: tags). The fingerprint is over the members' names and lengths, and over the classes, not over
//! the pictures.
//!
//! Making the index reads the headers: on a disk nothing else, from an object store nearly everything once, for a request
//! for each header would take longer.

mod blobs;
mod braces;
mod cursor;
mod kinds;
mod members;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use lsgan_spec::{Flip, ImageSpec, WebdatasetSource};

use super::OpenOptions;
use super::encoded::{sample, with_bytes};
use crate::index::{Index, Indexing};
use crate::left_out::LeftOut;
use crate::source::{Stored, check_request};
use crate::transform::Transform;
use crate::{DataError, Fingerprint, RecordError, SampleShape, Source};
use blobs::Blob;
use members::{Member, Members, Shard};

/// The kind's word in a run's file.
pub const KIND: &str = "webdataset";

/// What a shard has to be, in messages.
const WANTED: &str = "tar file";

/// Shards that are looked through at once: a store answers many requests as fast as one.
const INDEX_THREADS_MAX: usize = 8;

/// Open tar shards.
pub struct Webdataset {
    blobs: Vec<Box<dyn Blob>>,
    members: Members,
    transform: Transform,
}

impl Webdataset {
    /// Looks through the shards, or takes what is in them from their index.
    ///
    /// # Errors
    ///
    /// A pattern that makes no names; a shard that is missing, cannot be reached or is no tar file; no pictures; no
    /// `data.image`.
    pub fn open(
        spec: &WebdatasetSource,
        image: Option<&ImageSpec>,
        options: &OpenOptions<'_>,
    ) -> Result<Self, DataError> {
        let transform = Transform::for_pictures(KIND, image)?;
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
        let members = index.find_or_build(
            |bytes| Members::parse(bytes).filter(|members| members.shards() == blobs.len()),
            || look_through(&blobs, options),
            |members| (members.records(), members.bytes()),
        )?;
        if members.records() == 0 {
            let advice = match members.left_out().lines() {
                lines if lines.is_empty() => {
                    "The shards are empty: check data.source.webdataset.shards.".to_owned()
                }
                lines => format!("They have {}.", lines.join("; ")),
            };
            return Err(DataError::no_pictures(pattern, &advice));
        }
        Ok(Self { blobs, members, transform })
    }

    /// Reads a record's member, header and all, and lets `act` see its name in the shard and its picture.
    fn with_record<T>(&self, record: u64, act: impl FnOnce(String, &[u8]) -> T) -> Result<T, RecordError> {
        let (shard, Member { header_block, len_bytes, .. }) = self.members.at(record);
        let blob = &self.blobs[shard];
        let lost = |reason: String| {
            let key = format!("{}, byte {}", blob.name(), u64::from(header_block) * members::BLOCK_BYTES);
            RecordError::Lost { kind: KIND, key, reason }
        };
        with_bytes(|bytes| {
            bytes.resize(len_bytes as usize, 0);
            blob.read_at(u64::from(header_block) * members::BLOCK_BYTES, bytes).map_err(lost)?;
            let (name, picture) = members::only_member(bytes).map_err(lost)?;
            Ok(act(format!("{}: {}", blob.name(), name.escape_debug()), picture))
        })
    }
}

/// The pattern that names all tar files of a directory, in the order of their names; none where there are none, or where
/// their names cannot be written in braces.
#[must_use]
pub fn pattern_of(dir: &Path) -> Option<String> {
    let entries = std::fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    let is_tar =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "tar") && path.is_file();
    let mut names: Vec<String> = Vec::new();
    for path in entries.filter(is_tar) {
        names.push(path.file_stem()?.to_str()?.to_owned());
    }
    names.sort();
    braces::pattern(&names).map(|pattern| dir.join(pattern + ".tar").display().to_string()).filter(
        |pattern| {
            // Braces in the directory's own name would be taken for ours.
            braces::expand(pattern).is_ok_and(|expanded| expanded.len() == names.len())
        },
    )
}

/// All shards, several at once.
fn look_through(blobs: &[Box<dyn Blob>], options: &OpenOptions<'_>) -> Result<Members, DataError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(INDEX_THREADS_MAX);
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut found: Vec<Mutex<Option<Result<Shard, DataError>>>> = Vec::new();
    found.resize_with(blobs.len(), || Mutex::new(None));
    let work = || {
        while let Some((index, blob)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            blobs.get(index).map(|blob| (index, blob))
        } {
            let shard = Shard::look_through(blob.as_ref());
            let failed = shard.is_err();
            *found[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(shard);
            if failed {
                // The others end after the shard that they are at.
                next.store(blobs.len(), Ordering::Relaxed);
            }
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            (options.progress)(Indexing {
                unit: "shards",
                done: done as u64,
                total: Some(blobs.len() as u64),
            });
        }
    };
    std::thread::scope(|scope| {
        (1..threads.min(blobs.len())).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    let found =
        found.into_iter().filter_map(|shard| shard.into_inner().unwrap_or_else(PoisonError::into_inner));
    let mut members = Members::default();
    let mut error = None;
    for shard in found {
        match shard {
            Ok(shard) if error.is_none() => members.push(shard),
            Ok(_) => {}
            Err(first) => error = error.or(Some(first)),
        }
    }
    error.map_or(Ok(members), Err)
}

impl Source for Webdataset {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn len(&self) -> u64 {
        self.members.records()
    }

    fn sample_shape(&self) -> SampleShape {
        self.transform.sample_shape()
    }

    fn read(&self, record: u64, out: &mut [f32]) -> Result<(), RecordError> {
        check_request(self, record, out.len())?;
        self.with_record(record, |name, picture| sample(KIND, || name, picture, &self.transform, out))?
    }

    fn stored(&self, record: u64) -> Result<Stored, RecordError> {
        check_request(self, record, self.sample_len())?;
        self.with_record(record, |_, picture| Stored::Encoded(picture.to_vec()))
    }

    fn key(&self, record: u64) -> Result<String, RecordError> {
        check_request(self, record, self.sample_len())?;
        self.with_record(record, |name, _| name)
    }

    fn flip(&self) -> Flip {
        self.transform.flip()
    }

    fn left_out(&self) -> &LeftOut {
        self.members.left_out()
    }

    fn class(&self, record: u64) -> Option<u32> {
        if record < self.len() { self.members.at(record).1.class } else { None }
    }

    fn fingerprint(&self) -> Fingerprint {
        let mut hasher = blake3::Hasher::new();
        hasher.update(KIND.as_bytes()).update(&self.members.hash());
        Fingerprint(*hasher.finalize().as_bytes())
    }
}
