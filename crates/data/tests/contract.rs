//! Every kind of source keeps the contract.

mod common;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use common::Numbered;
use lsgan_data::contract::contract;
use lsgan_data::{open, sources};
use lsgan_spec::{DataSpec, Fit, GaussianSource, IdxSource, ImageSpec, Modes, Source as Spec};

fn fashion_mnist() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/fashion-mnist/t10k-images-idx3-ubyte.gz")
}

fn idx(images: PathBuf, size: u32, channels: u32, fit: Fit) -> DataSpec {
    let source = Spec::Idx(IdxSource { images });
    DataSpec { source, image: Some(ImageSpec { size, channels, fit }), shard_records: 256 }
}

fn gaussian(records: u64) -> DataSpec {
    let modes = Modes::Ring { count: 8, radius: 1.0 };
    let source = Spec::Gaussian(GaussianSource { modes, sigma: 0.01, records });
    DataSpec { source, image: None, shard_records: 256 }
}

/// 40 pictures of 5 rows and 9 columns, whose bytes all differ from one picture to the next.
fn small_idx(directory: &Path) -> PathBuf {
    let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, 40, 0, 0, 0, 5, 0, 0, 0, 9];
    bytes.extend((0..40 * 45).map(|i| (i * 7 % 251) as u8));
    let path = directory.join("small-idx3-ubyte");
    std::fs::write(&path, bytes).unwrap();
    path
}

/// One line for each source, and for each way in which it makes samples.
fn rows(directory: &Path) -> Vec<(&'static str, DataSpec)> {
    let small = small_idx(directory);
    vec![
        ("Fashion-MNIST, gzipped, padded to 32", idx(fashion_mnist(), 32, 1, Fit::Pad)),
        ("plain IDX, padded", idx(small.clone(), 32, 3, Fit::Pad)),
        ("plain IDX, padded after scaling down", idx(small.clone(), 7, 1, Fit::Pad)),
        ("plain IDX, cropped", idx(small.clone(), 11, 1, Fit::Crop)),
        ("plain IDX, squashed", idx(small, 4, 3, Fit::Squash)),
        ("ring of 8", gaussian(5000)),
        ("ring of 8, one record", gaussian(1)),
    ]
}

#[test]
fn every_kind_of_source_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let mut kinds = BTreeSet::new();
    for (name, spec) in rows(directory.path()) {
        let source = open(&spec, 1).unwrap_or_else(|error| panic!("{name}: {error}"));
        println!("{name}: {} records", source.len());
        contract(&*source, &[]);
        kinds.insert(source.kind());
    }
    assert_eq!(kinds, sources::KINDS.into_iter().collect(), "a kind of source has no row");
}

#[test]
fn a_source_with_records_that_do_not_decode_keeps_the_contract() {
    contract(&Numbered::without(100, [0, 50, 51, 99]), &[0, 50, 51, 99]);
}

#[test]
#[should_panic(expected = "record 7 (`number-7`) does not decode: it was made so")]
fn a_bad_record_that_nobody_expects_breaks_the_contract() {
    contract(&Numbered::without(10, [7]), &[]);
}

/// Equal content is equal data, gzipped or not; another byte, seed or width is other data.
#[test]
fn fingerprints_tell_data_apart() {
    let directory = tempfile::tempdir().unwrap();
    let plain = small_idx(directory.path());
    let bytes = std::fs::read(&plain).unwrap();
    let zipped = directory.path().join("small.gz");
    let mut encoder =
        flate2::write::GzEncoder::new(std::fs::File::create(&zipped).unwrap(), Default::default());
    encoder.write_all(&bytes).unwrap();
    encoder.finish().unwrap();
    let changed = directory.path().join("changed");
    let mut other = bytes.clone();
    *other.last_mut().unwrap() ^= 1;
    std::fs::write(&changed, other).unwrap();

    let of_file = |path: &PathBuf| open(&idx(path.clone(), 32, 1, Fit::Pad), 1).unwrap().fingerprint();
    assert_eq!(of_file(&plain), of_file(&zipped));
    assert_ne!(of_file(&plain), of_file(&changed));

    let of_seed = |seed| open(&gaussian(100), seed).unwrap().fingerprint();
    assert_eq!(of_seed(1), of_seed(1));
    assert_ne!(of_seed(1), of_seed(2));
    assert_ne!(of_seed(1), open(&gaussian(101), 1).unwrap().fingerprint());
}

/// The first picture of the test set is an ankle boot: 28 × 28 in the middle of a black 32 × 32, the toe at the left.
#[test]
fn fashion_mnist_is_what_it_is_known_to_be() {
    let source = open(&idx(fashion_mnist(), 32, 1, Fit::Pad), 1).unwrap();
    assert_eq!(source.len(), 10_000);
    let mut sample = vec![0.0; source.sample_len()];
    source.read(0, &mut sample).unwrap();
    let light = |row: usize, column: usize| (sample[32 * row + column] + 1.0) * 127.5;
    for i in 0..32 {
        for border in [0, 1, 30, 31] {
            assert_eq!((light(border, i), light(i, border)), (0.0, 0.0), "border at {border}, {i}");
        }
    }
    let (left, right): (f32, f32) = (0..32)
        .flat_map(|row| (0..16).map(move |c| (row, c)))
        .fold((0.0, 0.0), |(left, right), (row, c)| (left + light(row, c), right + light(row, 31 - c)));
    assert!(right > 2.0 * left, "the shaft stands at the right: {left} left, {right} right");
}
