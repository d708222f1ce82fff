//! Detects that training waits for data, and advises what to do.

use std::fmt;
use std::time::Duration;

/// Steps over which the share is computed, so that one slow read does not matter.
const WINDOW_STEPS: u32 = 100;
/// A greater share of a step's time is reported.
const SHARE_MAX: f64 = 0.05;
/// Windows without a report after a report.
const SILENT_WINDOWS: u32 = 20;

/// Sums up how long the steps wait for data.
#[derive(Clone, Debug, Default)]
pub struct WaitWatch {
    steps: u32,
    waited: Duration,
    whole: Duration,
    silent_windows: u32,
}

/// A report that loading limits the speed of a worker. Its text names the remedy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowLoading {
    /// The steps of the window.
    pub steps: u32,
    /// The share of their time that was spent waiting for data: 0 to 1.
    pub share: f64,
    /// `compute.loader_threads`.
    pub threads: u32,
}

impl fmt::Display for SlowLoading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { steps, share, threads } = self;
        write!(
            f,
            "the last {steps} steps waited for data {:.0} % of their time. Raise compute.loader_threads, which is {threads}, \
             as far as this machine has cores to spare; or scale the data set once with `lsgan dataset pack`, and train \
             on what that writes.",
            100.0 * share
        )
    }
}

impl WaitWatch {
    /// Adds a step that took `whole`, of which it `waited` for its batch ([`super::StepBatch::waited`]). `threads` is the
    /// number of loader threads. Returns a report when one is due.
    pub fn step_ended(&mut self, waited: Duration, whole: Duration, threads: u32) -> Option<SlowLoading> {
        self.steps += 1;
        self.waited += waited;
        self.whole += whole;
        if self.steps < WINDOW_STEPS {
            return None;
        }
        let share = self.waited.as_secs_f64() / self.whole.as_secs_f64().max(f64::MIN_POSITIVE);
        let silent_windows = self.silent_windows.saturating_sub(1);
        let was_silent = self.silent_windows > 0;
        *self = Self { silent_windows, ..Self::default() };
        if was_silent || share <= SHARE_MAX {
            return None;
        }
        self.silent_windows = SILENT_WINDOWS;
        Some(SlowLoading { steps: WINDOW_STEPS, share, threads })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(100);

    fn said(watch: &mut WaitWatch, waited_ms: u64, windows: u32) -> Vec<SlowLoading> {
        let waited = Duration::from_millis(waited_ms);
        (0..windows * WINDOW_STEPS).filter_map(|_| watch.step_ended(waited, STEP, 2)).collect()
    }

    #[test]
    fn waiting_is_said_once_in_a_while_and_only_where_it_is_much() {
        let mut watch = WaitWatch::default();
        assert_eq!(said(&mut watch, 4, 10), []);
        let slow = said(&mut watch, 25, SILENT_WINDOWS + 2);
        assert_eq!(slow.len(), 2);
        assert_eq!((slow[0].steps, slow[0].threads), (WINDOW_STEPS, 2));
        assert!((slow[0].share - 0.25).abs() < 1e-9);
        assert!(
            slow[0]
                .to_string()
                .starts_with("the last 100 steps waited for data 25 % of their time. Raise compute.")
        );
        assert_eq!(said(&mut watch, 0, 2 * SILENT_WINDOWS), []);
    }

    /// One batch of a hundred took three steps' time.
    #[test]
    fn a_single_slow_read_is_no_news() {
        let mut watch = WaitWatch::default();
        assert_eq!(watch.step_ended(3 * STEP, 4 * STEP, 1), None);
        assert_eq!(said(&mut watch, 0, 3), []);
    }
}
