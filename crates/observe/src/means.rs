//! Moving means of a scalar over the whole of its series, from the sums of blocks.

use crate::blocks::{Blocks, Cell};

/// A window has at least so many blocks, or it is taken from rows: what it errs at its two ends is then a few percent of it.
pub(crate) const BLOCKS_OF_WINDOW: u64 = 64;

/// Sums before each block. Inside a block its values are taken to lie evenly.
pub(crate) struct Sums {
    begin: u64,
    len: u64,
    /// Sum and count before block i; one more than there are blocks.
    before: Vec<(f64, f64)>,
}

impl Sums {
    /// Of one scalar.
    pub fn of(blocks: &Blocks, scalar: usize) -> Self {
        let mut before = vec![(0.0, 0.0)];
        let (mut sum, mut count) = (0.0, 0.0);
        for Cell { sum: more, count: values, .. } in blocks.of(scalar) {
            sum += more;
            count += f64::from(*values);
            before.push((sum, count));
        }
        Self { begin: blocks.begin(), len: blocks.len, before }
    }

    /// The mean over the steps `[from, until)`; none if no value is there.
    pub fn mean(&self, from: u64, until: u64) -> Option<f64> {
        let ((sum_a, count_a), (sum_b, count_b)) = (self.until(from), self.until(until));
        let count = count_b - count_a;
        (count > 1e-9).then(|| (sum_b - sum_a) / count)
    }

    fn until(&self, step: u64) -> (f64, f64) {
        let steps = step.saturating_sub(self.begin);
        let last = self.before.len() - 1;
        let index = usize::try_from(steps / self.len).unwrap_or(last);
        if index >= last {
            return self.before[last];
        }
        let part = (steps % self.len) as f64 / self.len as f64;
        let (a, b) = (self.before[index], self.before[index + 1]);
        (a.0 + (b.0 - a.0) * part, a.1 + (b.1 - a.1) * part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_that_of_all_values_of_its_window() {
        let mut blocks = Blocks::new(1, 100, 1);
        (100..200).for_each(|step| blocks.add(step, 0, &[Some(step as f64)]));
        let sums = Sums::of(&blocks, 0);
        assert_eq!(sums.mean(110, 120), Some(114.5));
        assert_eq!(sums.mean(0, 1000), Some(149.5));
        assert_eq!(sums.mean(0, 100), None);
        let thin = Sums::of(&blocks.thin(10), 0);
        assert_eq!(thin.mean(110, 150), Some(129.5), "whole blocks are exact");
        let ragged = thin.mean(113, 187).unwrap();
        assert!((ragged - 149.5).abs() < 1.0, "{ragged}");
    }
}
