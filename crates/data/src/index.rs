//! What is known of a large data set before any record is read, kept from one start to the next.
//!
//! An index is made by going through the data set once, and kept in a file that carries the data set's stamp: sizes and
//! times, so that it is made anew when the data set changed. A file that is damaged, old or another data set's is as good as
//! none. Writing it is a favour: where no place for it can be written, the next start takes as long as this one.
//!
//! The format: `LSGANIDX`, the version (u32), the stamp (32 bytes), the payload's length (u64) and the payload, whose
//! form is its source's own business, and BLAKE3 over all of that. Numbers are little-endian.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::sources::OpenOptions;

const MAGIC: &[u8; 8] = b"LSGANIDX";
/// Raised when a payload's form changes.
const VERSION: u32 = 2;
const HASH_BYTES: usize = 32;
const HEADER_BYTES: usize = MAGIC.len() + 4 + HASH_BYTES + 8;

/// A smaller data set is gone through in less than a second: no reason to write beside the user's data.
const RECORDS_MIN: u64 = 65_536;

/// How far the making of an index has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexing {
    /// What is counted: `records`, `MiB`.
    pub unit: &'static str,
    /// So many are done.
    pub done: u64,
    /// Of so many, where that is known.
    pub total: Option<u64>,
}

/// Is told, from any thread, how far the making of an index has come; some times a second.
pub type OnProgress<'a> = &'a (dyn Fn(Indexing) + Sync);

/// What an index belongs to.
pub(crate) struct Index<'a> {
    /// The source's kind.
    pub(crate) kind: &'static str,
    /// What the data set is called: a path, or a pattern of them.
    pub(crate) name: &'a str,
    /// The data set lies on this machine's disks, so the index may lie beside it.
    pub(crate) is_local: bool,
    /// Changes when the data set does.
    pub(crate) stamp: [u8; 32],
    pub(crate) options: &'a OpenOptions<'a>,
}

impl Index<'_> {
    /// The index that `parse` accepts, or else the one that `build` makes, which then is kept where it has enough records
    /// or a place for it was named.
    pub(crate) fn find_or_build<T, E>(
        &self,
        parse: impl Fn(&[u8]) -> Option<T>,
        build: impl FnOnce() -> Result<T, E>,
        describe: impl FnOnce(&T) -> (u64, Vec<u8>),
    ) -> Result<T, E> {
        let places = self.places();
        if let Some(found) = places.iter().find_map(|place| parse(&self.read(place)?)) {
            return Ok(found);
        }
        let built = build()?;
        let (records, payload) = describe(&built);
        if records >= RECORDS_MIN || self.options.index_dir.is_some() {
            // The first place that takes it; none is no failure.
            let _ = places.iter().find(|place| self.write(place, &payload).is_ok());
        }
        Ok(built)
    }

    /// Where it may lie, the best first.
    fn places(&self) -> Vec<PathBuf> {
        let digest = blake3::hash(self.name.as_bytes()).to_hex();
        let file = format!("{}-{:.16}.lsgan-index", self.kind, digest);
        if let Some(dir) = &self.options.index_dir {
            return vec![dir.join(file)];
        }
        let mut places = Vec::new();
        if self.is_local {
            places.push(PathBuf::from(format!("{}.lsgan-index", self.name.trim_end_matches('/'))));
        }
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
        places.extend(cache.map(|cache| cache.join("lsgan").join(file)));
        places
    }

    fn key(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.kind.as_bytes()).update(&self.stamp);
        *hasher.finalize().as_bytes()
    }

    /// The payload, if the file is whole and of this data set.
    fn read(&self, place: &Path) -> Option<Vec<u8>> {
        let mut bytes = fs::read(place).ok()?;
        let body = bytes.len().checked_sub(HASH_BYTES).filter(|body| *body >= HEADER_BYTES)?;
        if blake3::hash(&bytes[..body]) != bytes[body..] {
            return None;
        }
        let mut header = &bytes[..HEADER_BYTES];
        let mut take = |len: usize| {
            let (taken, rest) = header.split_at(len);
            header = rest;
            taken
        };
        let is_ours =
            take(MAGIC.len()) == MAGIC && take(4) == VERSION.to_le_bytes() && take(HASH_BYTES) == self.key();
        if !is_ours || take(8) != ((body - HEADER_BYTES) as u64).to_le_bytes() {
            return None;
        }
        bytes.truncate(body);
        bytes.drain(..HEADER_BYTES);
        Some(bytes)
    }

    /// Under another name first, so that no reader finds half of it.
    fn write(&self, place: &Path, payload: &[u8]) -> io::Result<()> {
        if let Some(dir) = place.parent() {
            fs::create_dir_all(dir)?;
        }
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&self.key());
        header.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        let hash = blake3::Hasher::new().update(&header).update(payload).finalize();
        let new = place.with_extension(format!("new-{}", std::process::id()));
        let write = || -> io::Result<()> {
            let mut file = crate::fresh::file(&new)?;
            file.write_all(&header)?;
            file.write_all(payload)?;
            file.write_all(hash.as_bytes())?;
            fs::rename(&new, place)
        };
        write().inspect_err(|_| {
            let _ = fs::remove_file(&new);
        })
    }
}

/// Little-endian numbers from a payload; none where it ends too early.
pub(crate) struct Numbers<'a>(pub(crate) &'a [u8]);

impl<'a> Numbers<'a> {
    pub(crate) fn bytes(&mut self, len: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.bytes(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// A text, with its length before it.
    pub(crate) fn text(&mut self) -> Option<String> {
        let len = self.u64()?;
        self.bytes(len).and_then(|bytes| std::str::from_utf8(bytes).ok()).map(str::to_owned)
    }

    pub(crate) fn hash(&mut self) -> Option<[u8; 32]> {
        self.bytes(32)?.try_into().ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Says now and then how far it has come.
pub(crate) struct Meter<'a> {
    on_progress: OnProgress<'a>,
    unit: &'static str,
    total: Option<u64>,
    every: u64,
    next: u64,
}

impl<'a> Meter<'a> {
    /// `every` so many of them the listener hears of it.
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
            (self.on_progress)(Indexing { unit: self.unit, done, total: self.total });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index<'a>(options: &'a OpenOptions<'a>, stamp: u8) -> Index<'a> {
        Index { kind: "test", name: "some/data", is_local: true, stamp: [stamp; 32], options }
    }

    /// What is asked for comes from the file if it is whole and of this stamp, else it is made and put there.
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
            let found = index(&options, stamp).find_or_build(
                |found| Some(found.to_vec()),
                build,
                |it| (3, it.clone()),
            );
            (found.unwrap(), was_built.get())
        };
        assert_eq!(get(1, b"one"), (b"one".to_vec(), true));
        assert_eq!(get(1, b"---"), (b"one".to_vec(), false));
        assert_eq!(get(2, b"two"), (b"two".to_vec(), true));
        assert_eq!(get(1, b"one"), (b"one".to_vec(), true));
        let place = &index(&options, 1).places()[0];
        let whole = fs::read(place).unwrap();
        for damage in [whole[..whole.len() - 1].to_vec(), vec![], {
            let mut flipped = whole.clone();
            flipped[HEADER_BYTES] ^= 1;
            flipped
        }] {
            fs::write(place, damage).unwrap();
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
            index
                .find_or_build(|_| None::<()>, || Ok::<_, ()>(()), |()| (records, b"payload".to_vec()))
                .unwrap();
            dir.path().join("data.lsgan-index").exists()
        };
        assert!(!built(RECORDS_MIN - 1));
        assert!(built(RECORDS_MIN));
    }

    #[test]
    fn numbers_end_where_the_bytes_do() {
        let mut numbers = Numbers(&[1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3]);
        assert_eq!((numbers.u32(), numbers.u64(), numbers.u32()), (Some(1), Some(2), None));
        assert_eq!(
            (numbers.bytes(1), numbers.is_empty(), numbers.bytes(u64::MAX)),
            (Some(&[3][..]), true, None)
        );
    }
}
