//! Exports a data set as a folder of picture files, which the `folder` source reads.
//!
//! An encoded picture is copied byte for byte; pixels become a PNG. The file's name is the number of its record. A record
//! with a class lies in a sub-folder with the name of the class. Records that do not decode are left out. With the same
//! `data.image`, the folder gives the same samples.
//!
//! A file gets its name when it is complete. A repeated export compares each file with its record, and writes only files
//! that are missing or differ.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::encode::PackFormat;
use super::error::writing;
use super::output_dir::OutputDir;
use super::{CHUNK, CorruptRecord, PROGRESS_RECORDS, ToolError};
use crate::Source;
use crate::decode::{Format, decode};
use crate::fresh;
use crate::in_order::in_order;
use crate::index::{Meter, OnProgress};
use crate::picture::Channels;
use crate::source::Stored;

/// Hidden, so that the `folder` source leaves it out.
const JOURNAL: &str = ".lsgan-export.jsonl";
/// Raised when the same data set gives other files.
const VERSION: u32 = 1;
/// The least number of digits in a file's name.
const NAME_DIGITS: usize = 6;

#[derive(Clone, Debug)]
pub struct Exported {
    /// Pictures in the folder.
    pub records: u64,
    /// Pictures that existed before.
    pub records_kept: u64,
    pub len_bytes: u64,
    /// Records that do not decode.
    pub corrupt: Vec<CorruptRecord>,
}

/// Identifies the export: the first line of the journal.
#[derive(Serialize)]
struct Job {
    lsgan_export: u32,
    source: &'static str,
    source_fingerprint: String,
    source_records: u64,
}

/// Exports `source` into the directory `out`, or completes an interrupted export.
///
/// # Errors
///
/// A source of points; a directory with other files, or in use by another process; an error of the disk; a data set that
/// changes, or without a record that decodes.
pub fn export(
    source: &dyn Source,
    out: &Path,
    threads: usize,
    on_progress: OnProgress<'_>,
) -> Result<Exported, ToolError> {
    if matches!(source.sample_shape(), crate::SampleShape::Point2) {
        return Err(ToolError::NoPictures { kind: source.kind() });
    }
    let job = Job {
        lsgan_export: VERSION,
        source: source.kind(),
        source_fingerprint: source.fingerprint().to_string(),
        source_records: source.len(),
    };
    let (_held, _) = OutputDir::open(out, JOURNAL, &job)?;
    let folders = Folders::make(source, out)?;
    let digits = NAME_DIGITS.max((source.len() - 1).to_string().len());
    let write = |record| one(source, record, &folders.of(source, record), digits);
    let mut done = Exported { records: 0, records_kept: 0, len_bytes: 0, corrupt: Vec::new() };
    let mut meter = Meter::new(on_progress, "records", Some(source.len()), PROGRESS_RECORDS);
    in_order(0..source.len(), threads, CHUNK, write, |record, outcome| {
        match outcome? {
            Ok((len_bytes, was_there)) => {
                done.records += 1;
                done.records_kept += u64::from(was_there);
                done.len_bytes += len_bytes;
                meter.done(record + 1);
            }
            Err(bad) => done.corrupt.push(bad),
        }
        Ok::<_, ToolError>(())
    })?;
    match done.corrupt.first() {
        Some(bad) if done.records == 0 => {
            Err(ToolError::NothingDecodes { records: source.len(), reason: bad.reason.clone() })
        }
        _ => Ok(done),
    }
}

/// Writes a record's picture unless its file exists. Returns its length, and whether it existed.
fn one(
    source: &dyn Source,
    record: u64,
    folder: &Path,
    digits: usize,
) -> Result<Result<(u64, bool), CorruptRecord>, ToolError> {
    let (bytes, extension, is_checked) = match source.stored(record) {
        Ok(Stored::Encoded(bytes)) => {
            let extension = match Format::of(&bytes) {
                Some(Format::Jpeg) => "jpg",
                Some(Format::Png) => "png",
                // Other bytes do not decode, so their file is not written.
                Some(Format::Webp) | None => "webp",
            };
            (bytes, extension, false)
        }
        Ok(Stored::Pixels(picture)) => {
            let encoded = PackFormat::Png.encode(&picture);
            (encoded.map_err(|error| ToolError::Encode { record, reason: error.to_string() })?, "png", true)
        }
        Ok(Stored::Made) => return Err(ToolError::NoPictures { kind: source.kind() }),
        Err(error) => return CorruptRecord::of(record, error).map(Err).map_err(ToolError::Lost),
    };
    let path = folder.join(format!("{record:0digits$}.{extension}"));
    let len_bytes = bytes.len() as u64;
    let is_there = fs::metadata(&path).is_ok_and(|meta| meta.len() == len_bytes);
    // It decoded when it was written.
    if is_there && fs::read(&path).is_ok_and(|there| there == bytes) {
        return Ok(Ok((len_bytes, true)));
    }
    if !is_checked && let Err(reason) = decode(&bytes, Channels::Colour) {
        let bad = CorruptRecord::of_bytes(source, record, &bytes, reason);
        return bad.map(Err).map_err(ToolError::Lost);
    }
    let part = folder.join(format!(".{record:0digits$}.part"));
    fresh::replace(&part, &path, |file| file.write_all(&bytes)).map_err(writing(&path))?;
    Ok(Ok((len_bytes, false)))
}

/// The folders of the classes.
struct Folders {
    root: PathBuf,
    digits: usize,
}

impl Folders {
    fn make(source: &dyn Source, root: &Path) -> Result<Self, ToolError> {
        let classes: BTreeSet<u32> = (0..source.len()).filter_map(|record| source.class(record)).collect();
        // So that classes without a name sort by their numbers.
        let digits = classes.last().map_or(0, |last| last.to_string().len());
        let folders = Self { root: root.into(), digits };
        for class in classes {
            let folder = folders.of_class(source, class);
            fs::create_dir_all(&folder).map_err(writing(&folder))?;
        }
        Ok(folders)
    }

    fn of(&self, source: &dyn Source, record: u64) -> PathBuf {
        source.class(record).map_or_else(|| self.root.clone(), |class| self.of_class(source, class))
    }

    fn of_class(&self, source: &dyn Source, class: u32) -> PathBuf {
        match source.class_names().get(class as usize) {
            Some(name) => self.root.join(name),
            None => self.root.join(format!("{class:0digits$}", digits = self.digits)),
        }
    }
}
