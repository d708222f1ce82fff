//! IDX files of pictures, as MNIST and Fashion-MNIST ship them.
//!
//! The format (<http://yann.lecun.com/exdb/mnist/>): two zero bytes, a byte for the type of number (0x08 is u8), a
//! byte for the number of dimensions, then one big-endian u32 for each dimension (count, height, width), then the
//! numbers, last dimension fastest; 0 is black. The file may be gzipped; its first two bytes tell.
//!
//! The pixels are held in memory, decompressed: 55 MB for Fashion-MNIST's 70,000.
//!
//! Labels, where there are some, are a second such file of one dimension: a u8 for each picture, its class. They are not
//! in the fingerprint: training does not look at them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use lsgan_spec::{Flip, IdxSource, ImageSpec};

use crate::error::FETCH;
use crate::found::{Found, look, other_kind};
use crate::picture::{Channels, Picture};
use crate::source::{Stored, check_request};
use crate::transform::Transform;
use crate::{DataError, Fingerprint, RecordError, SampleShape, Source};

/// The kind's word in a run's file.
pub const KIND: &str = "idx";

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const HEADER_BYTES: usize = 16;
const TYPE_U8: u8 = 0x08;
const DIMENSIONS: u8 = 3;
const LABELS_HEADER_BYTES: usize = 8;
const LABELS_MAGIC: [u8; 4] = [0, 0, TYPE_U8, 1];
/// The pixels are held in memory: more than this is not meant to be.
const PIXELS_BYTES_MAX: u64 = 16 << 30;

/// An open IDX file.
pub struct Idx {
    header: Header,
    pixels: Vec<u8>,
    labels: Option<Vec<u8>>,
    transform: Transform,
    fingerprint: Fingerprint,
}

#[derive(Clone, Copy)]
struct Header {
    count: u32,
    height: u32,
    width: u32,
}

impl Idx {
    /// Reads the whole file, and that of the labels.
    ///
    /// # Errors
    ///
    /// A file that is missing, empty, cut off, too long, or no IDX file of u8 pictures or labels; another number of labels
    /// than of pictures; no `data.image`.
    pub fn open(spec: &IdxSource, image: Option<&ImageSpec>) -> Result<Self, DataError> {
        let transform = Transform::for_pictures(KIND, image)?;
        check_kind(&spec.images, "IDX file of pictures", |dimensions| dimensions != 1)?;
        let (header, pixels) = read_file(&spec.images, parse)?;
        let labels = spec.labels.as_deref().map(|path| read_labels(path, header.count, &spec.images));
        let mut hasher = blake3::Hasher::new();
        hasher.update(KIND.as_bytes());
        for dimension in [header.count, header.height, header.width] {
            hasher.update(&dimension.to_le_bytes());
        }
        let fingerprint = Fingerprint(*hasher.update(&pixels).finalize().as_bytes());
        Ok(Self { header, pixels, labels: labels.transpose()?, transform, fingerprint })
    }

    /// The picture of a record, which has to be there.
    fn picture(&self, record: u64) -> Picture<'_> {
        let Header { height, width, .. } = self.header;
        let picture_bytes = height as usize * width as usize;
        // Records are counted in u32 and all of their pixels are in memory, so this fits.
        let start = record as usize * picture_bytes;
        let pixels = self.pixels[start..start + picture_bytes].into();
        Picture { height, width, channels: Channels::Grey, pixels }
    }
}

impl Source for Idx {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn len(&self) -> u64 {
        u64::from(self.header.count)
    }

    fn sample_shape(&self) -> SampleShape {
        self.transform.sample_shape()
    }

    fn read(&self, record: u64, out: &mut [f32]) -> Result<(), RecordError> {
        check_request(self, record, out.len())?;
        self.transform.apply(&self.picture(record), out);
        Ok(())
    }

    fn stored(&self, record: u64) -> Result<Stored, RecordError> {
        check_request(self, record, self.sample_len())?;
        let Picture { height, width, channels, pixels } = self.picture(record);
        Ok(Stored::Pixels(Picture { height, width, channels, pixels: pixels.into_owned().into() }))
    }

    fn class(&self, record: u64) -> Option<u32> {
        let labels = self.labels.as_ref()?;
        labels.get(usize::try_from(record).ok()?).map(|label| u32::from(*label))
    }

    fn flip(&self) -> Flip {
        self.transform.flip()
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// Refuses what is known to be something else: another kind of file, or an IDX file whose dimensions are not `accepted`.
/// What is wrong with an IDX file is said by who reads it.
fn check_kind(path: &Path, wanted: &'static str, accepted: impl Fn(u8) -> bool) -> Result<(), DataError> {
    let found = look(KIND, path)?;
    let inside = if let Found::Gzip(inside) = &found { &**inside } else { &found };
    match inside {
        Found::Idx(dimensions) if accepted(*dimensions) => Ok(()),
        // Of a gzip stream that is cut off or damaged, nothing may be seen.
        Found::Empty if found != Found::Empty => Ok(()),
        Found::Unknown(_) => Ok(()),
        _ => Err(other_kind(path.display().to_string(), found, wanted)),
    }
}

/// Lets `parse` see the decompressed bytes; its third argument says what an error of reading them means.
fn read_file<T>(
    path: &Path,
    parse: impl FnOnce(&Path, &mut dyn Read, &dyn Fn(io::Error) -> DataError) -> Result<T, DataError>,
) -> Result<T, DataError> {
    let unreadable = DataError::unreadable(path);
    let unusable = |what: String| DataError::unusable(path.display(), what);
    let file = File::open(path).map_err(unreadable)?;
    let len_bytes = file.metadata().map_err(unreadable)?.len();
    let mut file = BufReader::with_capacity(1 << 16, file);
    let begin = file.fill_buf().map_err(unreadable)?;
    if begin.starts_with(&GZIP_MAGIC) {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => unusable(format!(
                "the gzip stream is cut off, its end is missing ({len_bytes} bytes on disk). {FETCH}"
            )),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                unusable(format!("the gzip stream is damaged: {error}. {FETCH}"))
            }
            _ => unreadable(error),
        };
        parse(path, &mut MultiGzDecoder::new(file), &failed)
    } else {
        parse(path, &mut file, &unreadable)
    }
}

/// Labels, one for each of `expected` pictures.
fn read_labels(path: &Path, expected: u32, images: &Path) -> Result<Vec<u8>, DataError> {
    check_kind(path, "IDX file of labels", |dimensions| dimensions == 1)?;
    read_file(path, |path, bytes, failed| {
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

/// Header and pixels from the decompressed bytes; `failed` says what an error of reading them means.
fn parse(
    path: &Path,
    bytes: &mut dyn Read,
    failed: &dyn Fn(io::Error) -> DataError,
) -> Result<(Header, Vec<u8>), DataError> {
    let mut start = Vec::with_capacity(HEADER_BYTES);
    bytes.take(HEADER_BYTES as u64).read_to_end(&mut start).map_err(failed)?;
    let header = parse_header(path, &start)?;
    let Header { count, height, width } = header;
    let unusable = |what: String| DataError::unusable(path.display(), what);
    let pictures = format!("{count} pictures of {height} x {width}");
    let expected_bytes = u64::from(count)
        .checked_mul(u64::from(height) * u64::from(width))
        .filter(|bytes| (1..=PIXELS_BYTES_MAX).contains(bytes))
        .ok_or_else(|| {
            unusable(format!(
                "the header says {pictures} pixels; at least 1 of at least 1 x 1 is needed, and at most 16 GiB in all, \
                 for they are held in memory. Take another file."
            ))
        })?;
    // Not reserved at once: what a damaged header says is not worth gigabytes, what really follows is. The one byte
    // more shows a file that is too long, and lets the gzip decoder check the end of a stream that is not.
    let mut pixels = Vec::new();
    bytes.take(expected_bytes + 1).read_to_end(&mut pixels).map_err(failed)?;
    match pixels.len() as u64 {
        found_bytes if found_bytes < expected_bytes => Err(unusable(format!(
            "the file is cut off: its header says {pictures} = {expected_bytes} bytes, but only {found_bytes} follow. \
             {FETCH}"
        ))),
        found_bytes if found_bytes > expected_bytes => Err(unusable(format!(
            "the file is longer than its header says: {pictures} = {expected_bytes} bytes, and more follows. {FETCH}"
        ))),
        _ => Ok((header, pixels)),
    }
}

/// The header's number at `index`; what is not there is 0.
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
