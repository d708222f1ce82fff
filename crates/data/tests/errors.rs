//! What is said about a data set that cannot be opened.

use std::io::Write;
use std::path::{Path, PathBuf};

use lsgan_data::found::Found;
use lsgan_data::{DataError, open};
use lsgan_spec::{DataSpec, GaussianSource, IdxSource, ImageSpec, Modes, Source as Spec};

const HEADER: [u8; 16] = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3];

fn error_of(images: PathBuf) -> DataError {
    let spec = DataSpec::of(Spec::Idx(IdxSource::of(images)), Some(ImageSpec::of(32, 1)));
    open(&spec, 1).map(|_| ()).expect_err("this file is not to be opened")
}

/// The error for a file with these bytes, and its text without the directory.
fn error_of_bytes(bytes: &[u8]) -> (DataError, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("images");
    std::fs::write(&path, bytes).unwrap();
    let error = error_of(path);
    let text = error.to_string().replace(&format!("{}/", directory.path().display()), "");
    (error, text)
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn file(pixels: usize) -> Vec<u8> {
    [&HEADER[..], &vec![9; pixels]].concat()
}

#[test]
fn a_missing_file_is_named() {
    let error = error_of(PathBuf::from("no/such/file.gz"));
    assert!(matches!(error, DataError::Missing { .. }));
    assert_eq!(
        error.to_string(),
        "no/such/file.gz: there is no such file. Relative paths start at the current directory; check data.source."
    );
}

#[test]
fn a_directory_is_said_to_be_one() {
    let directory = tempfile::tempdir().unwrap();
    let error = error_of(directory.path().into());
    assert!(matches!(error, DataError::OtherKind { found: Found::Directory, .. }), "{error}");
}

#[test]
fn an_empty_file_is_said_to_be_empty() {
    let (error, text) = error_of_bytes(&[]);
    assert!(matches!(error, DataError::OtherKind { found: Found::Empty, .. }));
    assert_eq!(
        text,
        "images: this is an empty file (0 bytes), and no IDX file of pictures. Fetch or copy the file again."
    );
}

/// The real file, cut at every kind of place: in the gzip header, in the middle, and in the check sum at its end.
#[test]
fn a_gzip_stream_that_is_cut_off_is_said_to_be_cut_off() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/fashion-mnist/t10k-images-idx3-ubyte.gz");
    let bytes = std::fs::read(path).unwrap();
    for len in [2, 5, 11, 100, bytes.len() / 2, bytes.len() - 8, bytes.len() - 1] {
        let (error, text) = error_of_bytes(&bytes[..len]);
        assert!(matches!(error, DataError::Unusable { .. }), "{len}: {text}");
        assert_eq!(
            text,
            format!(
                "images: the gzip stream is cut off, its end is missing ({len} bytes on disk). Fetch or copy the \
                 file again."
            )
        );
    }
}

#[test]
fn a_gzip_stream_with_a_changed_byte_is_said_to_be_damaged() {
    let mut bytes = gzipped(&file(12));
    let check_sum = bytes.len() - 5;
    bytes[check_sum] ^= 1;
    let (_, text) = error_of_bytes(&bytes);
    assert!(text.starts_with("images: the gzip stream is damaged: "), "{text}");
}

#[test]
fn another_format_is_shown_by_its_first_bytes() {
    let (_, text) = error_of_bytes(b"\x01\x02\x80\x04\x05");
    assert_eq!(
        text,
        "images: this is not an IDX file of pictures: it begins with 0x01028004; an IDX file of u8 pictures begins \
         with 0x00000803 (gzipped or not). Point data.source.idx.images at a file such as \
         train-images-idx3-ubyte.gz."
    );
    for (bytes, magic) in [(gzipped(&[1, 2, 3, 4]), "0x01020304"), (vec![0], "0x00000000")] {
        let text = error_of_bytes(&bytes).1;
        let says = format!("images: this is not an IDX file of pictures: it begins with {magic};");
        assert!(text.starts_with(&says), "{text}");
    }
}

#[test]
fn a_file_of_labels_is_told_from_one_of_pictures() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz");
    let error = error_of(path);
    assert!(
        error.to_string().ends_with(
            "t10k-labels-idx1-ubyte.gz: this is an IDX file of labels in a gzip stream, and no IDX file of pictures. \
             data.source.idx.labels reads it; data.source.idx.images wants the file of images beside it."
        ),
        "{error}"
    );
}

#[test]
fn numbers_other_than_bytes_are_refused() {
    let (_, text) = error_of_bytes(&[0, 0, 0x0d, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]);
    assert!(text.starts_with("images: the IDX file holds numbers of type 0x0d;"), "{text}");
}

#[test]
fn a_header_that_is_cut_off_is_said_to_be() {
    for bytes in [HEADER[..10].to_vec(), gzipped(&HEADER[..10])] {
        let (_, text) = error_of_bytes(&bytes);
        assert!(text.starts_with("images: the file ends after 10 bytes of its header;"), "{text}");
    }
}

#[test]
fn a_file_shorter_or_longer_than_its_header_says_is_refused_with_both_numbers() {
    for bytes in [file(11), gzipped(&file(11))] {
        let (_, text) = error_of_bytes(&bytes);
        assert_eq!(
            text,
            "images: the file is cut off: its header says 2 pictures of 2 x 3 = 12 bytes, but only 11 follow. Fetch \
             or copy the file again."
        );
    }
    for bytes in [file(13), gzipped(&file(13))] {
        let (_, text) = error_of_bytes(&bytes);
        assert!(text.starts_with("images: the file is longer than its header says: "), "{text}");
        assert!(text.contains(" = 12 bytes, "), "{text}");
    }
}

#[test]
fn a_header_without_pictures_or_with_far_too_many_is_refused() {
    for sides in [[0, 2, 3], [2, 0, 3], [2, 2, 0], [u32::MAX; 3], [1 << 20, 1 << 10, 1 << 10]] {
        let mut bytes = HEADER[..4].to_vec();
        sides.iter().for_each(|side: &u32| bytes.extend(side.to_be_bytes()));
        let (_, text) = error_of_bytes(&bytes);
        assert!(text.contains("at most 16 GiB in all"), "{sides:?}: {text}");
    }
}

#[test]
fn pictures_need_a_word_on_samples_and_points_refuse_one() {
    let image = ImageSpec::of(32, 1);
    let idx = Spec::Idx(IdxSource::of("no/such/file"));
    let modes = Modes::Ring { count: 8, radius: 1.0 };
    let ring = Spec::Gaussian(GaussianSource { modes, sigma: 0.01, records: 8 });
    let error = |source, image| open(&DataSpec::of(source, image), 1).map(|_| ()).unwrap_err().to_string();
    assert!(error(idx.clone(), None).starts_with("data.image is missing; the source idx"));
    assert!(error(ring, Some(image.clone())).starts_with("data.image is set; the source gaussian"));
    let odd = ImageSpec { channels: 2, ..image };
    assert!(error(idx, Some(odd)).starts_with("data.image has size 32 and channels 2;"));
}

#[test]
fn a_mixture_without_modes_records_or_width_is_refused() {
    for (count, sigma, records) in [(0, 0.1, 1), (1, 0.0, 1), (1, f64::NAN, 1), (1, 0.1, 0)] {
        let source =
            Spec::Gaussian(GaussianSource { modes: Modes::Ring { count, radius: 1.0 }, sigma, records });
        let error = open(&DataSpec::of(source, None), 1).map(|_| ()).unwrap_err();
        assert!(error.to_string().starts_with("data.source.gaussian has "), "{error}");
    }
}

/// The error for pictures with a file of labels that has these bytes, without the directory.
fn error_of_labels(bytes: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let (images, labels) = (directory.path().join("images"), directory.path().join("labels"));
    std::fs::write(&images, file(12)).unwrap();
    std::fs::write(&labels, bytes).unwrap();
    let source = Spec::Idx(IdxSource { labels: Some(labels), ..IdxSource::of(images) });
    let error =
        open(&DataSpec::of(source, Some(ImageSpec::of(32, 1))), 1).map(|_| ()).expect_err("not to be opened");
    error.to_string().replace(&format!("{}/", directory.path().display()), "")
}

#[test]
fn labels_that_are_none_or_those_of_other_pictures_are_refused() {
    for (bytes, says) in [
        (&[][..], "labels: this is an empty file (0 bytes), and no IDX file of labels."),
        (
            &HEADER,
            "labels: this is an IDX file of pictures, and no IDX file of labels. data.source.idx.images reads it.",
        ),
        (&[0, 0, 8, 1, 0, 0], "labels: the file ends after 6 bytes of its header; the header has 8."),
        (&[0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3], "labels: it has 3 labels, and images has 2 pictures;"),
        (&[0, 0, 8, 1, 0, 0, 0, 2, 1], "labels: its header says 2 labels, and fewer follow."),
        (&[0, 0, 8, 1, 0, 0, 0, 2, 1, 2, 3], "labels: its header says 2 labels, and more follow."),
        (&gzipped(&[0, 0, 8, 1, 0, 0, 0, 2, 1, 2])[..20], "labels: the gzip stream is cut off"),
    ] {
        let text = error_of_labels(bytes);
        assert!(text.starts_with(says), "{text}");
    }
}
