//! Points of a 2-D mixture of Gaussians: the toy data set that shows mode collapse.
//!
//! The modes lie on a ring, a grid or a line (`Modes::centres` in `spec`); a point's class is the number of its mode.
//! Record i is a pure function of (seed, i), computed when it is read: a keyed BLAKE3 hash of i gives 256 random bits,
//! of which 64 choose the mode, by its weight, and 106 give two uniform numbers; Box and Muller (1958) turn those into two normal ones:
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
    /// Weights, each added to those before it.
    weights_until: Vec<u64>,
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
        let (weights, sigma, records) = (spec.mode_weights(), spec.sigma, spec.records);
        let is_odd = weights.is_empty() || weights.len() != centres.len();
        if is_odd || records == 0 || !sigma.is_finite() || sigma <= 0.0 {
            return Err(DataError::spec(format!(
                "data.source.gaussian has {} mode(s), {} weight(s), sigma {sigma} and {records} record(s); it needs at least 1 \
                 mode and 1 record, a weight for each mode, and a sigma above 0. Set them so.",
                centres.len(),
                weights.len()
            )));
        }
        let mut until = 0;
        let weights_until = weights.into_iter().map(|weight| {
            until += u64::from(weight);
            until
        });
        let weights_until = weights_until.collect();
        let key = blake3::derive_key(CONTEXT, &seed.to_le_bytes());
        Ok(Self { key, centres, weights_until, sigma, records })
    }

    /// The mode of a record, and its point.
    fn point(&self, record: u64) -> (usize, [f64; 2]) {
        let hash = blake3::keyed_hash(&self.key, &record.to_le_bytes());
        let word = |index: usize| {
            let bytes =
                hash.as_bytes()[8 * index..8 * index + 8].try_into().expect("8 of 32 bytes are 8 bytes");
            u64::from_le_bytes(bytes)
        };
        // The high half of the product is uniform below the factor, with a bias below 2^-44 at 1,024 modes of weight 999.
        let sum = self.weights_until[self.weights_until.len() - 1];
        let drawn = ((u128::from(word(0)) * u128::from(sum)) >> 64) as u64;
        let mode = self.weights_until.partition_point(|until| *until <= drawn);
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
        // Modes of weight 1 have the fingerprint that they had before there were weights.
        if self.weights_until.len() as u64 != self.weights_until[self.weights_until.len() - 1] {
            for until in &self.weights_until {
                hasher.update(&until.to_le_bytes());
            }
        }
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use lsgan_spec::Modes;

    use super::*;

    fn ring() -> Gaussian {
        weighted("equal")
    }

    fn weighted(weights: &str) -> Gaussian {
        let ring = GaussianSource::of(Modes::Ring { count: 8, radius: 1.0 }, 0.01);
        let spec = GaussianSource { records: 80_000, weights: weights.to_owned(), ..ring };
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

    /// By χ², as above.
    #[test]
    fn a_mode_has_the_share_of_its_weight() {
        let ring = weighted("2,1,1,1,1,1,1,1");
        let mut counts = [0u32; 8];
        (0..ring.len()).for_each(|record| counts[ring.point(record).0] += 1);
        let expected = |mode: usize| ring.len() as f64 / 9.0 * if mode == 0 { 2.0 } else { 1.0 };
        let chi2: f64 =
            (0..8).map(|mode| (f64::from(counts[mode]) - expected(mode)).powi(2) / expected(mode)).sum();
        assert!(chi2 < 41.5, "χ² of the modes {chi2}");
    }

    #[test]
    fn weights_of_1_are_equal_ones_and_others_are_other_data() {
        let (equal, ones, double) = (ring(), weighted("1,1,1,1,1,1,1,1"), weighted("2,1,1,1,1,1,1,1"));
        assert!((0..1000).all(|record| equal.point(record) == ones.point(record)));
        assert_eq!(equal.fingerprint(), ones.fingerprint());
        assert_ne!(equal.fingerprint(), double.fingerprint());
    }

    /// A changed point would change the weights of every run on such data.
    #[test]
    fn a_point_stays_as_it_was_released() {
        let mut out = [0.0; 2];
        ring().read(12_345, &mut out).unwrap();
        assert_eq!(out.map(f32::to_bits), [3_207_872_693, 3_207_732_792], "{out:?}");
    }
}
