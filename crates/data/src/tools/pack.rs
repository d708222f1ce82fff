//! Any source becomes tar shards of pictures that have a run's size already.
//!
//! The `webdataset` source reads `OUT/shard-000000.tar` and so on, and training gives the same bits as with the original
//! data set: the pictures are the samples in the same order, encoded without loss. NAME is the number of a record, and
//! `NAME.cls` its class. Records that do not decode are left out.
//!
//! A shard gets its name when it is complete, and then a line with its hash in the journal. A repeated pack compares the
//! shards with the journal, writes those that are damaged or missing again, and continues after the last one. The end of a
//! shard is a function of the records before it. `manifest.json` is written last.

use std::ops::Range;
use std::path::PathBuf;

use lsgan_spec::ImageSpec;

use super::encode::{PackFormat, picture_of};
use super::manifest::{Job, Shard, file_name, finished, pattern, write_manifest};
use super::output_dir::OutputDir;
use super::shard::{TarShard, digest};
use super::{CHUNK, CorruptRecord, PROGRESS_RECORDS, ToolError};
use crate::in_order::in_order;
use crate::index::{Meter, OnProgress, Progress};
use crate::{SampleShape, Source};

const JOURNAL: &str = ".lsgan-pack.jsonl";
/// Raised when the same options give other bytes.
const VERSION: u32 = 1;
/// The shards whose names have equal lengths.
const SHARDS_MAX: u64 = 1_000_000;
/// The least number of digits in a record's name.
const NAME_DIGITS: usize = 9;

#[derive(Clone, Debug)]
pub struct PackOptions {
    /// The directory of the shards.
    pub out: PathBuf,
    pub format: PackFormat,
    pub limit: ShardLimit,
    /// Threads that read and encode: at least 1. They do not change the result.
    pub threads: usize,
}

/// Where a shard ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardLimit {
    /// After this number of pictures: at least 1.
    Records(u64),
    /// Before it has more MiB than this, but after at least one picture.
    Mib(u64),
}

#[derive(Clone, Debug)]
pub struct Packed {
    /// Pictures in the shards.
    pub records: u64,
    pub shards: u64,
    /// Shards that existed before.
    pub shards_kept: u64,
    pub len_bytes: u64,
    /// Records that do not decode.
    pub corrupt: Vec<CorruptRecord>,
    /// For `data.source.webdataset.shards`.
    pub pattern: String,
}

/// Packs `source`, which was opened with `image`, or completes an interrupted pack.
///
/// # Errors
///
/// A source of points; a directory with other files, or in use by another process; an error of the disk; a data set that
/// changes, or without a record that decodes.
pub fn pack(
    source: &dyn Source,
    image: &ImageSpec,
    options: &PackOptions,
    on_progress: OnProgress<'_>,
) -> Result<Packed, ToolError> {
    let SampleShape::Image { size, channels } = source.sample_shape() else {
        return Err(ToolError::NoPictures { kind: source.kind() });
    };
    let PackOptions { out: dir, format, limit, .. } = options;
    if dir.to_string_lossy().contains(['{', '}']) {
        return Err(ToolError::Braces { dir: dir.clone() });
    }
    let job = Job {
        lsgan_pack: VERSION,
        source: source.kind(),
        source_fingerprint: source.fingerprint().to_string(),
        source_records: source.len(),
        size,
        channels,
        fit: image.fit,
        format: *format,
        cut: limit.shown(),
    };
    let (mut out, lines) = OutputDir::open(dir, JOURNAL, &job)?;
    let mut shards = finished(&lines);
    out.remove(&lines[shards.len()..])?;
    let packer = Packer { source, size, channels, options, on_progress };

    let mut shards_kept = 0;
    for (index, shard) in shards.iter().enumerate() {
        match digest(&dir.join(&shard.file)) {
            Ok((_, blake3)) if blake3 == shard.blake3 => shards_kept += 1,
            _ => packer.write_again(index, shard)?,
        }
        let (done, total) = (index as u64 + 1, Some(shards.len() as u64));
        on_progress(Progress { unit: "shards checked", done, total });
    }
    let begin = shards.last().map_or(0, |shard| shard.end);
    packer.write(shards.len(), begin..source.len(), |shard| {
        out.append(&shard)?;
        shards.push(shard);
        Ok(())
    })?;
    write_manifest(dir, &job, source.class_names(), &shards)?;
    Ok(Packed {
        records: shards.iter().map(|shard| shard.records).sum(),
        shards: shards.len() as u64,
        shards_kept,
        len_bytes: shards.iter().map(|shard| shard.len_bytes).sum(),
        pattern: pattern(dir, shards.len()),
        corrupt: shards.into_iter().flat_map(|shard| shard.corrupt).collect(),
    })
}

impl ShardLimit {
    fn shown(self) -> String {
        match self {
            Self::Records(records) => format!("{records} records"),
            Self::Mib(mib) => format!("{mib} MiB"),
        }
    }

    /// Whether a picture that adds `more_bytes` belongs to the next shard.
    fn is_full(self, records: u64, len_bytes: u64, more_bytes: u64) -> bool {
        match self {
            Self::Records(most) => records >= most,
            // Two empty blocks end a tar file.
            Self::Mib(most) => records > 0 && len_bytes + more_bytes + 1024 > most.saturating_mul(1 << 20),
        }
    }
}

struct Packer<'a> {
    source: &'a dyn Source,
    size: u32,
    channels: u32,
    options: &'a PackOptions,
    on_progress: OnProgress<'a>,
}

/// The shard that is being written. Its file is created with its first picture.
struct Current {
    first: u64,
    records: u64,
    corrupt: Vec<CorruptRecord>,
    tar: Option<TarShard>,
}

impl Packer<'_> {
    /// Writes a shard that is damaged or missing again.
    fn write_again(&self, index: usize, shard: &Shard) -> Result<(), ToolError> {
        let mut made = Vec::new();
        self.write(index, shard.first..shard.end, |shard| {
            made.push(shard);
            Ok(())
        })?;
        match made == std::slice::from_ref(shard) {
            true => Ok(()),
            false => Err(ToolError::Changed { path: self.options.out.join(&shard.file) }),
        }
    }

    /// Writes the records of `range` into shards from number `index` on, and calls `finished` with each complete shard.
    fn write(
        &self,
        index: usize,
        range: Range<u64>,
        mut finished: impl FnMut(Shard) -> Result<(), ToolError>,
    ) -> Result<(), ToolError> {
        let mut index = index;
        let mut current = Current { first: range.start, records: 0, corrupt: Vec::new(), tar: None };
        let mut meter = Meter::new(self.on_progress, "records", Some(self.source.len()), PROGRESS_RECORDS);
        let digits = NAME_DIGITS.max((self.source.len() - 1).to_string().len());
        in_order(
            range.clone(),
            self.options.threads,
            CHUNK,
            |record| self.encoded(record),
            |record, encoded| {
                let picture = match encoded? {
                    Ok(picture) => picture,
                    Err(bad) => {
                        current.corrupt.push(bad);
                        return Ok(());
                    }
                };
                let class = self.source.class(record).map(|class| class.to_string());
                let lens = [Some(picture.len()), class.as_ref().map(String::len)];
                let more_bytes: u64 = lens.into_iter().flatten().map(TarShard::member_bytes).sum();
                let len_bytes = current.tar.as_ref().map_or(0, TarShard::len_bytes);
                if self.options.limit.is_full(current.records, len_bytes, more_bytes) {
                    let next = Current { first: record, records: 0, corrupt: Vec::new(), tar: None };
                    finished(self.sealed(std::mem::replace(&mut current, next), index, record)?)?;
                    index += 1;
                }
                let tar = match &mut current.tar {
                    Some(tar) => tar,
                    none => none.insert(TarShard::create(self.options.out.join(name(index)?))?),
                };
                tar.add(&format!("{record:0digits$}.{}", self.options.format.extension()), &picture)?;
                if let Some(class) = class {
                    tar.add(&format!("{record:0digits$}.cls"), class.as_bytes())?;
                }
                current.records += 1;
                meter.done(record + 1);
                Ok(())
            },
        )?;
        if range.is_empty() {
            return Ok(());
        }
        finished(self.sealed(current, index, range.end)?)
    }

    /// The encoded sample of a record, or why it does not decode.
    fn encoded(&self, record: u64) -> Result<Result<Vec<u8>, CorruptRecord>, ToolError> {
        let mut sample = vec![0.0; self.source.sample_len()];
        if let Err(error) = self.source.read(record, &mut sample) {
            return CorruptRecord::of(record, error).map(Err).map_err(ToolError::Lost);
        }
        let encoded = self.options.format.encode(&picture_of(&sample, self.size, self.channels));
        encoded.map(Ok).map_err(|error| ToolError::Encode { record, reason: error.to_string() })
    }

    fn sealed(&self, shard: Current, index: usize, end: u64) -> Result<Shard, ToolError> {
        let Current { first, records, corrupt, tar } = shard;
        let Some(tar) = tar else {
            // A shard ends where the next good record begins, so only a shard without any good record has no file.
            let reason = corrupt.first().map(|bad| bad.reason.clone()).unwrap_or_default();
            return Err(ToolError::NothingDecodes { records: end - first, reason });
        };
        let (len_bytes, blake3) = tar.finish()?;
        Ok(Shard { file: file_name(index), first, end, records, len_bytes, blake3, corrupt })
    }
}

fn name(index: usize) -> Result<String, ToolError> {
    match index as u64 {
        0..SHARDS_MAX => Ok(file_name(index)),
        SHARDS_MAX.. => Err(ToolError::TooManyShards { most: SHARDS_MAX }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_full_after_so_many_pictures_or_before_so_many_bytes() {
        assert_eq!(
            [1, 2, 3].map(|records| ShardLimit::Records(2).is_full(records, 0, 9)),
            [false, true, true]
        );
        let mib = 1 << 20;
        assert!(!ShardLimit::Mib(1).is_full(0, 0, 5 * mib), "one picture it has in any case");
        assert!(!ShardLimit::Mib(1).is_full(1, mib - 2048, 1024), "it fits exactly");
        assert!(ShardLimit::Mib(1).is_full(1, mib - 2048, 1536));
    }
}
