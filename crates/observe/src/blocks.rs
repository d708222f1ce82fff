//! The least, the greatest and the sum of scalars over blocks of steps.
//!
//! A curve of millions of steps is drawn from its blocks, so that no spike is lost and nothing is read twice. There are never
//! more than [`BLOCKS_MAX`] of them: when there would be, neighbours are put together, and all are twice as long.

use serde::{Deserialize, Serialize};

/// So many blocks are kept of a run, 20 MiB with all scalars: more than a screen has columns of pixels, so that one can zoom in
/// before rows must be read.
pub(crate) const BLOCKS_MAX: usize = 1 << 16;

/// Values of one scalar in one block.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub min: f32,
    pub max: f32,
    /// How many values.
    pub count: u32,
    /// Of those that are finite.
    pub sum: f64,
}

impl Cell {
    const EMPTY: Self = Self { min: f32::INFINITY, max: f32::NEG_INFINITY, count: 0, sum: 0.0 };

    fn add(&mut self, value: f64) {
        // To f32, since nobody sees more than five digits.
        self.min = self.min.min(value as f32);
        self.max = self.max.max(value as f32);
        if value.is_finite() {
            self.count += 1;
            self.sum += value;
        }
    }

    fn join(&mut self, other: &Self) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.count += other.count;
        self.sum += other.sum;
    }

    /// Whether any value is in it.
    pub fn has_any(&self) -> bool {
        self.min <= self.max
    }

    /// None without a finite value.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

/// The last row of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Last {
    pub step: u64,
    pub wall_ms: u64,
}

/// Blocks of equal length, one after another. Block i has the steps `[(first + i) * len, (first + i + 1) * len)`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Blocks {
    pub len: u64,
    first: u64,
    scalars: usize,
    /// None for a block without rows.
    lasts: Vec<Option<Last>>,
    /// `[blocks, scalars]`
    cells: Vec<Cell>,
}

impl Blocks {
    /// No rows yet; the first will be of step `from` or a later one.
    pub fn new(len: u64, from: u64, scalars: usize) -> Self {
        let len = len.max(1);
        Self { len, first: from / len, scalars, lasts: Vec::new(), cells: Vec::new() }
    }

    /// Whether it is what this program makes, with so many scalars: it may have been read from a file.
    pub fn is_whole(&self, scalars: usize) -> bool {
        let is_full = self.lasts.len().checked_mul(scalars) == Some(self.cells.len());
        self.len > 0 && self.scalars == scalars && is_full && self.lasts.len() <= BLOCKS_MAX
    }

    /// Adds a row. Rows come in the order of their steps.
    pub fn add(&mut self, step: u64, wall_ms: u64, values: &[Option<f64>]) {
        debug_assert_eq!(values.len(), self.scalars, "a row has all scalars");
        let index = self.index_for(step);
        self.grow(index + 1);
        self.lasts[index] = Some(Last { step, wall_ms });
        let cells = &mut self.cells[index * self.scalars..][..self.scalars];
        for (cell, value) in cells.iter_mut().zip(values) {
            if let Some(value) = value {
                cell.add(*value);
            }
        }
    }

    /// Adds how many values the rows of these steps had that are gone, and their sums. Their extremes are those of rows that are here,
    /// and were added before.
    pub fn add_sums(&mut self, step: u64, sums: &[Option<(u32, f64)>]) {
        debug_assert_eq!(sums.len(), self.scalars, "there is one for each scalar, or none");
        let index = self.index_for(step);
        self.grow(index + 1);
        let cells = &mut self.cells[index * self.scalars..][..self.scalars];
        for (cell, sum) in cells.iter_mut().zip(sums) {
            if let Some((count, sum)) = sum {
                cell.count += count;
                cell.sum += sum;
            }
        }
    }

    /// The place of a step's block; blocks become longer until it is one of [`BLOCKS_MAX`].
    fn index_for(&mut self, step: u64) -> usize {
        loop {
            let index = (step / self.len).saturating_sub(self.first);
            match usize::try_from(index) {
                Ok(index) if index < BLOCKS_MAX => return index,
                _ => *self = self.thin(self.len * 2),
            }
        }
    }

    fn grow(&mut self, count: usize) {
        if count > self.lasts.len() {
            self.lasts.resize(count, None);
            self.cells.resize(count * self.scalars, Cell::EMPTY);
        }
    }

    /// The same in longer blocks: `len` is a multiple of this one's.
    pub fn thin(&self, len: u64) -> Self {
        self.thin_range(len, 0, u64::MAX)
    }

    /// The same in longer blocks, of those that have steps in `[from, until)`. `len` is a multiple of this one's.
    pub fn thin_range(&self, len: u64, from: u64, until: u64) -> Self {
        debug_assert_eq!(len % self.len, 0, "blocks are put together whole");
        let mut thin = Self::new(len, from.max(self.first * self.len), self.scalars);
        for (index, last) in self.lasts.iter().enumerate() {
            let Some(last) = last else { continue };
            let block = self.first + index as u64;
            let begin = block * self.len;
            if begin.saturating_add(self.len) <= from || begin >= until {
                continue;
            }
            let to = ((begin / len).saturating_sub(thin.first)) as usize;
            thin.grow(to + 1);
            thin.lasts[to] = Some(*last);
            let cells = &mut thin.cells[to * self.scalars..][..self.scalars];
            for (cell, other) in cells.iter_mut().zip(&self.cells[index * self.scalars..]) {
                cell.join(other);
            }
        }
        thin
    }

    /// The blocks that have rows: the last row of each, and its cells.
    pub fn filled(&self) -> impl Iterator<Item = (Last, &[Cell])> {
        let cells = self.cells.chunks(self.scalars.max(1));
        self.lasts.iter().zip(cells).filter_map(|(last, cells)| last.map(|last| (last, cells)))
    }

    /// The first step that the blocks can have.
    pub fn begin(&self) -> u64 {
        self.first * self.len
    }

    /// Cells of one scalar, empty blocks too, in order.
    pub fn of(&self, scalar: usize) -> impl Iterator<Item = &Cell> {
        self.cells.iter().skip(scalar).step_by(self.scalars.max(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(rows: &[(u64, f64)], len: u64) -> Blocks {
        let mut blocks = Blocks::new(len, 0, 1);
        rows.iter().for_each(|(step, value)| blocks.add(*step, *step * 10, &[Some(*value)]));
        blocks
    }

    #[test]
    fn a_single_spike_among_a_million_steps_is_in_every_thinning() {
        let rows: Vec<_> =
            (0..1_000_000).map(|step| (step, if step == 777_777 { 50.0 } else { 0.5 })).collect();
        let blocks = of(&rows, 16);
        assert!(blocks.lasts.len() <= BLOCKS_MAX);
        for factor in [1, 2, 64, 1024] {
            let thin = blocks.thin(blocks.len * factor);
            let greatest = thin.filled().map(|(_, cells)| cells[0].max).fold(f32::MIN, f32::max);
            assert_eq!(greatest, 50.0, "in blocks of {}", thin.len);
            let sum: f64 = thin.of(0).map(|cell| cell.sum).sum();
            assert_eq!(sum, 0.5 * 999_999.0 + 50.0);
        }
    }

    #[test]
    fn values_that_are_not_finite_show_as_extremes_and_spoil_no_mean() {
        let blocks = of(&[(0, 1.0), (1, f64::INFINITY), (2, 3.0)], 4);
        let (last, cells) = blocks.filled().next().unwrap();
        assert_eq!((last.step, cells[0].max, cells[0].mean()), (2, f32::INFINITY, Some(2.0)));
    }

    proptest! {
        /// Blocks that were put together are those of the longer length.
        #[test]
        fn thinning_is_the_same_as_longer_blocks(
            steps in prop::collection::btree_set(0..5_000_u64, 1..200), len in 1..50_u64, factor in 1..20_u64,
        ) {
            let rows: Vec<_> = steps.into_iter().map(|step| (step, (step * 7 % 13) as f64)).collect();
            let (thin, long) = (of(&rows, len).thin(len * factor), of(&rows, len * factor));
            let whole = |blocks: &Blocks| blocks.filled().map(|(l, c)| (l, c.to_vec())).collect::<Vec<_>>();
            prop_assert_eq!(whole(&thin), whole(&long));
        }
    }
}
