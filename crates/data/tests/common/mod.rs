//! Descriptions of data sets, a synthetic source, and a wait with a deadline.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use lsgan_data::source::check_request;
use lsgan_data::{DataError, Fingerprint, RecordError, SampleShape, Source, open, sources};
use lsgan_spec::{DataSpec, ImageSpec, Source as Spec};

pub fn spec(source: Spec) -> DataSpec {
    DataSpec::of(source, Some(ImageSpec::of(8, 3)))
}

fn at(kind: &str, place: &Path) -> DataSpec {
    spec(sources::at(kind, place.to_str().unwrap()).unwrap())
}

pub fn idx(path: &Path) -> DataSpec {
    DataSpec { image: Some(ImageSpec::of(8, 1)), ..at("idx", path) }
}

pub fn folder(path: &Path) -> DataSpec {
    at("folder", path)
}

pub fn lsun(path: &Path) -> DataSpec {
    at("lsun", path)
}

pub fn shards(pattern: &str) -> DataSpec {
    at("webdataset", Path::new(pattern))
}

pub fn cifar10(path: &Path) -> DataSpec {
    DataSpec { image: Some(ImageSpec::of(32, 3)), ..at("cifar10", path) }
}

pub fn opened(spec: &DataSpec) -> Box<dyn Source> {
    open(spec, 1).unwrap_or_else(|error| panic!("{error}"))
}

pub fn refused(spec: &DataSpec) -> DataError {
    open(spec, 1).map(|_| ()).expect_err("not to be opened")
}

pub fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A file of CIFAR-10 with so many records, of other bytes for each `number`.
pub fn cifar10_file(number: usize, records: usize) -> Vec<u8> {
    let byte = |record: usize, i: usize| if i == 0 { record % 10 } else { i * (record + 1) * number % 251 };
    (0..records).flat_map(|record| (0..3073).map(move |i| byte(record, i) as u8)).collect()
}

pub fn sample(source: &dyn Source, record: u64) -> Vec<f32> {
    let mut sample = vec![0.0; source.sample_len()];
    source.read(record, &mut sample).unwrap_or_else(|error| panic!("{error}"));
    sample
}

/// A file of Fashion-MNIST's test set.
pub fn fashion_mnist(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/fashion-mnist").join(name)
}

/// Points `[record, record + 0.5]`, of which some do not decode; `on_read` is called before each read.
pub struct Numbered {
    pub records: u64,
    pub undecodable: BTreeSet<u64>,
    pub on_read: Box<dyn Fn(u64) + Send + Sync>,
}

impl Numbered {
    pub fn new(records: u64) -> Self {
        Self { records, undecodable: BTreeSet::new(), on_read: Box::new(|_| ()) }
    }

    pub fn without(records: u64, undecodable: impl IntoIterator<Item = u64>) -> Self {
        Self { undecodable: undecodable.into_iter().collect(), ..Self::new(records) }
    }

    pub fn watched(records: u64, on_read: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self { on_read: Box::new(on_read), ..Self::new(records) }
    }
}

impl Source for Numbered {
    fn kind(&self) -> &'static str {
        "numbered"
    }

    fn len(&self) -> u64 {
        self.records
    }

    fn sample_shape(&self) -> SampleShape {
        SampleShape::Point2
    }

    fn read(&self, record: u64, out: &mut [f32]) -> Result<(), RecordError> {
        check_request(self, record, out.len())?;
        (self.on_read)(record);
        if self.undecodable.contains(&record) {
            let (key, reason) = (format!("number-{record}"), "it was made so".to_string());
            return Err(RecordError::Undecodable { kind: self.kind(), key, reason });
        }
        out.copy_from_slice(&[record as f32, record as f32 + 0.5]);
        Ok(())
    }

    fn fingerprint(&self) -> Fingerprint {
        blake3::hash(&self.records.to_le_bytes())
    }
}

/// A file or folder that `scripts/make-data-fixtures` wrote.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Long enough for a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Runs `action` in another thread, and panics if it does not return before the deadline.
pub fn within_deadline<T: Send + 'static>(what: &str, action: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let _ = sender.send(action());
    });
    match receiver.recv_timeout(DEADLINE) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what}: nothing after {DEADLINE:?}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => std::panic::resume_unwind(
            thread.join().expect_err("the thread ends without sending only by a panic"),
        ),
    }
}
