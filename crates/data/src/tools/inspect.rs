//! Inspects a data set: formats, sizes, classes, and records that do not decode.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::{CHUNK, CorruptRecord, PROGRESS_RECORDS};
use crate::decode::{Format, decode};
use crate::in_order::in_order;
use crate::index::{Meter, OnProgress};
use crate::picture::Channels;
use crate::source::Stored;
use crate::{RecordError, SampleShape, Source};

/// The most points of a synthetic data set whose classes are counted.
const MADE_MAX: u64 = 1 << 20;

/// The records to inspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    All,
    /// At most this number, spread evenly.
    AtMost(u64),
}

#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// Inspected records.
    pub records: u64,
    /// The number of records by format: `JPEG`, `PNG`, `WebP`, `pixels` or `points`.
    pub formats: BTreeMap<&'static str, u64>,
    /// Of the encoded pictures.
    pub len_bytes: Option<Spread>,
    /// In pixels, of the pictures as a viewer shows them.
    pub width: Option<Spread>,
    pub height: Option<Spread>,
    pub corrupt: Vec<CorruptRecord>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Spread {
    pub min: u32,
    pub median: u32,
    pub max: u32,
}

/// The number of records by class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classes {
    /// Counted records.
    pub records: u64,
    pub counts: BTreeMap<u32, u64>,
    /// Records without a class.
    pub without: u64,
}

impl Spread {
    fn of(mut numbers: Vec<u32>) -> Option<Self> {
        numbers.sort_unstable();
        let median = *numbers.get(numbers.len().saturating_sub(1) / 2)?;
        Some(Self { min: numbers[0], median, max: *numbers.last()? })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min, median, max } = self;
        if min == max { write!(f, "{min}") } else { write!(f, "{min} to {max}, median {median}") }
    }
}

/// Of one record.
struct RecordInfo {
    format: &'static str,
    /// If it is encoded.
    len_bytes: Option<usize>,
    /// Width and height, if it is a picture.
    sides: Option<(u32, u32)>,
}

/// The numbers of `count` records, spread evenly over all; all of them if there are no more.
#[must_use]
pub fn spread_over(records: u64, count: u64) -> Vec<u64> {
    let count = count.min(records);
    (0..count).map(|index| (u128::from(index) * u128::from(records) / u128::from(count)) as u64).collect()
}

/// Reads and decodes the selected records on several threads, as training does.
///
/// # Errors
///
/// A data set that changes, or is no longer readable. A record that does not decode is part of the result.
pub fn inspect(
    source: &dyn Source,
    which: Selection,
    threads: usize,
    on_progress: OnProgress<'_>,
) -> Result<Inspection, RecordError> {
    let len = source.len();
    let count = match which {
        Selection::All => len,
        Selection::AtMost(count) => count.min(len),
    };
    let records = spread_over(len, count);
    let wanted = match source.sample_shape() {
        SampleShape::Image { channels: 1, .. } => Channels::Grey,
        SampleShape::Image { .. } | SampleShape::Point2 => Channels::Colour,
    };
    let mut looked = Inspection { records: count, ..Inspection::default() };
    let (mut lens, mut sides) = (Vec::new(), Vec::new());
    let mut meter = Meter::new(on_progress, "records", Some(count), PROGRESS_RECORDS);
    in_order(
        0..count,
        threads,
        CHUNK,
        |index| record_info(source, records[index as usize], wanted),
        |index, seen| {
            meter.done(index + 1);
            match seen? {
                Ok(info) => {
                    *looked.formats.entry(info.format).or_default() += 1;
                    lens.extend(info.len_bytes.map(|len| u32::try_from(len).unwrap_or(u32::MAX)));
                    sides.extend(info.sides);
                }
                Err(bad) => looked.corrupt.push(bad),
            }
            Ok(())
        },
    )?;
    let (widths, heights) = sides.into_iter().unzip();
    (looked.len_bytes, looked.width, looked.height) =
        (Spread::of(lens), Spread::of(widths), Spread::of(heights));
    Ok(looked)
}

fn record_info(
    source: &dyn Source,
    record: u64,
    wanted: Channels,
) -> Result<Result<RecordInfo, CorruptRecord>, RecordError> {
    let (format, len_bytes, sides) = match source.stored(record) {
        Ok(Stored::Encoded(bytes)) => match decode(&bytes, wanted) {
            Ok(picture) => {
                let format = Format::of(&bytes).expect("what decodes has a format");
                (format.name(), Some(bytes.len()), Some((picture.width, picture.height)))
            }
            Err(reason) => return CorruptRecord::of_bytes(source, record, &bytes, reason).map(Err),
        },
        Ok(Stored::Pixels(picture)) => ("pixels", None, Some((picture.width, picture.height))),
        Ok(Stored::Made) => ("points", None, None),
        Err(error) => return CorruptRecord::of(record, error).map(Err),
    };
    Ok(Ok(RecordInfo { format, len_bytes, sides }))
}

/// Counts the classes of all records; of a synthetic data set, of at most 2^20.
#[must_use]
pub fn classes(source: &dyn Source) -> Classes {
    let records = match source.sample_shape() {
        SampleShape::Image { .. } => source.len(),
        SampleShape::Point2 => source.len().min(MADE_MAX),
    };
    let mut found = Classes { records, ..Classes::default() };
    for record in 0..records {
        match source.class(record) {
            Some(class) => *found.counts.entry(class).or_default() += 1,
            None => found.without += 1,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_lower_median() {
        let spread = |numbers: &[u32]| Spread::of(numbers.to_vec());
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[7]), Some(Spread { min: 7, median: 7, max: 7 }));
        assert_eq!(spread(&[9, 1, 5, 3]), Some(Spread { min: 1, median: 3, max: 9 }));
        assert_eq!(Spread { min: 1, median: 3, max: 9 }.to_string(), "1 to 9, median 3");
    }

    #[test]
    fn records_are_spread_evenly() {
        assert_eq!(spread_over(100, 4), [0, 25, 50, 75]);
        assert_eq!(spread_over(3, 10), [0, 1, 2]);
        assert_eq!(spread_over(u64::MAX, 2), [0, u64::MAX / 2]);
    }
}
