//! Exported folders.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use lsgan_data::contract::contract;

use crate::*;

/// The record of an exported file.
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
fn an_interrupted_export_is_completed_and_repairs_damaged_files() {
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
