//! What a source of samples is.

#![warn(missing_docs)]

use std::fmt;

use lsgan_spec::Flip;

use crate::left_out::LeftOut;
use crate::picture::Picture;

/// Records that can be read by index, from any thread, in any order. Each kind is one file in [`crate::sources`];
/// [`crate::contract`] says what all of them keep.
pub trait Source: Send + Sync {
    /// The kind's word in a run's file: `idx`, `lsun`.
    fn kind(&self) -> &'static str;

    /// Records in the data set; at least 1.
    fn len(&self) -> u64;

    /// Never: a data set without records cannot be opened.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What one sample is.
    fn sample_shape(&self) -> SampleShape;

    /// How many f32 one sample has.
    fn sample_len(&self) -> usize {
        self.sample_shape().len()
    }

    /// Writes the sample of `record`, counted from 0, into `out`: `[h, w, c]` in −1..1 or `[2]`. The same bits
    /// whenever and wherever it is called.
    ///
    /// # Errors
    ///
    /// A record that is not there, an `out` of another length than [`sample_len`](Self::sample_len), or a record
    /// that does not decode. What is in `out` is then undefined.
    fn read(&self, record: u64, out: &mut [f32]) -> Result<(), RecordError>;

    /// The record as the data set holds it.
    ///
    /// # Errors
    ///
    /// A record that is not there, one that cannot be read, or one that is too long to be a picture.
    fn stored(&self, record: u64) -> Result<Stored, RecordError> {
        check_request(self, record, self.sample_len()).map(|()| Stored::Made)
    }

    /// The record's name in the data set, as a person finds it there: its file, its key, or its number.
    ///
    /// # Errors
    ///
    /// A record that is not there, or a data set that changed.
    fn key(&self, record: u64) -> Result<String, RecordError> {
        check_request(self, record, self.sample_len()).map(|()| record.to_string())
    }

    /// What makes two workers' data equal: a hash over the kind and the content. Where reading all of the content would
    /// take minutes, names and lengths stand for it; each kind says what it takes.
    fn fingerprint(&self) -> Fingerprint;

    /// The class of a record, where the source knows it: a number from 0 on, an index into
    /// [`class_names`](Self::class_names) where those are not empty.
    fn class(&self, _record: u64) -> Option<u32> {
        None
    }

    /// What the classes are called; empty where they have no names.
    fn class_names(&self) -> &[String] {
        &[]
    }

    /// What lies with the records and is none.
    fn left_out(&self) -> &LeftOut {
        LeftOut::NOTHING
    }

    /// Whether samples are to be mirrored now and then. The loader does it: it knows where in the order one stands.
    fn flip(&self) -> Flip {
        Flip::Never
    }
}

/// What one sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SampleShape {
    /// A square picture, `[size, size, channels]`.
    Image {
        /// Height and width in pixels.
        size: u32,
        /// 1 (grey) or 3 (colour).
        channels: u32,
    },
    /// A point of the plane, `[2]`.
    Point2,
}

impl SampleShape {
    /// How many f32 one sample has; at least 1.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "no sample is empty")]
    pub fn len(self) -> usize {
        match self {
            Self::Image { size, channels } => size as usize * size as usize * channels as usize,
            Self::Point2 => 2,
        }
    }
}

/// A record as a data set holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// The bytes of a JPEG, PNG or WebP; whether they decode is another question.
    Encoded(Vec<u8>),
    /// Decoded.
    Pixels(Picture<'static>),
    /// Nowhere: samples are made when they are read.
    Made,
}

/// BLAKE3 over a source's kind and content; shown in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        blake3::Hash::from(self.0).fmt(f)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Why a record could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The caller asked for a record that is not there.
    #[error("record {record} of the {kind} data set was asked for; it has records 0 to {last}. {BUG}", last = len - 1)]
    OutOfRange {
        /// The source's kind.
        kind: &'static str,
        /// What was asked for.
        record: u64,
        /// Records in the data set.
        len: u64,
    },
    /// The caller's buffer does not fit a sample.
    #[error(
        "a buffer of {found} f32 was given for record {record} of the {kind} data set; a sample has {expected}. {BUG}"
    )]
    WrongLength {
        /// The source's kind.
        kind: &'static str,
        /// What was asked for.
        record: u64,
        /// f32 in a sample.
        expected: usize,
        /// f32 in the buffer.
        found: usize,
    },
    /// The record's bytes make no sample. Depends on nothing but those bytes, so that every worker says the same.
    #[error("record `{key}` of the {kind} data set does not decode: {reason}. Replace it, or leave it out.")]
    Undecodable {
        /// The source's kind.
        kind: &'static str,
        /// The record's name in the data set: its file, its key, or its number.
        key: String,
        /// What the decoder said.
        reason: String,
    },
    /// The data set is not what it was when it was opened, or cannot be reached any more. Another worker may see it as
    /// it was, so nothing takes the record's place.
    #[error(
        "record `{key}` of the {kind} data set cannot be read: {reason}. A data set must stay as it is while a run \
         uses it: bring it back as it was, and start this worker again."
    )]
    Lost {
        /// The source's kind.
        kind: &'static str,
        /// Where it was: its file, its key, or its number.
        key: String,
        /// What is found instead, or what the operating system or the store said.
        reason: String,
    },
}

const BUG: &str = "This is a bug in the caller, please report it.";

/// The two checks that every [`Source::read`] begins with.
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
