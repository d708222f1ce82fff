//! Packed shards.

use std::fs;

use lsgan_data::Source;
use lsgan_data::contract::contract;
use lsgan_data::tools::{PackFormat, PackOptions, ShardLimit, ToolError};

use crate::common::{Numbered, fixture};
use crate::*;

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
        pack(&*source, &PackOptions { limit: ShardLimit::Mib(1), ..options(&out, threads) }).unwrap();
        out
    });
    assert_same_trees(&many, &one);
}

#[test]
fn a_pack_that_was_interrupted_anywhere_is_completed() {
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
        // The first picture of the next shard ends a shard.
        let kept = ends.iter().filter(|end| **end < at).count() as u64;
        // A killed process leaves half a shard under its temporary name, and half a line.
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

/// A file's content changes, but not its name and length, so the fingerprint stays.
#[test]
fn a_data_set_with_changed_content_is_detected() {
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

/// `tests/tests/stores.rs` tests the message for a full disk with a real one.
#[test]
fn shards_that_were_complete_before_a_failure_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (source, wanted, out) = (opened(&lsun()), dir.path().join("wanted"), dir.path().join("out"));
    pack(&*source, &options(&wanted, 2)).unwrap();
    pack(&Breaking { inner: &*source, at: 20 }, &options(&out, 2)).unwrap_err();
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
        &PackOptions { limit: ShardLimit::Mib(3), ..options(&out, 1) },
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
fn a_data_set_without_a_good_record_is_not_packed() {
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
            text.starts_with(
                "none of the 20 records decodes; the first says: it is a text that begins with `no picture`"
            ),
            "{text}"
        );
    }
}
