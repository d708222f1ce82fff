//! The trait of data sources.

/// Over a source's kind and content; shown in hexadecimal.
pub use blake3::Hash as Fingerprint;
use lsgan_spec::Flip;

use crate::left_out::LeftOut;
use crate::picture::Picture;

/// A data set whose records can be read by index, from any thread, in any order. Each kind is one file in
/// [`crate::sources`]; [`crate::contract`] tests what all of them guarantee.
#[warn(missing_docs)]
pub trait Source: Send + Sync {
    /// The kind's word in a run's file: `idx`, `lsun`.
    fn kind(&self) -> &'static str;

    /// Records in the data set; at least 1.
    fn len(&self) -> u64;

    /// Always false: a data set without records cannot be opened.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape of a sample.
    fn sample_shape(&self) -> SampleShape;

    /// The number of f32 in a sample.
    fn sample_len(&self) -> usize {
        self.sample_shape().len()
    }

    /// Writes the sample of `record`, counted from 0, into `out`: `[h, w, c]` in −1..1 or `[2]`. Every call on every
    /// machine gives the same bits.
    ///
    /// # Errors
    ///
    /// A record beyond the end, an `out` of another length than [`sample_len`](Self::sample_len), a record that does not
    /// decode, or a data set that changed. The content of `out` is then undefined.
    fn read(&self, record: u64, out: &mut [f32]) -> Result<(), RecordError>;

    /// The record as the data set stores it.
    ///
    /// # Errors
    ///
    /// A record beyond the end, a data set that changed, or a record that is too long for a picture.
    fn stored(&self, record: u64) -> Result<Stored, RecordError> {
        check_request(self, record, self.sample_len()).map(|()| Stored::Made)
    }

    /// The record's name, by which users find it in the data set: its file, its key, or its number.
    ///
    /// # Errors
    ///
    /// A record beyond the end, or a data set that changed.
    fn key(&self, record: u64) -> Result<String, RecordError> {
        check_request(self, record, self.sample_len()).map(|()| record.to_string())
    }

    /// A hash over the kind and the content, by which workers check that they read the same data. Names and lengths
    /// replace the content if reading all of it would take minutes; each kind documents what it hashes.
    fn fingerprint(&self) -> Fingerprint;

    /// The class of a record, counted from 0, if the source knows it. An index into [`class_names`](Self::class_names)
    /// unless those are empty.
    fn class(&self, _record: u64) -> Option<u32> {
        None
    }

    /// The names of the classes; empty if they have none.
    fn class_names(&self) -> &[String] {
        &[]
    }

    /// What the source leaves out because it is no record.
    fn left_out(&self) -> &LeftOut {
        LeftOut::NOTHING
    }

    /// Whether samples are mirrored at random. The loader mirrors them, because a coin depends on the place in the order.
    fn flip(&self) -> Flip {
        Flip::Never
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SampleShape {
    /// A square picture, `[size, size, channels]`, with 1 (grey) or 3 (colour) channels.
    Image { size: u32, channels: u32 },
    /// A point of the plane, `[2]`.
    Point2,
}

impl SampleShape {
    /// The number of f32 in a sample; at least 1.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "no sample is empty")]
    pub fn len(self) -> usize {
        match self {
            Self::Image { size, channels } => size as usize * size as usize * channels as usize,
            Self::Point2 => 2,
        }
    }
}

/// A record as a data set stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A JPEG, PNG or WebP file, which may not decode.
    Encoded(Vec<u8>),
    Pixels(Picture<'static>),
    /// Not stored: computed when it is read.
    Made,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The caller asked for a record beyond the end.
    #[error("record {record} of the {kind} data set was asked for; it has records 0 to {last}. {BUG}", last = len - 1)]
    OutOfRange { kind: &'static str, record: u64, len: u64 },
    /// The caller's buffer does not have the length of a sample.
    #[error(
        "a buffer of {found} f32 was given for record {record} of the {kind} data set; a sample has {expected}. {BUG}"
    )]
    WrongLength { kind: &'static str, record: u64, expected: usize, found: usize },
    /// The record's bytes do not decode. A pure function of those bytes, so that all workers agree.
    #[error("record `{key}` of the {kind} data set does not decode: {reason}. Replace it, or leave it out.")]
    Undecodable { kind: &'static str, key: String, reason: String },
    /// The data set changed since it was opened, or is no longer readable. Another worker may still read the record, so
    /// no replacement is possible.
    #[error(
        "record `{key}` of the {kind} data set cannot be read: {reason}. A data set must stay as it is while a run \
         uses it: bring it back as it was, and start this worker again."
    )]
    Lost { kind: &'static str, key: String, reason: String },
}

const BUG: &str = "This is a bug in the caller, please report it.";

/// The two checks with which every [`Source::read`] begins.
///
/// # Errors
///
/// [`RecordError::OutOfRange`], [`RecordError::WrongLength`].
pub fn check_request<S: Source + ?Sized>(source: &S, record: u64, found: usize) -> Result<(), RecordError> {
    let (kind, len, expected) = (source.kind(), source.len(), source.sample_len());
    if record >= len {
        return Err(RecordError::OutOfRange { kind, record, len });
    }
    if found != expected {
        return Err(RecordError::WrongLength { kind, record, expected, found });
    }
    Ok(())
}
