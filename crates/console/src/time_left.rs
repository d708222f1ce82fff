//! How long a run still takes: [`TimeLeft`].

use std::time::{Duration, Instant};

use lsgan_wire::v1;

/// The time left at the rate since the first step that was seen.
#[derive(Debug, Default)]
pub struct TimeLeft {
    /// The first step seen and when.
    first: Option<(u64, Instant)>,
}

impl TimeLeft {
    /// What is left of the run with this status; none before a step was seen to be done. The statuses of a run come in order.
    pub fn of(&mut self, status: &v1::RunStatus) -> Option<Duration> {
        if status.step == 0 && status.phase() != v1::Phase::Stepping {
            return None;
        }
        let (first, at) = *self.first.get_or_insert((status.step, Instant::now()));
        let done = status.step.checked_sub(first).filter(|&done| done > 0)?;
        let left_s = at.elapsed().as_secs() * status.steps.saturating_sub(status.step) / done;
        Some(Duration::from_secs(left_s))
    }
}
