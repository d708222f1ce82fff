//! Uniform numbers that a step needs besides z: those of augmentations, and of mixtures of real samples and fakes, and classes. They are a
//! pure function of (seed, step, virtual rank), as z is.

use tch::Tensor;

use crate::augment;

/// Numbers of one sample: for its real one, for its fake in D's half, for the same in G's half, and where between both the
/// mixture lies.
pub(crate) const COLUMNS: i64 = 3 * augment::NUMBERS + 1;

/// All numbers of one sample, on the device: those above, the class of its fake, and that of its real one.
const ALL: i64 = COLUMNS + 2;

/// A virtual rank's numbers at a step, f32 `[per_rank · ALL]` on the device: `[per_rank, COLUMNS]`, then the classes of the fakes,
/// then those of the real samples.
#[derive(Debug)]
pub(crate) struct Draws(Tensor);

/// How many numbers so many samples have.
pub(crate) fn len(per_rank: usize) -> usize {
    per_rank * ALL as usize
}

/// The parts of the numbers of so many samples: what is drawn, the classes of the fakes, those of the real samples.
pub(crate) fn parts(numbers: &mut [f32], per_rank: usize) -> [&mut [f32]; 3] {
    let (drawn, classes) = numbers.split_at_mut(per_rank * COLUMNS as usize);
    let (fake, real) = classes.split_at_mut(per_rank);
    [drawn, fake, real]
}

/// What is augmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Real,
    Fake,
    /// Through D, to G.
    FakeInG,
}

impl Draws {
    /// `numbers`: as [`parts`] has them.
    pub fn new(numbers: &Tensor) -> Self {
        Self(numbers.shallow_clone())
    }

    fn per_rank(&self) -> i64 {
        self.0.numel() as i64 / ALL
    }

    fn drawn(&self) -> Tensor {
        self.0.narrow(0, 0, self.per_rank() * COLUMNS).view([-1, COLUMNS])
    }

    /// The classes of the real samples or of the fakes, f32 `[per_rank]`.
    pub fn classes(&self, seen: Seen) -> Tensor {
        let n = self.per_rank();
        let first = match seen {
            Seen::Fake | Seen::FakeInG => n * COLUMNS,
            Seen::Real => n * (COLUMNS + 1),
        };
        self.0.narrow(0, first, n)
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
        self.drawn().narrow(1, seen as i64 * augment::NUMBERS, augment::NUMBERS)
    }

    /// The share of the real sample in each mixture, `[per_rank]`.
    pub fn mixture(&self) -> Tensor {
        self.drawn().select(1, COLUMNS - 1)
    }
}
