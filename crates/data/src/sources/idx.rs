//! IDX files of pictures, as MNIST and Fashion-MNIST ship them.
//!
//! The format (<http://yann.lecun.com/exdb/mnist/>): two zero bytes, a byte for the type of number (0x08 is u8), a
//! byte for the number of dimensions, then one big-endian u32 for each dimension (count, height, width), then the
//! numbers, last dimension fastest; 0 is black. The file may be gzipped, which its first two bytes tell.
//!
//! The decompressed pixels are held in memory: 55 MB for Fashion-MNIST's 70,000 pictures.
//!
//! Labels are a second file of this format with one dimension: a u8 for each picture, its class. The fingerprint does not
//! cover them, because training does not read them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use lsgan_spec::{IdxSource, ImageSpec};

use super::OpenOptions;
use super::pictures::{Content, IN_MEMORY_BYTES_MAX, IN_MEMORY_MAX, Pictures, Records, Summary};
use crate::error::FETCH;
use crate::file_kind::{FileKind, kind_at, other_kind};
use crate::picture::{Channels, Picture};
use crate::{DataError, RecordError, Source};

pub(super) const KIND: &str = "idx";

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const HEADER_BYTES: usize = 16;
const TYPE_U8: u8 = 0x08;
const DIMENSIONS: u8 = 3;
const LABELS_HEADER_BYTES: usize = 8;
const LABELS_MAGIC: [u8; 4] = [0, 0, TYPE_U8, 1];
/// A gzip stream may grow to this many times its length. Pictures that are nearly empty grow 50 times, zeros 1,000 times.
const GROWTH_MAX: u64 = 200;
/// A stream that grows to less than this is read whatever its length is.
const GROWN_BYTES_MIN: u64 = 64 << 20;

struct Idx {
    header: Header,
    pixels: Vec<u8>,
    labels: Option<Vec<u8>>,
}

#[derive(Clone, Copy)]
struct Header {
    count: u32,
    height: u32,
    width: u32,
}

pub(super) fn at(place: &str) -> Option<IdxSource> {
    Some(IdxSource::of(place))
}

/// An IDX file, gzipped or not.
pub(super) fn find(place: &str, found: Option<&FileKind>) -> Option<IdxSource> {
    match found? {
        FileKind::Idx(_) => at(place),
        FileKind::Gzip(inside) if matches!(**inside, FileKind::Idx(_) | FileKind::Empty) => at(place),
        _ => None,
    }
}

/// Reads both files as a whole.
pub(super) fn open(
    spec: &IdxSource,
    image: Option<&ImageSpec>,
    _options: &OpenOptions<'_>,
) -> Result<Box<dyn Source>, DataError> {
    Pictures::open(image, || {
        check_kind(&spec.images, "IDX file of pictures", |dimensions| dimensions != 1)?;
        let (header, pixels) = read_file(&spec.images, parse)?;
        let labels = spec.labels.as_deref().map(|path| read_labels(path, header.count, &spec.images));
        let mut hasher = blake3::Hasher::new();
        hasher.update(KIND.as_bytes());
        for dimension in [header.count, header.height, header.width] {
            hasher.update(&dimension.to_le_bytes());
        }
        let summary = Summary::new(header.count.into(), hasher.update(&pixels).finalize());
        Ok((Idx { header, pixels, labels: labels.transpose()? }, summary))
    })
}

impl Records for Idx {
    const KIND: &'static str = KIND;

    fn content<'a>(&'a self, record: u64, _bytes: &'a mut Vec<u8>) -> Result<Content<'a>, RecordError> {
        let Header { height, width, .. } = self.header;
        let picture_bytes = height as usize * width as usize;
        // All pixels are in memory, so the offset fits in usize.
        let start = record as usize * picture_bytes;
        let pixels = self.pixels[start..start + picture_bytes].into();
        let picture = Picture { height, width, channels: Channels::Grey, pixels };
        Ok(Content::Pixels(picture))
    }

    fn class(&self, record: u64) -> Option<u32> {
        self.labels.as_ref().map(|labels| u32::from(labels[record as usize]))
    }
}

/// Refuses a file that is known to be of another kind, and an IDX file whose number of dimensions is not `accepted`.
/// [`read_file`] reports what is wrong with the content.
fn check_kind(path: &Path, wanted: &'static str, accepted: impl Fn(u8) -> bool) -> Result<(), DataError> {
    let found = kind_at(KIND, path)?;
    let inside = if let FileKind::Gzip(inside) = &found { &**inside } else { &found };
    match inside {
        FileKind::Idx(dimensions) if accepted(*dimensions) => Ok(()),
        // A gzip stream that is cut off or damaged may have no readable content.
        FileKind::Empty if found != FileKind::Empty => Ok(()),
        FileKind::Unknown(_) => Ok(()),
        _ => Err(other_kind(path.display().to_string(), found, wanted)),
    }
}

/// The content of a file.
struct Opened<'a> {
    path: &'a Path,
    /// Decompressed.
    bytes: &'a mut dyn Read,
    /// The length of `bytes`, if it is known before they are read.
    len_bytes: Option<u64>,
    /// Converts an error of reading `bytes`.
    failed: &'a dyn Fn(io::Error) -> DataError,
}

/// Calls `parse` with the content of a file.
fn read_file<T>(path: &Path, parse: impl FnOnce(Opened<'_>) -> Result<T, DataError>) -> Result<T, DataError> {
    let unreadable = DataError::unreadable(path);
    let unusable = |what: String| DataError::unusable(path.display(), what);
    let file = File::open(path).map_err(unreadable)?;
    let len_bytes = file.metadata().map_err(unreadable)?.len();
    let mut file = BufReader::with_capacity(1 << 16, file);
    let begin = file.fill_buf().map_err(unreadable)?;
    if !begin.starts_with(&GZIP_MAGIC) {
        return parse(Opened { path, bytes: &mut file, len_bytes: Some(len_bytes), failed: &unreadable });
    }
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => unusable(format!(
            "the gzip stream is cut off, its end is missing ({len_bytes} bytes on disk). {FETCH}"
        )),
        io::ErrorKind::FileTooLarge => unusable(format!(
            "the gzip stream has {len_bytes} bytes and grows to more than {GROWTH_MAX} times that, which no pictures do. \
             {FETCH} If it is right, unpack it with gunzip, and name what was in it."
        )),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            unusable(format!("the gzip stream is damaged: {error}. {FETCH}"))
        }
        _ => unreadable(error),
    };
    let left_bytes = len_bytes.saturating_mul(GROWTH_MAX).max(GROWN_BYTES_MIN);
    let mut bytes = Growing { bytes: MultiGzDecoder::new(file), left_bytes };
    parse(Opened { path, bytes: &mut bytes, len_bytes: None, failed: &failed })
}

/// A stream that fails when it has grown too much.
struct Growing<R> {
    bytes: R,
    left_bytes: u64,
}

impl<R: Read> Read for Growing<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(out)?;
        let left = self.left_bytes.checked_sub(read as u64);
        self.left_bytes = left.ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(read)
    }
}

/// Reads one label for each of `expected` pictures.
fn read_labels(path: &Path, expected: u32, images: &Path) -> Result<Vec<u8>, DataError> {
    check_kind(path, "IDX file of labels", |dimensions| dimensions == 1)?;
    read_file(path, |Opened { path, bytes, failed, .. }| {
        let unusable = |what: String| Err(DataError::unusable(path.display(), what));
        let mut header = Vec::with_capacity(LABELS_HEADER_BYTES);
        bytes.take(LABELS_HEADER_BYTES as u64).read_to_end(&mut header).map_err(failed)?;
        if !header.starts_with(&LABELS_MAGIC) {
            return unusable(format!(
                "this is not an IDX file of labels: it begins with {:#010x}; an IDX file of u8 labels begins with \
                 0x00000801 (gzipped or not). Point data.source.idx.labels at a file such as train-labels-idx1-ubyte.gz.",
                word(&header, 0)
            ));
        }
        if header.len() < LABELS_HEADER_BYTES {
            return Err(header_cut(path, header.len(), LABELS_HEADER_BYTES));
        }
        let count = word(&header, 1);
        if count != expected {
            return unusable(format!(
                "it has {count} labels, and {} has {expected} pictures; one label for each picture is needed. Take the \
                 file of labels that belongs to these pictures, or remove data.source.idx.labels.",
                images.display()
            ));
        }
        let mut labels = Vec::new();
        bytes.take(u64::from(count) + 1).read_to_end(&mut labels).map_err(failed)?;
        match labels.len() as u64 {
            found if found == u64::from(count) => Ok(labels),
            found => {
                let what = if found > u64::from(count) { "more" } else { "fewer" };
                unusable(format!("its header says {count} labels, and {what} follow. {FETCH}"))
            }
        }
    })
}

/// Parses header and pixels.
fn parse(opened: Opened<'_>) -> Result<(Header, Vec<u8>), DataError> {
    let Opened { path, bytes, len_bytes, failed } = opened;
    let mut start = Vec::with_capacity(HEADER_BYTES);
    bytes.take(HEADER_BYTES as u64).read_to_end(&mut start).map_err(failed)?;
    let header = parse_header(path, &start)?;
    let Header { count, height, width } = header;
    let unusable = |what: String| DataError::unusable(path.display(), what);
    let pictures = format!("{count} pictures of {height} x {width}");
    let expected_bytes = u64::from(count)
        .checked_mul(u64::from(height) * u64::from(width))
        .filter(|bytes| (1..=IN_MEMORY_BYTES_MAX).contains(bytes))
        .ok_or_else(|| {
            unusable(format!(
                "the header says {pictures} pixels; at least 1 of at least 1 x 1 is needed, and at most {IN_MEMORY_MAX} in \
                 all, for they are held in memory. Take another file."
            ))
        })?;
    let check = |found_bytes: u64| match found_bytes {
        _ if found_bytes < expected_bytes => Err(unusable(format!(
            "the file is cut off: its header says {pictures} = {expected_bytes} bytes, but only {found_bytes} follow. \
             {FETCH}"
        ))),
        _ if found_bytes > expected_bytes => Err(unusable(format!(
            "the file is longer than its header says: {pictures} = {expected_bytes} bytes, and more follows. {FETCH}"
        ))),
        _ => Ok(()),
    };
    // Before they are read: a sparse file has gigabytes for nothing.
    len_bytes.map_or(Ok(()), |len_bytes| check(len_bytes.saturating_sub(HEADER_BYTES as u64)))?;
    // Without a reservation, because a damaged header must not allocate gigabytes. One byte more detects a file that is
    // too long, and makes the gzip decoder check the end of the stream.
    let mut pixels = Vec::new();
    bytes.take(expected_bytes + 1).read_to_end(&mut pixels).map_err(failed)?;
    check(pixels.len() as u64)?;
    Ok((header, pixels))
}

/// The header's number at `index`; missing bytes count as 0.
fn word(bytes: &[u8], index: usize) -> u32 {
    let mut padded = [0; 4];
    let there = bytes.iter().skip(4 * index).take(4);
    padded.iter_mut().zip(there).for_each(|(to, from)| *to = *from);
    u32::from_be_bytes(padded)
}

fn header_cut(path: &Path, len_bytes: usize, header_bytes: usize) -> DataError {
    let what = format!(
        "the file ends after {len_bytes} bytes of its header; the header has {header_bytes}. {FETCH}"
    );
    DataError::unusable(path.display(), what)
}

fn parse_header(path: &Path, bytes: &[u8]) -> Result<Header, DataError> {
    let word = |index| word(bytes, index);
    let unusable = |what: String| Err(DataError::unusable(path.display(), what));
    match word(0).to_be_bytes() {
        [0, 0, TYPE_U8, DIMENSIONS] => {}
        [0, 0, TYPE_U8, found @ 1..=u8::MAX] => {
            return unusable(format!(
                "the IDX file has {found} dimension(s); pictures have 3: count, height, width. A file of labels has 1: \
                 take the file of images beside it."
            ));
        }
        // The other types that the format knows: i8, i16, i32, f32, f64.
        [0, 0, found @ (0x09 | 0x0b..=0x0e), 1..=u8::MAX] => {
            return unusable(format!(
                "the IDX file holds numbers of type {found:#04x}; pictures are of type 0x08 (u8). Convert it to u8."
            ));
        }
        _ => {
            return unusable(format!(
                "this is not an IDX file of pictures: it begins with {:#010x}; an IDX file of u8 pictures begins with \
                 0x00000803 (gzipped or not). Point data.source.idx.images at a file such as train-images-idx3-ubyte.gz.",
                word(0)
            ));
        }
    }
    if bytes.len() < HEADER_BYTES {
        return Err(header_cut(path, bytes.len(), HEADER_BYTES));
    }
    Ok(Header { count: word(1), height: word(2), width: word(3) })
}
