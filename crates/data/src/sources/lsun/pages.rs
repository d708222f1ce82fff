//! Reads the pages of an LMDB file without LMDB.
//!
//! LMDB maps its file into memory, and SIGBUS kills a process whose mapped file is truncated. So this module reads the
//! file with `pread`, which reports the missing bytes instead. That takes little code: the format of LMDB 0.9 (version 1)
//! is a tree of pages, unchanged since 2011 (lmdb.h and mdb.c of openldap's LMDB_0.9). Numbers are in the machine's byte
//! order, which here means little-endian, and offsets have 64 bits.
//!
//! - A page begins with its number (u64), 2 unused bytes, flags (u16), and begin and end of its free space (u16 each).
//!   From byte 16 on follow the offsets of its nodes (u16 each), in the order of their keys.
//! - A node begins with lo and hi (u16 each), flags (u16) and the key's length (u16); then come the key and the data. On a
//!   branch, lo, hi and flags together are the number of the child page. On a leaf, lo and hi are the data's length; with
//!   the flag BIGDATA, 8 bytes of page number follow instead of the data.
//! - Such data lies on consecutive pages of its own, from byte 16 of the first on.
//! - Pages 0 and 1 hold, after their header: magic, version (u32 each), 16 bytes, then 48 bytes each for the tree of free
//!   pages and for the main tree, the last page's number and the transaction's number (u64 each). The page with the newer
//!   transaction is valid. A tree has a u32 that may hold the page size, flags, depth (u16 each), branches, leaves,
//!   overflow pages, entries and the root's page (u64 each).

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::DataError;

const MAGIC: u32 = 0xbeef_c0de;
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 16;
const NODE_BYTES: usize = 8;
const META_BYTES: usize = 136;
/// LMDB uses the system's page size: usually 4,096 bytes, and up to 64 KiB.
const PAGE_BYTES: std::ops::RangeInclusive<u32> = 512..=65_536;
const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
/// Flags of pages that occur only in trees with several values under one key.
const LEAF2_OR_SUB: u16 = 0x20 | 0x40;
const BIGDATA: u16 = 0x01;
/// Flags of nodes: a nested tree; several values under one key.
const SUBDATA: u16 = 0x02;
const DUPDATA: u16 = 0x04;
/// Length of the description of a nested tree.
const TREE_BYTES: u64 = 48;
/// Stands for "no page".
const NO_PAGE: u64 = u64::MAX;

pub(super) struct Pages {
    path: PathBuf,
    file: File,
    page_bytes: usize,
    main_tree: MainTree,
    opened: FileStamp,
    stamp: [u8; 32],
}

/// The main tree of the newest transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MainTree {
    /// None for an empty tree.
    pub(super) root: Option<u64>,
    pub(super) entries: u64,
    transaction: u64,
    page_bytes: u32,
}

/// Properties that change when the file changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    len_bytes: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Pages {
    pub(super) fn open(path: PathBuf) -> Result<Self, DataError> {
        let file = File::open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => DataError::Missing { path: path.clone() },
            _ => DataError::Unreadable { path: path.clone(), source },
        })?;
        let opened = FileStamp::of(&file).map_err(DataError::unreadable(&path))?;
        let not = |reason: String| {
            let what = format!(
                "this is not an LMDB file: {reason}. Point data.source.lsun.path at the folder with data.mdb in it, as \
                 LSUN is downloaded and unpacked."
            );
            DataError::unusable(path.display(), what)
        };
        let mut first = [0; HEADER_BYTES + META_BYTES];
        let ends = || format!("it has {} bytes, less than its first two pages", opened.len_bytes);
        file.read_exact_at(&mut first, 0).map_err(|_| not(ends()))?;
        check_form(&path, &first)?;
        let one = MainTree::parse(&first).map_err(not)?;
        if !PAGE_BYTES.contains(&one.page_bytes) || !one.page_bytes.is_power_of_two() {
            return Err(not(format!("it has pages of {} bytes", one.page_bytes)));
        }
        let page_bytes = one.page_bytes as usize;
        let mut second = first;
        file.read_exact_at(&mut second, page_bytes as u64).map_err(|_| not(ends()))?;
        check_form(&path, &second)?;
        let other = MainTree::parse(&second).map_err(not)?;
        let main_tree = if other.transaction > one.transaction { other } else { one };
        let mut hasher = blake3::Hasher::new();
        hasher.update(&opened.len_bytes.to_le_bytes());
        hasher.update(&opened.seconds.to_le_bytes()).update(&opened.nanoseconds.to_le_bytes());
        let stamp = *hasher.update(&first).update(&second).finalize().as_bytes();
        Ok(Self { path, file, page_bytes, main_tree, opened, stamp })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn main_tree(&self) -> MainTree {
        self.main_tree
    }

    pub(super) fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    /// All pages of the file.
    pub(super) fn count(&self) -> u64 {
        self.opened.len_bytes / self.page_bytes as u64
    }

    /// Changes when the file changes.
    pub(super) fn stamp(&self) -> [u8; 32] {
        self.stamp
    }

    /// Fails if the length or the time of the file changed since it was opened.
    pub(super) fn check_unchanged(&self) -> Result<(), String> {
        let now = FileStamp::of(&self.file).map_err(|error| error.to_string())?;
        if now.len_bytes != self.opened.len_bytes {
            let FileStamp { len_bytes, .. } = self.opened;
            return Err(format!(
                "{} had {len_bytes} bytes and now has {}",
                self.path.display(),
                now.len_bytes
            ));
        }
        if now != self.opened {
            return Err(format!("{} was written to", self.path.display()));
        }
        Ok(())
    }

    /// Reads page `number` into `page`, which has the length of a page.
    pub(super) fn read_page(&self, number: u64, page: &mut [u8]) -> Result<(), String> {
        self.read(number, 0, page)
    }

    /// Reads the value that begins on page `first`.
    pub(super) fn read_value(&self, first: u64, value: &mut [u8]) -> Result<(), String> {
        self.read(first, HEADER_BYTES as u64, value)
    }

    /// Whether a value lies within the file.
    pub(super) fn holds(&self, first: u64, len_bytes: u64) -> bool {
        let begin = first.checked_mul(self.page_bytes as u64);
        let end = begin.and_then(|begin| begin.checked_add(len_bytes + HEADER_BYTES as u64));
        end.is_some_and(|end| end <= self.opened.len_bytes)
    }

    fn read(&self, page: u64, from: u64, out: &mut [u8]) -> Result<(), String> {
        let place = page.checked_mul(self.page_bytes as u64).and_then(|begin| begin.checked_add(from));
        let place = place.ok_or_else(|| format!("there is no page {page}"))?;
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => format!("{} ends before its page {page}", self.path.display()),
            _ => format!("{}: {error}", self.path.display()),
        };
        // A file that was cut off since it was last looked at is told as one that was cut off.
        let reason = |error| self.check_unchanged().err().unwrap_or_else(|| failed(error));
        self.file.read_exact_at(out, place).map_err(reason)
    }
}

impl FileStamp {
    fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self { len_bytes: meta.len(), seconds: meta.mtime(), nanoseconds: meta.mtime_nsec() })
    }
}

/// The error for an LMDB file of another layout.
pub(super) fn other_lmdb(path: &Path, what: &str, advice: &str) -> DataError {
    let what = format!(
        "this LMDB file {what}; what is read is format 1 (LMDB 0.9), with the records in the main database. {advice}"
    );
    DataError::unusable(path.display(), what)
}

/// Refuses another version of the format, and a main database with flags.
fn check_form(path: &Path, page: &[u8; HEADER_BYTES + META_BYTES]) -> Result<(), DataError> {
    let word = |offset: usize| u32_at(page, HEADER_BYTES + offset).unwrap_or(0);
    let other = |what: String, advice| Err(other_lmdb(path, &what, advice));
    if word(0) != MAGIC {
        return Ok(()); // `MainTree::parse` reports it
    }
    if word(4) != VERSION {
        return other(
            format!("is of format {}", word(4)),
            "Copy it: mdb_dump of the LMDB that wrote it, into mdb_load of LMDB 0.9; or write its pictures into a folder.",
        );
    }
    match word(76) & 0xffff {
        0 => Ok(()),
        flags => other(
            format!("keeps several values under a key, or its keys in another order (flags {flags:#06x})"),
            "Copy its records into a new LMDB file without such flags, or write its pictures into a folder.",
        ),
    }
}

impl MainTree {
    /// `page`: the first bytes of page 0 or 1.
    fn parse(page: &[u8; HEADER_BYTES + META_BYTES]) -> Result<Self, String> {
        let at = |offset: usize| HEADER_BYTES + offset;
        let word = |offset: usize| u32_at(page, at(offset)).unwrap_or(0);
        let long = |offset: usize| u64_at(page, at(offset)).unwrap_or(0);
        if word(0) != MAGIC {
            return Err(format!("its magic is {:#010x} instead of {MAGIC:#010x}", word(0)));
        }
        let root = long(112);
        Ok(Self {
            root: (root != NO_PAGE).then_some(root),
            entries: long(104),
            transaction: long(128),
            page_bytes: word(24),
        })
    }
}

#[derive(Clone, Copy)]
pub(super) struct Page<'a> {
    bytes: &'a [u8],
    nodes: usize,
    is_leaf: bool,
}

pub(super) struct Node<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: Value<'a>,
}

pub(super) enum Value<'a> {
    Here(&'a [u8]),
    /// The node holds a named database.
    Tree,
    /// On consecutive pages of its own.
    Pages {
        first: u64,
        len_bytes: u64,
    },
}

impl<'a> Page<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let flags = u16_at(bytes, 10).unwrap_or(0);
        let is_leaf = match flags & (BRANCH | LEAF | LEAF2_OR_SUB) {
            BRANCH => false,
            LEAF => true,
            _ => return Err(format!("its flags are {flags:#06x}, neither a branch's nor a leaf's")),
        };
        let lower = usize::from(u16_at(bytes, 12).unwrap_or(0));
        if !(HEADER_BYTES..=bytes.len()).contains(&lower) {
            return Err(format!("its free space begins at {lower}"));
        }
        Ok(Self { bytes, nodes: (lower - HEADER_BYTES) / 2, is_leaf })
    }

    /// Parses a page that must be a leaf.
    pub(super) fn leaf(bytes: &'a [u8]) -> Result<Self, String> {
        Self::parse(bytes)
            .and_then(|page| if page.is_leaf { Ok(page) } else { Err("it is no leaf".to_owned()) })
    }

    pub(super) fn is_leaf(&self) -> bool {
        self.is_leaf
    }

    pub(super) fn nodes(&self) -> usize {
        self.nodes
    }

    /// The page below node `index` of a branch.
    pub(super) fn child(&self, index: usize) -> Result<u64, String> {
        let at = self.node_at(index)?;
        let part = |offset: usize| u16_at(self.bytes, at + offset).map(u64::from).unwrap_or(0);
        Ok(part(0) | part(2) << 16 | part(4) << 32)
    }

    /// Node `index` of a leaf.
    pub(super) fn node(&self, index: usize) -> Result<Node<'a>, String> {
        let at = self.node_at(index)?;
        let part = |offset: usize| u16_at(self.bytes, at + offset).unwrap_or(0);
        let len_bytes = u64::from(part(0)) | u64::from(part(2)) << 16;
        let (flags, key_bytes) = (part(4), usize::from(part(6)));
        let beyond = || format!("its node {index} does not fit on it");
        let rest = &self.bytes[at + NODE_BYTES..];
        let (key, data) = rest.split_at_checked(key_bytes).ok_or_else(beyond)?;
        let value = if flags & SUBDATA != 0 && len_bytes == TREE_BYTES {
            Value::Tree
        } else if flags & (SUBDATA | DUPDATA) != 0 {
            return Err(format!("its node {index} holds several values"));
        } else if flags & BIGDATA != 0 {
            Value::Pages { first: u64_at(data, 0).ok_or_else(beyond)?, len_bytes }
        } else {
            Value::Here(data.get(..len_bytes as usize).ok_or_else(beyond)?)
        };
        Ok(Node { key, value })
    }

    /// The offset of node `index`; its first 8 bytes lie within the page.
    fn node_at(&self, index: usize) -> Result<usize, String> {
        if index >= self.nodes {
            return Err(format!("it has {} nodes and no number {index}", self.nodes));
        }
        let at = usize::from(u16_at(self.bytes, HEADER_BYTES + 2 * index).unwrap_or(u16::MAX));
        if at < HEADER_BYTES || at + NODE_BYTES > self.bytes.len() {
            return Err(format!("its node {index} begins at {at}"));
        }
        Ok(at)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_from_a_file_that_was_cut_off_after_it_was_looked_at_says_so() {
        let dir = tempfile::tempdir().expect("there is room for a folder");
        let path = dir.path().join("data.mdb");
        let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/lsun_lmdb/data.mdb");
        std::fs::copy(fixture, &path).expect("the fixture is there");
        let pages = Pages::open(path.clone()).expect("it is whole");
        pages.check_unchanged().expect("nobody has written to it");
        File::options().write(true).open(&path).and_then(|file| file.set_len(12_288)).expect("it is ours");
        let mut page = vec![0; pages.page_bytes()];
        let reason = pages.read_page(pages.count() - 1, &mut page).expect_err("it ends before");
        assert!(reason.ends_with("bytes and now has 12288"), "{reason}");
    }
}
