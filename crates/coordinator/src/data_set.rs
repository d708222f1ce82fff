//! The data set of a run as its coordinator knows it: whether a worker reads the same, and which records do not decode, as
//! was found over all lives of the coordinator.

use std::collections::VecDeque;

use lsgan_data::{CorruptCount, TooManyCorrupt};
use lsgan_wire::v1::CorruptRecord;

/// How many are kept for tools that ask; the journal has them all.
const KEPT: usize = 100;

/// Its fingerprint; its corrupt records, counted, and the newest of them for people.
#[derive(Debug)]
pub struct DataSet {
    fingerprint: String,
    counted: CorruptCount,
    newest: VecDeque<CorruptRecord>,
}

impl DataSet {
    /// Of so many `records`, of which a share of `max_share` may be corrupt; `known` as the journal has them.
    #[must_use]
    pub fn new((records, fingerprint): (u64, String), max_share: f64, known: Vec<CorruptRecord>) -> Self {
        let counted = CorruptCount::new(records, max_share, known.iter().map(|r| r.record));
        let newest = known.into_iter().rev().take(KEPT).rev().collect();
        Self { fingerprint, counted, newest }
    }

    /// Why a worker whose data has this fingerprint is refused; none if it reads the same.
    #[must_use]
    pub fn differs_from(&self, theirs: &str) -> Option<String> {
        (theirs != self.fingerprint).then(|| {
            format!(
                "the data that this worker reads differs from the coordinator's (fingerprint {theirs}, the coordinator's \
                 is {}). Give every worker the same files at `data.source`.",
                self.fingerprint
            )
        })
    }

    /// The fingerprint of what is read.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether it is known that this record does not decode.
    #[must_use]
    pub fn is_known(&self, record: u64) -> bool {
        self.counted.is_known(record)
    }

    /// Those of `reported` that were not reported before.
    #[must_use]
    pub fn unknown(&self, reported: &[CorruptRecord]) -> Vec<CorruptRecord> {
        let mut unknown: Vec<_> = reported.iter().filter(|r| !self.is_known(r.record)).cloned().collect();
        unknown.sort_by_key(|r| r.record);
        unknown.dedup_by_key(|r| r.record);
        unknown
    }

    /// Counts records that are in the journal now. Returns a sentence for people, if there are any.
    pub fn add(&mut self, records: Vec<CorruptRecord>) -> Option<String> {
        let first = records.first()?.clone();
        let more = records.len() - 1;
        for record in records {
            self.counted.add(record.record);
            if self.newest.len() == KEPT {
                self.newest.pop_front();
            }
            self.newest.push_back(record);
        }
        let others = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        Some(format!(
            "record `{}`{others} does not decode: {}. The next good one takes its place. {} of at most {} corrupt \
             records",
            first.key,
            first.reason.trim_end_matches('.'),
            self.count(),
            self.count_max()
        ))
    }

    /// Whether they are too many to go on.
    ///
    /// # Errors
    ///
    /// They are; with what to do.
    pub fn check(&self) -> Result<(), TooManyCorrupt> {
        self.counted.check(self.newest.back().map_or("", |r| &r.key))
    }

    /// How many are known.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counted.count()
    }

    /// How many are accepted.
    #[must_use]
    pub fn count_max(&self) -> u64 {
        self.counted.count_max()
    }

    /// The newest ones, oldest first.
    #[must_use]
    pub fn newest(&self) -> Vec<CorruptRecord> {
        self.newest.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u64) -> CorruptRecord {
        CorruptRecord {
            record: number,
            key: format!("key-{number}"),
            reason: "it ends early".to_owned(),
            step: 7,
        }
    }

    #[test]
    fn a_worker_with_other_data_is_refused_with_both_fingerprints() {
        let data = DataSet::new((100, "abc".to_owned()), 0.002, Vec::new());
        assert_eq!(data.differs_from("abc"), None);
        let why = data.differs_from("def").expect("it differs");
        assert!(why.contains("fingerprint def, the coordinator's is abc"), "{why}");
    }

    #[test]
    fn each_is_told_once_and_the_newest_are_kept() {
        let mut corrupt = DataSet::new((100_000, "abc".to_owned()), 0.002, vec![record(1)]);
        let unknown = corrupt.unknown(&[record(1), record(3), record(2), record(3)]);
        assert_eq!(unknown, [record(2), record(3)]);
        assert_eq!(
            corrupt.add(unknown).unwrap(),
            "record `key-2` (and 1 more) does not decode: it ends early. The next good one takes its place. 3 of at most \
             200 corrupt records"
        );
        assert_eq!(corrupt.add(corrupt.unknown(&[record(3)])), None);
        assert!(corrupt.check().is_ok());
        corrupt.add((10..210).map(record).collect());
        assert_eq!(corrupt.newest().first(), Some(&record(110)));
        assert!(
            corrupt
                .check()
                .unwrap_err()
                .to_string()
                .contains("203 of 100000 records do not decode, the last of them `key-209`")
        );
    }
}
