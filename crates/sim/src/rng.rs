//! Random numbers, determined by the seed alone.

use lsgan_spec::Millis;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// Independent streams of one seed: more draws from one of them leave the others as they were.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    /// Sizes of the world and its faults.
    Setup,
    /// Delays, and the targets of faults.
    World,
    /// Faults of [`crate::faults::LATER_CLASSES`].
    Later,
    /// Addresses that cannot be reached.
    Hidden,
    /// Requests of operators.
    Operator,
    /// Links that a state does not get through.
    Far,
    /// Times of strangers.
    Strange,
    /// What strangers say.
    Strangers,
    /// When the coordinator's host is lost.
    Lost,
    /// When a coordinator is superseded.
    Superseded,
}

/// A stream of numbers that is a pure function of `(seed, stream)`.
#[derive(Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    #[must_use]
    pub fn new(seed: u64, stream: Stream) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream as u64);
        Self(rng)
    }

    /// Uniform in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "{low}..={high} is empty");
        // The remainder favours small numbers by less than 2^-40 for the ranges that are used here.
        low + self.0.next_u64() % (high - low + 1)
    }

    /// True with probability 1/`n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.between(1, n) == 1
    }

    /// A duration in `0..=most_ms`. Half of the draws are within an eighth of it.
    pub fn delay_ms(&mut self, most_ms: u64) -> u64 {
        let most_ms = if self.one_in(2) { most_ms / 8 } else { most_ms };
        self.between(0, most_ms)
    }

    /// A time in `from..=until`.
    pub fn time(&mut self, from: Millis, until: Millis) -> Millis {
        Millis(self.between(from.0, until.0))
    }
}
