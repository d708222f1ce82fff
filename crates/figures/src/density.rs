//! Densities on a line, by their values at even places.

/// The places.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// The first.
    pub from: f64,
    /// The last.
    pub to: f64,
    /// How many.
    pub count: usize,
}

/// One bell of a mixture.
#[derive(Clone, Copy, Debug)]
pub struct Bell {
    /// Its share, not yet normalised.
    pub weight: f64,
    /// Where it stands.
    pub mean: f64,
    /// Its standard deviation.
    pub sigma: f64,
}

impl Line {
    /// The places from left to right.
    pub fn places(self) -> impl Iterator<Item = f64> {
        (0..self.count).map(move |index| self.from + self.width() * index as f64)
    }

    /// The distance of neighbours.
    pub fn width(self) -> f64 {
        (self.to - self.from) / (self.count - 1) as f64
    }

    /// A mixture of bells as the share that lies at each place; the shares sum to 1.
    pub fn shares(self, bells: &[Bell]) -> Vec<f64> {
        let at = |x: f64| {
            let one = |bell: &Bell| {
                bell.weight / bell.sigma * libm::exp(-((x - bell.mean) / bell.sigma).powi(2) / 2.0)
            };
            bells.iter().map(one).sum::<f64>()
        };
        let values: Vec<f64> = self.places().map(at).collect();
        let sum: f64 = values.iter().sum();
        values.into_iter().map(|value| value / sum).collect()
    }
}
