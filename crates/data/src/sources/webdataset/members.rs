//! The members of tar files that are records: where each lies.

use std::io::{self, Read, Seek, SeekFrom};

use super::blobs::{Blob, ReadAt};
use crate::DataError;
use crate::decode::{Format, MAGIC_BYTES};
use crate::index::Numbers;

/// Everything in a tar file begins at a multiple of this.
pub(super) const BLOCK_BYTES: u64 = 512;
const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "jpe", "png", "webp"];
const CLASS_EXTENSION: &str = "cls";
/// No class has more digits.
const CLASS_BYTES_MAX: u64 = 16;
/// In an index: no class.
const NO_CLASS: u32 = u32::MAX;

/// A record in its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// The block where the first of its headers begins.
    pub(super) header_block: u32,
    /// From there to the end of the picture.
    pub(super) len_bytes: u32,
    pub(super) class: Option<u32>,
}

/// The records of a shard, in its order.
pub(super) struct Shard {
    members: Vec<Member>,
    hash: [u8; 32],
}

/// The records of all shards.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Members {
    /// 12 bytes each: block, length, class.
    packed: Vec<[u32; 3]>,
    /// The first record of each shard.
    firsts: Vec<u64>,
    /// Over the hashes of the shards.
    hashes: Vec<[u8; 32]>,
}

/// What is known of the sample that is being looked at.
#[derive(Default)]
struct Sample {
    name: Vec<u8>,
    picture: Option<Member>,
    class: Option<u32>,
}

impl Shard {
    pub(super) fn look_through(blob: &dyn Blob) -> Result<Self, DataError> {
        let mut found = Self { members: Vec::new(), hash: [0; 32] };
        let mut hasher = blake3::Hasher::new();
        let opened = blob.opened().map_err(|reason| DataError::Changing { place: blob.name(), reason })?;
        let mut archive = tar::Archive::new(Cursor::new(blob, opened));
        let mut sample = Sample::default();
        // Of the member before, and so where the next one begins with the first of its headers.
        let mut end = 0;
        let wrong = |at: u64, reason: String| DataError::Tar { place: blob.name(), offset_bytes: at, reason };
        for entry in archive.entries_with_seek().map_err(|error| wrong(0, error.to_string()))? {
            let mut entry = entry.map_err(|error| wrong(end, error.to_string()))?;
            let (begin, data, size) = (end, entry.raw_file_position(), entry.size());
            end = (data + size).next_multiple_of(BLOCK_BYTES);
            if data + size > blob.len() {
                return Err(wrong(begin, format!("it ends in the middle of a member of {size} bytes")));
            }
            let path = entry.path_bytes().into_owned();
            let Some((name, extension)) = parts(&path).filter(|_| entry.header().entry_type().is_file())
            else {
                continue;
            };
            if name != sample.name {
                found.members.extend(std::mem::take(&mut sample).finished());
                sample.name = name.to_vec();
            }
            hasher.update(&(path.len() as u64).to_le_bytes()).update(&path).update(&size.to_le_bytes());
            let failed = |error: io::Error| wrong(begin, error.to_string());
            if extension.eq_ignore_ascii_case(CLASS_EXTENSION) {
                let mut text = String::new();
                // What is no text is no class.
                let _ = entry.by_ref().take(CLASS_BYTES_MAX).read_to_string(&mut text);
                sample.class = text.trim().parse().ok().filter(|class| *class != NO_CLASS);
                hasher.update(&sample.class.unwrap_or(NO_CLASS).to_le_bytes());
            } else if sample.picture.is_none() && is_picture(extension, &mut entry).map_err(failed)? {
                let member = member(begin, data + size - begin);
                sample.picture = Some(member.ok_or_else(|| {
                    wrong(begin, "a picture lies beyond 2 TiB or is larger than 4 GiB".to_owned())
                })?);
            }
        }
        if end >= blob.len() {
            return Err(wrong(end, "it ends without the empty block that a tar file ends with".to_owned()));
        }
        found.members.extend(sample.finished());
        found.hash = *hasher.finalize().as_bytes();
        Ok(found)
    }
}

impl Sample {
    fn finished(self) -> Option<Member> {
        self.picture.map(|picture| Member { class: self.class, ..picture })
    }
}

fn member(begin: u64, len_bytes: u64) -> Option<Member> {
    let header_block = u32::try_from(begin / BLOCK_BYTES).ok()?;
    Some(Member { header_block, len_bytes: u32::try_from(len_bytes).ok()?, class: None })
}

/// `dir/name.left.jpg` is `dir/name` and `left.jpg`; none where there is no name or nothing behind it.
fn parts(path: &[u8]) -> Option<(&[u8], &str)> {
    let file = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let dot = path[file..].iter().position(|byte| *byte == b'.').filter(|dot| *dot > 0)? + file;
    let extension = std::str::from_utf8(&path[dot + 1..]).ok()?;
    Some((&path[..dot], extension))
}

fn is_picture(extension: &str, member: &mut impl Read) -> io::Result<bool> {
    let last = extension.rsplit('.').next().unwrap_or(extension);
    if EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(last)) {
        return Ok(true);
    }
    let mut begin = Vec::with_capacity(MAGIC_BYTES);
    member.take(MAGIC_BYTES as u64).read_to_end(&mut begin)?;
    Ok(Format::of(&begin).is_some())
}

/// Name and content of the one member that `bytes` hold from its first header to its last byte.
pub(super) fn only_member(bytes: &[u8]) -> Result<(String, &[u8]), String> {
    let mut archive = tar::Archive::new(bytes);
    let changed = || "there is another member, or none; the shard was written to".to_owned();
    let mut entries = archive.entries().map_err(|error| error.to_string())?;
    let entry = entries.next().ok_or_else(changed)?.map_err(|error| error.to_string())?;
    let (data, size) = (entry.raw_file_position(), entry.size());
    if data.checked_add(size) != Some(bytes.len() as u64) {
        return Err(changed());
    }
    Ok((String::from_utf8_lossy(&entry.path_bytes()).into_owned(), &bytes[data as usize..]))
}

impl Members {
    pub(super) fn push(&mut self, shard: Shard) {
        self.firsts.push(self.packed.len() as u64);
        self.hashes.push(shard.hash);
        let packed =
            |member: &Member| [member.header_block, member.len_bytes, member.class.unwrap_or(NO_CLASS)];
        self.packed.extend(shard.members.iter().map(packed));
    }

    pub(super) fn records(&self) -> u64 {
        self.packed.len() as u64
    }

    pub(super) fn shards(&self) -> usize {
        self.firsts.len()
    }

    /// A record's shard and place; it has to be below [`records`](Self::records).
    pub(super) fn at(&self, record: u64) -> (usize, Member) {
        let [header_block, len_bytes, class] = self.packed[record as usize];
        let shard = self.firsts.partition_point(|first| *first <= record) - 1;
        (shard, Member { header_block, len_bytes, class: (class != NO_CLASS).then_some(class) })
    }

    pub(super) fn hash(&self) -> [u8; 32] {
        *blake3::hash(self.hashes.as_flattened()).as_bytes()
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + 40 * self.firsts.len() + 12 * self.packed.len());
        out.extend_from_slice(&(self.firsts.len() as u64).to_le_bytes());
        for (first, hash) in self.firsts.iter().zip(&self.hashes) {
            out.extend_from_slice(&first.to_le_bytes());
            out.extend_from_slice(hash);
        }
        for number in self.packed.as_flattened() {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut numbers = Numbers(bytes);
        let mut members = Self::default();
        for _ in 0..numbers.u64()? {
            members.firsts.push(numbers.u64()?);
            members.hashes.push(numbers.hash()?);
        }
        members.packed.reserve_exact(numbers.0.len() / 12);
        while !numbers.is_empty() {
            members.packed.push([numbers.u32()?, numbers.u32()?, numbers.u32()?]);
        }
        let begins = members.firsts.first().is_none_or(|first| *first == 0);
        (begins && members.firsts.is_sorted()).then_some(members)
    }
}

/// Reads a blob from its beginning, jumping, with what is cheap to read ahead.
struct Cursor<'a> {
    blob: &'a dyn Blob,
    read_at: ReadAt<'a>,
    at: u64,
    ahead: Vec<u8>,
    /// Where `ahead` begins.
    ahead_at: u64,
}

impl<'a> Cursor<'a> {
    fn new(blob: &'a dyn Blob, read_at: ReadAt<'a>) -> Self {
        Self { blob, read_at, at: 0, ahead: Vec::new(), ahead_at: 0 }
    }
}

impl Read for Cursor<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.blob.len().saturating_sub(self.at);
        if left == 0 || out.is_empty() {
            return Ok(0);
        }
        if !(self.ahead_at..self.ahead_at + self.ahead.len() as u64).contains(&self.at) {
            self.ahead.resize(left.min(self.blob.read_ahead_bytes()) as usize, 0);
            self.ahead_at = self.at;
            let read = (self.read_at)(self.at, &mut self.ahead);
            read.inspect_err(|_| self.ahead.clear()).map_err(io::Error::other)?;
        }
        let there = &self.ahead[(self.at - self.ahead_at) as usize..];
        let len = there.len().min(out.len());
        out[..len].copy_from_slice(&there[..len]);
        self.at += len as u64;
        Ok(len)
    }
}

impl Seek for Cursor<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::Current(by) => (self.at, by),
            SeekFrom::End(by) => (self.blob.len(), by),
        };
        self.at = base.checked_add_signed(by).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_at_the_first_dot_behind_the_last_slash() {
        let shown = |path: &'static str| {
            parts(path.as_bytes()).map(|(name, rest)| (std::str::from_utf8(name).unwrap(), rest))
        };
        assert_eq!(shown("a/b.c/d.left.jpg"), Some(("a/b.c/d", "left.jpg")));
        assert_eq!(shown("000.cls"), Some(("000", "cls")));
        for none in ["readme", "a.b/readme", ".hidden", "a/.hidden.jpg", ""] {
            assert_eq!(shown(none), None, "{none}");
        }
    }

    #[test]
    fn members_are_read_back_as_they_were_written() {
        let mut members = Members::default();
        let member = |header_block, class| Member { header_block, len_bytes: 700, class };
        members.push(Shard { members: vec![member(0, None), member(4, Some(7))], hash: [1; 32] });
        members.push(Shard { members: vec![], hash: [2; 32] });
        members.push(Shard { members: vec![member(9, Some(0))], hash: [3; 32] });
        assert_eq!(members.at(1), (0, member(4, Some(7))));
        assert_eq!(members.at(2), (2, member(9, Some(0))));
        let bytes = members.bytes();
        assert!(
            (8..bytes.len())
                .filter(|cut| (cut - 128) % 12 != 0 || *cut < 128)
                .all(|cut| { Members::parse(&bytes[..cut]).is_none() })
        );
        assert_eq!(Members::parse(&bytes), Some(members));
    }
}
