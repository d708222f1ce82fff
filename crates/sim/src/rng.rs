//! Chance, decided by the seed alone.

use lsgan_spec::Millis;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// What is drawn from one another's way: more draws of one kind leave the others as they were.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    /// Sizes of the world and its faults.
    Setup,
    /// Delays, and who is hit by a fault.
    World,
    /// What was added to the worlds of some seeds later.
    Later,
    /// Addresses that cannot be reached.
    Hidden,
    /// What operators do.
    Operator,
}

/// A stream of numbers that is a pure function of `(seed, stream)`.
#[derive(Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// The stream from its beginning.
    #[must_use]
    pub fn new(seed: u64, stream: Stream) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream as u64);
        Self(rng)
    }

    /// Evenly one of `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "{low}..={high} is empty");
        // The remainder favours small numbers by less than 2^-40 for the ranges that are used here.
        low + self.0.next_u64() % (high - low + 1)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.between(1, n) == 1
    }

    /// A duration of `0..=most_ms`, as often short as long: half of them are within an eighth of it.
    pub fn delay_ms(&mut self, most_ms: u64) -> u64 {
        let most_ms = if self.one_in(2) { most_ms / 8 } else { most_ms };
        self.between(0, most_ms)
    }

    /// A time of `from..=until`.
    pub fn time(&mut self, from: Millis, until: Millis) -> Millis {
        Millis(self.between(from.0, until.0))
    }
}
