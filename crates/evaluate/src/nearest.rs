//! The training pictures that are nearest to generated ones: whether G has learned pictures by heart.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Mutex;

use lsgan_data::{SampleShape, Source};

use crate::chunks::{CHUNK, Pictures, extract};
use crate::records::{Spread, chunk_of};
use crate::{EvaluateError, Extractor};

/// Chunks whose features are in memory at once.
const CHUNKS_AT_ONCE: u64 = 64;

/// A record of the data set beside a generated picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Its number in the data set.
    pub record: u64,
    /// The Euclidean distance of both pictures' features.
    pub distance: f64,
}

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// So many for each picture.
    pub neighbours: usize,
    /// The most records that are looked at, spread over the data set.
    pub records_max: u64,
    /// No result depends on it.
    pub threads: NonZero<usize>,
}

/// For each of `pictures` the nearest records, nearest first. `told` hears how many records of how many were looked at.
///
/// # Errors
/// Records that cannot be read, a network that fails, or no record that decodes.
pub fn nearest(
    pictures: &Pictures,
    data: &dyn Source,
    extractor: &dyn Extractor,
    search: Search,
    told: &dyn Fn(u64, u64),
) -> Result<Vec<Vec<Neighbour>>, EvaluateError> {
    let SampleShape::Image { size, channels } = data.sample_shape() else {
        unreachable!("a run that makes pictures reads pictures")
    };
    let queries = features_of(pictures, extractor, search.threads)?;
    let width = extractor.features();
    let mut found = vec![Vec::with_capacity(search.neighbours + 1); pictures.len()];
    let spread = Spread::over(data.len(), search.records_max);
    for first in (0..spread.total).step_by((CHUNKS_AT_ONCE * CHUNK as u64) as usize) {
        let last = spread.total.min(first + CHUNKS_AT_ONCE * CHUNK as u64);
        let read = Mutex::new(BTreeMap::new());
        let make = |chunk: usize| {
            let from = first + (chunk * CHUNK) as u64;
            let (pictures, records) =
                chunk_of(data, spread, from..last.min(from + CHUNK as u64), (size, channels))?;
            read.lock().expect("no thread panics with it").insert(chunk, records);
            Ok(pictures)
        };
        let chunks = (last - first).div_ceil(CHUNK as u64) as usize;
        let features = extract(extractor, search.threads, chunks, &make, &|_| ())?;
        let records = read.into_inner().expect("no thread panicked with it").into_values().flatten();
        for (record, features) in records.zip(features.chunks(width)) {
            for (query, nearest) in queries.chunks(width).zip(&mut found) {
                insert(nearest, Neighbour { record, distance: distance(query, features) }, search.neighbours);
            }
        }
        told(last, spread.total);
    }
    match found.iter().any(Vec::is_empty) {
        true => Err(EvaluateError::NothingReal { seen: spread.total }),
        false => Ok(found),
    }
}

fn features_of(
    pictures: &Pictures,
    extractor: &dyn Extractor,
    threads: NonZero<usize>,
) -> Result<Vec<f32>, EvaluateError> {
    let chunk = CHUNK * pictures.picture_len();
    let make = |index: usize| {
        let bytes = pictures.bytes[index * chunk..].iter().take(chunk).copied().collect();
        Ok(Pictures { bytes, ..*pictures })
    };
    extract(extractor, threads, pictures.len().div_ceil(CHUNK), &make, &|_| ())
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let square = |(a, b): (&f32, &f32)| {
        let difference = f64::from(*a) - f64::from(*b);
        difference * difference
    };
    a.iter().zip(b).map(square).sum::<f64>().sqrt()
}

/// Keeps the `most` nearest; of equally near ones the first of the data set.
fn insert(nearest: &mut Vec<Neighbour>, found: Neighbour, most: usize) {
    let at = nearest.partition_point(|known| known.distance <= found.distance);
    if at < most {
        nearest.insert(at, found);
        nearest.truncate(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_stay_in_order_and_of_equal_ones_the_first() {
        let mut nearest = vec![];
        for (record, distance) in [3.0, 1.0, 2.0, 1.0, 0.5, 9.0].into_iter().enumerate() {
            insert(&mut nearest, Neighbour { record: record as u64, distance }, 3);
        }
        assert_eq!(nearest.iter().map(|found| found.record).collect::<Vec<_>>(), [4, 1, 3]);
    }
}
