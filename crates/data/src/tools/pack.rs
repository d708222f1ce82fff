//! Any source becomes tar shards of pictures that have a run's size already.
//!
//! `OUT/shard-000000.tar` and so on are read by the `webdataset` source, and train to the same bits as the data set that
//! they were made of: the pictures are the samples, encoded without loss, in the same order; a record's class is in
//! `NAME.cls` beside it, and NAME is its number. Records that do not decode are left out.
//!
//! A shard takes its name when it is whole, and is then written down in the journal with its hash. Who goes on after a
//! death compares what is there with the journal, makes again what is damaged or missing, and goes on behind the last one:
//! where a shard ends is a function of the records before. `manifest.json` is written last.

use std::fs::{self, File};
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use lsgan_spec::{Fit, ImageSpec};
use serde::{Deserialize, Serialize};

use super::encode::{PackFormat, picture_of};
use super::error::writing;
use super::in_order::in_order;
use super::out::Out;
use super::shard::{Seal, TarShard, seal_of};
use super::{Bad, ToolError};
use crate::index::{Indexing, Meter, OnProgress};
use crate::{RecordError, SampleShape, Source};

const JOURNAL: &str = ".lsgan-pack.jsonl";
const MANIFEST: &str = "manifest.json";
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
    /// Shards.
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

/// What is being made: the first line of the journal, and the beginning of the manifest.
#[derive(Debug, Serialize)]
struct Job {
    lsgan_pack: u32,
    source: &'static str,
    source_fingerprint: String,
    source_records: u64,
    size: u32,
    channels: u32,
    fit: Fit,
    format: PackFormat,
    cut: String,
}

/// A shard that is whole: a line of the journal, and of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Shard {
    file: String,
    /// The records of the source that it was made of, from `first` to before `end`.
    first: u64,
    end: u64,
    /// Pictures in it.
    records: u64,
    len_bytes: u64,
    blake3: String,
    corrupt: Vec<Bad>,
}

#[derive(Serialize)]
struct Manifest<'a> {
    #[serde(flatten)]
    job: &'a Job,
    records: u64,
    corrupt: u64,
    class_names: &'a [String],
    shards: &'a [Shard],
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

/// The shards that the journal's lines name, as far as they follow each other.
fn finished(lines: &[String]) -> Vec<Shard> {
    let mut shards: Vec<Shard> = Vec::new();
    for line in lines {
        let Ok(shard) = serde_json::from_str::<Shard>(line) else { break };
        let begin = shards.last().map_or(0, |last| last.end);
        if shard.first != begin || shard.end <= begin || shard.file != file_name(shards.len()) {
            break;
        }
        shards.push(shard);
    }
    shards
}

fn file_name(index: usize) -> String {
    format!("shard-{index:06}.tar")
}

/// The pattern that names so many shards.
fn pattern(dir: &Path, shards: usize) -> String {
    let file = match shards {
        1 => file_name(0),
        _ => format!("shard-{{000000..{:06}}}.tar", shards - 1),
    };
    dir.join(file).display().to_string()
}

fn write_manifest(dir: &Path, job: &Job, class_names: &[String], shards: &[Shard]) -> Result<(), ToolError> {
    let records = shards.iter().map(|shard| shard.records).sum();
    let corrupt = shards.iter().map(|shard| shard.corrupt.len() as u64).sum();
    let manifest = Manifest { job, records, corrupt, class_names, shards };
    let mut text = serde_json::to_string_pretty(&manifest).expect("plain values become JSON");
    text.push('\n');
    let (path, part) = (dir.join(MANIFEST), dir.join(format!("{MANIFEST}.part")));
    let write = || {
        let mut file = File::create(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, &path)
    };
    write().map_err(writing(&path))
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

    #[test]
    fn the_journal_counts_as_far_as_its_shards_follow_each_other() {
        let line = |index: usize, first: u64, end: u64| {
            let (file, blake3) = (file_name(index), String::new());
            let shard = Shard { file, first, end, records: 1, len_bytes: 1, blake3, corrupt: vec![] };
            serde_json::to_string(&shard).unwrap()
        };
        let good = [line(0, 0, 5), line(1, 5, 7)];
        assert_eq!(finished(&good).len(), 2);
        for bad in [line(2, 8, 9), line(3, 7, 9), line(2, 7, 7), "{}".to_owned()] {
            assert_eq!(finished(&[&good[..], &[bad]].concat()).len(), 2);
        }
    }

    #[test]
    fn the_pattern_names_all_shards() {
        assert_eq!(pattern(Path::new("a/b"), 1), "a/b/shard-000000.tar");
        assert_eq!(pattern(Path::new("a"), 13), "a/shard-{000000..000012}.tar");
    }
}
