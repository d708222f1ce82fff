//! What all sources of pictures share: the checks of a request, decoding, and the transform.

use std::cell::Cell;

use lsgan_spec::{Flip, ImageSpec};

use crate::decode::decode;
use crate::file_kind::instead_of_a_picture;
use crate::left_out::LeftOut;
use crate::picture::Picture;
use crate::source::{Stored, check_request};
use crate::transform::Transform;
use crate::{DataError, Fingerprint, RecordError, SampleShape, Source};

/// The records of a data set of pictures. [`Pictures`] makes a [`Source`] of them; it passes only records below
/// [`Summary::len`].
pub(super) trait Records: Send + Sync + 'static {
    /// The kind's word in a run's file.
    const KIND: &'static str;

    /// A record's content. What is read from a file is read into `bytes`.
    fn content<'a>(&'a self, record: u64, bytes: &'a mut Vec<u8>) -> Result<Content<'a>, RecordError>;

    /// The record's name in messages.
    fn key(&self, record: u64) -> Result<String, RecordError> {
        Ok(record.to_string())
    }

    fn class(&self, _record: u64) -> Option<u32> {
        None
    }
}

/// What is known of a data set when it is open.
pub(super) struct Summary {
    /// Records.
    pub(super) len: u64,
    pub(super) fingerprint: Fingerprint,
    /// Empty if the classes have no names.
    pub(super) class_names: Vec<String>,
    pub(super) left_out: LeftOut,
}

impl Summary {
    pub(super) fn new(len: u64, fingerprint: Fingerprint) -> Self {
        Self { len, fingerprint, class_names: Vec::new(), left_out: LeftOut::default() }
    }
}

/// The content of a record.
pub(super) enum Content<'a> {
    /// A JPEG, PNG or WebP file.
    Encoded(&'a [u8]),
    Pixels(Picture<'a>),
}

/// A source of pictures.
pub(super) struct Pictures<R> {
    records: R,
    summary: Summary,
    transform: Transform,
}

impl<R: Records> Pictures<R> {
    /// Opens the records if `image` describes samples.
    pub(super) fn open(
        image: Option<&ImageSpec>,
        open: impl FnOnce() -> Result<(R, Summary), DataError>,
    ) -> Result<Box<dyn Source>, DataError> {
        let image = image.ok_or_else(|| {
            DataError::spec(format!(
                "data.image is missing; the source {} has pictures. Add `image: {{ size: 32, channels: 1, fit: pad }}` \
                 under data.",
                R::KIND
            ))
        })?;
        let transform = Transform::new(image)?;
        let (records, summary) = open()?;
        Ok(Box::new(Self { records, summary, transform }))
    }
}

impl<R: Records> Source for Pictures<R> {
    fn kind(&self) -> &'static str {
        R::KIND
    }

    fn len(&self) -> u64 {
        self.summary.len
    }

    fn sample_shape(&self) -> SampleShape {
        self.transform.sample_shape()
    }

    fn read(&self, record: u64, out: &mut [f32]) -> Result<(), RecordError> {
        check_request(self, record, out.len())?;
        let mut buffer = BUFFER.take();
        let picture = match self.records.content(record, &mut buffer)? {
            Content::Pixels(picture) => Ok(picture),
            Content::Encoded(bytes) => {
                decode(bytes, self.transform.channels()).map_err(|reason| instead_of_a_picture(bytes, reason))
            }
        };
        let read = picture.map(|picture| self.transform.apply(&picture, out));
        BUFFER.set(buffer);
        match read {
            Ok(()) => Ok(()),
            Err(reason) => {
                Err(RecordError::Undecodable { kind: R::KIND, key: self.records.key(record)?, reason })
            }
        }
    }

    fn stored(&self, record: u64) -> Result<Stored, RecordError> {
        check_request(self, record, self.sample_len())?;
        Ok(match self.records.content(record, &mut Vec::new())? {
            Content::Encoded(bytes) => Stored::Encoded(bytes.to_vec()),
            Content::Pixels(picture) => Stored::Pixels(picture.into_owned()),
        })
    }

    fn key(&self, record: u64) -> Result<String, RecordError> {
        check_request(self, record, self.sample_len())?;
        self.records.key(record)
    }

    fn flip(&self) -> Flip {
        self.transform.flip()
    }

    fn left_out(&self) -> &LeftOut {
        &self.summary.left_out
    }

    fn class(&self, record: u64) -> Option<u32> {
        if record < self.len() { self.records.class(record) } else { None }
    }

    fn class_names(&self) -> &[String] {
        &self.summary.class_names
    }

    fn fingerprint(&self) -> Fingerprint {
        self.summary.fingerprint
    }
}

thread_local! {
    /// For the encoded bytes of the record that this thread reads, so that each needs no new memory.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The longest encoded picture: 4 bytes for each pixel that is decoded at most. Every thread of the loader reads one, and a
/// sparse file has any length for nothing.
pub(super) const RECORD_BYTES_MAX: u64 = 1 << 28;

/// Why a record is too long to be read; none if it is not.
pub(super) fn too_long(len_bytes: u64) -> Option<String> {
    let reason = format!("it has {len_bytes} bytes; at most 2^28 are decoded");
    (len_bytes > RECORD_BYTES_MAX).then_some(reason)
}

/// The most pixels of a data set that is held in memory, whose words for this are [`IN_MEMORY_MAX`].
pub(super) const IN_MEMORY_BYTES_MAX: u64 = 16 << 30;
pub(super) const IN_MEMORY_MAX: &str = "16 GiB";
