//! Modes of a mixture that generated points reach, and the share of points that lie near one.
//!
//! As the literature counts them (Metz et al., "Unrolled Generative Adversarial Networks", arXiv 1611.02163; Srivastava et
//! al., "VEEGAN", arXiv 1705.07761): a point is of high quality within 3 standard deviations of a mode. A mode is reached when
//! at least 0.5 % of all points are of high quality and nearer to it than to the others.

/// Standard deviations from a mode within which a point counts.
pub const REACH_SIGMAS: f64 = 3.0;
/// The share of all points that a mode needs to count as reached.
pub const LEAST_SHARE: f64 = 0.005;

/// What was counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Modes {
    /// Modes that are reached.
    pub reached: usize,
    /// The share of points near a mode, 0 to 1.
    pub high_quality: f64,
}

/// Counts points `[n, 2]`, at least one, of a mixture with modes at `centres`, each of the standard deviation `sigma`.
#[must_use]
pub fn modes(points: &[f32], centres: &[[f64; 2]], sigma: f64) -> Modes {
    let mut near = vec![0_usize; centres.len()];
    let (points, _) = points.as_chunks::<2>();
    for &[x, y] in points {
        let squared =
            |centre: &[f64; 2]| (f64::from(x) - centre[0]).powi(2) + (f64::from(y) - centre[1]).powi(2);
        let distances = centres.iter().map(squared).enumerate();
        let nearest = distances.min_by(|(_, a), (_, b)| a.total_cmp(b));
        if let Some((mode, squared)) = nearest
            && squared <= (REACH_SIGMAS * sigma).powi(2)
        {
            near[mode] += 1;
        }
    }
    let count = points.len() as f64;
    Modes {
        reached: near.iter().filter(|&&near| near as f64 >= LEAST_SHARE * count).count(),
        high_quality: near.iter().sum::<usize>() as f64 / count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_counts_from_half_a_percent_of_points_within_three_sigmas() {
        let centres = [[0.0, 0.0], [10.0, 0.0], [20.0, 0.0]];
        let points = |of_first: usize, of_second: usize, outside: usize| {
            let mut points = vec![[2.99_f32, 0.0]; of_first];
            points.extend(vec![[10.0, -2.99]; of_second]);
            points.extend(vec![[3.5, 0.0]; outside]);
            points.into_iter().flatten().collect::<Vec<f32>>()
        };
        let found = modes(&points(995, 5, 0), &centres, 1.0);
        assert_eq!(found, Modes { reached: 2, high_quality: 1.0 });
        let found = modes(&points(496, 4, 500), &centres, 1.0);
        assert_eq!(found, Modes { reached: 1, high_quality: 0.5 });
        let found = modes(&[f32::NAN, 0.0, 1e30, 0.0], &centres, 1.0);
        assert_eq!(
            found,
            Modes { reached: 0, high_quality: 0.0 },
            "a point that is nowhere counts for nothing"
        );
    }
}
