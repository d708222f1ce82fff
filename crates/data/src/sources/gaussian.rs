//! Points of a 2-D mixture of Gaussians: the toy data set that shows mode collapse.
//!
//! The modes lie on a ring, a grid or a line (`Modes::centres` in `spec`); a point's class is the number of its mode.
//! Record i is a pure function of (seed, i), computed when it is read: a keyed BLAKE3 hash of i gives 256 random bits,
//! of which 64 choose the mode and 106 give two uniform numbers; Box and Muller (1958) turn those into two normal ones:
//! `x = centre + σ·√(−2 ln u)·(cos 2πw, sin 2πw)`, with u in (0, 1] and w in [0, 1).
//!
//! Logarithm and sine come from the `libm` crate. The system's round differently from version to version, so that two
//! workers would train on different bits.

use std::f64::consts::TAU;

use lsgan_spec::{GaussianSource, ImageSpec};

use super::OpenOptions;
use crate::file_kind::FileKind;
use crate::source::check_request;
use crate::{DataError, Fingerprint, RecordError, SampleShape, Source};

pub(super) const KIND: &str = "gaussian";

const CONTEXT: &str = "lsgan data v1: points of a mixture of Gaussians";

struct Gaussian {
    key: [u8; 32],
    centres: Vec<[f64; 2]>,
    sigma: f64,
    records: u64,
}

/// None: a mixture is described, not read from files.
pub(super) fn at(_place: &str) -> Option<GaussianSource> {
    None
}

pub(super) fn find(_place: &str, _found: Option<&FileKind>) -> Option<GaussianSource> {
    None
}

pub(super) fn open(
    spec: &GaussianSource,
    image: Option<&ImageSpec>,
    options: &OpenOptions<'_>,
) -> Result<Box<dyn Source>, DataError> {
    if image.is_some() {
        return Err(DataError::spec(format!(
            "data.image is set; the source {KIND} has 2-D points and no pictures. Remove data.image."
        )));
    }
    Ok(Box::new(Gaussian::new(spec, options.seed)?))
}

impl Gaussian {
    fn new(spec: &GaussianSource, seed: u64) -> Result<Self, DataError> {
        let centres = spec.modes.centres();
        let (sigma, records) = (spec.sigma, spec.records);
        if centres.is_empty() || records == 0 || !sigma.is_finite() || sigma <= 0.0 {
            return Err(DataError::spec(format!(
                "data.source.gaussian has {} mode(s), sigma {sigma} and {records} record(s); it needs at least 1 mode \
                 and 1 record, and a sigma above 0. Set them so.",
                centres.len()
            )));
        }
        let key = blake3::derive_key(CONTEXT, &seed.to_le_bytes());
        Ok(Self { key, centres, sigma, records })
    }

    /// The mode of a record, and its point.
    fn point(&self, record: u64) -> (usize, [f64; 2]) {
        let hash = blake3::keyed_hash(&self.key, &record.to_le_bytes());
        let word = |index: usize| {
            let bytes =
                hash.as_bytes()[8 * index..8 * index + 8].try_into().expect("8 of 32 bytes are 8 bytes");
            u64::from_le_bytes(bytes)
        };
        // The high half of the product is uniform below the factor, with a bias below 2^-54 at 1,024 modes.
        let mode = ((u128::from(word(0)) * self.centres.len() as u128) >> 64) as usize;
        const STEP: f64 = 1.0 / (1u64 << 53) as f64;
        let u = ((word(1) >> 11) + 1) as f64 * STEP;
        let w = (word(2) >> 11) as f64 * STEP;
        let radius = self.sigma * (-2.0 * libm::log(u)).sqrt();
        let (sin, cos) = libm::sincos(TAU * w);
        let [x, y] = self.centres[mode];
        (mode, [x + radius * cos, y + radius * sin])
    }
}

impl Source for Gaussian {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn len(&self) -> u64 {
        self.records
    }

    fn sample_shape(&self) -> SampleShape {
        SampleShape::Point2
    }

    fn read(&self, record: u64, out: &mut [f32]) -> Result<(), RecordError> {
        check_request(self, record, out.len())?;
        let (_, point) = self.point(record);
        out.copy_from_slice(&point.map(|x| x as f32));
        Ok(())
    }

    /// The mode that the point was drawn from.
    fn class(&self, record: u64) -> Option<u32> {
        (record < self.records).then(|| self.point(record).0 as u32)
    }

    fn fingerprint(&self) -> Fingerprint {
        let mut hasher = blake3::Hasher::new();
        hasher.update(KIND.as_bytes()).update(&self.key).update(&self.records.to_le_bytes());
        hasher.update(&self.sigma.to_bits().to_le_bytes());
        for centre in self.centres.iter().flatten() {
            hasher.update(&centre.to_bits().to_le_bytes());
        }
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use lsgan_spec::Modes;

    use super::*;

    fn ring() -> Gaussian {
        let spec =
            GaussianSource { modes: Modes::Ring { count: 8, radius: 1.0 }, sigma: 0.01, records: 80_000 };
        Gaussian::new(&spec, 1).unwrap()
    }

    /// 80,000 points: modes by χ² (7 degrees of freedom, 1 − 10⁻⁶ quantile 41.5); mean, variance, covariance and
    /// fourth moment of the offsets within five standard errors of those of N(0, 1).
    #[test]
    fn the_points_are_those_of_the_mixture() {
        let ring = ring();
        let n = ring.len() as f64;
        let mut counts = [0u32; 8];
        let (mut sum, mut sum2, mut sum4, mut cross) = (0.0, 0.0, 0.0, 0.0);
        for record in 0..ring.len() {
            let (mode, point) = ring.point(record);
            counts[mode] += 1;
            let z: [f64; 2] =
                std::array::from_fn(|axis| (point[axis] - ring.centres[mode][axis]) / ring.sigma);
            sum += z[0] + z[1];
            sum2 += z[0].powi(2) + z[1].powi(2);
            sum4 += z[0].powi(4) + z[1].powi(4);
            cross += z[0] * z[1];
        }
        let chi2: f64 = counts.iter().map(|&c| (f64::from(c) - n / 8.0).powi(2) / (n / 8.0)).sum();
        assert!(chi2 < 41.5, "χ² of the modes {chi2}");
        let standard_errors = [
            sum / (2.0 * n) / (1.0 / (2.0 * n)).sqrt(),
            (sum2 / (2.0 * n) - 1.0) / (2.0 / (2.0 * n)).sqrt(),
            (sum4 / (2.0 * n) - 3.0) / (96.0 / (2.0 * n)).sqrt(),
            cross / n / (1.0 / n).sqrt(),
        ];
        assert!(standard_errors.iter().all(|error| error.abs() < 5.0), "{standard_errors:?}");
    }

    /// A changed point would change the weights of every run on such data.
    #[test]
    fn a_point_stays_as_it_was_released() {
        let mut out = [0.0; 2];
        ring().read(12_345, &mut out).unwrap();
        assert_eq!(out.map(f32::to_bits), [3_207_872_693, 3_207_732_792], "{out:?}");
    }
}
