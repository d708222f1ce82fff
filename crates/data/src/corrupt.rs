//! Counts the records that do not decode, and decides when they are too many.
//!
//! Pure: the coordinator passes what the workers report, and keeps the records in its journal.

use std::collections::BTreeSet;

/// The records of a data set that do not decode, as far as they were reported.
#[derive(Clone, Debug)]
pub struct CorruptCount {
    records: u64,
    max_share: f64,
    known: BTreeSet<u64>,
}

/// The data set has too many corrupt records to train on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "{count} of {records} records do not decode, the last of them `{key}`; data.max_corrupt accepts a share of {max_share}. \
     Repair the data set (the table corrupt_records of the run's journal names them), or raise data.max_corrupt."
)]
pub struct TooManyCorrupt {
    pub count: u64,
    /// Records in the data set.
    pub records: u64,
    pub max_share: f64,
    /// The record that was one too many.
    pub key: String,
}

impl CorruptCount {
    /// For a data set of `records`, of which a share of `max_share` (0 to 1) may be corrupt; `known` were reported before.
    #[must_use]
    pub fn new(records: u64, max_share: f64, known: impl IntoIterator<Item = u64>) -> Self {
        Self { records, max_share, known: known.into_iter().collect() }
    }

    /// Counts a record, once however often it is reported.
    pub fn add(&mut self, record: u64) {
        self.known.insert(record);
    }

    /// Fails if there are too many; `key` is that of the newest record.
    ///
    /// # Errors
    ///
    /// [`TooManyCorrupt`].
    pub fn check(&self, key: &str) -> Result<(), TooManyCorrupt> {
        let count = self.count();
        if count <= self.count_max() {
            return Ok(());
        }
        let (records, max_share) = (self.records, self.max_share);
        Err(TooManyCorrupt { count, records, max_share, key: key.to_owned() })
    }

    #[must_use]
    pub fn is_known(&self, record: u64) -> bool {
        self.known.contains(&record)
    }

    /// The most that are accepted.
    #[must_use]
    pub fn count_max(&self) -> u64 {
        (self.max_share * self.records as f64) as u64
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.known.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_record_counts_once_and_the_one_too_many_is_named() {
        let mut corrupt = CorruptCount::new(1000, 0.003, [5]);
        for record in [5, 9, 9, 7] {
            corrupt.add(record);
            assert_eq!(corrupt.check("any"), Ok(()));
        }
        corrupt.add(1);
        let error = corrupt.check("one").unwrap_err();
        assert_eq!(
            error.to_string(),
            "4 of 1000 records do not decode, the last of them `one`; data.max_corrupt accepts a share of 0.003. Repair \
             the data set (the table corrupt_records of the run's journal names them), or raise data.max_corrupt."
        );
        assert_eq!((corrupt.count(), corrupt.count_max()), (4, 3));
        assert!(corrupt.is_known(1) && !corrupt.is_known(2));
    }

    #[test]
    fn a_share_of_0_accepts_none_and_one_of_1_all() {
        assert!(CorruptCount::new(10, 0.0, [3]).check("three").is_err());
        assert!(CorruptCount::new(10, 1.0, 0..10).check("any").is_ok());
    }
}
