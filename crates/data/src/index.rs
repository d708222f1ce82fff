//! Indexes of large data sets: what a source learns by one pass over the data, kept for the next start.
//!
//! The file of an index carries the stamp of its data set (sizes and times), so that the index is built anew after a
//! change. A file that is damaged, old, or of another data set is ignored. If no place for the file is writable, the next
//! start builds the index again.
//!
//! The format: `LSGANIDX`, the version (u32), a hash of kind and stamp (32 bytes), the payload in postcard's encoding, and
//! BLAKE3 over all of that. Numbers are little-endian.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fresh;
use crate::sources::OpenOptions;

const MAGIC: &[u8; 8] = b"LSGANIDX";
/// Raised when the type of a payload changes.
const VERSION: u32 = 3;
const HASH_BYTES: usize = 32;
/// The index of 100 million files with names of 20 bytes.
const FILE_BYTES_MAX: u64 = 4 << 30;

/// A smaller data set takes less than a second, so it needs no file beside the user's data.
const RECORDS_MIN: u64 = 65_536;

/// Progress of a long operation over a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is counted: `records`, `files`.
    pub unit: &'static str,
    pub done: u64,
    /// None if it is unknown.
    pub total: Option<u64>,
}

/// Receives progress from any thread, a few times a second.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Sync);

/// The identity of an index.
pub(crate) struct Index<'a> {
    pub(crate) kind: &'static str,
    /// The path of the data set, or the pattern of its files.
    pub(crate) name: &'a str,
    /// The data set lies on this machine's disks, so the index may lie beside it.
    pub(crate) is_local: bool,
    /// Changes when the data set changes.
    pub(crate) stamp: [u8; 32],
    pub(crate) options: &'a OpenOptions<'a>,
}

impl Index<'_> {
    /// Reads the index if there is one that `is_current` and has `records`: that a data set has none is believed of the data alone.
    /// Otherwise builds it, and writes it if it has enough `records` or the options name a directory.
    pub(crate) fn find_or_build<T: Serialize + DeserializeOwned, E>(
        &self,
        is_current: impl Fn(&T) -> bool,
        build: impl FnOnce() -> Result<T, E>,
        records: impl Fn(&T) -> u64,
    ) -> Result<T, E> {
        let paths = self.paths();
        let is_usable = |found: &T| is_current(found) && records(found) > 0;
        if let Some(found) = paths.iter().find_map(|path| self.read(path).filter(is_usable)) {
            return Ok(found);
        }
        let built = build()?;
        if records(&built) >= RECORDS_MIN || self.options.index_dir.is_some() {
            // An index that cannot be written anywhere is no failure.
            let _ = paths.iter().find(|path| self.write(path, &built).is_ok());
        }
        Ok(built)
    }

    /// The paths of the index, the preferred one first.
    fn paths(&self) -> Vec<PathBuf> {
        let digest = blake3::hash(self.name.as_bytes()).to_hex();
        let file = format!("{}-{:.16}.lsgan-index", self.kind, digest);
        if let Some(dir) = &self.options.index_dir {
            return vec![dir.join(file)];
        }
        let mut paths = Vec::new();
        if self.is_local {
            paths.push(PathBuf::from(format!("{}.lsgan-index", self.name.trim_end_matches('/'))));
        }
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
        paths.extend(cache.map(|cache| cache.join("lsgan").join(file)));
        paths
    }

    /// Magic, version and identity: the first bytes of the file.
    fn header(&self) -> Vec<u8> {
        let key = blake3::Hasher::new().update(self.kind.as_bytes()).update(&self.stamp).finalize();
        [&MAGIC[..], &VERSION.to_le_bytes(), key.as_bytes()].concat()
    }

    /// The payload of a file that is whole and of this data set. A file of another data set is not read beyond its header.
    fn read<T: DeserializeOwned>(&self, path: &Path) -> Option<T> {
        // Checked before it is opened: opening a pipe waits for its writer.
        let meta = fs::metadata(path).ok()?;
        if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
            return None;
        }
        let mut file = File::open(path).ok()?;
        let header = self.header();
        let mut bytes = vec![0; header.len()];
        file.read_exact(&mut bytes).ok()?;
        if bytes != header {
            return None;
        }
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        let (body, hash) = bytes.split_at_checked(bytes.len().checked_sub(HASH_BYTES)?)?;
        if blake3::hash(body) != *hash {
            return None;
        }
        postcard::from_bytes(body.strip_prefix(&header[..])?).ok()
    }

    fn write(&self, path: &Path, payload: &impl Serialize) -> io::Result<()> {
        let mut bytes = postcard::to_extend(payload, self.header()).map_err(io::Error::other)?;
        bytes.extend_from_slice(blake3::hash(&bytes).as_bytes());
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let part = path.with_extension(format!("new-{}", std::process::id()));
        fresh::replace(&part, path, |file| file.write_all(&bytes))
    }
}

/// Reports progress at intervals.
pub(crate) struct Meter<'a> {
    on_progress: OnProgress<'a>,
    unit: &'static str,
    total: Option<u64>,
    every: u64,
    next: u64,
}

impl<'a> Meter<'a> {
    /// Reports after each `every` units.
    pub(crate) fn new(
        on_progress: OnProgress<'a>,
        unit: &'static str,
        total: Option<u64>,
        every: u64,
    ) -> Self {
        Self { on_progress, unit, total, every, next: every }
    }

    pub(crate) fn done(&mut self, done: u64) {
        if done >= self.next {
            self.next = done + self.every;
            (self.on_progress)(Progress { unit: self.unit, done, total: self.total });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index<'a>(options: &'a OpenOptions<'a>, stamp: u8) -> Index<'a> {
        Index { kind: "test", name: "some/data", is_local: true, stamp: [stamp; 32], options }
    }

    #[test]
    fn an_index_is_made_once_and_made_anew_when_the_data_changed_or_the_file_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let options = OpenOptions { index_dir: Some(dir.path().join("made")), ..OpenOptions::new(1) };
        let get = |stamp: u8, built: &[u8]| {
            let was_built = std::cell::Cell::new(false);
            let build = || {
                was_built.set(true);
                Ok::<_, ()>(built.to_vec())
            };
            let found = index(&options, stamp).find_or_build(|_| true, build, |bytes| bytes.len() as u64);
            (found.unwrap(), was_built.get())
        };
        assert_eq!(get(1, b"one"), (b"one".to_vec(), true));
        assert_eq!(get(1, b"---"), (b"one".to_vec(), false));
        assert_eq!(get(2, b"two"), (b"two".to_vec(), true));
        assert_eq!(get(1, b"one"), (b"one".to_vec(), true));
        assert_eq!(get(3, b""), (Vec::new(), true));
        assert_eq!(get(3, b"three"), (b"three".to_vec(), true), "an index without records is none");
        assert_eq!(get(1, b"one"), (b"one".to_vec(), true));
        let path = &index(&options, 1).paths()[0];
        let whole = fs::read(path).unwrap();
        let cut = (0..whole.len()).map(|len| whole[..len].to_vec());
        let flipped = (0..whole.len()).map(|at| {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            flipped
        });
        for damaged in cut.chain(flipped) {
            fs::write(path, damaged).unwrap();
            assert_eq!(get(1, b"again"), (b"again".to_vec(), true));
        }
        assert_eq!(fs::read_dir(dir.path().join("made")).unwrap().count(), 1, "nothing else is left there");
    }

    #[test]
    fn a_small_data_set_has_no_file_written_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let options = OpenOptions::new(1);
        let name = dir.path().join("data").display().to_string();
        let index = Index { name: &name, ..index(&options, 1) };
        let built = |records: u64| {
            index.find_or_build(|_| false, || Ok::<_, ()>(1), |_: &u8| records).unwrap();
            dir.path().join("data.lsgan-index").exists()
        };
        assert!(!built(RECORDS_MIN - 1));
        assert!(built(RECORDS_MIN));
    }
}
