//! Records of a data set, spread evenly over it, as pictures.

use std::ops::Range;

use lsgan_data::{RecordError, Source};

use crate::EvaluateError;
use crate::chunks::Pictures;

/// `total` records, spread evenly over a data set of `len`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spread {
    len: u64,
    pub total: u64,
}

impl Spread {
    /// At most `most`; all where the data set has no more.
    pub fn over(len: u64, most: u64) -> Self {
        Self { len, total: len.min(most) }
    }

    /// The record at this place of the spread.
    fn record(self, index: u64) -> u64 {
        (u128::from(index) * u128::from(self.len) / u128::from(self.total)) as u64
    }
}

/// Those at the places of `range` that decode, square and with so many channels, and their numbers in the data set.
pub(crate) fn chunk_of(
    data: &dyn Source,
    spread: Spread,
    range: Range<u64>,
    (size, channels): (u32, u32),
) -> Result<(Pictures, Vec<u64>), EvaluateError> {
    let (mut sample, mut samples, mut records) = (vec![0.0; data.sample_len()], vec![], vec![]);
    for record in range.map(|index| spread.record(index)) {
        match data.read(record, &mut sample) {
            Ok(()) => {
                samples.extend_from_slice(&sample);
                records.push(record);
            }
            Err(RecordError::Undecodable { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((Pictures::of_samples(size as usize, channels as usize, &samples), records))
}
