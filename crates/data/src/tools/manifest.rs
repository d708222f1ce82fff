//! The description of packed shards: the lines of the journal while they are written, and the manifest at the end.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use lsgan_spec::Fit;
use serde::{Deserialize, Serialize};

use super::encode::PackFormat;
use super::error::writing;
use super::{CorruptRecord, ToolError};
use crate::fresh;

const MANIFEST: &str = "manifest.json";

/// Identifies the pack: the first line of the journal, and the beginning of the manifest.
#[derive(Debug, Serialize)]
pub(super) struct Job {
    pub(super) lsgan_pack: u32,
    pub(super) source: &'static str,
    pub(super) source_fingerprint: String,
    pub(super) source_records: u64,
    pub(super) size: u32,
    pub(super) channels: u32,
    pub(super) fit: Fit,
    pub(super) format: PackFormat,
    pub(super) cut: String,
}

/// A complete shard: a line of the journal, and of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shard {
    pub(super) file: String,
    /// The records of the source that it holds: `first..end`.
    pub(super) first: u64,
    pub(super) end: u64,
    /// Pictures in the shard.
    pub(super) records: u64,
    pub(super) len_bytes: u64,
    pub(super) blake3: String,
    pub(super) corrupt: Vec<CorruptRecord>,
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

/// The shards in the journal's lines, up to the first that does not follow its predecessor.
pub(super) fn finished(lines: &[String]) -> Vec<Shard> {
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

pub(super) fn file_name(index: usize) -> String {
    format!("shard-{index:06}.tar")
}

/// The pattern of all shards.
pub(super) fn pattern(dir: &Path, shards: usize) -> String {
    let file = match shards {
        1 => file_name(0),
        _ => format!("shard-{{000000..{:06}}}.tar", shards - 1),
    };
    dir.join(file).display().to_string()
}

pub(super) fn write_manifest(
    dir: &Path,
    job: &Job,
    class_names: &[String],
    shards: &[Shard],
) -> Result<(), ToolError> {
    let records = shards.iter().map(|shard| shard.records).sum();
    let corrupt = shards.iter().map(|shard| shard.corrupt.len() as u64).sum();
    let manifest = Manifest { job, records, corrupt, class_names, shards };
    let mut text = serde_json::to_string_pretty(&manifest).expect("plain values become JSON");
    text.push('\n');
    let (path, part) = (dir.join(MANIFEST), dir.join(format!("{MANIFEST}.part")));
    let fill = |file: &mut File| file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    fresh::replace(&part, &path, fill).map_err(writing(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

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
