//! What this worker needs by itself for a step: without waiting for its peers.

use std::time::{Duration, Instant};

/// Share of the newest step in the smoothed pace: a pause of one step weighs little.
const NEWEST_SHARE: f64 = 0.3;

/// Measures it over the steps of a generation.
#[derive(Debug)]
pub struct Pace {
    since: Instant,
    waited: Duration,
    steps: u64,
    smoothed_us: f64,
}

impl Pace {
    /// Starts with a step.
    #[must_use]
    pub fn start() -> Self {
        Self { since: Instant::now(), waited: Duration::ZERO, steps: 0, smoothed_us: 0.0 }
    }

    /// So much of this step was waiting for peers.
    pub fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// A step of so many virtual ranks has ended; returns what one of them takes, in µs. None after the first step,
    /// in which kernels are made and caches are filled.
    pub fn step_ended(&mut self, virtual_ranks: usize) -> Option<u64> {
        let now = Instant::now();
        let own = now.duration_since(self.since).saturating_sub(self.waited);
        let each_us = own.as_secs_f64() * 1e6 / virtual_ranks.max(1) as f64;
        self.smoothed_us = match self.steps {
            0 => 0.0,
            1 => each_us,
            _ => NEWEST_SHARE * each_us + (1.0 - NEWEST_SHARE) * self.smoothed_us,
        };
        (self.since, self.waited) = (now, Duration::ZERO);
        self.steps += 1;
        (self.steps > 1).then_some(self.smoothed_us.round() as u64)
    }
}
