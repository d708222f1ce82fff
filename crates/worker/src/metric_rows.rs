//! Rows of metrics, kept until the coordinator has stored them.

use std::collections::VecDeque;

use lsgan_wire::v1;

/// Rows that are kept for a coordinator that is away; the oldest go first. At a row every ten steps of 10 ms this is
/// more than an hour.
const ROWS_MAX: usize = 1 << 16;

/// Rows in one message.
const ROWS_SENT: usize = 512;

/// See the module.
#[derive(Debug, Default)]
pub struct MetricRows {
    rows: VecDeque<v1::StepMetrics>,
    /// Only the first rank reports metrics, which are the same on all.
    reports: bool,
    /// Steps below are on their way.
    sent_until: u64,
    stored_until: u64,
}

impl MetricRows {
    /// A generation begins; its first rank reports all that is not stored.
    pub fn begin_generation(&mut self, first_rank: bool) {
        self.reports = first_rank;
        self.sent_until = 0;
    }

    /// A stream begins: what was on its way may not have arrived.
    pub fn begin_stream(&mut self) {
        self.sent_until = 0;
    }

    /// A step's row.
    pub fn add(&mut self, row: v1::StepMetrics) {
        // A step that was done again after a restore gives the same numbers.
        self.rows.retain(|known| known.step < row.step);
        if self.rows.len() == ROWS_MAX {
            self.rows.pop_front();
        }
        self.rows.push_back(row);
    }

    /// The coordinator has stored the metrics of the steps below.
    pub fn stored(&mut self, until: u64) {
        self.rows.retain(|row| row.step >= until);
        self.stored_until = self.stored_until.max(until);
    }

    /// The metrics of the steps below are stored, as the coordinator said last.
    #[must_use]
    pub fn stored_until(&self) -> u64 {
        self.stored_until
    }

    /// Rows that are to be sent now, if there are any.
    pub fn take(&mut self) -> Option<v1::Metrics> {
        if !self.reports {
            return None;
        }
        let unsent = self.rows.iter().filter(|row| row.step >= self.sent_until);
        let rows: Vec<_> = unsent.take(ROWS_SENT).cloned().collect();
        self.sent_until = rows.last()?.step + 1;
        Some(v1::Metrics { rows })
    }
}
