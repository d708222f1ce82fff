//! A data set that is packed or exported is the same data set again, whoever was killed meanwhile.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use common::{Numbered, fixture};
use lsgan_data::contract::contract;
use lsgan_data::tools::{
    self, Classes, Cut, Exported, PackFormat, PackOptions, Packed, Spread, ToolError, Which, look,
};
use lsgan_data::{Fingerprint, RecordError, SampleShape, Source, Stored, open};
use lsgan_spec::{
    DataSpec, Fit, Flip, FolderSource, IdxSource, ImageSpec, LsunSource, Source as Spec, WebdatasetSource,
};

const IMAGE: ImageSpec = ImageSpec { size: 16, channels: 3, fit: Fit::Crop, flip: Flip::Never };

fn spec(source: Spec) -> DataSpec {
    DataSpec::of(source, Some(IMAGE))
}

fn opened(spec: &DataSpec) -> Box<dyn Source> {
    open(spec, 1).unwrap_or_else(|error| panic!("{error}"))
}

fn lsun() -> DataSpec {
    spec(Spec::Lsun(LsunSource { path: fixture("lsun_lmdb") }))
}

fn folder(path: &Path) -> DataSpec {
    spec(Spec::Folder(FolderSource { path: path.into() }))
}

fn shards(pattern: &str) -> DataSpec {
    spec(Spec::Webdataset(WebdatasetSource { shards: pattern.into() }))
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
    spec(Spec::Idx(IdxSource { labels: Some(labels), ..IdxSource::of(images) }))
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

/// A line for each kind of source with pictures.
fn rows(dir: &Path) -> Vec<(&'static str, DataSpec)> {
    let tars = fixture("shards").join("train-{000000..000001}.tar").display().to_string();
    let odd_tar = fixture("shards").join("odd-000000.tar").display().to_string();
    vec![
        ("lsun", lsun()),
        ("idx", labelled(dir)),
        ("folder", folders(dir)),
        ("webdataset", shards(&tars)),
        ("webdataset with all that can be in one", shards(&odd_tar)),
    ]
}

fn options(out: &Path, threads: usize) -> PackOptions {
    PackOptions { out: out.into(), format: PackFormat::Png, cut: Cut::Records(7), threads }
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

/// Everything below a directory, by its path.
fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

#[track_caller]
fn assert_same_trees(found: &Path, wanted: &Path) {
    let (found, wanted) = (tree(found), tree(wanted));
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (name, bytes) in &wanted {
        assert!(found[name] == *bytes, "{name} differs");
    }
}

/// A data set that is lost from one record on: whoever packs it is stopped there, as by a death.
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

// ---- pack ----

#[test]
fn packed_shards_have_the_samples_of_their_source_to_the_bit_and_in_its_order() {
    for format in [PackFormat::Png, PackFormat::Webp] {
        let dir = tempfile::tempdir().unwrap();
        for (name, spec) in rows(dir.path()) {
            let source = opened(&spec);
            let out = dir.path().join(format!("packed {name}"));
            let packed = pack(&*source, &PackOptions { format, ..options(&out, 2) }).unwrap();
            let again = opened(&shards(&packed.pattern));
            contract(&*again, &[]);
            let good: Vec<u64> =
                (0..source.len()).filter(|record| bits(&*source, *record).is_some()).collect();
            assert_eq!((again.len(), packed.records), (good.len() as u64, good.len() as u64), "{name}");
            for (packed, record) in (0..).zip(&good) {
                assert_eq!(bits(&*again, packed), bits(&*source, *record), "{name}: {record} as {packed}");
                assert_eq!(again.class(packed), source.class(*record), "{name}: class of {record}");
            }
            let bad: Vec<u64> = packed.corrupt.iter().map(|bad| bad.record).collect();
            let wanted: Vec<u64> = (0..source.len()).filter(|record| !good.contains(record)).collect();
            assert_eq!(bad, wanted, "{name}");
        }
    }
}

#[test]
fn the_manifest_names_every_shard_with_its_hash_and_every_record_that_was_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let source = opened(&lsun());
    let packed = pack(&*source, &options(dir.path(), 2)).unwrap();
    let manifest = fs::read(dir.path().join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["source_fingerprint"], source.fingerprint().to_string());
    assert_eq!((&manifest["records"], &manifest["corrupt"]), (&(source.len() - 2).into(), &2.into()));
    let listed = manifest["shards"].as_array().unwrap();
    assert_eq!(listed.len() as u64, packed.shards);
    let mut bad = Vec::new();
    for shard in listed {
        let bytes = fs::read(dir.path().join(shard["file"].as_str().unwrap())).unwrap();
        assert_eq!(shard["blake3"], blake3::hash(&bytes).to_hex().as_str());
        assert_eq!(shard["len_bytes"], bytes.len());
        assert!(shard["records"].as_u64().unwrap() <= 7);
        bad.extend(shard["corrupt"].as_array().unwrap().iter().map(|bad| bad["record"].as_u64().unwrap()));
    }
    assert_eq!(bad, [7, 50]);
    assert_eq!(packed.corrupt[0].key, source.key(7).unwrap());
}

#[test]
fn the_bytes_do_not_depend_on_the_threads() {
    let dir = tempfile::tempdir().unwrap();
    let source = opened(&lsun());
    let [one, five] = [1, 5].map(|threads| {
        let out = dir.path().join(threads.to_string());
        pack(&*source, &options(&out, threads)).unwrap();
        out
    });
    assert_same_trees(&five, &one);
    let [one, many] = [1, 4].map(|threads| {
        let out = dir.path().join(format!("mib-{threads}"));
        pack(&*source, &PackOptions { cut: Cut::Mib(1), ..options(&out, threads) }).unwrap();
        out
    });
    assert_same_trees(&many, &one);
}

#[test]
fn a_pack_that_was_interrupted_anywhere_ends_as_one_that_was_not() {
    let dir = tempfile::tempdir().unwrap();
    let (source, wanted) = (opened(&lsun()), dir.path().join("undisturbed"));
    let whole = pack(&*source, &options(&wanted, 2)).unwrap();
    let manifest = fs::read(wanted.join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let ends: Vec<u64> =
        manifest["shards"].as_array().unwrap().iter().map(|shard| shard["end"].as_u64().unwrap()).collect();
    for at in [0, 1, 6, 7, 8, 9, 15, 51, source.len() - 1] {
        let out = dir.path().join(at.to_string());
        let error = pack(&Breaking { inner: &*source, at }, &options(&out, 2)).unwrap_err();
        assert!(matches!(error, ToolError::Lost(_)), "{error}");
        assert!(!out.join("manifest.json").exists(), "it is written last");
        // A shard ends when the first picture of the next one comes.
        let kept = ends.iter().filter(|end| **end < at).count() as u64;
        // What a killed process leaves: half a shard under its other name, and half a line.
        fs::write(out.join(format!("shard-{kept:06}.tar.part")), "half").unwrap();
        let journal = out.join(".lsgan-pack.jsonl");
        fs::write(&journal, format!("{}{{\"file\":", fs::read_to_string(&journal).unwrap())).unwrap();
        let packed = pack(&*source, &options(&out, 3)).unwrap();
        assert_eq!(packed.shards_kept, kept, "interrupted at {at}");
        assert_same_trees(&out, &wanted);
    }
    let again = pack(&*source, &options(&wanted, 2)).unwrap();
    assert_eq!((again.shards_kept, again.records), (whole.shards, whole.records));
}

#[test]
fn shards_that_are_damaged_or_gone_are_made_again_and_only_they() {
    let dir = tempfile::tempdir().unwrap();
    let (source, wanted, out) = (opened(&lsun()), dir.path().join("wanted"), dir.path().join("out"));
    pack(&*source, &options(&wanted, 2)).unwrap();
    let whole = pack(&*source, &options(&out, 2)).unwrap();
    let damaged = out.join("shard-000001.tar");
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[600] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    fs::remove_file(out.join("shard-000003.tar")).unwrap();
    let again = pack(&*source, &options(&out, 2)).unwrap();
    assert_eq!(again.shards_kept, whole.shards - 2);
    assert_same_trees(&out, &wanted);
}

/// Its name and length are as before, so the fingerprint is; its content is not.
#[test]
fn a_data_set_that_changed_under_its_names_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let spec = folders(dir.path());
    let (source, out) = (opened(&spec), dir.path().join("out"));
    pack(&*source, &options(&out, 1)).unwrap();
    fs::remove_file(out.join("shard-000000.tar")).unwrap();
    let picture = dir.path().join("folders/cat/b.png");
    let len = fs::metadata(&picture).unwrap().len() as usize;
    let mut other = fs::read(fixture("odd").join("grey.png")).unwrap();
    assert!(other.len() <= len, "{} of {len}", other.len());
    other.resize(len, 0);
    fs::write(&picture, other).unwrap();
    let error = pack(&*source, &options(&out, 1)).unwrap_err();
    assert!(matches!(error, ToolError::Changed { .. }), "{error}");
}

#[test]
fn a_full_disk_is_an_error_that_says_so_and_what_is_finished_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (source, wanted, out) = (opened(&lsun()), dir.path().join("wanted"), dir.path().join("out"));
    pack(&*source, &options(&wanted, 2)).unwrap();
    pack(&Breaking { inner: &*source, at: 20 }, &options(&out, 2)).unwrap_err();
    symlink("/dev/full", out.join("shard-000002.tar.part")).unwrap();
    let error = pack(&*source, &options(&out, 2)).unwrap_err();
    assert!(matches!(&error, ToolError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull));
    let text = error.to_string();
    assert!(text.contains("shard-000002.tar.part: it cannot be written: No space left"), "{text}");
    assert!(
        text.ends_with("Make room; what is finished is kept, and the same command goes on from there."),
        "{text}"
    );
    assert_eq!(pack(&*source, &options(&out, 2)).unwrap().shards_kept, 2);
    assert_same_trees(&out, &wanted);
}

#[test]
fn another_pack_points_and_a_foreign_directory_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (source, out) = (opened(&lsun()), dir.path().join("out"));
    pack(&*source, &options(&out, 1)).unwrap();
    let refused = |source: &dyn Source, options: &PackOptions, says: &str| {
        let text = pack(source, options).unwrap_err().to_string();
        assert!(text.contains(says), "{text}");
    };
    let before = tree(&out);
    refused(
        &*source,
        &PackOptions { cut: Cut::Mib(3), ..options(&out, 1) },
        "cut is 7 records there and 3 MiB here",
    );
    refused(
        &*source,
        &PackOptions { format: PackFormat::Webp, ..options(&out, 1) },
        "format is png there and webp",
    );
    refused(&*opened(&folders(dir.path())), &options(&out, 1), "source is lsun there and folder here");
    assert_eq!(tree(&out), before);
    refused(&Numbered::new(5), &options(&dir.path().join("new"), 1), "only pictures are written");
    refused(&*source, &options(&dir.path().join("a{b}"), 1), "a path with braces");
    let foreign = dir.path().join("folders");
    refused(&*source, &options(&foreign, 1), "the directory holds other files, `cat` for one");
    assert!(!foreign.join(".lsgan-pack.jsonl").exists());
    refused(&*source, &options(&foreign.join("e.png"), 1), "Choose a path where no file is in the way.");
}

#[test]
fn a_data_set_of_which_nothing_decodes_is_not_packed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad");
    fs::create_dir(&path).unwrap();
    (0..20).for_each(|i| fs::write(path.join(format!("{i}.jpg")), "no picture").unwrap());
    let source = opened(&folder(&path));
    for outcome in [
        pack(&*source, &options(&dir.path().join("packed"), 2)).map(drop),
        export(&*source, &dir.path().join("exported")).map(drop),
    ] {
        let text = outcome.unwrap_err().to_string();
        assert!(
            text.starts_with("none of the 20 records decodes; the first says: it begins with 6e 6f"),
            "{text}"
        );
    }
}

// ---- export ----

/// The record that an exported file was made of.
fn record_of(key: &str) -> u64 {
    let name = Path::new(key).file_stem().unwrap().to_str().unwrap();
    name.parse().unwrap()
}

#[test]
fn an_exported_folder_has_the_samples_and_classes_of_its_source() {
    let dir = tempfile::tempdir().unwrap();
    for (name, spec) in rows(dir.path()) {
        let (source, out) = (opened(&spec), dir.path().join(format!("exported {name}")));
        let exported = export(&*source, &out).unwrap();
        let again = opened(&folder(&out));
        contract(&*again, &[]);
        let mut found = BTreeMap::new();
        for file in 0..again.len() {
            let record = record_of(&again.key(file).unwrap());
            assert_eq!(bits(&*again, file), bits(&*source, record), "{name}: {record}");
            let class = again.class(file).map(|class| again.class_names()[class as usize].clone());
            let wanted = source.class(record).map(|class| match source.class_names().get(class as usize) {
                Some(name) => name.clone(),
                None => class.to_string(),
            });
            let plain = |name: &String| name.trim_start_matches('0').to_owned();
            assert_eq!(class.as_ref().map(plain), wanted.as_ref().map(plain), "{name}: class of {record}");
            found.insert(record, ());
        }
        let good: Vec<u64> = (0..source.len()).filter(|record| bits(&*source, *record).is_some()).collect();
        assert_eq!(found.into_keys().collect::<Vec<_>>(), good, "{name}");
        assert_eq!(exported.records, good.len() as u64);
        assert_eq!(exported.corrupt.len() as u64, source.len() - exported.records);
    }
}

#[test]
fn an_export_that_was_interrupted_ends_as_one_that_was_not_and_repairs_what_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let (source, wanted) = (opened(&folders(dir.path())), dir.path().join("undisturbed"));
    export(&*source, &wanted).unwrap();
    for (at, part) in [(0, "cat/.000000.part"), (2, "dog/.000002.part"), (4, ".000004.part")] {
        let out = dir.path().join(at.to_string());
        export(&Breaking { inner: &*source, at }, &out).unwrap_err();
        fs::write(out.join(part), "half").unwrap();
        export(&*source, &out).unwrap();
        assert_same_trees(&out, &wanted);
    }
    let out = dir.path().join("4");
    fs::write(out.join("cat/000000.jpg"), "damaged").unwrap();
    fs::remove_file(out.join("dog/000002.webp")).unwrap();
    let again = export(&*source, &out).unwrap();
    assert_eq!((again.records, again.records_kept), (4, 2));
    assert_same_trees(&out, &wanted);
    let text = export(&*opened(&lsun()), &out).unwrap_err().to_string();
    assert!(text.contains("source is folder there and lsun here"), "{text}");
}

// ---- inspect ----

#[test]
fn a_look_counts_formats_sizes_and_classes_and_names_what_does_not_decode() {
    let dir = tempfile::tempdir().unwrap();
    let source = opened(&folders(dir.path()));
    let looked = look(&*source, Which::All, 3, &|_| ()).unwrap();
    assert_eq!(looked.formats, BTreeMap::from([("JPEG", 1), ("PNG", 2), ("WebP", 1)]));
    assert_eq!(looked.corrupt.len(), 1);
    assert_eq!((looked.corrupt[0].record, looked.corrupt[0].key.as_str()), (3, "dog/d.jpg"));
    let sizes: Vec<u64> = ["colour.jpg", "exif6.png", "lossy.webp", "grey16.png"]
        .iter()
        .map(|name| fs::metadata(fixture("odd").join(name)).unwrap().len())
        .collect();
    let spread = looked.len_bytes.unwrap();
    assert_eq!(u64::from(spread.min), *sizes.iter().min().unwrap());
    assert_eq!(u64::from(spread.max), *sizes.iter().max().unwrap());
    let classes = tools::classes(&*source);
    assert_eq!(classes, Classes { records: 5, counts: BTreeMap::from([(0, 2), (1, 2)]), without: 1 });

    let looked = look(&*opened(&labelled(dir.path())), Which::AtMost(7), 2, &|_| ()).unwrap();
    assert_eq!((looked.records, looked.formats), (7, BTreeMap::from([("pixels", 7)])));
    assert_eq!(looked.width, Some(Spread { min: 9, median: 9, max: 9 }));
    assert_eq!((looked.height.unwrap().max, looked.len_bytes), (5, None));
}

#[test]
fn a_look_at_all_records_of_lsun_finds_the_two_that_are_bad() {
    let source = opened(&lsun());
    let looked = look(&*source, Which::All, 2, &|_| ()).unwrap();
    let bad: Vec<u64> = looked.corrupt.iter().map(|bad| bad.record).collect();
    assert_eq!(bad, [7, 50]);
    assert_eq!(looked.formats.values().sum::<u64>(), source.len() - 2);
    let error = look(&Breaking { inner: &*source, at: 3 }, Which::All, 2, &|_| ()).unwrap_err();
    assert!(matches!(error, RecordError::Lost { .. }), "{error}");
}
