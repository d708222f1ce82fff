//! Inspected data sets.

use std::collections::BTreeMap;
use std::fs;

use lsgan_data::RecordError;
use lsgan_data::tools::{self, Classes, Selection, Spread, inspect};

use crate::common::fixture;
use crate::*;

#[test]
fn an_inspection_counts_formats_sizes_and_classes_and_names_corrupt_records() {
    let dir = tempfile::tempdir().unwrap();
    let source = opened(&folders(dir.path()));
    let looked = inspect(&*source, Selection::All, 3, &|_| ()).unwrap();
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

    let looked = inspect(&*opened(&labelled(dir.path())), Selection::AtMost(7), 2, &|_| ()).unwrap();
    assert_eq!((looked.records, looked.formats), (7, BTreeMap::from([("pixels", 7)])));
    assert_eq!(looked.width, Some(Spread { min: 9, median: 9, max: 9 }));
    assert_eq!((looked.height.unwrap().max, looked.len_bytes), (5, None));
}

/// Viewers show the second one as whole, with a grey lower half.
#[test]
fn an_unsupported_jpeg_and_one_that_ends_early_are_named_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let whole = fs::read(fixture("odd").join("colour.jpg")).unwrap();
    let mut arithmetic = whole.clone();
    let frame = whole.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    arithmetic[frame + 1] = 0xc9;
    let mut half = whole[..whole.len() - 100].to_vec();
    half.extend([0xff, 0xd9]);
    for (name, bytes) in [("arithmetic.jpg", arithmetic), ("half.jpg", half), ("whole.jpg", whole)] {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let looked = inspect(&*opened(&folder(dir.path())), Selection::All, 1, &|_| ()).unwrap();
    let reasons: Vec<(&str, &str)> =
        looked.corrupt.iter().map(|bad| (bad.key.as_str(), bad.reason.as_str())).collect();
    let [("arithmetic.jpg", arithmetic), ("half.jpg", half)] = reasons[..] else { panic!("{reasons:?}") };
    assert_eq!(
        arithmetic,
        "as JPEG: it is an arithmetic-coded JPEG; decoded are baseline, extended and progressive JPEGs with Huffman codes \
         and 8 bits a sample"
    );
    assert!(half.starts_with("as JPEG: it ends early: coded data are missing, "), "{half}");
}

#[test]
fn an_inspection_of_all_records_of_lsun_finds_the_two_bad_ones() {
    let source = opened(&lsun());
    let looked = inspect(&*source, Selection::All, 2, &|_| ()).unwrap();
    let bad: Vec<u64> = looked.corrupt.iter().map(|bad| bad.record).collect();
    assert_eq!(bad, [7, 50]);
    assert_eq!(looked.formats.values().sum::<u64>(), source.len() - 2);
    let error = inspect(&Breaking { inner: &*source, at: 3 }, Selection::All, 2, &|_| ()).unwrap_err();
    assert!(matches!(error, RecordError::Lost { .. }), "{error}");
}
