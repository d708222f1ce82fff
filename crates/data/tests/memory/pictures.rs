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
use super::common::fixture;

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

/// A chunk of a WebP file that says that it has so many bytes.
fn riff_chunk(name: &[u8; 4], said: u32, data: &[u8]) -> Vec<u8> {
    [&name[..], &said.to_le_bytes(), data, &[0; 1][..data.len() % 2]].concat()
}

fn riff(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    riff_chunk(name, data.len() as u32, data)
}

/// A WebP file of a canvas of 2 x 2 with these flags, and with these chunks.
fn extended(flags: u8, chunks: &[Vec<u8>]) -> Vec<u8> {
    let canvas = riff(b"VP8X", &[flags, 0, 0, 0, 1, 0, 0, 1, 0, 0]);
    let all = [b"WEBP".to_vec(), canvas, chunks.concat()].concat();
    riff(b"RIFF", &all)
}

/// What the headers of a WebP file's chunks say is allocated before it is read: 40 bytes of EXIF data were 1.5 GB, and a frame
/// of 268 million pixels on a canvas of four 400 MB.
#[test]
fn a_webp_takes_no_memory_for_what_its_chunks_only_say() {
    let _alone = alone();
    const EXIF: u8 = 8;
    const ANIMATION: u8 = 2;
    let lossless = webp(2, 2)[12..].to_vec();
    let mut frame = std::fs::read(fixture("odd/lossy.webp")).unwrap()[20..].to_vec();
    frame[6..10].fill(0xff);
    let large = riff(b"VP8 ", &frame);
    let placed = [&[0; 6][..], &[1, 0, 0, 1, 0, 0], &[0; 4], &large].concat();
    let animated = [riff(b"ANIM", &[0; 6]), riff(b"ANMF", &placed)];
    let long = "its chunk EXIF has 1500000000 bytes, of which 40 are there";
    let wide = "a frame has 16383 x 16383 pixels, and the picture has 2 x 2";
    let cases = [
        (extended(EXIF, &[lossless, riff_chunk(b"EXIF", 1_500_000_000, &[0; 40])]), long),
        (extended(0, &[large]), wide),
        (extended(ANIMATION, &animated), wide),
    ];
    for (bytes, reason) in cases {
        let (picture, peak) = measured(|| decode(&bytes, Channels::Colour));
        assert!(peak < MIB, "{reason}: {peak} bytes");
        assert!(picture.as_ref().is_err_and(|said| said.contains(reason)), "{reason}: {picture:?}");
    }
}

/// Bits as a lossless WebP has them: the lowest first, but codes from their highest bit.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn number(&mut self, value: u32, bits: u32) {
        (0..bits).for_each(|bit| self.0.push(value >> bit & 1 == 1));
    }

    fn code(&mut self, code: u32, bits: u32) {
        (0..bits).rev().for_each(|bit| self.0.push(code >> bit & 1 == 1));
    }

    /// A Huffman code of 11 symbols of 1 to 10 bits, whose table is of the largest size.
    fn long_table(&mut self) {
        self.number(0, 1); // not a simple one
        // The code of the lengths, in the order of the specification: of 1 to 6 bits in 3 bits, of 7 to 10 in 4.
        self.number(10, 4);
        [0, 0, 0, 3, 3, 3, 3, 3, 0, 3, 4, 4, 4, 4].into_iter().for_each(|length| self.number(length, 3));
        // Lengths of 11 symbols follow: 2 and a number of 4 bits.
        [(1, 1), (1, 3), (9, 4)].into_iter().for_each(|(value, bits)| self.number(value, bits));
        for length in (1..=10).chain([10]) {
            if length <= 6 { self.code(length - 1, 3) } else { self.code(12 + length - 7, 4) }
        }
    }

    /// A Huffman code of one symbol.
    fn one_symbol(&mut self, symbol: u32) {
        [(1, 1), (0, 1), (1, 1), (symbol, 8)].into_iter().for_each(|(value, bits)| self.number(value, bits));
    }

    fn bytes(&self) -> Vec<u8> {
        let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
        self.0.chunks(8).map(byte).collect()
    }
}

/// A lossless WebP of one pixel, which says that its codes are the last of so many groups.
fn webp_of_groups(groups: u32) -> Vec<u8> {
    let mut bits = Bits::default();
    // The signature, sides of 1, no alpha, version 0.
    [(0x2f, 8), (0, 14), (0, 14), (0, 1), (0, 3)]
        .into_iter()
        .for_each(|(value, bits_)| bits.number(value, bits_));
    // No transform, no cache of colours, and groups of codes, in blocks of 4 pixels.
    [(0, 1), (0, 1), (1, 1), (0, 3)].into_iter().for_each(|(value, bits_)| bits.number(value, bits_));
    // Which group each block has, as a picture: no cache, and codes of one symbol for green, red, blue, alpha, distance.
    bits.number(0, 1);
    [(groups - 1) & 255, (groups - 1) >> 8, 0, 0, 0].into_iter().for_each(|symbol| bits.one_symbol(symbol));
    (0..5 * groups).for_each(|_| bits.long_table());
    // The pixel: its four codes have one bit for the first symbol.
    bits.number(0, 64);
    riff(b"RIFF", &[b"WEBP".to_vec(), riff(b"VP8L", &bits.bytes())].concat())
}

/// The tables of Huffman codes are bounded by the pixels: 240 KB for one pixel were 84 MB of memory.
#[test]
fn a_lossless_webp_takes_no_memory_for_codes_that_no_pixel_uses() {
    let _alone = alone();
    let few = webp_of_groups(1_000);
    let (picture, peak) = measured(|| decode(&few, Channels::Colour));
    assert!(picture.is_ok(), "{picture:?}");
    assert!(peak > 10 * MIB && peak < 400 * few.len(), "{} bytes take {peak}", few.len());
    let many = webp_of_groups(4_096);
    let (picture, peak) = measured(|| decode(&many, Channels::Colour));
    assert!(peak < MIB, "{} bytes take {peak}", many.len());
    assert!(picture.is_err_and(|said| said.contains("at most 65544 are accepted")));
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
