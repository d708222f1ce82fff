//! CIFAR-10's binary files: the order of their bytes, and files that are not theirs.

use std::fs;

use lsgan_data::source::Stored;

use crate::common::{cifar10, opened, refused, sample};

/// A record is a class and three planes; a picture has its three channels side by side.
#[test]
fn planes_become_pixels_and_classes_have_names() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test_batch.bin");
    let bytes = crate::common::cifar10_file(1, 3);
    fs::write(&path, &bytes).unwrap();
    let source = opened(&cifar10(&path));
    assert_eq!((source.len(), source.class(2)), (3, Some(2)));
    assert_eq!(source.class_names()[2], "bird");
    let Stored::Pixels(picture) = source.stored(2).unwrap() else { panic!("pixels are stored") };
    let planes = &bytes[2 * 3073 + 1..];
    for i in [0, 1, 31, 32, 1023] {
        let pixel = [planes[i], planes[1024 + i], planes[2048 + i]];
        assert_eq!(picture.pixels[3 * i..3 * i + 3], pixel, "pixel {i}");
    }
    assert_eq!(
        sample(&*source, 2)[..3],
        [planes[0], planes[1024], planes[2048]].map(|byte| f32::from(byte) / 127.5 - 1.0)
    );
}

#[test]
fn the_training_set_is_five_files_in_order() {
    let directory = tempfile::tempdir().unwrap();
    for number in (1..=5).rev() {
        let path = directory.path().join(format!("data_batch_{number}.bin"));
        fs::write(path, crate::common::cifar10_file(number, number)).unwrap();
    }
    fs::write(directory.path().join("test_batch.bin"), crate::common::cifar10_file(6, 6)).unwrap();
    let source = opened(&cifar10(directory.path()));
    assert_eq!(source.len(), 1 + 2 + 3 + 4 + 5);
    let one = opened(&cifar10(&directory.path().join("data_batch_3.bin")));
    assert_eq!(source.stored(3).unwrap(), one.stored(0).unwrap());
    assert_ne!(source.fingerprint(), one.fingerprint());
}

#[test]
fn what_is_no_cifar10_is_named_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data_batch_1.bin");
    let text = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        refused(&cifar10(&path)).to_string().replace(&format!("{}/", directory.path().display()), "")
    };
    let whole = crate::common::cifar10_file(1, 2);
    let rows = [
        (
            &whole[..6000],
            "data_batch_1.bin: it has 6000 bytes, and a CIFAR-10 file is made of records of 3073: it is cut off or of \
             another format. Fetch or copy the file again.",
        ),
        (
            &[],
            "data_batch_1.bin: this is an empty file (0 bytes), and no CIFAR-10 file. Fetch or copy the file again.",
        ),
        (b"\x89PNG\r\n\x1a\n", "data_batch_1.bin: this is a PNG picture, and no CIFAR-10 file."),
    ];
    for (bytes, begin) in rows {
        let found = text(bytes);
        assert!(found.starts_with(begin), "{found}");
    }
    let mut other = whole.clone();
    other[3073] = 10;
    assert!(
        text(&other).starts_with("data_batch_1.bin: record 1 has class 10, and CIFAR-10 has classes 0 to 9:")
    );
    let found = refused(&cifar10(directory.path())).to_string();
    assert!(
        found.contains(": data_batch_2.bin is not in it; the training set is data_batch_1.bin to"),
        "{found}"
    );
}
