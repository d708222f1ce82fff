//! A packed or exported data set gives the same samples, also after an interruption.
//!
//! Here: the data sets, and a source that fails at a record, which interrupts its reader. The tests are in the modules.

#[path = "../common/mod.rs"]
mod common;
mod export;
mod inspect;
mod pack;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::{fixture, opened};
use lsgan_data::tools::{self, Exported, PackFormat, PackOptions, Packed, ShardLimit, ToolError};
use lsgan_data::{Fingerprint, RecordError, SampleShape, Source, Stored};
use lsgan_spec::{DataSpec, Fit, Flip, IdxSource, ImageSpec, Source as Spec};

const IMAGE: ImageSpec = ImageSpec { size: 16, channels: 3, fit: Fit::Crop, flip: Flip::Never };

/// As `spec`, with the samples of these tests.
fn sized(spec: DataSpec) -> DataSpec {
    DataSpec { image: Some(IMAGE), ..spec }
}

fn lsun() -> DataSpec {
    sized(common::lsun(&fixture("lsun_lmdb")))
}

fn folder(path: &Path) -> DataSpec {
    sized(common::folder(path))
}

fn shards(pattern: &str) -> DataSpec {
    sized(common::shards(pattern))
}

/// 30 grey pictures of 5 rows and 9 columns in 12 classes.
fn labelled(dir: &Path) -> DataSpec {
    let (images, labels) = (dir.join("images"), dir.join("labels"));
    let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, 30, 0, 0, 0, 5, 0, 0, 0, 9];
    bytes.extend((0..30 * 45).map(|i| (i * 7 % 251) as u8));
    fs::write(&images, bytes).unwrap();
    let mut bytes = vec![0, 0, 8, 1, 0, 0, 0, 30];
    bytes.extend((0..30).map(|i| i * 5 % 12));
    fs::write(&labels, bytes).unwrap();
    sized(common::spec(Spec::Idx(IdxSource { labels: Some(labels), ..IdxSource::of(images) })))
}

/// Two classes, one picture without a class, one that is damaged.
fn folders(dir: &Path) -> DataSpec {
    let odd = |name: &str| fs::read(fixture("odd").join(name)).unwrap();
    for (name, bytes) in [
        ("cat/a.jpg", odd("colour.jpg")),
        ("cat/b.png", odd("exif6.png")),
        ("dog/c.webp", odd("lossy.webp")),
        ("dog/d.jpg", odd("cmyk.jpg")[..300].to_vec()),
        ("e.png", odd("grey16.png")),
    ] {
        let path = dir.join("folders").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder(&dir.join("folders"))
}

/// A row for each kind of source with pictures.
fn rows(dir: &Path) -> Vec<(&'static str, DataSpec)> {
    let tars = fixture("shards").join("train-{000000..000001}.tar").display().to_string();
    let odd_tar = fixture("shards").join("odd-000000.tar").display().to_string();
    vec![
        ("lsun", lsun()),
        ("idx", labelled(dir)),
        ("folder", folders(dir)),
        ("webdataset", shards(&tars)),
        ("webdataset with all kinds of members", shards(&odd_tar)),
    ]
}

fn options(out: &Path, threads: usize) -> PackOptions {
    PackOptions { out: out.into(), format: PackFormat::Png, limit: ShardLimit::Records(7), threads }
}

fn pack(source: &dyn Source, options: &PackOptions) -> Result<Packed, ToolError> {
    tools::pack(source, &IMAGE, options, &|_| ())
}

fn export(source: &dyn Source, out: &Path) -> Result<Exported, ToolError> {
    tools::export(source, out, 3, &|_| ())
}

/// The bits of a sample; none for one that does not decode.
fn bits(source: &dyn Source, record: u64) -> Option<Vec<u32>> {
    let mut sample = vec![f32::NAN; source.sample_len()];
    match source.read(record, &mut sample) {
        Ok(()) => Some(sample.into_iter().map(f32::to_bits).collect()),
        Err(RecordError::Undecodable { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// All files below a directory, by path.
fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = walkdir::WalkDir::new(dir).into_iter().map(|entry| entry.unwrap().into_path());
    let name = |path: &Path| path.strip_prefix(dir).unwrap().display().to_string();
    entries.filter(|path| path.is_file()).map(|path| (name(&path), fs::read(&path).unwrap())).collect()
}

#[track_caller]
fn assert_same_trees(found: &Path, wanted: &Path) {
    let (found, wanted) = (tree(found), tree(wanted));
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (name, bytes) in &wanted {
        assert!(found[name] == *bytes, "{name} differs");
    }
}

/// A data set that is lost from record `at` on, which interrupts a pack or an export there.
struct Breaking<'a> {
    inner: &'a dyn Source,
    at: u64,
}

impl Breaking<'_> {
    fn check(&self, record: u64) -> Result<(), RecordError> {
        let (kind, key, reason) = (self.kind(), record.to_string(), "it was made so".to_owned());
        if record < self.at { Ok(()) } else { Err(RecordError::Lost { kind, key, reason }) }
    }
}

impl Source for Breaking<'_> {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }
    fn len(&self) -> u64 {
        self.inner.len()
    }
    fn sample_shape(&self) -> SampleShape {
        self.inner.sample_shape()
    }
    fn read(&self, record: u64, out: &mut [f32]) -> Result<(), RecordError> {
        self.check(record).and_then(|()| self.inner.read(record, out))
    }
    fn stored(&self, record: u64) -> Result<Stored, RecordError> {
        self.check(record).and_then(|()| self.inner.stored(record))
    }
    fn key(&self, record: u64) -> Result<String, RecordError> {
        self.inner.key(record)
    }
    fn class(&self, record: u64) -> Option<u32> {
        self.inner.class(record)
    }
    fn class_names(&self) -> &[String] {
        self.inner.class_names()
    }
    fn fingerprint(&self) -> Fingerprint {
        self.inner.fingerprint()
    }
}
