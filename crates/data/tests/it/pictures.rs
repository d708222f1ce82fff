//! Decoded, upright and scaled pictures equal PIL's.

use std::path::Path;

use image::ImageReader;
use lsgan_data::decode::decode;
use lsgan_data::picture::{Channels, Picture};
use lsgan_data::transform::Transform;
use lsgan_spec::{Fit, ImageSpec};

use crate::common::fixture;

/// The pixels of PIL's picture in `channels`.
fn expected(path: &Path, channels: Channels) -> (u32, u32, Vec<u8>) {
    let image = ImageReader::open(path).unwrap().decode().unwrap();
    let (width, height) = (image.width(), image.height());
    let pixels = match channels {
        Channels::Grey => image.into_luma8().into_raw(),
        Channels::Colour => image.into_rgb8().into_raw(),
    };
    (width, height, pixels)
}

fn names(folder: &str, end: &str) -> Vec<String> {
    let entries = std::fs::read_dir(fixture(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(end)).collect();
    names.sort();
    names
}

/// Mean and greatest difference of bytes.
fn difference(ours: &[u8], theirs: &[u8]) -> (f64, u8) {
    assert_eq!(ours.len(), theirs.len());
    let differences = ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(*b));
    let sum: u64 = differences.clone().map(u64::from).sum();
    (sum as f64 / ours.len() as f64, differences.max().unwrap_or(0))
}

/// PNG and lossless WebP define their pixels exactly. For the others, decoders differ in their roundings, and in scaling up
/// the subsampled colours of a JPEG.
#[test]
fn every_kind_of_picture_decodes_as_a_viewer_shows_it() {
    for name in names("odd", ".expected.png") {
        let of = name.trim_end_matches(".expected.png");
        let bytes = std::fs::read(fixture("odd").join(of)).unwrap();
        let picture = decode(&bytes, Channels::Colour).unwrap_or_else(|reason| panic!("{of}: {reason}"));
        let (width, height, pixels) = expected(&fixture("odd").join(&name), picture.channels);
        assert_eq!((picture.width, picture.height), (width, height), "{of}");
        let (mean, most) = difference(&picture.pixels, &pixels);
        println!("{of}: mean {mean:.3}, most {most}");
        let exact = of.ends_with(".png") || of.starts_with("lossless");
        let (mean_max, most_max) = if exact { (0.0, 0) } else { (0.5, 4) };
        assert!(mean <= mean_max && most <= most_max, "{of}: mean {mean}, most {most}");
        let is_grey = ["grey", "bilevel"].iter().any(|word| of.starts_with(word));
        assert_eq!(picture.channels == Channels::Grey, is_grey, "{of}");
    }
    assert!(names("odd", ".expected.png").len() >= 24);
}

/// A JPEG decoded to grey has the luminance of its colours.
#[test]
fn a_jpeg_that_is_wanted_grey_gives_its_luminance() {
    for name in names("odd", ".jpg").into_iter().chain(["../photos/1.jpg".into()]) {
        let bytes = std::fs::read(fixture("odd").join(&name)).unwrap();
        let grey = decode(&bytes, Channels::Grey).unwrap();
        let colour = decode(&bytes, Channels::Colour).unwrap();
        if (grey.channels, colour.channels) != (Channels::Grey, Channels::Colour) {
            assert!(name == "cmyk.jpg" || name == "grey.jpg", "{name}");
            continue;
        }
        let luminance = |rgb: &[u8]| {
            (0.299 * f64::from(rgb[0]) + 0.587 * f64::from(rgb[1]) + 0.114 * f64::from(rgb[2])).round() as u8
        };
        let pixels: Vec<u8> = colour.pixels.chunks(3).map(luminance).collect();
        let (mean, _) = difference(&grey.pixels, &pixels);
        assert!(mean < 0.5, "{name}: mean {mean}");
    }
}

/// Decoding and scaling against PIL's, on photographs of 256 pixels and more.
#[test]
fn a_photograph_is_scaled_to_within_a_grey_level_of_pils_antialiased_bilinear() {
    for name in names("photos", ".jpg") {
        let bytes = std::fs::read(fixture("photos").join(&name)).unwrap();
        let picture = decode(&bytes, Channels::Colour).unwrap();
        for size in [64, 112] {
            let transform =
                Transform::new(&ImageSpec { fit: Fit::Squash, ..ImageSpec::of(size, 3) }).unwrap();
            let mut sample = vec![0.0; transform.sample_shape().len()];
            transform.apply(&picture, &mut sample);
            let ours: Vec<u8> = sample.iter().map(|x| ((x + 1.0) * 127.5).round() as u8).collect();
            let stem = name.trim_end_matches(".jpg");
            let path = fixture("photos").join(format!("{stem}.squash{size}.png"));
            let (mean, most) = difference(&ours, &expected(&path, Channels::Colour).2);
            println!("{name} at {size}: mean {mean:.3}, most {most}");
            assert!(mean < 0.5 && most <= 4, "{name} at {size}: mean {mean}, most {most}");
        }
    }
}

/// The first bytes that suffice to recognise a format.
const MAGIC_BYTES: usize = 12;

/// A file that is cut anywhere is refused because it ends early. A byte that is flipped anywhere gives a picture or a
/// reason, never a panic.
#[test]
fn damaged_pictures_have_a_reason() {
    for name in names("odd", "").into_iter().filter(|name| !name.contains("expected")) {
        let bytes = std::fs::read(fixture("odd").join(&name)).unwrap();
        for cut in (MAGIC_BYTES..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
            let reason = decode(&bytes[..cut], Channels::Colour).err().unwrap_or_default();
            assert!(
                reason.contains("ends early"),
                "{name} cut off at {cut} of {} bytes: {reason}",
                bytes.len()
            );
        }
        // Bytes after the end are ignored.
        let longer = [&bytes[..], b"more"].concat();
        let (longer, whole) = (decode(&longer, Channels::Colour), decode(&bytes, Channels::Colour));
        assert!(longer.is_ok_and(|picture| picture.pixels == whole.unwrap().pixels), "{name}");
        for at in (0..bytes.len()).step_by(11) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x55;
            if let Err(reason) = decode(&flipped, Channels::Colour) {
                assert!(!reason.is_empty() && !reason.contains("panicked"), "{name} at {at}: {reason}");
            }
        }
    }
}

/// Another decoder or scaling would change the weights of every run.
#[test]
fn the_samples_stay_as_they_were_released() {
    let mut hasher = blake3::Hasher::new();
    for name in names("photos", ".jpg") {
        let bytes = std::fs::read(fixture("photos").join(&name)).unwrap();
        for (channels, count) in [(Channels::Grey, 1), (Channels::Colour, 3)] {
            let picture: Picture<'_> = decode(&bytes, channels).unwrap();
            for fit in [Fit::Squash, Fit::Crop, Fit::Pad] {
                let transform = Transform::new(&ImageSpec { fit, ..ImageSpec::of(64, count) }).unwrap();
                let mut sample = vec![0.0; transform.sample_shape().len()];
                transform.apply(&picture, &mut sample);
                for x in sample {
                    hasher.update(&x.to_bits().to_le_bytes());
                }
            }
        }
    }
    assert_eq!(
        hasher.finalize().to_hex().as_str(),
        "70751ce1c561c9c36417dc73a09c7d2ca765d75dd1fb73331a412b21c0749baf"
    );
}
