//! Uniform numbers that a step needs besides z: those of augmentations, and of mixtures of real samples and fakes. They are a
//! pure function of (seed, step, virtual rank), as z is.

use tch::Tensor;

use crate::augment;

/// Numbers of one sample: for its real one, for its fake in D's half, for the same in G's half, and where between both the
/// mixture lies.
pub(crate) const COLUMNS: i64 = 3 * augment::NUMBERS + 1;

/// A virtual rank's numbers at a step, f32 `[per_rank, COLUMNS]` on the device.
#[derive(Debug)]
pub(crate) struct Draws(Tensor);

/// What is augmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Real,
    Fake,
    /// Through D, to G.
    FakeInG,
}

impl Draws {
    /// `numbers`: `[per_rank · COLUMNS]`.
    pub fn new(numbers: &Tensor) -> Self {
        Self(numbers.view([-1, COLUMNS]))
    }

    /// The same numbers in memory of their own.
    pub fn copy(&self) -> Self {
        Self(self.0.copy())
    }

    /// Overwrites the numbers with others.
    pub fn copy_(&mut self, other: &Self) {
        self.0.copy_(&other.0);
    }

    /// The numbers of an augmentation, `[per_rank, augment::NUMBERS]`.
    pub fn of(&self, seen: Seen) -> Tensor {
        self.0.narrow(1, seen as i64 * augment::NUMBERS, augment::NUMBERS)
    }

    /// The share of the real sample in each mixture, `[per_rank]`.
    pub fn mixture(&self) -> Tensor {
        self.0.select(1, COLUMNS - 1)
    }
}
