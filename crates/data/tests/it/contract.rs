//! Every kind of source passes the contract.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lsgan_data::contract::contract;
use lsgan_data::{open, sources};
use lsgan_spec::{DataSpec, Fit, GaussianSource, IdxSource, ImageSpec, Modes, Source as Spec};

use crate::common::{Numbered, cifar10, fixture, opened, sample};

fn fashion_mnist() -> PathBuf {
    crate::common::fashion_mnist("t10k-images-idx3-ubyte.gz")
}

fn labelled_fashion_mnist() -> DataSpec {
    let labels = Some(crate::common::fashion_mnist("t10k-labels-idx1-ubyte.gz"));
    let source = Spec::Idx(IdxSource { labels, ..IdxSource::of(fashion_mnist()) });
    DataSpec::of(source, Some(ImageSpec::of(32, 1)))
}

fn idx(images: &Path, size: u32, channels: u32, fit: Fit) -> DataSpec {
    DataSpec { image: Some(ImageSpec { fit, ..ImageSpec::of(size, channels) }), ..crate::common::idx(images) }
}

fn gaussian(records: u64) -> DataSpec {
    mixture(Modes::Ring { count: 8, radius: 1.0 }, records)
}

fn mixture(modes: Modes, records: u64) -> DataSpec {
    let source = Spec::Gaussian(GaussianSource { records, ..GaussianSource::of(modes, 0.01) });
    DataSpec::of(source, None)
}

fn lsun(path: &str) -> DataSpec {
    let image = ImageSpec { fit: Fit::Crop, ..ImageSpec::of(16, 3) };
    DataSpec { image: Some(image), ..crate::common::lsun(&fixture(path)) }
}

fn shards(place: &str, channels: u32) -> DataSpec {
    DataSpec { image: Some(ImageSpec::of(16, channels)), ..crate::common::shards(place) }
}

/// Pictures in folders, some with misleading names, one damaged, one empty, and files that are no pictures.
fn folders(directory: &Path) -> PathBuf {
    let root = directory.join("folders");
    let odd = fixture("odd");
    let put = |name: &str, bytes: &[u8]| {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let read = |name: &str| std::fs::read(odd.join(name)).unwrap();
    put("cat/1", &read("colour.jpg"));
    put("cat/2.png", &read("lossy.webp"));
    put("cat/deep/3.JPG", &read("grey16.png"));
    put("cat/notes.txt", b"no picture");
    put("cat/.thumbs/4.jpg", &read("colour.jpg"));
    put("dog/5.jpg", &read("cmyk.jpg")[..300]);
    put("dog/6.webp", b"");
    put("dog/7.data", &read("exif6.jpg"));
    put("8.png", &read("grey.png"));
    root
}

/// 40 pictures of 5 rows and 9 columns, whose bytes all differ from one picture to the next.
fn small_idx(directory: &Path) -> PathBuf {
    let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, 40, 0, 0, 0, 5, 0, 0, 0, 9];
    bytes.extend((0..40 * 45).map(|i| (i * 7 % 251) as u8));
    let path = directory.join("small-idx3-ubyte");
    std::fs::write(&path, bytes).unwrap();
    path
}

fn small_cifar10(directory: &Path) -> PathBuf {
    let folder = directory.join("cifar-10-batches-bin");
    std::fs::create_dir(&folder).unwrap();
    for number in 1..=5 {
        std::fs::write(
            folder.join(format!("data_batch_{number}.bin")),
            crate::common::cifar10_file(number, 7),
        )
        .unwrap();
    }
    folder
}

/// A row for each source, and for each way to make samples.
fn rows(directory: &Path) -> Vec<(&'static str, DataSpec, &'static [u64])> {
    let small = small_idx(directory);
    let [train, odd] = ["train-{000000..000001}.tar", "odd-000000.tar"]
        .map(|name| fixture("shards").join(name).display().to_string());
    let image = Some(ImageSpec::of(16, 3));
    let cifar = small_cifar10(directory);
    vec![
        ("Fashion-MNIST, gzipped, padded to 32", idx(&fashion_mnist(), 32, 1, Fit::Pad), &[]),
        ("Fashion-MNIST with its labels", labelled_fashion_mnist(), &[]),
        ("plain IDX, padded", idx(&small, 32, 3, Fit::Pad), &[]),
        ("plain IDX, padded after scaling down", idx(&small, 7, 1, Fit::Pad), &[]),
        ("plain IDX, cropped", idx(&small, 11, 1, Fit::Crop), &[]),
        ("plain IDX, squashed", idx(&small, 4, 3, Fit::Squash), &[]),
        (
            "folders with all kinds of names",
            DataSpec { image, ..crate::common::folder(&folders(directory)) },
            &[4, 5],
        ),
        ("LMDB by py-lmdb", lsun("lsun_lmdb"), &[7, 50]),
        ("LMDB, the file itself", lsun("lsun_lmdb/data.mdb"), &[7, 50]),
        ("tar by webdataset", shards(&train, 1), &[]),
        ("tar with all kinds of members", shards(&odd, 1), &[3, 4]),
        ("tar in an object store", shards(&format!("file://{train}"), 3), &[]),
        ("CIFAR-10, the training set", cifar10(&cifar), &[]),
        ("CIFAR-10, one file", cifar10(&cifar.join("data_batch_3.bin")), &[]),
        ("ring of 8", gaussian(5000), &[]),
        ("ring of 8, one record", gaussian(1), &[]),
        ("grid of 5 x 5", mixture(Modes::Grid { columns: 5, rows: 5, spacing: 0.5 }, 3000), &[]),
        ("line of 8", mixture(Modes::Line { count: 8, spacing: 0.5 }, 3000), &[]),
    ]
}

#[test]
fn every_kind_of_source_passes_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let mut kinds = BTreeSet::new();
    for (name, spec, undecodable) in rows(directory.path()) {
        let source = open(&spec, 1).unwrap_or_else(|error| panic!("{name}: {error}"));
        println!("{name}: {} records", source.len());
        contract(&*source, undecodable);
        kinds.insert(source.kind());
    }
    assert_eq!(kinds, sources::KINDS.iter().copied().collect(), "a kind of source has no row");
}

/// A kind that reads files recognises what it reads.
#[test]
fn a_place_tells_its_kind() {
    let directory = tempfile::tempdir().unwrap();
    let folders = folders(directory.path());
    let beside = directory.path().join("folder-beside-its-tar");
    std::fs::create_dir_all(beside.join("class")).unwrap();
    std::fs::write(beside.join("class.tar"), b"").unwrap();
    let cifar = small_cifar10(directory.path());
    let mut kinds = BTreeSet::from(["gaussian"]); // reads no files
    for (place, kind) in [
        (fashion_mnist(), "idx"),
        (small_idx(directory.path()), "idx"),
        (cifar, "cifar10"),
        (folders.join("8.png"), "folder"),
        (folders, "folder"),
        (beside, "folder"),
        (fixture("lsun_lmdb"), "lsun"),
        (fixture("lsun_lmdb/data.mdb"), "lsun"),
        (fixture("shards"), "webdataset"),
        (fixture("shards/odd-000000.tar"), "webdataset"),
        ("train-{000000..000001}.tar".into(), "webdataset"),
        ("s3://bucket/train.tar".into(), "webdataset"),
    ] {
        let found = sources::find(place.to_str().unwrap()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(found.word(), kind, "{}", place.display());
        kinds.insert(kind);
    }
    assert_eq!(kinds, sources::KINDS.iter().copied().collect(), "a kind of source has no place");
    assert!(sources::find("no/such/file").unwrap_err().to_string().starts_with("no/such/file: No such file"));
}

#[test]
fn a_source_with_records_that_do_not_decode_passes_the_contract() {
    contract(&Numbered::without(100, [0, 50, 51, 99]), &[0, 50, 51, 99]);
}

#[test]
#[should_panic(expected = "record 7 (`number-7`) does not decode: it was made so")]
fn an_unexpected_bad_record_fails_the_contract() {
    contract(&Numbered::without(10, [7]), &[]);
}

/// Gzipped and plain files with equal content have equal fingerprints; another byte or seed gives another one.
#[test]
fn fingerprints_tell_data_apart() {
    let directory = tempfile::tempdir().unwrap();
    let plain = small_idx(directory.path());
    let bytes = std::fs::read(&plain).unwrap();
    let zipped = directory.path().join("small.gz");
    std::fs::write(&zipped, crate::common::gzipped(&bytes)).unwrap();
    let changed = directory.path().join("changed");
    let mut other = bytes.clone();
    *other.last_mut().unwrap() ^= 1;
    std::fs::write(&changed, other).unwrap();

    let of_file = |path: &PathBuf| opened(&idx(path, 32, 1, Fit::Pad)).fingerprint();
    assert_eq!(of_file(&plain), of_file(&zipped));
    assert_ne!(of_file(&plain), of_file(&changed));

    let of_seed = |seed| open(&gaussian(100), seed).unwrap().fingerprint();
    assert_eq!(of_seed(1), of_seed(1));
    assert_ne!(of_seed(1), of_seed(2));
    assert_ne!(of_seed(1), open(&gaussian(101), 1).unwrap().fingerprint());
}

/// The first picture of the test set is an ankle boot: 28 × 28 in the middle of a black 32 × 32, the toe at the left.
#[test]
fn the_first_picture_of_fashion_mnist_is_a_boot() {
    let source = opened(&idx(&fashion_mnist(), 32, 1, Fit::Pad));
    assert_eq!(source.len(), 10_000);
    let sample = sample(&*source, 0);
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

/// Fashion-MNIST has 1,000 pictures of each class, and the first is a boot. The points of a mixture lie near the mode of
/// their class.
#[test]
fn classes_are_those_of_the_data() {
    let source = opened(&labelled_fashion_mnist());
    let mut counts = [0; 10];
    (0..source.len()).for_each(|record| counts[source.class(record).unwrap() as usize] += 1);
    assert_eq!((counts, source.class(0), source.class(1)), ([1000; 10], Some(9), Some(2)));
    assert_eq!(source.fingerprint(), opened(&idx(&fashion_mnist(), 32, 1, Fit::Pad)).fingerprint());

    for modes in [
        Modes::Ring { count: 8, radius: 1.0 },
        Modes::Grid { columns: 5, rows: 5, spacing: 0.5 },
        Modes::Line { count: 8, spacing: 0.5 },
    ] {
        let (centres, source) = (modes.centres(), open(&mixture(modes, 1000), 1).unwrap());
        let mut found = BTreeSet::new();
        for record in 0..source.len() {
            let (point, class) = (sample(&*source, record), source.class(record).unwrap());
            let [x, y] = centres[class as usize];
            let off = (f64::from(point[0]) - x).hypot(f64::from(point[1]) - y);
            assert!(off < 6.0 * 0.01, "record {record} lies {off} from the mode {class}");
            found.insert(class);
        }
        assert_eq!(found.len(), centres.len(), "every mode has points");
    }
}
