//! The machine's clock.

use std::time::{Duration, Instant};

use lsgan_spec::Millis;

/// A wake-up that is later than this was delayed by something that also delayed the workers' messages (a suspended
/// machine, a full disk). The clock then skips the delay, so that no worker is declared dead for it.
const LATENESS_MS_MAX: u64 = 250;

/// Time since the start, less the delays of this process.
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

    pub fn now(&self) -> Millis {
        Millis(self.raw_ms().saturating_sub(self.lost_ms))
    }

    pub(crate) fn until(&self, then: Millis) -> Duration {
        Duration::from_millis(then.0.saturating_sub(self.now().0))
    }

    /// Shifts the clock back by the delay of a wake-up that was due at `then`, and by a margin in which the heartbeats that
    /// are still queued are handled. Returns whether the wake-up was late.
    pub(crate) fn forgive(&mut self, then: Millis) -> bool {
        let late_ms = self.now().0.saturating_sub(then.0);
        let too_late = late_ms > LATENESS_MS_MAX;
        if too_late {
            self.lost_ms += late_ms + LATENESS_MS_MAX;
        }
        too_late
    }
}
