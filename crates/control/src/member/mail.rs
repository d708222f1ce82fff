//! The words of the training thread, kept until they are sent.
//!
//! The training thread never waits for the coordinator. Positions that were consumed and records that do not decode are
//! told again on every stream, since the coordinator does not say which of them it has heard; the positions also in every
//! generation, since it takes them from members alone. A snapshot is told once: a coordinator that starts looks into the
//! store itself.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use lsgan_spec::VirtualRank;

use crate::Report;
use crate::report::CorruptRecord;

/// Corrupt records in one message: with two texts of 4 KiB each they are half of what the coordinator takes from a worker.
const CORRUPT_RECORDS_SENT: usize = 256;

/// What is to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// In order.
    words: Vec<Report>,
    /// The number of positions that each virtual rank has wholly consumed.
    consumed: BTreeMap<VirtualRank, u64>,
    consumed_unsent: BTreeSet<VirtualRank>,
    /// By record.
    corrupt: BTreeMap<u64, CorruptRecord>,
    corrupt_unsent: BTreeSet<u64>,
}

impl Mail {
    /// A stream begins. The Hello says what Ready and Parked have said before it, and tasks are given again.
    pub(super) fn begin(&mut self) {
        self.words.retain(|word| match word {
            Report::Progress { .. } | Report::Ready { .. } | Report::Parked { .. } => false,
            Report::TaskDone { .. } | Report::TaskFailed { .. } => false,
            Report::Hello(_) | Report::Heartbeat { .. } | Report::WantsLeave | Report::Consumed { .. } => {
                true
            }
            Report::CutOff { .. } | Report::Tried { .. } | Report::StateHash { .. } => true,
            Report::StoreProof(_) | Report::SnapshotWritten(_) | Report::SnapshotFailed { .. } => true,
            Report::CorruptRecords(_) | Report::Warning { .. } | Report::Sample { .. } => true,
        });
        self.corrupt_unsent = self.corrupt.keys().copied().collect();
        self.tell_consumed();
    }

    /// What was consumed is told again.
    pub(super) fn tell_consumed(&mut self) {
        self.consumed_unsent = self.consumed.keys().copied().collect();
    }

    pub(super) fn add(&mut self, report: Report) {
        self.words.push(report);
    }

    pub(super) fn consumed(&mut self, virtual_rank: VirtualRank, ordinals: u64) {
        let known = self.consumed.entry(virtual_rank).or_default();
        if ordinals > *known {
            *known = ordinals;
            self.consumed_unsent.insert(virtual_rank);
        }
    }

    /// A record is met again in every epoch, and said once on a stream.
    pub(super) fn corrupt(&mut self, records: Vec<CorruptRecord>) {
        for record in records {
            let number = record.record;
            if let Entry::Vacant(entry) = self.corrupt.entry(number) {
                entry.insert(record);
                self.corrupt_unsent.insert(number);
            }
        }
    }

    /// Something waits that should be sent now. What was consumed can wait for the next heartbeat.
    pub(super) fn is_urgent(&self) -> bool {
        !self.words.is_empty() || !self.corrupt_unsent.is_empty()
    }

    /// All that is to be sent, in order. A Parked comes after what was consumed before it.
    pub(super) fn take(&mut self) -> Vec<Report> {
        let consumed = std::mem::take(&mut self.consumed_unsent).into_iter();
        let mut reports: Vec<_> = consumed
            .map(|virtual_rank| Report::Consumed { virtual_rank, ordinals: self.consumed[&virtual_rank] })
            .collect();
        let unsent: Vec<_> = std::mem::take(&mut self.corrupt_unsent).into_iter().collect();
        for numbers in unsent.chunks(CORRUPT_RECORDS_SENT) {
            let records = numbers.iter().map(|number| self.corrupt[number].clone());
            reports.push(Report::CorruptRecords(records.collect()));
        }
        reports.append(&mut self.words);
        reports
    }
}
