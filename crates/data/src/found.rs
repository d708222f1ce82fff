//! What a file is, by its first bytes: so that a message can say it, and what to do with it.
//!
//! Nothing is decoded by this: what a source accepts, it knows by itself.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::DataError;
use crate::decode::Format;

/// Bytes that are enough to know a file: a tar header.
pub const BEGIN_BYTES: usize = 512;
/// Of a gzip stream so many are unpacked to know what is in it: its header may hold a long name.
pub(crate) const GZIP_BEGIN_BYTES: usize = 4096;

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// No bytes.
    Empty,
    Directory,
    /// A pipe, a socket or a device.
    Special,
    /// A picture that is decoded here.
    Picture(Format),
    /// A picture in another format: its name.
    OtherPicture(&'static str),
    /// An IDX file, with its number of dimensions: 3 for pictures, 1 for labels.
    Idx(u8),
    /// An LMDB file of this version of the format.
    Lmdb(u32),
    /// A tar file.
    Tar,
    /// A gzip stream, with what is in it.
    Gzip(Box<Found>),
    /// A compressed stream, and the program that unpacks it.
    Compressed(&'static str, &'static str),
    /// An archive of files: its name.
    Archive(&'static str),
    /// A container of arrays or tables: its name.
    Table(&'static str),
    /// A web page.
    Html,
    /// A file of git-lfs that stands for the real one.
    LfsPointer,
    /// A text, with its beginning.
    Text(String),
    /// Something else, with its first bytes.
    Unknown(Vec<u8>),
}

/// First bytes that say what a file is.
const MAGIC: &[(&[u8], Found)] = &[
    (b"GIF8", Found::OtherPicture("GIF")),
    (b"II*\0", Found::OtherPicture("TIFF")),
    (b"MM\0*", Found::OtherPicture("TIFF")),
    (b"II+\0", Found::OtherPicture("TIFF")),
    (b"8BPS", Found::OtherPicture("Photoshop")),
    (b"\xff\x0a", Found::OtherPicture("JPEG XL")),
    (b"\0\0\0\x0cJXL ", Found::OtherPicture("JPEG XL")),
    (b"\0\0\0\x0cjP  ", Found::OtherPicture("JPEG 2000")),
    (b"\xff\x4f\xff\x51", Found::OtherPicture("JPEG 2000")),
    (b"\0\0\x01\0", Found::OtherPicture("icon")),
    (b"qoif", Found::OtherPicture("QOI")),
    (b"\x76\x2f\x31\x01", Found::OtherPicture("OpenEXR")),
    (b"\x28\xb5\x2f\xfd", Found::Compressed("zstd", "zstd -d")),
    (b"BZh", Found::Compressed("bzip2", "bunzip2")),
    (b"\xfd7zXZ\0", Found::Compressed("xz", "unxz")),
    (b"\x04\x22\x4d\x18", Found::Compressed("lz4", "lz4 -d")),
    (b"PK\x03\x04", Found::Archive("ZIP")),
    (b"PK\x05\x06", Found::Archive("ZIP")),
    (b"7z\xbc\xaf\x27\x1c", Found::Archive("7z")),
    (b"Rar!", Found::Archive("RAR")),
    (b"\x93NUMPY", Found::Table("NumPy array")),
    (b"\x89HDF\r\n\x1a\n", Found::Table("HDF5 file")),
    (b"PAR1", Found::Table("Parquet file")),
    (b"ARROW1", Found::Table("Arrow file")),
    (b"SQLite format 3\0", Found::Table("SQLite database")),
    (b"MATLAB 5.0", Found::Table("MATLAB file")),
    (b"version https://git-lfs", Found::LfsPointer),
];
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
/// Names of ISO base media files that are pictures, after `ftyp` at byte 4.
const BRANDS: &[(&[u8], &str)] =
    &[(b"avi", "AVIF"), (b"hei", "HEIC"), (b"hev", "HEIC"), (b"mif1", "HEIC"), (b"msf1", "HEIC")];
/// Names of files in other formats of pictures, by which they are known where they are only counted.
pub(crate) const OTHER_EXTENSIONS: &[(&str, &str)] = &[
    ("bmp", "BMP"),
    ("gif", "GIF"),
    ("tif", "TIFF"),
    ("tiff", "TIFF"),
    ("heic", "HEIC"),
    ("heif", "HEIC"),
    ("avif", "AVIF"),
    ("jxl", "JPEG XL"),
    ("jp2", "JPEG 2000"),
    ("psd", "Photoshop"),
    ("svg", "SVG"),
    ("ppm", "PNM"),
    ("pgm", "PNM"),
    ("tga", "TGA"),
];

impl Found {
    /// By the first bytes; more than [`BEGIN_BYTES`] say more of what is in a gzip stream alone.
    #[must_use]
    pub fn of(begin: &[u8]) -> Self {
        if begin.is_empty() {
            return Self::Empty;
        }
        if let Some(format) = Format::of(begin) {
            return Self::Picture(format);
        }
        if let Some((_, found)) = MAGIC.iter().find(|(magic, _)| begin.starts_with(magic)) {
            return found.clone();
        }
        if begin.starts_with(GZIP_MAGIC) {
            let mut inside = Vec::new();
            // The stream is cut off where the bytes end, if not before.
            let _ = MultiGzDecoder::new(begin).take(BEGIN_BYTES as u64).read_to_end(&mut inside);
            return Self::Gzip(Box::new(Self::of(&inside)));
        }
        let at = |offset: usize| begin.get(offset..).unwrap_or_default();
        let brand = BRANDS.iter().find(|(brand, _)| at(4).starts_with(b"ftyp") && at(8).starts_with(brand));
        if let Some((_, name)) = brand {
            return Self::OtherPicture(name);
        }
        match begin {
            [0, 0, 0x08..=0x0e, dimensions @ 1..=8, ..] => return Self::Idx(*dimensions),
            // The size of the file, two reserved words, and where the pixels begin: all little-endian.
            [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => return Self::OtherPicture("BMP"),
            [b'P', b'1'..=b'7', b'\n' | b' ' | b'\r', ..] => return Self::OtherPicture("PNM"),
            _ => {}
        }
        if at(16).starts_with(&[0xde, 0xc0, 0xef, 0xbe]) {
            let version =
                at(20).get(..4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
            return Self::Lmdb(version);
        }
        if is_tar_header(begin) {
            return Self::Tar;
        }
        Self::of_text(begin)
    }

    fn of_text(begin: &[u8]) -> Self {
        let cut = match std::str::from_utf8(begin) {
            Ok(text) => text,
            // A character that the beginning cuts in two.
            Err(error) if error.error_len().is_none() && begin.len() >= BEGIN_BYTES => {
                std::str::from_utf8(&begin[..error.valid_up_to()]).unwrap_or_default()
            }
            Err(_) => return Self::Unknown(begin.iter().take(4).copied().collect()),
        };
        if cut.chars().any(|c| c.is_control() && !c.is_whitespace()) {
            return Self::Unknown(begin.iter().take(4).copied().collect());
        }
        let text = cut.trim_start_matches('\u{feff}').trim_start();
        let lower = text.chars().take(BEGIN_BYTES).collect::<String>().to_ascii_lowercase();
        if ["<!doctype html", "<html", "<head", "<body", "<script"].iter().any(|tag| lower.starts_with(tag)) {
            return Self::Html;
        }
        if lower.starts_with("<svg") || (lower.starts_with("<?xml") && lower.contains("<svg")) {
            return Self::OtherPicture("SVG");
        }
        if lower.starts_with("<?xml") && lower.contains("<html") {
            return Self::Html;
        }
        Self::Text(text.lines().next().unwrap_or_default().chars().take(40).collect())
    }

    /// What lies at a path.
    ///
    /// # Errors
    /// The operating system's.
    pub fn at(path: &Path) -> io::Result<Self> {
        // Asked before it is opened: to open a pipe is to wait for its writer.
        let meta = fs::metadata(path)?;
        if meta.is_dir() {
            return Ok(Self::Directory);
        }
        if !meta.is_file() {
            return Ok(Self::Special);
        }
        let file = File::open(path)?;
        let mut begin = Vec::with_capacity(GZIP_BEGIN_BYTES);
        file.take(GZIP_BEGIN_BYTES as u64).read_to_end(&mut begin)?;
        Ok(Self::of(&begin))
    }

    /// What to do with it, where it was named as data.
    #[must_use]
    pub fn advice(&self) -> String {
        const AGAIN: &str =
            "The download went wrong: open the address in a browser, and fetch the file itself.";
        let reads = |field: &str| format!("data.source.{field} reads it.");
        match self {
            Self::Empty => "Fetch or copy the file again.".to_owned(),
            Self::Directory => {
                "Name a file in it, or take data.source.folder.path for a folder of pictures.".to_owned()
            }
            Self::Special => "Name a plain file or a folder.".to_owned(),
            Self::Picture(_) => "data.source.folder.path reads the folder that it lies in.".to_owned(),
            Self::OtherPicture(_) => "Convert it to JPEG, PNG or WebP.".to_owned(),
            Self::Idx(3) => reads("idx.images"),
            Self::Idx(1) => {
                "data.source.idx.labels reads it; data.source.idx.images wants the file of images beside it."
                    .to_owned()
            }
            Self::Idx(_) => "An IDX file of pictures has 3 dimensions: count, height, width.".to_owned(),
            Self::Lmdb(_) => reads("lsun.path"),
            Self::Tar => reads("webdataset.shards"),
            Self::Gzip(inside) => match &**inside {
                Self::Tar => "Unpack it to a .tar with gunzip (it is read by range), and name that in \
                              data.source.webdataset.shards."
                    .to_owned(),
                Self::Idx(_) | Self::Html | Self::LfsPointer => inside.advice(),
                _ => "Unpack it with gunzip, and name what was in it.".to_owned(),
            },
            Self::Compressed(_, program) => format!(
                "Unpack it with `{program}`, and name what was in it: a .tar in data.source.webdataset.shards."
            ),
            Self::Archive(_) => "Unpack it, and name the folder in data.source.folder.path.".to_owned(),
            Self::Table(_) => {
                "Write its pictures as JPEG or PNG into a folder, and name that in data.source.folder.path."
                    .to_owned()
            }
            Self::Html => AGAIN.to_owned(),
            Self::LfsPointer => "Fetch the real file with `git lfs pull`.".to_owned(),
            Self::Text(_) | Self::Unknown(_) => {
                "Check the path; accepted are folders of pictures, LMDB folders, tar shards and IDX files."
                    .to_owned()
            }
        }
    }
}

/// What lies where a source of `kind` is said to be.
pub(crate) fn look(kind: &'static str, path: &Path) -> Result<Found, DataError> {
    if lsgan_objects::is_url(&path.to_string_lossy()) {
        let what = format!(
            "this is a URL, and the source {kind} reads this machine's disks. From a bucket only tar shards are read \
             (data.source.webdataset.shards): `lsgan dataset pack` makes them of any data set."
        );
        return Err(DataError::unusable(path.display(), what));
    }
    Found::at(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound if fs::symlink_metadata(path).is_ok() => {
            let source = io::Error::new(io::ErrorKind::NotFound, "it is a link that leads nowhere");
            DataError::Unreadable { path: path.into(), source }
        }
        io::ErrorKind::NotFound => DataError::Missing { path: path.into() },
        _ => DataError::Unreadable { path: path.into(), source },
    })
}

/// The error where something else lies there than what is wanted.
pub(crate) fn other_kind(place: String, found: Found, wanted: &'static str) -> DataError {
    let advice = found.advice();
    DataError::OtherKind { place, found, wanted, advice }
}

/// Why the bytes of a record do not decode: where they are known as something else, that says more than the decoder's
/// `reason`.
pub(crate) fn instead_of_a_picture(bytes: &[u8], reason: String) -> String {
    match Found::of(&bytes[..bytes.len().min(GZIP_BEGIN_BYTES)]) {
        Found::Empty | Found::Picture(_) | Found::Unknown(_) => reason,
        found => format!("it is {found}, and neither JPEG, PNG nor WebP"),
    }
}

/// As it stands in `this is …`.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an empty file (0 bytes)"),
            Self::Directory => f.write_str("a directory"),
            Self::Special => f.write_str("a pipe, a socket or a device"),
            Self::Picture(Format::Jpeg) => f.write_str("a JPEG picture"),
            Self::Picture(Format::Png) => f.write_str("a PNG picture"),
            Self::Picture(Format::Webp) => f.write_str("a WebP picture"),
            Self::OtherPicture(format) => write!(f, "a picture in another format ({format})"),
            Self::Idx(1) => f.write_str("an IDX file of labels"),
            Self::Idx(3) => f.write_str("an IDX file of pictures"),
            Self::Idx(dimensions) => write!(f, "an IDX file of {dimensions} dimensions"),
            Self::Lmdb(version) => write!(f, "an LMDB file (format {version})"),
            Self::Tar => f.write_str("a tar file"),
            Self::Gzip(inside) => match &**inside {
                Self::Empty => f.write_str("a gzip stream"),
                inside => write!(f, "{inside} in a gzip stream"),
            },
            Self::Compressed(format, _) => write!(f, "a stream that is compressed with {format}"),
            Self::Archive(format) => write!(f, "an archive ({format})"),
            Self::Table(format) => write!(f, "a table or array of another program ({format})"),
            Self::Html => f.write_str("a web page (HTML)"),
            Self::LfsPointer => f.write_str("a pointer of git-lfs, which stands for the real file"),
            Self::Text(begin) if begin.is_empty() => f.write_str("a text"),
            Self::Text(begin) => write!(f, "a text that begins with `{}`", begin.escape_debug()),
            Self::Unknown(begin) => {
                let begin: Vec<String> = begin.iter().map(|byte| format!("{byte:02x}")).collect();
                write!(f, "a file of an unknown kind that begins with {}", begin.join(" "))
            }
        }
    }
}

/// A tar header has the sum of its bytes in it, with blanks in the place of the sum.
fn is_tar_header(begin: &[u8]) -> bool {
    const SUM: std::ops::Range<usize> = 148..156;
    let Some(header) = begin.get(..BEGIN_BYTES) else { return false };
    let digits: String = header[SUM].iter().map(|byte| char::from(*byte)).collect();
    let said = u64::from_str_radix(digits.trim_matches(['\0', ' ']), 8);
    let blank = |(at, byte): (usize, &u8)| if SUM.contains(&at) { u64::from(b' ') } else { u64::from(*byte) };
    said.is_ok_and(|said| said == header.iter().enumerate().map(blank).sum::<u64>())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn tar() -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_old();
        header.set_size(3);
        tar.append_data(&mut header, "a.txt", &b"abc"[..]).unwrap();
        tar.into_inner().unwrap()
    }

    #[test]
    fn a_file_is_known_by_its_first_bytes() {
        let mut lmdb = vec![0; 152];
        lmdb[16..24].copy_from_slice(&[0xde, 0xc0, 0xef, 0xbe, 2, 0, 0, 0]);
        for (bytes, shown) in [
            (vec![], "an empty file (0 bytes)"),
            (b"\xff\xd8\xff\xe0".to_vec(), "a JPEG picture"),
            (b"BM\x36\0\0\0\0\0\0\0\x36".to_vec(), "a picture in another format (BMP)"),
            (b"\0\0\0\x20ftypavif\0".to_vec(), "a picture in another format (AVIF)"),
            (b"<?xml version='1.0'?>\n<svg>".to_vec(), "a picture in another format (SVG)"),
            (vec![0, 0, 8, 1, 0, 0], "an IDX file of labels"),
            (lmdb, "an LMDB file (format 2)"),
            (tar(), "a tar file"),
            (gzipped(&tar()), "a tar file in a gzip stream"),
            (gzipped(b"  <!DOCTYPE HTML>"), "a web page (HTML) in a gzip stream"),
            (gzipped(b"")[..12].to_vec(), "a gzip stream"),
            (b"\x28\xb5\x2f\xfd".to_vec(), "a stream that is compressed with zstd"),
            (b"PK\x03\x04".to_vec(), "an archive (ZIP)"),
            (b"\x93NUMPY\x01".to_vec(), "a table or array of another program (NumPy array)"),
            (b"\n<html lang=en>".to_vec(), "a web page (HTML)"),
            (
                b"version https://git-lfs.github.com/spec/v1\n".to_vec(),
                "a pointer of git-lfs, which stands for the real file",
            ),
            (b"a,b\n1,2\n".to_vec(), "a text that begins with `a,b`"),
            (b"\x01\x02\x80\x04\x05".to_vec(), "a file of an unknown kind that begins with 01 02 80 04"),
            (vec![0; 512], "a file of an unknown kind that begins with 00 00 00 00"),
        ] {
            let found = Found::of(&bytes);
            assert_eq!(found.to_string(), shown, "{bytes:?}");
            assert!(found.advice().ends_with('.'), "{found:?}");
        }
    }

    /// Cut anywhere, it is something, and no panic.
    #[test]
    fn any_beginning_is_something() {
        for whole in [tar(), gzipped(&tar()), "ümläut ".repeat(99).into_bytes()] {
            for cut in 0..whole.len().min(600) {
                assert!(!Found::of(&whole[..cut]).to_string().is_empty());
            }
        }
        assert_eq!(
            Found::of(&"x".repeat(511).into_bytes().into_iter().chain(*b"\xc3").collect::<Vec<_>>()),
            Found::Text("x".repeat(40))
        );
    }
}
