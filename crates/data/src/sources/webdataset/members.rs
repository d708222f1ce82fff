//! The members of tar files that are records: where each lies.

use std::io::{self, Read};

use super::blobs::Blob;
use super::cursor::Cursor;
use super::kinds::{EXTENSIONS, Kind, is_called, parts, reason_of_no_file, reason_without_a_name};
use crate::DataError;
use crate::error::FETCH;
use crate::found::{Found, GZIP_BEGIN_BYTES, other_kind};
use crate::index::Numbers;
use crate::left_out::{LeftOut, Reason};

/// Everything in a tar file begins at a multiple of this.
pub(super) const BLOCK_BYTES: u64 = 512;
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
    left_out: LeftOut,
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
    left_out: LeftOut,
}

/// What is known of the sample that is being looked at.
#[derive(Default)]
struct Sample {
    name: Vec<u8>,
    picture: Option<Member>,
    class: Option<u32>,
    /// A picture in another format.
    other: Option<Vec<u8>>,
}

/// The class in a member that has it as text.
fn read_class(entry: &mut impl Read) -> Option<u32> {
    let mut text = String::new();
    // What is no text is no class.
    let _ = entry.take(CLASS_BYTES_MAX).read_to_string(&mut text);
    text.trim().parse().ok().filter(|class| *class != NO_CLASS)
}

impl Shard {
    pub(super) fn look_through(blob: &dyn Blob) -> Result<Self, DataError> {
        let mut found = Self { members: Vec::new(), hash: [0; 32], left_out: LeftOut::default() };
        let mut hasher = blake3::Hasher::new();
        let opened = blob.opened().map_err(|reason| DataError::changing(blob.name(), &reason))?;
        let mut cursor = Cursor::new(blob, opened);
        let wrong = |at: u64, reason: String| {
            let what = format!("this is not a whole tar file: {reason}, at byte {at}. {FETCH}");
            DataError::unusable(blob.name(), what)
        };
        check_begin(blob, &mut cursor).map_err(|error| wrong(0, error.to_string()))??;
        let mut archive = tar::Archive::new(cursor);
        let mut sample = Sample::default();
        // Of the member before, and so where the next one begins with the first of its headers.
        let mut end = 0;
        for entry in archive.entries_with_seek().map_err(|error| wrong(0, error.to_string()))? {
            let mut entry = entry.map_err(|error| wrong(end, error.to_string()))?;
            let (begin, data, size) = (end, entry.raw_file_position(), entry.size());
            end = (data + size).next_multiple_of(BLOCK_BYTES);
            if data + size > blob.len() {
                return Err(wrong(begin, format!("it ends in the middle of a member of {size} bytes")));
            }
            let path = entry.path_bytes().into_owned();
            let failed = |error: io::Error| wrong(begin, error.to_string());
            let is_file = entry.header().entry_type().is_file();
            let Some((name, extension)) = parts(&path).filter(|_| is_file) else {
                let reason = match is_file {
                    true => reason_without_a_name(&path, &mut entry).map_err(failed)?,
                    false => reason_of_no_file(&path, entry.header().entry_type()),
                };
                reason.into_iter().for_each(|reason| found.leave_out(blob, reason, &path));
                continue;
            };
            if name != sample.name {
                found.finish(blob, std::mem::take(&mut sample));
                sample.name = name.to_vec();
            }
            hasher.update(&(path.len() as u64).to_le_bytes()).update(&path).update(&size.to_le_bytes());
            if extension.eq_ignore_ascii_case(CLASS_EXTENSION) {
                sample.class = read_class(&mut entry);
                hasher.update(&sample.class.unwrap_or(NO_CLASS).to_le_bytes());
            } else if sample.picture.is_some() {
                if is_called(extension, &EXTENSIONS) {
                    found.leave_out(blob, Reason::FurtherPicture, &path);
                }
            } else {
                match Kind::of(extension, &mut entry).map_err(failed)? {
                    Kind::Picture => {
                        let too_far =
                            || wrong(begin, "a picture lies beyond 2 TiB or is larger than 4 GiB".to_owned());
                        sample.picture = Some(member(begin, data + size - begin).ok_or_else(too_far)?);
                    }
                    Kind::OtherPicture => sample.other = sample.other.or(Some(path)),
                    Kind::NoPicture => {}
                }
            }
        }
        if end >= blob.len() {
            return Err(wrong(end, "it ends without the empty block that a tar file ends with".to_owned()));
        }
        found.finish(blob, sample);
        found.hash = *hasher.finalize().as_bytes();
        found.look_behind(blob, archive.into_inner(), end).map_err(|error| wrong(end, error.to_string()))?;
        Ok(found)
    }

    /// Takes the picture of a sample whose members were all seen, or leaves the sample out.
    fn finish(&mut self, blob: &dyn Blob, sample: Sample) {
        let Sample { name, picture, class, other } = sample;
        match (picture, other) {
            (Some(picture), _) => self.members.push(Member { class, ..picture }),
            (None, Some(other)) => self.leave_out(blob, Reason::OtherFormat, &other),
            (None, None) if name.is_empty() => {} // before the first
            (None, None) => self.leave_out(blob, Reason::SampleWithout, &name),
        }
    }

    fn leave_out(&mut self, blob: &dyn Blob, reason: Reason, path: &[u8]) {
        let file = blob.name();
        let file = file.rsplit('/').next().unwrap_or(&file);
        self.left_out.add(reason, || format!("{file}: {}", String::from_utf8_lossy(path)));
    }

    /// Counts the pictures of archives that were appended behind the end of the first, which is at `end`. The webdataset
    /// library does not read them, and nor does tar without --ignore-zeros.
    fn look_behind(&mut self, blob: &dyn Blob, mut cursor: Cursor<'_>, mut end: u64) -> io::Result<()> {
        const ZEROS: [u8; BLOCK_BYTES as usize] = [0; BLOCK_BYTES as usize];
        loop {
            cursor.start_at(end);
            let mut block = ZEROS;
            while block == ZEROS {
                if blob.len().checked_sub(BLOCK_BYTES).is_none_or(|last| end > last) {
                    return Ok(());
                }
                cursor.read_exact(&mut block)?;
                end += BLOCK_BYTES;
            }
            let begin = end - BLOCK_BYTES;
            cursor.start_at(begin);
            let mut archive = tar::Archive::new(cursor);
            for entry in archive.entries_with_seek()? {
                // What is no tar file is nothing that anybody would miss.
                let Ok(entry) = entry else { return Ok(()) };
                let data_end =
                    (entry.raw_file_position() + entry.size()).checked_next_multiple_of(BLOCK_BYTES);
                let Some(next) = data_end.and_then(|data_end| begin.checked_add(data_end)) else {
                    return Ok(());
                };
                end = next;
                let path = entry.path_bytes().into_owned();
                let extension = parts(&path).map_or("", |(_, extension)| extension);
                if entry.header().entry_type().is_file() && is_called(extension, &EXTENSIONS) {
                    self.leave_out(blob, Reason::BehindEnd, &path);
                }
            }
            cursor = archive.into_inner();
        }
    }
}

/// Refuses what is known to be no tar file.
fn check_begin(blob: &dyn Blob, cursor: &mut Cursor<'_>) -> io::Result<Result<(), DataError>> {
    let mut begin = Vec::new();
    cursor.by_ref().take(GZIP_BEGIN_BYTES as u64).read_to_end(&mut begin)?;
    cursor.start_at(0);
    Ok(match Found::of(&begin) {
        // What the tar file's reader says of them says more.
        Found::Tar | Found::Unknown(_) => Ok(()),
        found => Err(other_kind(blob.name(), found, super::WANTED)),
    })
}

fn member(begin: u64, len_bytes: u64) -> Option<Member> {
    let header_block = u32::try_from(begin / BLOCK_BYTES).ok()?;
    Some(Member { header_block, len_bytes: u32::try_from(len_bytes).ok()?, class: None })
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
        self.left_out.append(shard.left_out);
    }

    pub(super) fn left_out(&self) -> &LeftOut {
        &self.left_out
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
        let mut out = self.left_out.bytes();
        out.reserve_exact(8 + 40 * self.firsts.len() + 12 * self.packed.len());
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
        let mut members = Self { left_out: LeftOut::parse(&mut numbers)?, ..Self::default() };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_back_as_they_were_written() {
        let mut members = Members::default();
        let member = |header_block, class| Member { header_block, len_bytes: 700, class };
        let shard = |members, hash| Shard { members, hash: [hash; 32], left_out: LeftOut::default() };
        members.push(shard(vec![member(0, None), member(4, Some(7))], 1));
        members.push(shard(vec![], 2));
        members.push(shard(vec![member(9, Some(0))], 3));
        assert_eq!(members.at(1), (0, member(4, Some(7))));
        assert_eq!(members.at(2), (2, member(9, Some(0))));
        let bytes = members.bytes();
        // Two counts and three shards stand before the records.
        assert!(
            (8..bytes.len())
                .filter(|cut| *cut < 136 || (cut - 136) % 12 != 0)
                .all(|cut| { Members::parse(&bytes[..cut]).is_none() })
        );
        assert_eq!(Members::parse(&bytes), Some(members));
    }
}
