//! Pictures that are small as files.

use std::io::Write as _;

use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder as _};
use lsgan_data::decode::decode;
use lsgan_data::picture::Channels;
use lsgan_data::transform::Transform;
use lsgan_fuzz::{alone, measured};
use lsgan_spec::{Fit, ImageSpec};

use super::MIB;

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let pixels = vec![0; 3 * width as usize * height as usize];
    PngEncoder::new(&mut bytes).write_image(&pixels, width, height, ExtendedColorType::Rgb8).unwrap();
    bytes
}

fn webp(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let pixels = vec![0; 3 * width as usize * height as usize];
    let encoder = WebPEncoder::new_lossless(&mut bytes);
    encoder.write_image(&pixels, width, height, ExtendedColorType::Rgb8).unwrap();
    bytes
}

/// A grey JPEG of one shade, whose blocks take 2 bits each.
fn jpeg(width: u16, height: u16) -> Vec<u8> {
    let ([h1, h0], [w1, w0]) = (height.to_be_bytes(), width.to_be_bytes());
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xdb, 0, 67, 0];
    bytes.extend([1; 64]);
    bytes.extend([0xff, 0xc0, 0, 11, 8, h1, h0, w1, w0, 1, 1, 0x11, 0]);
    // A code with the single symbol 0, for both classes: no difference to the block before, and the end of the block.
    for class in [0x00, 0x10] {
        bytes.extend([0xff, 0xc4, 0, 20, class, 1]);
        bytes.extend([0; 16]);
    }
    bytes.extend([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0]);
    let blocks = usize::from(width).div_ceil(8) * usize::from(height).div_ceil(8);
    bytes.resize(bytes.len() + blocks.div_ceil(4), 0);
    bytes.extend([0xff, 0xd9]);
    bytes
}

/// A picture takes memory in proportion to the pixels that its header says and to the sample's, whatever its shape and the
/// transform: one of 65,535 x 1 in 270 bytes was scaled to 4 million columns, of which 64 were kept.
#[test]
fn a_picture_takes_the_memory_of_its_pixels_and_of_the_sample() {
    let _alone = alone();
    let pictures = [
        ("PNG", png(65_535, 1), 65_535),
        ("PNG", png(1, 65_535), 65_535),
        ("PNG", png(3, 8_000), 24_000),
        ("PNG", png(80, 10), 800),
        ("PNG", png(1, 1), 1),
        ("PNG", png(4_096, 4_096), 1 << 24),
        ("WebP", webp(16_383, 1), 16_383),
        ("WebP", webp(2, 16_383), 2 * 16_383),
        ("JPEG", jpeg(65_535, 1), 65_535),
        ("JPEG", jpeg(1, 65_535), 65_535),
        ("JPEG", jpeg(8_192, 8_192), 1 << 26),
    ];
    for (format, bytes, pixels) in &pictures {
        for fit in [Fit::Crop, Fit::Squash, Fit::Pad] {
            // A large picture takes its time at each size.
            let sizes =
                if *pixels < 1 << 24 { &[(1, 3), (64, 1), (64, 3), (4_096, 3)][..] } else { &[(64, 3)] };
            for &(size, channels) in sizes {
                let spec = ImageSpec { fit, ..ImageSpec::of(size, channels) };
                let transform = Transform::new(&spec).unwrap();
                let mut sample = vec![0.0; transform.sample_shape().len()];
                let (read, peak) = measured(|| {
                    let picture = decode(bytes, transform.channels())?;
                    transform.apply(&picture, &mut sample);
                    Ok::<_, String>(())
                });
                assert_eq!(read, Ok(()), "{format}, {} bytes", bytes.len());
                // Of a pixel: what decoders keep of it. Of the sample: its bytes, and 8 times as many on the way to it. And
                // the coefficients of the scaling's filter.
                let allowed = 12 * pixels + 10 * sample.len() + 4 * MIB;
                let what = format!("{format} of {} bytes and {pixels} pixels, {fit:?} {size}", bytes.len());
                assert!(peak <= allowed, "{what}: {peak} bytes; {allowed} are allowed");
            }
        }
    }
}

/// A chunk with its checksum.
fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(name);
    crc.update(data);
    [&(data.len() as u32).to_be_bytes()[..], name, data, &crc.sum().to_be_bytes()].concat()
}

/// Zeros, which zlib makes a thousandth of.
fn zeros(len_bytes: usize) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![0; len_bytes]).unwrap();
    encoder.finish().unwrap()
}

/// Colour profiles and texts of a PNG are not decompressed: 64 KiB of them were 64 MiB of memory.
#[test]
fn compressed_chunks_beside_the_pixels_are_not_decompressed() {
    let _alone = alone();
    let small = png(2, 2);
    let plain = decode(&small, Channels::Colour).unwrap();
    let (magic_and_header, rest) = small.split_at(8 + 25);
    let bomb = zeros(64 * MIB);
    let profile = [b"name\0\0".as_slice(), &bomb].concat();
    let text = [b"Title\0\x01\0\0\0".as_slice(), &bomb].concat();
    for (name, data) in [(b"iCCP", &profile), (b"zTXt", &profile), (b"iTXt", &text)] {
        let with_bomb = [magic_and_header, &chunk(name, data), rest].concat();
        let (picture, peak) = measured(|| decode(&with_bomb, Channels::Colour));
        assert_eq!(picture.as_ref(), Ok(&plain), "the pixels are the same");
        assert!(peak < MIB, "{}: {peak} bytes", String::from_utf8_lossy(name));
    }
}
