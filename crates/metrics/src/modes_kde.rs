//! Modes as the LSGAN paper's plots show them (Mao et al., arXiv 1611.04076, fig. 7): by a kernel density estimate, which sees a
//! mode that is hit only roughly, where `modes` counts points within 3 standard deviations.
//!
//! A mode counts when the density of the points, at its centre, is at least a quarter of the target's there. Both are seen
//! through Gaussian kernels with Scott's bandwidth (Scott 1992; scipy's `gaussian_kde`, which seaborn draws with): the kernel's
//! covariance is that of the points times n^(−2/(d+4)), d = 2. Of the target everything is known, so that it is not sampled: a
//! mixture of Gaussians under a Gaussian kernel is a mixture again, each with the kernel's covariance on top.

use lsgan_spec::GaussianSource;

/// The share of the target's density that a mode needs to count.
pub const LEAST_DENSITY: f64 = 0.25;

/// A covariance of the plane: `[xx, xy, yy]`.
type Covariance = [f64; 3];

/// How many modes of `mixture` the points `[n, 2]` reach. Points that are no numbers count for nothing; points on a line have no
/// density, and reach none.
#[must_use]
pub fn modes_kde(points: &[f32], mixture: &GaussianSource) -> usize {
    let points: Vec<[f64; 2]> = points
        .as_chunks::<2>()
        .0
        .iter()
        .map(|point| point.map(f64::from))
        .filter(|p| p.iter().all(|x| x.is_finite()))
        .collect();
    let centres = mixture.modes.centres();
    let Some(found) = density(&points, &centres) else { return 0 };
    let target = target_density(mixture, points.len());
    found.iter().zip(target).filter(|(found, target)| **found >= LEAST_DENSITY * target).count()
}

/// The density of points at places, under Scott's kernel; none where their covariance is singular.
#[must_use]
pub fn density(points: &[[f64; 2]], at: &[[f64; 2]]) -> Option<Vec<f64>> {
    let equal = vec![1.0 / points.len() as f64; points.len()];
    // Unbiased, as scipy's.
    let unbiased = points.len() as f64 / (points.len() as f64 - 1.0);
    let kernel = scaled(covariance(points, &equal), unbiased * scott(points.len()));
    mixture_density(points, &equal, kernel, at)
}

/// The density of the mixture at its centres, as `count` of its points would show it on average.
#[must_use]
pub fn target_density(mixture: &GaussianSource, count: usize) -> Vec<f64> {
    let centres = mixture.modes.centres();
    let weights = mixture.mode_weights();
    let sum: f64 = weights.iter().copied().map(f64::from).sum();
    let weights: Vec<f64> = weights.into_iter().map(|weight| f64::from(weight) / sum).collect();
    let variance = mixture.sigma * mixture.sigma;
    let [xx, xy, yy] = covariance(&centres, &weights);
    let [xx, xy, yy] = scaled([xx + variance, xy, yy + variance], scott(count));
    let seen = [xx + variance, xy, yy + variance];
    mixture_density(&centres, &weights, seen, &centres).expect("a mode has a width")
}

/// The square of Scott's factor in the plane.
fn scott(count: usize) -> f64 {
    (count as f64).powf(-1.0 / 3.0)
}

fn scaled(covariance: Covariance, by: f64) -> Covariance {
    covariance.map(|value| value * by)
}

/// Of weighted points, whose weights sum to 1.
fn covariance(points: &[[f64; 2]], weights: &[f64]) -> Covariance {
    let mean = |of: &dyn Fn(&[f64; 2]) -> f64| {
        points.iter().zip(weights).map(|(point, weight)| weight * of(point)).sum::<f64>()
    };
    let (x, y) = (mean(&|point| point[0]), mean(&|point| point[1]));
    [mean(&|p| (p[0] - x).powi(2)), mean(&|p| (p[0] - x) * (p[1] - y)), mean(&|p| (p[1] - y).powi(2))]
}

/// Σ weight·N(place; point, covariance) at places; none where the covariance is singular.
fn mixture_density(
    points: &[[f64; 2]],
    weights: &[f64],
    [xx, xy, yy]: Covariance,
    at: &[[f64; 2]],
) -> Option<Vec<f64>> {
    let determinant = xx * yy - xy * xy;
    if determinant.is_nan() || determinant <= 1e-12 * xx * yy {
        return None;
    }
    let one = |place: &[f64; 2], point: &[f64; 2]| {
        let (x, y) = (place[0] - point[0], place[1] - point[1]);
        let square = (yy * x * x - 2.0 * xy * x * y + xx * y * y) / determinant;
        (-square / 2.0).exp() / (std::f64::consts::TAU * determinant.sqrt())
    };
    let density =
        |place: &[f64; 2]| points.iter().zip(weights).map(|(point, weight)| weight * one(place, point)).sum();
    Some(at.iter().map(density).collect())
}

#[cfg(test)]
mod tests {
    use lsgan_spec::Modes;

    use super::*;

    fn ring() -> GaussianSource {
        GaussianSource::of(Modes::Ring { count: 4, radius: 1.0 }, 0.05)
    }

    /// Points right around each of some modes.
    fn around(modes: &[usize], each: usize) -> Vec<f32> {
        let centres = ring().modes.centres();
        let offset = |index: usize| {
            let angle = index as f64 * 2.399_963; // even on a circle, in any number
            let radius = 0.05 * (index as f64 / each as f64 * 2.0).sqrt();
            [radius * angle.cos(), radius * angle.sin()]
        };
        let point = |mode: &usize, index: usize| {
            let [x, y] = offset(index);
            [(centres[*mode][0] + x) as f32, (centres[*mode][1] + y) as f32]
        };
        modes
            .iter()
            .flat_map(|mode| (0..each).map(move |index| (mode, index)))
            .flat_map(|(m, i)| point(m, i))
            .collect()
    }

    #[test]
    fn a_mode_counts_from_a_quarter_of_the_target_s_density() {
        assert_eq!(modes_kde(&around(&[0, 1, 2, 3], 1000), &ring()), 4);
        assert_eq!(modes_kde(&around(&[0, 0, 0, 1, 1, 1, 2], 300), &ring()), 3);
        assert_eq!(modes_kde(&around(&[2], 1000), &ring()), 1);
        // One in fifty points at the third and the fourth.
        let few = [around(&[0, 1], 1000), around(&[2, 3], 20)].concat();
        assert_eq!(modes_kde(&few, &ring()), 2);
    }

    #[test]
    fn points_without_a_density_reach_no_mode() {
        assert_eq!(modes_kde(&[1.0, 0.0].repeat(100), &ring()), 0);
        assert_eq!(modes_kde(&[1.0, 0.0, -1.0, 0.0].repeat(100), &ring()), 0);
        assert_eq!(modes_kde(&[f32::NAN, 0.0].repeat(100), &ring()), 0);
        assert_eq!(modes_kde(&[1.0, 0.0], &ring()), 0);
        let with_nan = [around(&[0, 1, 2, 3], 1000), vec![f32::NAN, 0.0, f32::INFINITY, 1.0]].concat();
        assert_eq!(modes_kde(&with_nan, &ring()), 4);
    }
}
