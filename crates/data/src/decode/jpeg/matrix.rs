//! Tests every kind of JPEG against libjpeg-turbo; `scripts/make-jpeg-matrix` wrote and decoded the files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use flate2::Crc;
use flate2::read::GzDecoder;
use tar::Archive;

use super::*;

/// zune-jpeg's transform and its colours round differently from libjpeg's, each by 1. For a colour with half the samples
/// both add up, times 1.8, the weight of blue's plane.
const ROUNDING: u8 = 4;

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/jpeg_matrix.tar.gz");

/// libjpeg-turbo's result for one file, from a line of `expected.txt`.
enum Expected<'a> {
    /// CRC-32 of the pixels, in colour and, for luminance alone, in grey.
    Pixels { sides: &'a str, colour: &'a str, grey: &'a str },
    /// Refused, with a reason that contains these words.
    Refused(&'a str),
}

fn expected(line: &str) -> (&str, Expected<'_>) {
    let (name, rest) = line.split_once(' ').unwrap();
    match rest.strip_prefix("refused") {
        Some(words) => (name, Expected::Refused(words.trim_start())),
        None => {
            let [sides, colour, grey] = rest.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            (name, Expected::Pixels { sides, colour, grey })
        }
    }
}

/// The files by their names, and the expectations.
fn files() -> (BTreeMap<String, Vec<u8>>, String) {
    let mut archive = Archive::new(GzDecoder::new(File::open(FILES).unwrap()));
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(name, bytes);
    }
    let expected = String::from_utf8(files.remove("expected.txt").unwrap()).unwrap();
    (files, expected)
}

fn crc(pixels: &[u8]) -> String {
    let mut crc = Crc::new();
    crc.update(pixels);
    format!("{:08x}", crc.sum())
}

/// Whether the fast decoder decodes the file, and the greatest difference to libjpeg-turbo.
fn difference(bytes: &[u8], wanted: Channels, sides: &str, hash: &str) -> Result<(bool, u8), String> {
    let jpeg = Jpeg::parse(bytes)?;
    let picture = super::super::decode(bytes, wanted)?;
    let found = format!("{}x{}x{}", picture.width, picture.height, picture.channels.count());
    if wanted == Channels::Colour && found != sides {
        return Err(format!("it has {found} samples, {sides} by libjpeg-turbo"));
    }
    let exact = exact(&jpeg, picture.channels)?;
    if crc(&exact) != hash {
        return Err("the plain decoder gives other pixels".to_owned());
    }
    let most = exact.iter().zip(&*picture.pixels).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
    Ok((common::is_common(&jpeg, picture.channels), most))
}

#[test]
fn every_jpeg_equals_libjpeg_turbo_or_is_refused_by_name() {
    let (files, lines) = files();
    let (mut common, mut plain, mut refused, mut wrong) = (0, 0, 0, Vec::new());
    for line in lines.lines().filter(|line| !line.starts_with('#')) {
        let (name, expected) = expected(line);
        let bytes = &files[name];
        match expected {
            Expected::Refused(words) => {
                for wanted in [Channels::Colour, Channels::Grey] {
                    match super::super::decode(bytes, wanted) {
                        Err(reason) if reason.contains(words) => refused += 1,
                        Err(reason) => wrong.push(format!("{name}: {reason}")),
                        Ok(_) => wrong.push(format!("{name} is taken for whole")),
                    }
                }
            }
            Expected::Pixels { sides, colour, grey } => {
                for (wanted, hash) in [(Channels::Colour, colour), (Channels::Grey, grey)] {
                    if hash == "-" {
                        continue;
                    }
                    match difference(bytes, wanted, sides, hash) {
                        Ok((true, most)) if most <= ROUNDING => common += 1,
                        Ok((false, 0)) => plain += 1,
                        Ok((_, most)) => wrong.push(format!("{name} as {wanted:?}: by {most}")),
                        Err(reason) => wrong.push(format!("{name} as {wanted:?}: {reason}")),
                    }
                }
            }
        }
    }
    println!(
        "{common} by the fast decoder, {plain} by the plain one, {refused} refused, {} wrong",
        wrong.len()
    );
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(common > 500 && plain > 500 && refused > 500, "{common} {plain} {refused}");
}
