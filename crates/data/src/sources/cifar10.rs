//! CIFAR-10's binary files (Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images").
//!
//! The format (<https://www.cs.toronto.edu/~kriz/cifar.html>): records of 3,073 bytes without a header. A record is one
//! byte with its class, 0 to 9, then 32 x 32 pixels as three planes, red, green and blue, each row after row. The training
//! set is data_batch_1.bin to data_batch_5.bin, the test set is test_batch.bin; each file has 10,000 records.
//!
//! The pixels are held in memory: 154 MB for the training set. The fingerprint does not cover the classes, because training
//! does not read them.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};

use lsgan_spec::{Cifar10Source, ImageSpec};

use super::OpenOptions;
use super::pictures::{Content, IN_MEMORY_BYTES_MAX, IN_MEMORY_MAX, Pictures, Records, Summary};
use crate::error::FETCH;
use crate::file_kind::{FileKind, kind_at, other_kind};
use crate::picture::{Channels, Picture};
use crate::{DataError, RecordError, Source};

pub(super) const KIND: &str = "cifar10";

const SIDE: u32 = 32;
const PLANE_BYTES: usize = 32 * 32;
const PICTURE_BYTES: usize = 3 * PLANE_BYTES;
const RECORD_BYTES: usize = 1 + PICTURE_BYTES;
const TRAINING_FILES: u32 = 5;

/// As batches.meta.txt has them.
const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

struct Cifar10 {
    classes: Vec<u8>,
    /// `[records, 32, 32, 3]`.
    pixels: Vec<u8>,
}

pub(super) fn at(place: &str) -> Option<Cifar10Source> {
    Some(Cifar10Source { path: place.into() })
}

/// A directory with the first file of the training set.
pub(super) fn find(place: &str, found: Option<&FileKind>) -> Option<Cifar10Source> {
    let is_training_set = || Path::new(place).join("data_batch_1.bin").is_file();
    (found == Some(&FileKind::Directory) && is_training_set()).then(|| at(place))?
}

/// Reads all files as a whole.
pub(super) fn open(
    spec: &Cifar10Source,
    image: Option<&ImageSpec>,
    _options: &OpenOptions<'_>,
) -> Result<Box<dyn Source>, DataError> {
    Pictures::open(image, || {
        let (mut classes, mut pixels) = (Vec::new(), Vec::new());
        for path in files(&spec.path)? {
            read_file(&path, &mut classes, &mut pixels)?;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(KIND.as_bytes()).update(&pixels);
        let class_names = CLASSES.map(str::to_owned).to_vec();
        let summary = Summary { class_names, ..Summary::new(classes.len() as u64, hasher.finalize()) };
        Ok((Cifar10 { classes, pixels }, summary))
    })
}

impl Records for Cifar10 {
    const KIND: &'static str = KIND;

    fn content<'a>(&'a self, record: u64, _bytes: &'a mut Vec<u8>) -> Result<Content<'a>, RecordError> {
        // All pixels are in memory, so the offset fits in usize.
        let start = record as usize * PICTURE_BYTES;
        let pixels = self.pixels[start..start + PICTURE_BYTES].into();
        let picture = Picture { height: SIDE, width: SIDE, channels: Channels::Colour, pixels };
        Ok(Content::Pixels(picture))
    }

    fn class(&self, record: u64) -> Option<u32> {
        Some(u32::from(self.classes[record as usize]))
    }
}

/// The file itself, or the training files of a directory.
fn files(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    if kind_at(KIND, path)? != FileKind::Directory {
        return Ok(vec![path.into()]);
    }
    let files: Vec<PathBuf> =
        (1..=TRAINING_FILES).map(|number| path.join(format!("data_batch_{number}.bin"))).collect();
    match files.iter().find(|file| !file.is_file()) {
        None => Ok(files),
        Some(missing) => {
            let what = format!(
                "{} is not in it; the training set is data_batch_1.bin to data_batch_5.bin. Unpack the binary version of \
                 CIFAR-10, or name one of its files.",
                missing.file_name().unwrap_or_default().display()
            );
            Err(DataError::unusable(path.display(), what))
        }
    }
}

/// Adds the records of a file.
fn read_file(path: &Path, classes: &mut Vec<u8>, pixels: &mut Vec<u8>) -> Result<(), DataError> {
    let unreadable = DataError::unreadable(path);
    let file = File::open(path).map_err(unreadable)?;
    let len_bytes = file.metadata().map_err(unreadable)?.len();
    let unusable = |what: String| Err(DataError::unusable(path.display(), what));
    if len_bytes == 0 || len_bytes % RECORD_BYTES as u64 != 0 {
        return match kind_at(KIND, path)? {
            FileKind::Unknown(_) => unusable(format!(
                "it has {len_bytes} bytes, and a CIFAR-10 file is made of records of {RECORD_BYTES}: it is cut off or of \
                 another format. {FETCH}"
            )),
            known => Err(other_kind(path.display().to_string(), known, "CIFAR-10 file")),
        };
    }
    if len_bytes > IN_MEMORY_BYTES_MAX {
        return unusable(format!(
            "it has {len_bytes} bytes; at most {IN_MEMORY_MAX} are accepted, for they are held in memory. CIFAR-10's files \
             have 30,730,000: take those."
        ));
    }
    let mut file = BufReader::new(file);
    let mut bytes = [0; RECORD_BYTES];
    for record in 0..len_bytes / RECORD_BYTES as u64 {
        file.read_exact(&mut bytes).map_err(unreadable)?;
        let (class, planes) = (bytes[0], &bytes[1..]);
        if usize::from(class) >= CLASSES.len() {
            return unusable(format!(
                "record {record} has class {class}, and CIFAR-10 has classes 0 to 9: it is damaged, or of another data \
                 set. {FETCH}"
            ));
        }
        classes.push(class);
        pixels.extend((0..PICTURE_BYTES).map(|i| planes[i % 3 * PLANE_BYTES + i / 3]));
    }
    Ok(())
}
