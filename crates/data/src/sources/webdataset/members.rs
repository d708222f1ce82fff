//! The members of tar shards that are records, and the scan that finds them.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use super::blobs::Blob;
use super::cursor::Cursor;
use super::kinds::{EXTENSIONS, MemberKind, has_extension, reason_of_no_file, reason_without_a_name, split};
use crate::DataError;
use crate::error::FETCH;
use crate::file_kind::{FileKind, GZIP_BEGIN_BYTES, other_kind};
use crate::left_out::{LeftOut, Reason};

/// Headers and contents in a tar file begin at multiples of this.
pub(super) const BLOCK_BYTES: u64 = 512;
const CLASS_EXTENSION: &str = "cls";
/// More than the digits of any class.
const CLASS_BYTES_MAX: u64 = 16;
/// Stands for "no class" in an index.
const NO_CLASS: u32 = u32::MAX;

/// A record in its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Member {
    /// The block of the member's first header.
    pub(super) header_block: u32,
    /// From there to the end of the picture.
    pub(super) len_bytes: u32,
    /// Or [`NO_CLASS`]: an option would take 4 bytes more.
    class: u32,
}

/// The records of one shard, in its order.
#[derive(Default)]
pub(super) struct Shard {
    members: Vec<Member>,
    hash: [u8; 32],
    left_out: LeftOut,
}

/// The records of all shards.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Members {
    /// 12 bytes each.
    members: Vec<Member>,
    /// The first record of each shard.
    firsts: Vec<u64>,
    /// The hash of each shard.
    hashes: Vec<[u8; 32]>,
    left_out: LeftOut,
}

/// The sample that the scan is in.
#[derive(Default)]
struct Sample {
    name: Vec<u8>,
    picture: Option<Member>,
    class: Option<u32>,
    /// The path of a picture in another format.
    other_format: Option<Vec<u8>>,
}

/// A scan of a shard's headers.
struct Scan<'a> {
    blob: &'a dyn Blob,
    shard: Shard,
    hasher: blake3::Hasher,
    sample: Sample,
}

impl Shard {
    pub(super) fn scan(blob: &dyn Blob) -> Result<Self, DataError> {
        let opened = blob.opened().map_err(|reason| DataError::changing(blob.name(), &reason))?;
        let mut cursor = Cursor::new(blob, opened);
        let wrong = |at: u64, reason: String| {
            let what = format!("this is not a whole tar file: {reason}, at byte {at}. {FETCH}");
            DataError::unusable(blob.name(), what)
        };
        refuse_other_kinds(blob, &mut cursor).map_err(|error| wrong(0, error.to_string()))??;
        let allowance = cursor.allowance();
        let mut archive = tar::Archive::new(cursor);
        let mut scan =
            Scan { blob, shard: Self::default(), hasher: blake3::Hasher::new(), sample: Sample::default() };
        // The end of the previous member, where the first header of the next one begins.
        let mut end = 0;
        for entry in archive.entries_with_seek().map_err(|error| wrong(0, error.to_string()))? {
            let mut entry = entry.map_err(|error| wrong(end, error.to_string()))?;
            let begin = end;
            let data_end = entry.raw_file_position().checked_add(entry.size());
            let Some(data_end) = data_end.filter(|data_end| *data_end <= blob.len()) else {
                let reason = format!("it ends in the middle of a member of {} bytes", entry.size());
                return Err(wrong(begin, reason));
            };
            end = data_end.next_multiple_of(BLOCK_BYTES);
            allowance.renew();
            scan.member(&mut entry, begin, data_end).map_err(|error| wrong(begin, error.to_string()))?;
        }
        if end >= blob.len() {
            return Err(wrong(end, "it ends without the empty block that a tar file ends with".to_owned()));
        }
        scan.end_sample();
        scan.count_appended(archive.into_inner(), end).map_err(|error| wrong(end, error.to_string()))?;
        Ok(Self { hash: *scan.hasher.finalize().as_bytes(), ..scan.shard })
    }
}

impl Scan<'_> {
    /// Adds the member whose headers begin at byte `begin` and whose content ends at `data_end`.
    fn member(&mut self, entry: &mut tar::Entry<'_, impl Read>, begin: u64, data_end: u64) -> io::Result<()> {
        let path = entry.path_bytes().into_owned();
        let kind = entry.header().entry_type();
        let Some((name, extension)) = split(&path).filter(|_| kind.is_file()) else {
            let reason = match kind.is_file() {
                true => Some(reason_without_a_name(&path, entry)?),
                false => reason_of_no_file(&path, kind),
            };
            reason.into_iter().for_each(|reason| self.leave_out(reason, &path));
            return Ok(());
        };
        if name != self.sample.name {
            self.end_sample();
            self.sample.name = name.to_vec();
        }
        self.hasher.update(&(path.len() as u64).to_le_bytes()).update(&path);
        self.hasher.update(&entry.size().to_le_bytes());
        if extension.eq_ignore_ascii_case(CLASS_EXTENSION) {
            let mut text = String::new();
            // Bytes that are not UTF-8 are no class.
            let _ = entry.by_ref().take(CLASS_BYTES_MAX).read_to_string(&mut text);
            self.sample.class = text.trim().parse().ok().filter(|class| *class != NO_CLASS);
            self.hasher.update(&self.sample.class.unwrap_or(NO_CLASS).to_le_bytes());
        } else if self.sample.picture.is_none() {
            match MemberKind::of(extension, entry)? {
                MemberKind::Picture => self.sample.picture = Some(Member::new(begin, data_end)?),
                MemberKind::OtherPicture => {
                    self.sample.other_format.get_or_insert(path);
                }
                MemberKind::NoPicture => {}
            }
        } else if has_extension(extension, &EXTENSIONS) {
            self.leave_out(Reason::FurtherPicture, &path);
        }
        Ok(())
    }

    /// Makes a record of the sample's picture, or leaves the sample out.
    fn end_sample(&mut self) {
        let Sample { name, picture, class, other_format } = std::mem::take(&mut self.sample);
        match (picture, other_format) {
            (Some(picture), _) => {
                self.shard.members.push(Member { class: class.unwrap_or(NO_CLASS), ..picture });
            }
            (None, Some(path)) => self.leave_out(Reason::OtherFormat, &path),
            (None, None) if name.is_empty() => {} // before the first sample
            (None, None) => self.leave_out(Reason::SampleWithout, &name),
        }
    }

    fn leave_out(&mut self, reason: Reason, path: &[u8]) {
        let file = self.blob.name();
        let file = file.rsplit('/').next().unwrap_or(&file);
        self.shard.left_out.add(reason, || format!("{file}: {}", String::from_utf8_lossy(path)));
    }

    /// Counts the pictures of archives that were appended behind the first, which ends at `end`. The webdataset library
    /// does not read them, nor does tar without --ignore-zeros.
    fn count_appended(&mut self, mut cursor: Cursor<'_>, mut end: u64) -> io::Result<()> {
        const ZEROS: [u8; BLOCK_BYTES as usize] = [0; BLOCK_BYTES as usize];
        loop {
            cursor.start_at(end);
            let mut block = ZEROS;
            while block == ZEROS {
                if self.blob.len().checked_sub(BLOCK_BYTES).is_none_or(|last| end > last) {
                    return Ok(());
                }
                cursor.allowance().renew();
                cursor.read_exact(&mut block)?;
                end += BLOCK_BYTES;
            }
            let begin = end - BLOCK_BYTES;
            cursor.start_at(begin);
            let allowance = cursor.allowance();
            let mut archive = tar::Archive::new(cursor);
            for entry in archive.entries_with_seek()? {
                allowance.renew();
                // Bytes that are no tar file hold no pictures.
                let Ok(entry) = entry else { return Ok(()) };
                let data_end = entry.raw_file_position().checked_add(entry.size());
                let data_end = data_end.and_then(|end| end.checked_next_multiple_of(BLOCK_BYTES));
                let Some(next) = data_end.and_then(|data_end| begin.checked_add(data_end)) else {
                    return Ok(());
                };
                end = next;
                let path = entry.path_bytes().into_owned();
                let extension = split(&path).map_or("", |(_, extension)| extension);
                if entry.header().entry_type().is_file() && has_extension(extension, &EXTENSIONS) {
                    self.leave_out(Reason::BehindEnd, &path);
                }
            }
            cursor = archive.into_inner();
        }
    }
}

/// Refuses a file that is known to be of another kind.
fn refuse_other_kinds(blob: &dyn Blob, cursor: &mut Cursor<'_>) -> io::Result<Result<(), DataError>> {
    let mut begin = Vec::new();
    cursor.by_ref().take(GZIP_BEGIN_BYTES as u64).read_to_end(&mut begin)?;
    cursor.start_at(0);
    Ok(match FileKind::of(&begin) {
        // The scan reports what is wrong with an unknown file.
        FileKind::Tar | FileKind::Unknown(_) => Ok(()),
        found => Err(other_kind(blob.name(), found, super::WANTED)),
    })
}

impl Member {
    fn new(begin: u64, data_end: u64) -> io::Result<Self> {
        let numbers = (u32::try_from(begin / BLOCK_BYTES), u32::try_from(data_end - begin));
        let (Ok(header_block), Ok(len_bytes)) = numbers else {
            return Err(io::Error::other("a picture lies beyond 2 TiB or is larger than 4 GiB"));
        };
        Ok(Self { header_block, len_bytes, class: NO_CLASS })
    }

    pub(super) fn class(self) -> Option<u32> {
        (self.class != NO_CLASS).then_some(self.class)
    }
}

/// The name and the content of the single member in `bytes`, which begin with its first header and end with its content.
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
        self.firsts.push(self.members.len() as u64);
        self.hashes.push(shard.hash);
        self.members.extend(shard.members);
        self.left_out.append(shard.left_out);
    }

    pub(super) fn take_left_out(&mut self) -> LeftOut {
        std::mem::take(&mut self.left_out)
    }

    pub(super) fn records(&self) -> u64 {
        self.members.len() as u64
    }

    pub(super) fn shards(&self) -> usize {
        self.firsts.len()
    }

    /// The shard and the member of a record below [`records`](Self::records).
    pub(super) fn at(&self, record: u64) -> (usize, Member) {
        (self.firsts.partition_point(|first| *first <= record) - 1, self.members[record as usize])
    }

    /// Whether each record lies in a shard. A file that somebody else wrote may say anything.
    pub(super) fn is_whole(&self) -> bool {
        self.hashes.len() == self.firsts.len()
            && self.firsts.first().is_none_or(|first| *first == 0)
            && self.firsts.is_sorted()
            && self.firsts.last().is_none_or(|last| *last <= self.records())
            && (self.records() == 0 || !self.firsts.is_empty())
    }

    pub(super) fn hash(&self) -> [u8; 32] {
        *blake3::hash(self.hashes.as_flattened()).as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_by_record_across_shards_of_which_one_is_empty() {
        let mut members = Members::default();
        let member = |header_block, class| Member { header_block, len_bytes: 700, class };
        for list in [vec![member(0, NO_CLASS), member(4, 7)], vec![], vec![member(9, 0)]] {
            members.push(Shard { members: list, ..Shard::default() });
        }
        let classes = [0, 1, 2].map(|record| members.at(record).1.class());
        assert_eq!(classes, [None, Some(7), Some(0)]);
        assert_eq!(members.at(0), (0, member(0, NO_CLASS)));
        assert_eq!(members.at(1), (0, member(4, 7)));
        assert_eq!(members.at(2), (2, member(9, 0)));
    }
}
