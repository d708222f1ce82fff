//! Recognises a file by its first bytes, so that messages can name its kind and give advice.
//!
//! Only for messages and for `lsgan dataset`: a source checks its files itself.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use lsgan_spec::without_user;

use crate::DataError;
use crate::decode::Format;
use crate::sources::READS;

/// The first bytes that suffice to recognise a file: the length of a tar header.
pub const BEGIN_BYTES: usize = 512;
/// The first bytes of a gzip stream that suffice to recognise its content: its header may hold a long name.
pub(crate) const GZIP_BEGIN_BYTES: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileKind {
    Empty,
    Directory,
    /// A pipe, a socket or a device.
    Special,
    Picture(Format),
    /// A picture in an unsupported format.
    OtherPicture(&'static str),
    /// The number of dimensions: 3 for pictures, 1 for labels.
    Idx(u8),
    /// The version of the format.
    Lmdb(u32),
    Tar,
    /// The kind of the content.
    Gzip(Box<FileKind>),
    /// The format, and the command that unpacks it.
    Compressed(&'static str, &'static str),
    /// An archive of files.
    Archive(&'static str),
    /// A container of arrays or tables.
    Table(&'static str),
    Html,
    /// A file of git-lfs that stands for the real one.
    LfsPointer,
    /// The beginning of the text.
    Text(String),
    /// The first bytes.
    Unknown(Vec<u8>),
}

/// Magic bytes at the beginning of a file.
const MAGIC: &[(&[u8], FileKind)] = &[
    (b"GIF8", FileKind::OtherPicture("GIF")),
    (b"II*\0", FileKind::OtherPicture("TIFF")),
    (b"MM\0*", FileKind::OtherPicture("TIFF")),
    (b"II+\0", FileKind::OtherPicture("TIFF")),
    (b"8BPS", FileKind::OtherPicture("Photoshop")),
    (b"\xff\x0a", FileKind::OtherPicture("JPEG XL")),
    (b"\0\0\0\x0cJXL ", FileKind::OtherPicture("JPEG XL")),
    (b"\0\0\0\x0cjP  ", FileKind::OtherPicture("JPEG 2000")),
    (b"\xff\x4f\xff\x51", FileKind::OtherPicture("JPEG 2000")),
    (b"\0\0\x01\0", FileKind::OtherPicture("icon")),
    (b"qoif", FileKind::OtherPicture("QOI")),
    (b"\x76\x2f\x31\x01", FileKind::OtherPicture("OpenEXR")),
    (b"\x28\xb5\x2f\xfd", FileKind::Compressed("zstd", "zstd -d")),
    (b"BZh", FileKind::Compressed("bzip2", "bunzip2")),
    (b"\xfd7zXZ\0", FileKind::Compressed("xz", "unxz")),
    (b"\x04\x22\x4d\x18", FileKind::Compressed("lz4", "lz4 -d")),
    (b"PK\x03\x04", FileKind::Archive("ZIP")),
    (b"PK\x05\x06", FileKind::Archive("ZIP")),
    (b"7z\xbc\xaf\x27\x1c", FileKind::Archive("7z")),
    (b"Rar!", FileKind::Archive("RAR")),
    (b"\x93NUMPY", FileKind::Table("NumPy array")),
    (b"\x89HDF\r\n\x1a\n", FileKind::Table("HDF5 file")),
    (b"PAR1", FileKind::Table("Parquet file")),
    (b"ARROW1", FileKind::Table("Arrow file")),
    (b"SQLite format 3\0", FileKind::Table("SQLite database")),
    (b"MATLAB 5.0", FileKind::Table("MATLAB file")),
    (b"version https://git-lfs", FileKind::LfsPointer),
];
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
/// Brands of ISO base media files that are pictures; they follow `ftyp` at byte 4.
const BRANDS: &[(&[u8], &str)] =
    &[(b"avi", "AVIF"), (b"hei", "HEIC"), (b"hev", "HEIC"), (b"mif1", "HEIC"), (b"msf1", "HEIC")];
/// Extensions of pictures in unsupported formats.
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

impl FileKind {
    /// Recognises a file by its first [`BEGIN_BYTES`]; for the content of a gzip stream, more bytes are better.
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
            // The stream ends early, because `begin` does.
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
            // The file's size, two reserved words, the offset of the pixels.
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
            // `begin` ends within a character.
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

    /// Recognises what lies at a path.
    ///
    /// # Errors
    /// The operating system's.
    pub fn at(path: &Path) -> io::Result<Self> {
        // Checked before it is opened: opening a pipe waits for its writer.
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

    /// What to do if such a file was named as a data set.
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
                let reads: Vec<&str> = READS.iter().copied().filter(|reads| !reads.is_empty()).collect();
                let (last, others) = reads.split_last().expect("there are sources of files");
                format!("Check the path; accepted are {} and {last}.", others.join(", "))
            }
        }
    }
}

/// Recognises what lies at the path of a source of `kind`.
pub(crate) fn kind_at(kind: &'static str, path: &Path) -> Result<FileKind, DataError> {
    if lsgan_objects::is_url(&path.to_string_lossy()) {
        let what = format!(
            "this is a URL, and the source {kind} reads this machine's disks. From a bucket only tar shards are read \
             (data.source.webdataset.shards): `lsgan dataset pack` makes them of any data set."
        );
        return Err(DataError::unusable(without_user(&path.to_string_lossy()), what));
    }
    FileKind::at(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound if fs::symlink_metadata(path).is_ok() => {
            let source = io::Error::new(io::ErrorKind::NotFound, "it is a link that leads nowhere");
            DataError::Unreadable { path: path.into(), source }
        }
        io::ErrorKind::NotFound => DataError::Missing { path: path.into() },
        _ => DataError::Unreadable { path: path.into(), source },
    })
}

/// The error for a file of another kind than wanted.
pub(crate) fn other_kind(place: String, found: FileKind, wanted: &'static str) -> DataError {
    let advice = found.advice();
    DataError::OtherKind { place, found, wanted, advice }
}

/// Why the bytes of a record do not decode: their kind if it is known and no picture, else the decoder's `reason`.
pub(crate) fn instead_of_a_picture(bytes: &[u8], reason: String) -> String {
    match FileKind::of(&bytes[..bytes.len().min(GZIP_BEGIN_BYTES)]) {
        FileKind::Empty | FileKind::Picture(_) | FileKind::Unknown(_) => reason,
        found => format!("it is {found}, and neither JPEG, PNG nor WebP"),
    }
}

/// As in "this is …".
impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an empty file (0 bytes)"),
            Self::Directory => f.write_str("a directory"),
            Self::Special => f.write_str("a pipe, a socket or a device"),
            Self::Picture(format) => write!(f, "a {} picture", format.name()),
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

/// Whether the checksum is right: the sum of the header's bytes, with blanks instead of the checksum.
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
            let found = FileKind::of(&bytes);
            assert_eq!(found.to_string(), shown, "{bytes:?}");
            assert!(found.advice().ends_with('.'), "{found:?}");
        }
    }

    /// The first bytes of any length have a kind, without a panic.
    #[test]
    fn any_beginning_is_something() {
        for whole in [tar(), gzipped(&tar()), "ümläut ".repeat(99).into_bytes()] {
            for cut in 0..whole.len().min(600) {
                assert!(!FileKind::of(&whole[..cut]).to_string().is_empty());
            }
        }
        assert_eq!(
            FileKind::of(&"x".repeat(511).into_bytes().into_iter().chain(*b"\xc3").collect::<Vec<_>>()),
            FileKind::Text("x".repeat(40))
        );
    }
}
