//! Every kind of source keeps the contract.

mod common;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use common::{Numbered, fixture};
use lsgan_data::contract::contract;
use lsgan_data::{open, sources};
use lsgan_spec::{
    DataSpec, Fit, FolderSource, GaussianSource, IdxSource, ImageSpec, LsunSource, Modes, Source as Spec,
    WebdatasetSource,
};

fn fashion_mnist() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/fashion-mnist/t10k-images-idx3-ubyte.gz")
}

fn labelled_fashion_mnist() -> DataSpec {
    let labels = Some(fashion_mnist().with_file_name("t10k-labels-idx1-ubyte.gz"));
    let source = Spec::Idx(IdxSource { labels, ..IdxSource::of(fashion_mnist()) });
    DataSpec::of(source, Some(ImageSpec::of(32, 1)))
}

fn idx(images: PathBuf, size: u32, channels: u32, fit: Fit) -> DataSpec {
    let source = Spec::Idx(IdxSource::of(images));
    DataSpec::of(source, Some(ImageSpec { fit, ..ImageSpec::of(size, channels) }))
}

fn gaussian(records: u64) -> DataSpec {
    mixture(Modes::Ring { count: 8, radius: 1.0 }, records)
}

fn mixture(modes: Modes, records: u64) -> DataSpec {
    let source = Spec::Gaussian(GaussianSource { modes, sigma: 0.01, records });
    DataSpec::of(source, None)
}

fn folder(path: PathBuf) -> DataSpec {
    DataSpec::of(Spec::Folder(FolderSource { path }), Some(ImageSpec::of(16, 3)))
}

fn lsun(path: PathBuf) -> DataSpec {
    let image = ImageSpec { fit: Fit::Crop, ..ImageSpec::of(16, 3) };
    DataSpec::of(Spec::Lsun(LsunSource { path }), Some(image))
}

fn shards(shards: &str) -> DataSpec {
    let shards = fixture("shards").join(shards).display().to_string();
    DataSpec::of(Spec::Webdataset(WebdatasetSource { shards }), Some(ImageSpec::of(16, 1)))
}

/// The odd pictures in folders and under names that say nothing, one damaged, one empty, and what is no picture.
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

/// One line for each source, and for each way in which it makes samples.
fn rows(directory: &Path) -> Vec<(&'static str, DataSpec, &'static [u64])> {
    let small = small_idx(directory);
    let url = format!("file://{}", fixture("shards").join("train-{000000..000001}.tar").display());
    let in_store =
        DataSpec::of(Spec::Webdataset(WebdatasetSource { shards: url }), Some(ImageSpec::of(16, 3)));
    vec![
        ("Fashion-MNIST, gzipped, padded to 32", idx(fashion_mnist(), 32, 1, Fit::Pad), &[]),
        ("Fashion-MNIST with its labels", labelled_fashion_mnist(), &[]),
        ("plain IDX, padded", idx(small.clone(), 32, 3, Fit::Pad), &[]),
        ("plain IDX, padded after scaling down", idx(small.clone(), 7, 1, Fit::Pad), &[]),
        ("plain IDX, cropped", idx(small.clone(), 11, 1, Fit::Crop), &[]),
        ("plain IDX, squashed", idx(small, 4, 3, Fit::Squash), &[]),
        ("folders with all kinds of names", folder(folders(directory)), &[4, 5]),
        ("LMDB by py-lmdb", lsun(fixture("lsun_lmdb")), &[7, 50]),
        ("LMDB, the file itself", lsun(fixture("lsun_lmdb/data.mdb")), &[7, 50]),
        ("tar by webdataset", shards("train-{000000..000001}.tar"), &[]),
        ("tar with all that can be in one", shards("odd-000000.tar"), &[3, 4]),
        ("tar in an object store", in_store, &[]),
        ("ring of 8", gaussian(5000), &[]),
        ("ring of 8, one record", gaussian(1), &[]),
        ("grid of 5 x 5", mixture(Modes::Grid { columns: 5, rows: 5, spacing: 0.5 }, 3000), &[]),
        ("line of 8", mixture(Modes::Line { count: 8, spacing: 0.5 }, 3000), &[]),
    ]
}

#[test]
fn every_kind_of_source_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let mut kinds = BTreeSet::new();
    for (name, spec, undecodable) in rows(directory.path()) {
        let source = open(&spec, 1).unwrap_or_else(|error| panic!("{name}: {error}"));
        println!("{name}: {} records", source.len());
        contract(&*source, undecodable);
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

/// 1,000 of each of the ten classes; the first picture is a boot. The points of a mixture lie near the mode that is their
/// class.
#[test]
fn classes_are_those_that_are_known() {
    let source = open(&labelled_fashion_mnist(), 1).unwrap();
    let mut counts = [0; 10];
    (0..source.len()).for_each(|record| counts[source.class(record).unwrap() as usize] += 1);
    assert_eq!((counts, source.class(0), source.class(1)), ([1000; 10], Some(9), Some(2)));
    assert_eq!(source.fingerprint(), open(&idx(fashion_mnist(), 32, 1, Fit::Pad), 1).unwrap().fingerprint());

    for modes in [
        Modes::Ring { count: 8, radius: 1.0 },
        Modes::Grid { columns: 5, rows: 5, spacing: 0.5 },
        Modes::Line { count: 8, spacing: 0.5 },
    ] {
        let (centres, source) = (modes.centres(), open(&mixture(modes, 1000), 1).unwrap());
        let mut found = BTreeSet::new();
        for record in 0..source.len() {
            let (mut point, class) = ([0.0; 2], source.class(record).unwrap());
            source.read(record, &mut point).unwrap();
            let [x, y] = centres[class as usize];
            let off = (f64::from(point[0]) - x).hypot(f64::from(point[1]) - y);
            assert!(off < 6.0 * 0.01, "record {record} lies {off} from the mode {class}");
            found.insert(class);
        }
        assert_eq!(found.len(), centres.len(), "every mode has points");
    }
}
