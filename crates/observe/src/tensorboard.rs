//! Event files that TensorBoard reads, and through it W&B, Aim and others: scalars, grids of samples, scores, the run's file.
//!
//! A follower reads the journal and writes one file; nothing of it is in the training's way. A record is `length u64, masked
//! CRC-32C of the length, an Event, masked CRC-32C of it`, little-endian; an Event is a protocol buffer
//! (tensorflow/core/util/event.proto and framework/summary.proto).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crc_fast::CrcAlgorithm::Crc32Iscsi;
use lsgan_journal::{JournalError, Known, Reader};
use lsgan_launch::{ScoreRow, read_scores};
use lsgan_spec::scalars::Scalar;
use prost::Message;

use crate::curves::group;
use crate::metrics::{ROWS, rows};
use crate::tables;

/// The event file. Its name says nothing of the run, which may have no beginning yet: so a second call gives the same file.
const EVENTS: &str = "events.out.tfevents.0000000000.lsgan";

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The event file cannot be written.
    #[error("{path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Writes what a run's journal says into an event file, and goes on where the last call ended.
#[derive(Debug)]
pub struct Follower {
    run_dir: PathBuf,
    path: PathBuf,
    file: BufWriter<File>,
    every: u64,
    next_step: u64,
    /// One past the step of the newest grid that is written.
    samples_until: u64,
    scores: usize,
}

impl Follower {
    /// Begins the event file of a run in the folder `to`, anew. Of scalars it has the steps that `every` divides.
    ///
    /// # Errors
    /// The journal cannot be read, or the file not be written.
    pub fn begin(run_dir: &Path, journal: &mut Reader, to: &Path, every: u64) -> Result<Self, Error> {
        let known = journal.known()?;
        let path = to.join(EVENTS);
        let create = || {
            std::fs::create_dir_all(to)?;
            File::create(&path)
        };
        let file = create().map_err(|source| Error::Write { path: path.clone(), source })?;
        let mut follower = Self {
            run_dir: run_dir.to_owned(),
            path,
            file: BufWriter::new(file),
            every: every.max(1),
            next_step: 0,
            samples_until: 0,
            scores: 0,
        };
        let began = "select min(formed_ms) / 1000 from generations";
        let began_s: Option<u64> = journal.read(|db| db.query_row(began, [], |row| row.get(0)))?;
        let wall_time = began_s.unwrap_or(0) as f64;
        let version = Some("brain.Event:2".to_owned());
        follower.write(&Event { wall_time, file_version: version, ..Event::default() })?;
        if let Some(value) = config(&known) {
            follower.write(&Event::of(wall_time, 0, vec![value]))?;
        }
        Ok(follower)
    }

    /// Where the event file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what is new; returns how many rows, grids and scores these were.
    ///
    /// # Errors
    /// The journal cannot be read, or the file not be written.
    pub fn next(&mut self, journal: &mut Reader) -> Result<usize, Error> {
        let count = self.scalars(journal)? + self.samples(journal)? + self.scores()?;
        let flushed = self.file.flush();
        flushed.map_err(|source| Error::Write { path: self.path.clone(), source })?;
        Ok(count)
    }

    fn scalars(&mut self, journal: &mut Reader) -> Result<usize, Error> {
        let scalars: Vec<Scalar> = journal.scalars()?;
        let names: Vec<_> = scalars.iter().map(|scalar| scalar.name).collect();
        let from = self.next_step;
        let rows = journal.read(|db| rows(db, &names, from, ROWS))?;
        for (step, wall_ms, values) in &rows {
            self.next_step = step + 1;
            if step % self.every != 0 {
                continue;
            }
            let values = scalars.iter().zip(values).filter_map(|(scalar, value)| {
                Some(Value::scalar(&format!("{}/{}", group(scalar), scalar.name), (*value)?))
            });
            self.write(&Event::of(*wall_ms as f64 / 1000.0, *step, values.collect()))?;
        }
        Ok(rows.len())
    }

    fn samples(&mut self, journal: &mut Reader) -> Result<usize, Error> {
        let known = journal.read(tables::samples)?;
        let number = |row: &serde_json::Value, name: &str| row[name].as_u64().unwrap_or_default();
        let (mut count, from) = (0, self.samples_until);
        for row in known.iter().filter(|row| number(row, "step") >= from) {
            let step = number(row, "step");
            let file = journal.read(|db| tables::sample_file(db, step))?;
            // A grid that is gone is left out: the journal says where it was.
            if let Some(png) = file.and_then(|file| tables::read_sample(&self.run_dir, &file).ok())
                && let Some(value) = Value::picture("samples", png)
            {
                self.write(&Event::of(number(row, "written_ms") as f64 / 1000.0, step, vec![value]))?;
            }
            self.samples_until = step + 1;
            count += 1;
        }
        Ok(count)
    }

    fn scores(&mut self) -> Result<usize, Error> {
        // A file that cannot be read has nothing new; `lsgan checkpoints list` says what is wrong with it.
        let rows = read_scores(&self.run_dir).unwrap_or_default();
        let new = rows.get(self.scores..).unwrap_or_default();
        for (at, row) in new.iter().enumerate() {
            let of = weights_in_name(&rows[..=self.scores + at]);
            let scalar = |score: &lsgan_launch::Value| {
                Value::scalar(&format!("scores/{}{of}", score.metric), score.value)
            };
            let values = row.scores.iter().map(scalar).collect();
            self.write(&Event::of(0.0, row.step.0, values))?;
        }
        self.scores += new.len();
        Ok(new.len())
    }

    fn write(&mut self, event: &Event) -> Result<(), Error> {
        let data = event.encode_to_vec();
        let len = (data.len() as u64).to_le_bytes();
        let parts: [&[u8]; 4] = [&len, &masked_crc(&len), &data, &masked_crc(&data)];
        let written = parts.iter().try_for_each(|part| self.file.write_all(part));
        written.map_err(|source| Error::Write { path: self.path.clone(), source })
    }
}

/// The checksum of a record, turned so that one of checksums is none.
fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    const DELTA: u32 = 0xa282_ead8;
    // A CRC-32 has 32 bits.
    let crc = crc_fast::checksum(Crc32Iscsi, bytes) as u32;
    crc.rotate_right(15).wrapping_add(DELTA).to_le_bytes()
}

/// The run's file as text.
fn config(known: &Known) -> Option<Value> {
    // Four blanks before each line: TensorBoard shows Markdown.
    let yaml = known.fact("spec_yaml")?;
    let text: String = yaml.lines().map(|line| format!("    {line}\n")).collect();
    let plugin = PluginData { plugin_name: "text".to_owned() };
    Some(Value {
        tag: "run's file".to_owned(),
        metadata: Some(Metadata { plugin_data: Some(plugin) }),
        tensor: Some(Tensor { dtype: DT_STRING, shape: Some(Shape {}), strings: vec![text.into_bytes()] }),
        ..Value::default()
    })
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple: Option<f32>,
    #[prost(message, optional, tag = "4")]
    image: Option<Image>,
    #[prost(message, optional, tag = "8")]
    tensor: Option<Tensor>,
    #[prost(message, optional, tag = "9")]
    metadata: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
struct Image {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    /// 3: red, green, blue.
    #[prost(int32, tag = "3")]
    colorspace: i32,
    #[prost(bytes = "vec", tag = "4")]
    encoded: Vec<u8>,
}

/// The number of TensorFlow's type for texts.
const DT_STRING: i32 = 7;

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    strings: Vec<Vec<u8>>,
}

/// Without dimensions: a single value.
#[derive(Clone, PartialEq, Message)]
struct Shape {}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(message, optional, tag = "1")]
    plugin_data: Option<PluginData>,
}

#[derive(Clone, PartialEq, Message)]
struct PluginData {
    #[prost(string, tag = "1")]
    plugin_name: String,
}

impl Event {
    fn of(wall_time: f64, step: u64, values: Vec<Value>) -> Self {
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        Self { wall_time, step, file_version: None, summary: Some(Summary { values }) }
    }
}

impl Value {
    fn scalar(tag: &str, value: f64) -> Self {
        Self { tag: tag.to_owned(), simple: Some(value as f32), ..Self::default() }
    }

    /// None for what is no PNG: its first chunk has width and height.
    fn picture(tag: &str, png: Vec<u8>) -> Option<Self> {
        let number = |at: usize| {
            let bytes: [u8; 4] = png.get(at..at + 4)?.try_into().ok()?;
            i32::try_from(u32::from_be_bytes(bytes)).ok()
        };
        let (width, height) = (number(16)?, number(20)?);
        let image = Image { height, width, colorspace: 3, encoded: png };
        Some(Self { tag: tag.to_owned(), image: Some(image), ..Self::default() })
    }
}

/// What the names of the last row's scores end with: nothing, or the weights where its snapshot was scored with others first.
fn weights_in_name(rows: &[ScoreRow]) -> String {
    let first = rows
        .last()
        .and_then(|last| rows.iter().find(|row| (row.step, &row.basis) == (last.step, &last.basis)));
    match rows.last().zip(first) {
        Some((last, first)) if last.weights != first.weights => format!(" ({})", last.weights.word()),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn checksums_are_those_of_the_format() {
        // CRC-32C of RFC 3720, B.4: 32 bytes of zeros give 0x8a9136aa.
        assert_eq!(crc_fast::checksum(super::Crc32Iscsi, &[0; 32]), 0x8a91_36aa);
        let masked = 0x8a91_36aa_u32.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(super::masked_crc(&[0; 32]), masked.to_le_bytes());
    }
}
