//! The pages of an LMDB file, read without LMDB.
//!
//! LMDB maps its file, and a mapped file that is cut off under the process kills it with SIGBUS; there is no way to ask
//! first. So the file is read with `pread`, which says instead that there is less than expected. What that takes is little,
//! for the format of 0.9 (version 1) is a plain tree of pages and has been the same since 2011 (lmdb.h, mdb.c of
//! openldap's LMDB_0.9). Numbers are in the machine's byte order, which here means little-endian, and of 64 bits.
//!
//! - A page begins with its number (u64), 2 bytes of no interest, flags (u16), and where its free space begins and ends
//!   (u16 each). From byte 16 on lie the places of its nodes (u16 each), in the order of their keys.
//! - A node begins with 2 × u16 (lo, hi), flags (u16) and the key's length (u16); then come the key and the data. On a
//!   branch, lo, hi and flags together are the number of the page below. On a leaf lo and hi are the data's length; if the
//!   flag BIGDATA is set, 8 bytes of page number stand there instead of the data.
//! - Such data lies on pages of its own that follow each other, from byte 16 of the first on.
//! - Pages 0 and 1 say, after their header: magic, version (u32 each), 16 bytes, then 48 bytes for the tree of free pages
//!   and for the main one each, the last page's number and the transaction's (u64 each). The newer one counts. A tree
//!   has the page size or nothing (u32), flags, depth (u16 each), branches, leaves, further pages, entries and the root's
//!   page (u64 each).

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
/// LMDB makes pages of the system's size: 4,096 bytes, and up to 64 KiB elsewhere.
const PAGE_BYTES: std::ops::RangeInclusive<u32> = 512..=65_536;
const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
/// Of a page: what only trees with duplicates have.
const LEAF2_OR_SUB: u16 = 0x20 | 0x40;
const BIGDATA: u16 = 0x01;
/// Of a node: a tree in the tree; several values under one key.
const SUBDATA: u16 = 0x02;
const DUPDATA: u16 = 0x04;
/// What is kept of a tree in the tree.
const TREE_BYTES: u64 = 48;
/// Where there is no page.
const NO_PAGE: u64 = u64::MAX;

/// An open file.
pub(super) struct Pages {
    path: PathBuf,
    file: File,
    page_bytes: usize,
    meta: Meta,
    seen: Seen,
    stamp: [u8; 32],
}

/// The main tree of the newest transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    /// None for an empty tree.
    pub(super) root: Option<u64>,
    pub(super) entries: u64,
    transaction: u64,
    page_bytes: u32,
}

/// What a change of the file changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
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
        let seen = Seen::of(&file).map_err(DataError::unreadable(&path))?;
        let not = |reason: String| {
            let what = format!(
                "this is not an LMDB file: {reason}. Point data.source.lsun.path at the folder with data.mdb in it, as \
                 LSUN is downloaded and unpacked."
            );
            DataError::unusable(path.display(), what)
        };
        let mut first = [0; HEADER_BYTES + META_BYTES];
        let ends = || format!("it has {} bytes, less than its first two pages", seen.len_bytes);
        file.read_exact_at(&mut first, 0).map_err(|_| not(ends()))?;
        check_form(&path, &first)?;
        let one = Meta::parse(&first).map_err(not)?;
        if !PAGE_BYTES.contains(&one.page_bytes) || !one.page_bytes.is_power_of_two() {
            return Err(not(format!("it has pages of {} bytes", one.page_bytes)));
        }
        let page_bytes = one.page_bytes as usize;
        let mut second = first;
        file.read_exact_at(&mut second, page_bytes as u64).map_err(|_| not(ends()))?;
        check_form(&path, &second)?;
        let other = Meta::parse(&second).map_err(not)?;
        let meta = if other.transaction > one.transaction { other } else { one };
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seen.len_bytes.to_le_bytes());
        hasher.update(&seen.seconds.to_le_bytes()).update(&seen.nanoseconds.to_le_bytes());
        let stamp = *hasher.update(&first).update(&second).finalize().as_bytes();
        Ok(Self { path, file, page_bytes, meta, seen, stamp })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn meta(&self) -> Meta {
        self.meta
    }

    pub(super) fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    /// Pages in the file, all kinds together.
    pub(super) fn count(&self) -> u64 {
        self.seen.len_bytes / self.page_bytes as u64
    }

    /// Changes when the file does.
    pub(super) fn stamp(&self) -> [u8; 32] {
        self.stamp
    }

    /// The file is as long and as old as it was when it was opened.
    pub(super) fn check_unchanged(&self) -> Result<(), String> {
        let now = Seen::of(&self.file).map_err(|error| error.to_string())?;
        if now.len_bytes != self.seen.len_bytes {
            let Seen { len_bytes, .. } = self.seen;
            return Err(format!(
                "{} had {len_bytes} bytes and now has {}",
                self.path.display(),
                now.len_bytes
            ));
        }
        if now != self.seen {
            return Err(format!("{} was written to", self.path.display()));
        }
        Ok(())
    }

    /// Reads page `number` into `page`, which is as long as one.
    pub(super) fn read_page(&self, number: u64, page: &mut [u8]) -> Result<(), String> {
        self.read(number, 0, page)
    }

    /// Reads the value that begins on page `first`.
    pub(super) fn read_value(&self, first: u64, value: &mut [u8]) -> Result<(), String> {
        self.read(first, HEADER_BYTES as u64, value)
    }

    /// Whether a value lies within the file, as it should.
    pub(super) fn holds(&self, first: u64, len_bytes: u64) -> bool {
        let begin = first.checked_mul(self.page_bytes as u64);
        let end = begin.and_then(|begin| begin.checked_add(len_bytes + HEADER_BYTES as u64));
        end.is_some_and(|end| end <= self.seen.len_bytes)
    }

    fn read(&self, page: u64, from: u64, out: &mut [u8]) -> Result<(), String> {
        let place = page.checked_mul(self.page_bytes as u64).and_then(|begin| begin.checked_add(from));
        let place = place.ok_or_else(|| format!("there is no page {page}"))?;
        self.file.read_exact_at(out, place).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => format!("{} ends before its page {page}", self.path.display()),
            _ => format!("{}: {error}", self.path.display()),
        })
    }
}

impl Seen {
    fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self { len_bytes: meta.len(), seconds: meta.mtime(), nanoseconds: meta.mtime_nsec() })
    }
}

/// The error for an LMDB file that keeps its records in another way.
pub(super) fn other_lmdb(path: &Path, what: &str, advice: &str) -> DataError {
    let what = format!(
        "this LMDB file {what}; what is read is format 1 (LMDB 0.9), with the records in the main database. {advice}"
    );
    DataError::unusable(path.display(), what)
}

/// Refuses a file whose first page says that its records are kept in another way.
fn check_form(path: &Path, page: &[u8; HEADER_BYTES + META_BYTES]) -> Result<(), DataError> {
    let word = |offset: usize| u32_at(page, HEADER_BYTES + offset).unwrap_or(0);
    let other = |what: String, advice| Err(other_lmdb(path, &what, advice));
    if word(0) != MAGIC {
        return Ok(()); // no LMDB file at all
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

impl Meta {
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

/// A page of the tree.
#[derive(Clone, Copy)]
pub(super) struct Page<'a> {
    bytes: &'a [u8],
    nodes: usize,
    is_leaf: bool,
}

/// A record's key and value.
pub(super) struct Node<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: Value<'a>,
}

/// Where a value is.
pub(super) enum Value<'a> {
    Here(&'a [u8]),
    /// There is none, but a named database.
    Tree,
    /// On pages of its own, which follow each other.
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

    /// A page that has to be a leaf.
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

    /// Where node `index` begins; its first 8 bytes are on the page.
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
