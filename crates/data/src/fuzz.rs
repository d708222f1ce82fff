//! Files of data sets with anything in them: opened and read, or refused with a reason.

use std::fs;
use std::path::{Path, PathBuf};

use lsgan_fuzz::Fuzz;
use lsgan_spec::{DataSpec, Fit, ImageSpec};
use tempfile::TempDir;

use crate::decode::decode;
use crate::file_kind::FileKind;
use crate::transform::Transform;
use crate::{OpenOptions, open_with, sources};

/// A picture of 2^26 pixels is decoded, in 12 bytes a pixel.
const PICTURE_PEAK_MAX: usize = 900 << 20;
/// A frame of an animation with transparency is there as itself, as alpha and on a canvas: 15 bytes a pixel.
const WEBP_PEAK_MAX: usize = 1 << 30;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The files of a folder of fixtures that end so.
fn files(folder: &str, end: &str) -> Vec<Vec<u8>> {
    let paths = fs::read_dir(fixture(folder))
        .expect("it is there")
        .map(|entry| entry.expect("it can be read").path());
    let mut paths: Vec<_> = paths.filter(|path| path.to_string_lossy().ends_with(end)).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("it can be read")).collect()
}

/// A directory in memory, where there is one.
fn dir() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("there is room")
}

fn picture(bytes: &[u8]) -> String {
    // A picture of 2^26 pixels takes a second, and a changed header says so often.
    let is_slow = says_many_pixels(bytes) && blake3::hash(bytes).as_bytes()[0] > 0;
    if is_slow {
        return "large".to_owned();
    }
    let fit = [Fit::Crop, Fit::Pad, Fit::Squash][bytes.len() % 3];
    let channels = if bytes.len().is_multiple_of(2) { 1 } else { 3 };
    let transform =
        Transform::new(&ImageSpec { fit, ..ImageSpec::of(16, channels) }).expect("there is such a sample");
    match decode(bytes, transform.channels()) {
        Ok(picture) => {
            let pixels = picture.height as usize * picture.width as usize;
            assert_eq!(picture.pixels.len(), pixels * picture.channels.count());
            let mut sample = vec![f32::NAN; transform.sample_shape().len()];
            transform.apply(&picture, &mut sample);
            assert!(sample.iter().all(|value| (-1.0..=1.0).contains(value)), "a sample lies in -1 to 1");
            format!("ok {:?}", picture.channels)
        }
        Err(reason) => {
            assert!(!reason.contains("panicked"), "{reason}");
            reason
        }
    }
}

/// Whether a header says that there are more than 2^18 pixels.
fn says_many_pixels(bytes: &[u8]) -> bool {
    let number = |at: usize, len: usize| {
        bytes.get(at..at + len).map_or(0, |it| it.iter().fold(0, |n, &b| n << 8 | u64::from(b)))
    };
    let little = |at: usize, len: usize| {
        bytes.get(at..at + len).map_or(0, |it| it.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
    };
    let area = if bytes.starts_with(b"\x89PNG") {
        number(16, 4) * number(20, 4)
    } else if bytes.starts_with(b"RIFF") {
        // Extended, lossless, or lossy.
        let find = |name: &[u8]| bytes.windows(4).position(|it| it == name);
        let extended = find(b"VP8X").map(|at| (little(at + 12, 3) + 1) * (little(at + 15, 3) + 1));
        let lossless = find(b"VP8L")
            .map(|at| ((little(at + 9, 4) & 0x3fff) + 1) * ((little(at + 9, 4) >> 14 & 0x3fff) + 1));
        let lossy = find(b"VP8 ").map(|at| (little(at + 14, 2) & 0x3fff) * (little(at + 16, 2) & 0x3fff));
        [extended, lossless, lossy].into_iter().flatten().max().unwrap_or(0)
    } else {
        let frames = bytes.windows(9).filter(|it| it[0] == 0xff && (0xc0..=0xc2).contains(&it[1]));
        let side = |high: u8, low: u8| u64::from(high) << 8 | u64::from(low);
        frames.map(|it| side(it[5], it[6]) * side(it[7], it[8])).max().unwrap_or(0)
    };
    area > 1 << 18
}

#[test]
fn fuzz_jpeg() {
    Fuzz::new("jpeg", files("odd", ".jpg")).peak_max(PICTURE_PEAK_MAX).run(picture);
}

/// Writes the checksum that each chunk of a PNG has.
fn mend_png(bytes: &mut [u8]) {
    let mut at = 8;
    while let Some(len) =
        bytes.get(at..at + 4).map(|len| u32::from_be_bytes(len.try_into().expect("4 bytes")))
    {
        let Some(end) = at.checked_add(8 + len as usize).filter(|end| end + 4 <= bytes.len()) else { return };
        let mut crc = flate2::Crc::new();
        crc.update(&bytes[at + 4..end]);
        bytes[end..end + 4].copy_from_slice(&crc.sum().to_be_bytes());
        at = end + 4;
    }
}

#[test]
fn fuzz_png() {
    let all = files("odd", ".png").into_iter();
    let small = all.filter(|bytes| bytes.len() < 2000);
    Fuzz::new("png", small).mend(|bytes| mend_png(bytes)).peak_max(PICTURE_PEAK_MAX).run(picture);
}

#[test]
fn fuzz_webp() {
    Fuzz::new("webp", files("odd", ".webp")).peak_max(WEBP_PEAK_MAX).run(picture);
}

#[test]
fn fuzz_file_kind() {
    let begin = |bytes: Vec<u8>| bytes[..bytes.len().min(700)].to_vec();
    let all =
        [files("odd", ".jpg"), files("odd", ".webp"), files("shards", ".tar"), files("lsun_lmdb", ".mdb")]
            .concat();
    let all = all.into_iter().map(begin).chain([
        b"<!doctype html>".to_vec(),
        b"a,b\n1,2\n".to_vec(),
        b"PK\x03\x04".to_vec(),
    ]);
    Fuzz::new("file_kind", all).run(|bytes| {
        let kind = FileKind::of(bytes);
        assert!(kind.advice().ends_with('.'), "{kind:?}");
        format!("{kind:?}")
    });
}

/// What comes of a file of this kind: opened, and its first records read.
fn source(dir: &TempDir, kind: &str, name: &str, bytes: &[u8]) -> String {
    let path = dir.path().join(name);
    fs::write(&path, bytes).expect("there is room");
    let place = path.to_str().expect("it is text");
    let source = sources::at(kind, place).expect("there is such a kind");
    let image = Some(ImageSpec::of(8, if kind == "idx" { 1 } else { 3 }));
    let source = match open_with(&DataSpec::of(source, image), &OpenOptions::new(1)) {
        Ok(source) => source,
        Err(error) => {
            assert!(error.to_string().contains(name), "the file is named: {error}");
            return error.to_string().replace(place, "");
        }
    };
    let mut sample = vec![0.0; source.sample_len()];
    let mut outcome = format!("ok {}", source.left_out().count().min(3));
    for record in (0..source.len().min(4)).chain([source.len() - 1]) {
        if let Err(error) = source.read(record, &mut sample) {
            outcome = error.to_string().replace(place, "");
        }
        drop(source.key(record));
    }
    outcome
}

fn idx(count: u32, height: u32, width: u32) -> Vec<u8> {
    let header = [0x0000_0803, count, height, width];
    let pixels = (0..count * height * width).map(|i| i as u8);
    header.iter().flat_map(|number| number.to_be_bytes()).chain(pixels).collect()
}

#[test]
fn fuzz_idx() {
    use std::io::Write as _;
    let dir = dir();
    let mut gzipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzipped.write_all(&idx(3, 4, 5)).expect("memory takes it");
    let examples = [idx(2, 3, 3), idx(1, 28, 28), gzipped.finish().expect("memory takes it")];
    // Of a stream that grows, as much as is read of any.
    Fuzz::new("idx", examples).peak_max(200 << 20).run(|bytes| source(&dir, "idx", "idx.gz", bytes));
}

#[test]
fn fuzz_cifar10() {
    let dir = dir();
    let examples = [1, 3].map(|records| (0..records * 3073).map(|i| (i % 3073 % 10) as u8).collect());
    Fuzz::new("cifar10", examples).run(|bytes| source(&dir, "cifar10", "batch.bin", bytes));
}

/// Writes the checksum that each header of a tar file has.
fn mend_tar(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(block) = bytes.get_mut(at..at + 512) {
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let digits = String::from_utf8_lossy(&block[124..135]).into_owned();
        let len = u64::from_str_radix(digits.trim_matches(['\0', ' ']), 8).unwrap_or(0);
        at += 512 + usize::try_from(len.next_multiple_of(512)).unwrap_or(usize::MAX / 2);
        // The empty blocks of the end stay.
        if bytes.get(at..at + 512).is_none_or(|block| block.iter().all(|byte| *byte == 0)) {
            return;
        }
    }
}

/// Members with GNU's and with PAX's headers, links and classes.
fn tars() -> Vec<Vec<u8>> {
    let picture = files("odd", "lossy.webp").remove(0);
    let long = format!("{}/a.webp", "folder/".repeat(30));
    let mut gnu = tar::Builder::new(Vec::new());
    let add = |tar: &mut tar::Builder<Vec<u8>>, mut header: tar::Header, name: &str, bytes: &[u8]| {
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes).expect("memory takes it");
    };
    for (name, bytes) in
        [("0.webp", &picture[..]), ("0.cls", b"3"), (&long, &picture), ("notes.txt", b"words")]
    {
        add(&mut gnu, tar::Header::new_gnu(), name, bytes);
    }
    let mut pax = tar::Builder::new(Vec::new());
    pax.append_pax_extensions([("path", "b.webp".as_bytes()), ("size", b"146")]).expect("memory takes it");
    add(&mut pax, tar::Header::new_ustar(), "b.webp", &picture);
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    pax.append_link(&mut link, "c.webp", "b.webp").expect("memory takes it");
    [gnu, pax].map(|tar| tar.into_inner().expect("memory takes it")).to_vec()
}

#[test]
fn fuzz_tar() {
    let dir = dir();
    Fuzz::new("tar", tars())
        .mend(|bytes| mend_tar(bytes))
        .run(|bytes| source(&dir, "webdataset", "shard.tar", bytes));
}

#[test]
fn fuzz_lmdb() {
    let dir = dir();
    let examples = [files("lsun_lmdb", ".mdb"), files("named_lmdb", ".mdb")].concat();
    let peak = PICTURE_PEAK_MAX;
    Fuzz::new("lmdb", examples).peak_max(peak).run(|bytes| source(&dir, "lsun", "data.mdb", bytes));
}

/// Magic, version and identity of an index.
const INDEX_HEADER: usize = 44;

/// Writes the hash that the content of an index has.
fn mend_index(bytes: &mut [u8]) {
    if let Some(body) = bytes.len().checked_sub(blake3::OUT_LEN) {
        let hash = *blake3::hash(&bytes[..body]).as_bytes();
        bytes[body..].copy_from_slice(&hash);
    }
}

/// An index of a data set of each kind that has one, in place of the right one: it is ignored, or used without a panic.
#[test]
fn fuzz_index() {
    let (data, indexes) = (dir(), dir());
    let picture = files("odd", "lossy.webp").remove(0);
    fs::create_dir_all(data.path().join("folder/b")).expect("there is room");
    for name in ["folder/a.webp", "folder/b/c.webp"] {
        fs::write(data.path().join(name), &picture).expect("there is room");
    }
    fs::write(data.path().join("shard.tar"), &tars()[0]).expect("there is room");
    let at = |kind: &str, place: PathBuf| {
        let source = sources::at(kind, place.to_str().expect("it is text")).expect("there is such a kind");
        DataSpec::of(source, Some(ImageSpec::of(8, 3)))
    };
    let specs = [
        at("folder", data.path().join("folder")),
        at("webdataset", data.path().join("shard.tar")),
        at("lsun", fixture("lsun_lmdb")),
    ];
    let options = OpenOptions { index_dir: Some(indexes.path().into()), ..OpenOptions::new(1) };
    let mut made = Vec::new();
    for spec in &specs {
        open_with(spec, &options).expect("it is whole");
        let mut paths = fs::read_dir(indexes.path())
            .expect("it is there")
            .map(|entry| entry.expect("it is there").path());
        let new = paths.find(|path| made.iter().all(|(_, known)| known != path)).expect("an index was made");
        made.push((spec, new));
    }
    let examples: Vec<_> = made.iter().map(|(_, path)| fs::read(path).expect("it is there")).collect();
    let begins = |bytes: &[u8], example: &Vec<u8>| bytes.get(..INDEX_HEADER) == example.get(..INDEX_HEADER);
    let parse = |bytes: &[u8]| {
        // Its header says which one it is. Of another data set, it is ignored.
        let is = examples.iter().position(|example| begins(bytes, example)).unwrap_or(0);
        let (spec, path) = &made[is];
        fs::write(path, bytes).expect("there is room");
        let source = open_with(spec, &options).expect("the data are whole");
        let is_used = fs::read(path).expect("it is there") == bytes;
        let mut outcome = format!("{} {}", if is_used { "used" } else { "ignored" }, source.kind());
        let mut sample = vec![0.0; source.sample_len()];
        for record in (0..source.len().min(4)).chain(source.len().checked_sub(1)) {
            outcome += &source
                .read(record, &mut sample)
                .map_or_else(|error| error.to_string(), |()| "ok".to_owned());
            drop(source.key(record));
            let class = source.class(record).map(|class| class as usize);
            assert!(class.is_none_or(|class| source.class_names().is_empty() || class < source.class_names().len()));
        }
        outcome
    };
    Fuzz::new("index", examples.clone())
        .mend(|bytes| mend_index(bytes))
        .peak_max(PICTURE_PEAK_MAX)
        .run(parse);
}
