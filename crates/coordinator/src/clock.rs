//! The machine's clock.

use std::time::{Duration, Instant};

use lsgan_spec::Millis;

/// A wake-up that comes later than this was held up by something that held up the workers' messages too (a
/// suspended machine, a full disk): the machine's clock stands still for that long, so that nobody is declared
/// dead for a silence that was ours.
const LATENESS_MS_MAX: u64 = 250;

/// The machine's clock: time since the start, less the time that was lost.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    lost_ms: u64,
}

impl Clock {
    /// A clock that starts at 0 now.
    pub fn start() -> Self {
        Self { started: Instant::now(), lost_ms: 0 }
    }

    fn raw_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The time.
    pub fn now(&self) -> Millis {
        Millis(self.raw_ms().saturating_sub(self.lost_ms))
    }

    /// How long until `then`.
    pub(crate) fn until(&self, then: Millis) -> Duration {
        Duration::from_millis(then.0.saturating_sub(self.now().0))
    }

    /// Takes back what a wake-up for `then` came too late, and some time before it, in which everybody is heard who
    /// spoke meanwhile: he may have fallen silent, as it looks from here, before `then` was late. Returns whether there
    /// was something to take back.
    pub(crate) fn forgive(&mut self, then: Millis) -> bool {
        let late_ms = self.now().0.saturating_sub(then.0);
        let too_late = late_ms > LATENESS_MS_MAX;
        if too_late {
            self.lost_ms += late_ms + LATENESS_MS_MAX;
        }
        too_late
    }
}
