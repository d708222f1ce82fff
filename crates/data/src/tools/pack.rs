//! Any source becomes tar shards of pictures that have a run's size already.
//!
//! `OUT/shard-000000.tar` and so on are read by the `webdataset` source, and train to the same bits as the data set that
//! they were made of: the pictures are the samples, encoded without loss, in the same order; a record's class is in
//! `NAME.cls` beside it, and NAME is its number. Records that do not decode are left out.
//!
//! A shard takes its name when it is whole, and is then written down in the journal with its hash. Who goes on after a
//! death compares what is there with the journal, makes again what is damaged or missing, and goes on behind the last one:
//! where a shard ends is a function of the records before. `manifest.json` is written last.

use std::ops::Range;
use std::path::{Path, PathBuf};

use lsgan_spec::ImageSpec;

use super::encode::{PackFormat, picture_of};
use super::in_order::in_order;
use super::manifest::{Job, Shard, file_name, finished, pattern, write_manifest};
use super::out::Out;
use super::shard::{Seal, TarShard, seal_of};
use super::{Bad, ToolError};
use crate::index::{Indexing, Meter, OnProgress};
use crate::{RecordError, SampleShape, Source};

const JOURNAL: &str = ".lsgan-pack.jsonl";
/// Raised when the same options make other bytes.
const VERSION: u32 = 1;
/// So many have names of one length.
const SHARDS_MAX: u64 = 1_000_000;
/// Digits of a record's name: more where there are more records.
const NAME_DIGITS: usize = 9;
/// Records between two words on how far it has come.
const PROGRESS_RECORDS: u64 = 64;

/// How a data set is packed.
#[derive(Clone, Debug)]
pub struct PackOptions {
    /// The directory.
    pub out: PathBuf,
    /// How the pictures are encoded.
    pub format: PackFormat,
    /// Where a shard ends.
    pub cut: Cut,
    /// Threads that read and encode: at least 1. Changes no byte.
    pub threads: usize,
}

/// Where a shard ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// After so many pictures: at least 1.
    Records(u64),
    /// Before it would have more than so many MiB; one picture it has in any case.
    Mib(u64),
}

/// What was packed.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Pictures in the shards.
    pub records: u64,
    pub shards: u64,
    /// Of them, those that were there from before.
    pub shards_kept: u64,
    /// Bytes of all shards.
    pub len_bytes: u64,
    /// What was left out.
    pub corrupt: Vec<Bad>,
    /// What to write into `data.source.webdataset.shards`.
    pub pattern: String,
}

/// Packs `source`, which was opened with `image`, or goes on where a former call was interrupted.
///
/// # Errors
///
/// A source of points; a directory that holds something else, or is written by another process; a disk that is full or
/// refuses; a data set that changes; one of which nothing decodes.
pub fn pack(
    source: &dyn Source,
    image: &ImageSpec,
    options: &PackOptions,
    on_progress: OnProgress<'_>,
) -> Result<Packed, ToolError> {
    let SampleShape::Image { size, channels } = source.sample_shape() else {
        return Err(ToolError::NoPictures { kind: source.kind() });
    };
    let PackOptions { out: dir, format, cut, threads } = options;
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
        cut: cut.shown(),
    };
    let (mut out, lines) = Out::open(dir, JOURNAL, &job)?;
    let mut shards = finished(&lines);
    out.keep(&lines, shards.len())?;
    let packer = Packer { source, format: *format, cut: *cut, threads: *threads, dir, on_progress };

    let whole = packer.check(&shards);
    for (index, shard) in shards.iter().enumerate().filter(|(index, _)| !whole[*index]) {
        let mut made = Vec::new();
        packer.write(index, shard.first..shard.end, |shard| {
            made.push(shard);
            Ok(())
        })?;
        if made != [shard.clone()] {
            return Err(ToolError::Changed { path: dir.join(&shard.file) });
        }
    }
    let begin = shards.last().map_or(0, |shard| shard.end);
    packer.write(shards.len(), begin..source.len(), |shard| {
        out.append(&shard)?;
        shards.push(shard);
        Ok(())
    })?;
    write_manifest(out.dir(), &job, source.class_names(), &shards)?;
    Ok(Packed {
        records: shards.iter().map(|shard| shard.records).sum(),
        shards: shards.len() as u64,
        shards_kept: whole.iter().filter(|whole| **whole).count() as u64,
        len_bytes: shards.iter().map(|shard| shard.len_bytes).sum(),
        pattern: pattern(dir, shards.len()),
        corrupt: shards.into_iter().flat_map(|shard| shard.corrupt).collect(),
    })
}

impl Cut {
    fn shown(self) -> String {
        match self {
            Self::Records(records) => format!("{records} records"),
            Self::Mib(mib) => format!("{mib} MiB"),
        }
    }

    /// Whether a picture that adds so many bytes belongs to the next shard.
    fn is_full(self, records: u64, len_bytes: u64, more_bytes: u64) -> bool {
        match self {
            Self::Records(most) => records >= most,
            // Two empty blocks stand at the end.
            Self::Mib(most) => records > 0 && len_bytes + more_bytes + 1024 > most.saturating_mul(1 << 20),
        }
    }
}

struct Packer<'a> {
    source: &'a dyn Source,
    format: PackFormat,
    cut: Cut,
    threads: usize,
    dir: &'a Path,
    on_progress: OnProgress<'a>,
}

/// The shard that is being written. It has no file before its first picture.
struct Current {
    first: u64,
    records: u64,
    corrupt: Vec<Bad>,
    tar: Option<TarShard>,
}

impl Packer<'_> {
    /// Which shards are there as they were written.
    fn check(&self, shards: &[Shard]) -> Vec<bool> {
        let total = Some(shards.len() as u64);
        let check = |index: u64| {
            let shard = &shards[index as usize];
            let is =
                |seal: Seal| seal.len_bytes == shard.len_bytes && seal.hash.to_hex().as_str() == shard.blake3;
            seal_of(&self.dir.join(&shard.file)).is_ok_and(is)
        };
        let mut whole = Vec::with_capacity(shards.len());
        let Ok(()) = in_order::<_, std::convert::Infallible>(
            0..shards.len() as u64,
            self.threads,
            check,
            |index, is| {
                (self.on_progress)(Indexing { unit: "shards checked", done: index + 1, total });
                whole.push(is);
                Ok(())
            },
        );
        whole
    }

    /// Writes the records of `range` into shards from number `index` on, and hands on each that is whole.
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
            self.threads,
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
                if self.cut.is_full(current.records, len_bytes, more_bytes) {
                    let next = Current { first: record, records: 0, corrupt: Vec::new(), tar: None };
                    finished(self.sealed(std::mem::replace(&mut current, next), index, record)?)?;
                    index += 1;
                }
                let tar = match &mut current.tar {
                    Some(tar) => tar,
                    none => none.insert(TarShard::create(self.dir.join(self.name(index)?))?),
                };
                tar.add(&format!("{record:0digits$}.{}", self.format.extension()), &picture)?;
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

    fn name(&self, index: usize) -> Result<String, ToolError> {
        match index as u64 {
            0..SHARDS_MAX => Ok(file_name(index)),
            SHARDS_MAX.. => Err(ToolError::TooManyShards { most: SHARDS_MAX }),
        }
    }

    /// A record's picture in a run's size, or why it has none.
    fn encoded(&self, record: u64) -> Result<Result<Vec<u8>, Bad>, ToolError> {
        let mut sample = vec![0.0; self.source.sample_len()];
        let SampleShape::Image { size, channels } = self.source.sample_shape() else {
            return Err(ToolError::NoPictures { kind: self.source.kind() });
        };
        match self.source.read(record, &mut sample) {
            Ok(()) => {}
            Err(RecordError::Undecodable { key, reason, .. }) => return Ok(Err(Bad { record, key, reason })),
            Err(error) => return Err(ToolError::Lost(error)),
        }
        let encoded = self.format.encode(&picture_of(&sample, size, channels));
        encoded.map(Ok).map_err(|error| ToolError::Encode { record, reason: error.to_string() })
    }

    fn sealed(&self, shard: Current, index: usize, end: u64) -> Result<Shard, ToolError> {
        let Current { first, records, corrupt, tar } = shard;
        let Some(tar) = tar else {
            // A shard ends where the next good record begins, so only the first can be without one.
            let reason = corrupt.first().map(|bad| bad.reason.clone()).unwrap_or_default();
            return Err(ToolError::NothingDecodes { records: end - first, reason });
        };
        let Seal { len_bytes, hash } = tar.finish()?;
        let (file, blake3) = (file_name(index), hash.to_hex().to_string());
        Ok(Shard { file, first, end, records, len_bytes, blake3, corrupt })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_full_after_so_many_pictures_or_before_so_many_bytes() {
        assert_eq!([1, 2, 3].map(|records| Cut::Records(2).is_full(records, 0, 9)), [false, true, true]);
        let mib = 1 << 20;
        assert!(!Cut::Mib(1).is_full(0, 0, 5 * mib), "one picture it has in any case");
        assert!(!Cut::Mib(1).is_full(1, mib - 2048, 1024), "it fits exactly");
        assert!(Cut::Mib(1).is_full(1, mib - 2048, 1536));
    }
}
