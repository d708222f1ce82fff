//! The errors of data sets that cannot be opened.

use std::fs;
use std::path::Path;

use lsgan_data::DataError;
use lsgan_data::file_kind::FileKind;
use lsgan_spec::{DataSpec, GaussianSource, IdxSource, ImageSpec, Modes, Source as Spec};

use crate::common::{fashion_mnist, gzipped, idx, refused, spec};

const HEADER: [u8; 16] = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3];

/// An IDX file of 2 pictures of 2 x 3 pixels, with this number of pixels.
fn file(pixels: usize) -> Vec<u8> {
    [&HEADER[..], &vec![9; pixels]].concat()
}

/// The error for a file of pictures with these bytes, without the directory.
fn text_of(bytes: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("images");
    fs::write(&path, bytes).unwrap();
    refused(&idx(&path)).to_string().replace(&format!("{}/", directory.path().display()), "")
}

#[test]
fn a_missing_file_and_a_directory_are_named() {
    assert_eq!(
        refused(&idx(Path::new("no/such/file.gz"))).to_string(),
        "no/such/file.gz: there is no such file. Relative paths start at the current directory; check data.source."
    );
    let directory = tempfile::tempdir().unwrap();
    let error = refused(&idx(directory.path()));
    assert!(matches!(error, DataError::OtherKind { found: FileKind::Directory, .. }), "{error}");
}

/// The beginnings of the messages for files of pictures.
#[test]
fn a_wrong_file_of_pictures_is_named_with_what_is_wrong() {
    let not_idx =
        |magic: &str| format!("this is not an IDX file of pictures: it begins with {magic}; an IDX file");
    let whole = "Fetch or copy the file again.";
    let short = "the file is cut off: its header says 2 pictures of 2 x 3 = 12 bytes, but only 11 follow. Fetch or copy \
                 the file again.";
    let extent = |sides: [u32; 3]| [&HEADER[..4], &sides.map(u32::to_be_bytes).concat()].concat();
    let mut damaged = gzipped(&file(12));
    let check_sum = damaged.len() - 5;
    damaged[check_sum] ^= 1;
    let rows: Vec<(Vec<u8>, String)> = vec![
        (vec![], format!("this is an empty file (0 bytes), and no IDX file of pictures. {whole}")),
        (damaged, "the gzip stream is damaged: ".to_owned()),
        (
            b"\x01\x02\x80\x04\x05".to_vec(),
            "this is not an IDX file of pictures: it begins with 0x01028004; an IDX file of u8 pictures begins with \
             0x00000803 (gzipped or not). Point data.source.idx.images at a file such as train-images-idx3-ubyte.gz."
                .to_owned(),
        ),
        (gzipped(&[1, 2, 3, 4]), not_idx("0x01020304")),
        (vec![0], not_idx("0x00000000")),
        (
            vec![0, 0, 0x0d, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0],
            "the IDX file holds numbers of type 0x0d;".to_owned(),
        ),
        (HEADER[..10].to_vec(), "the file ends after 10 bytes of its header;".to_owned()),
        (gzipped(&HEADER[..10]), "the file ends after 10 bytes of its header;".to_owned()),
        (file(11), short.to_owned()),
        (gzipped(&file(11)), short.to_owned()),
        (file(13), "the file is longer than its header says: 2 pictures of 2 x 3 = 12 bytes,".to_owned()),
        (gzipped(&file(13)), "the file is longer than its header says: 2 pictures of 2 x 3 =".to_owned()),
        (extent([0, 2, 3]), "the header says 0 pictures of 2 x 3 pixels;".to_owned()),
        (extent([2, 0, 3]), "the header says 2 pictures of 0 x 3 pixels;".to_owned()),
        (extent([2, 2, 0]), "the header says 2 pictures of 2 x 0 pixels;".to_owned()),
        (extent([u32::MAX; 3]), "the header says 4294967295 pictures of 4294967295 x".to_owned()),
        (extent([1 << 20, 1 << 10, 1 << 10]), "the header says 1048576 pictures of 1024 x".to_owned()),
    ];
    for (bytes, text) in rows {
        let found = text_of(&bytes);
        assert!(found.starts_with(&format!("images: {text}")), "{found}");
    }
}

/// The real file, cut in the gzip header, in the middle, and in the checksum at its end.
#[test]
fn a_gzip_stream_that_is_cut_off_is_named_as_such() {
    let bytes = fs::read(fashion_mnist("t10k-images-idx3-ubyte.gz")).unwrap();
    for len in [2, 5, 11, 100, bytes.len() / 2, bytes.len() - 8, bytes.len() - 1] {
        assert_eq!(
            text_of(&bytes[..len]),
            format!(
                "images: the gzip stream is cut off, its end is missing ({len} bytes on disk). Fetch or copy the file \
                 again."
            )
        );
    }
}

#[test]
fn a_file_of_labels_is_told_from_one_of_pictures() {
    let text = refused(&idx(&fashion_mnist("t10k-labels-idx1-ubyte.gz"))).to_string();
    assert!(
        text.ends_with(
            "t10k-labels-idx1-ubyte.gz: this is an IDX file of labels in a gzip stream, and no IDX file of pictures. \
             data.source.idx.labels reads it; data.source.idx.images wants the file of images beside it."
        ),
        "{text}"
    );
}

fn ring() -> Modes {
    Modes::Ring { count: 8, radius: 1.0 }
}

#[test]
fn pictures_need_data_image_and_points_refuse_it() {
    let image = ImageSpec::of(32, 1);
    let idx = Spec::Idx(IdxSource::of("no/such/file"));
    let ring = Spec::Gaussian(GaussianSource { records: 8, ..GaussianSource::of(ring(), 0.01) });
    let error = |source, image| refused(&DataSpec::of(source, image)).to_string();
    assert!(error(idx.clone(), None).starts_with("data.image is missing; the source idx"));
    assert!(error(ring, Some(image.clone())).starts_with("data.image is set; the source gaussian"));
    let odd = ImageSpec { channels: 2, ..image };
    assert!(error(idx, Some(odd)).starts_with("data.image has size 32 and channels 2;"));
}

#[test]
fn a_mixture_without_modes_records_or_width_is_refused() {
    let mixture = |count, sigma, records| {
        let modes = Modes::Ring { count, radius: 1.0 };
        Spec::Gaussian(GaussianSource { modes, sigma, records, ..GaussianSource::of(ring(), 0.1) })
    };
    let valid = DataSpec::of(mixture(1, 0.1, 1), None);
    for (count, sigma, records) in [(0, 0.1, 1), (1, 0.0, 1), (1, f64::NAN, 1), (1, 0.1, 0)] {
        let valid = valid.clone();
        let error = refused(&DataSpec { source: mixture(count, sigma, records), ..valid }).to_string();
        assert!(error.starts_with("data.source.gaussian has "), "{error}");
    }
    let two = GaussianSource { weights: "1,2".to_owned(), ..GaussianSource::of(ring(), 0.1) };
    let error = refused(&DataSpec { source: Spec::Gaussian(two), ..valid }).to_string();
    assert!(error.starts_with("data.source.gaussian has 8 mode(s), 2 weight(s), "), "{error}");
}

#[test]
fn labels_that_are_none_or_those_of_other_pictures_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (images, labels) = (directory.path().join("images"), directory.path().join("labels"));
    fs::write(&images, file(12)).unwrap();
    let spec = spec(Spec::Idx(IdxSource { labels: Some(labels.clone()), ..IdxSource::of(images) }));
    for (bytes, says) in [
        (&[][..], "this is an empty file (0 bytes), and no IDX file of labels."),
        (
            &HEADER,
            "this is an IDX file of pictures, and no IDX file of labels. data.source.idx.images reads it.",
        ),
        (&[0, 0, 8, 1, 0, 0], "the file ends after 6 bytes of its header; the header has 8."),
        (&[0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3], "it has 3 labels, and images has 2 pictures;"),
        (&[0, 0, 8, 1, 0, 0, 0, 2, 1], "its header says 2 labels, and fewer follow."),
        (&[0, 0, 8, 1, 0, 0, 0, 2, 1, 2, 3], "its header says 2 labels, and more follow."),
        (&gzipped(&[0, 0, 8, 1, 0, 0, 0, 2, 1, 2])[..20], "the gzip stream is cut off"),
    ] {
        fs::write(&labels, bytes).unwrap();
        let text = refused(&spec).to_string().replace(&format!("{}/", directory.path().display()), "");
        assert!(text.starts_with(&format!("labels: {says}")), "{text}");
    }
}
