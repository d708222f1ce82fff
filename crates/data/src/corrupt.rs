//! How many records turned out not to decode, and when they are too many.
//!
//! Pure: the coordinator keeps one of these beside its journal, and tells it what the workers report.

use std::collections::BTreeSet;

/// The records of a data set that are known not to decode.
#[derive(Clone, Debug)]
pub struct Corrupt {
    records: u64,
    max_share: f64,
    known: BTreeSet<u64>,
}

/// What a report was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The first of this record: to be told, and to be written down.
    New,
    /// One more of a record that is known: it is met again in every epoch.
    Known,
}

/// The data set is too bad to train on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "{count} of {records} records do not decode, the last of them `{key}`; data.max_corrupt accepts a share of {max_share}. \
     Repair the data set (the table corrupt_records of the run's journal names them), or raise data.max_corrupt."
)]
pub struct TooManyCorrupt {
    /// Records that do not decode.
    pub count: u64,
    /// Records in the data set.
    pub records: u64,
    /// What is accepted.
    pub max_share: f64,
    /// The one that was too many.
    pub key: String,
}

impl Corrupt {
    /// Of a data set of `records`, of which a share of `max_share` (0 to 1) may be corrupt; `known` were reported before.
    #[must_use]
    pub fn new(records: u64, max_share: f64, known: impl IntoIterator<Item = u64>) -> Self {
        Self { records, max_share, known: known.into_iter().collect() }
    }

    /// Takes the report of one record. In which order the reports come, and how often, decides nothing.
    ///
    /// # Errors
    ///
    /// With this one they are more than is accepted. It is counted all the same, and is news where it was not known.
    pub fn report(&mut self, record: u64, key: &str) -> Result<Report, TooManyCorrupt> {
        if !self.known.insert(record) {
            return Ok(Report::Known);
        }
        self.check(key).map(|()| Report::New)
    }

    /// Whether those that are known are too many; `key` is the newest one's.
    ///
    /// # Errors
    ///
    /// They are.
    pub fn check(&self, key: &str) -> Result<(), TooManyCorrupt> {
        let count = self.count();
        if count <= self.count_max() {
            return Ok(());
        }
        let (records, max_share) = (self.records, self.max_share);
        Err(TooManyCorrupt { count, records, max_share, key: key.to_owned() })
    }

    /// Whether this record was reported before.
    #[must_use]
    pub fn is_known(&self, record: u64) -> bool {
        self.known.contains(&record)
    }

    /// So many are accepted.
    #[must_use]
    pub fn count_max(&self) -> u64 {
        (self.max_share * self.records as f64) as u64
    }

    /// How many are known.
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
        let mut corrupt = Corrupt::new(1000, 0.003, [5]);
        assert_eq!(corrupt.report(5, "five"), Ok(Report::Known));
        assert_eq!(corrupt.report(9, "nine"), Ok(Report::New));
        assert_eq!(corrupt.report(9, "nine"), Ok(Report::Known));
        assert_eq!(corrupt.report(7, "seven"), Ok(Report::New));
        let error = corrupt.report(1, "one").unwrap_err();
        assert_eq!(
            error.to_string(),
            "4 of 1000 records do not decode, the last of them `one`; data.max_corrupt accepts a share of 0.003. Repair \
             the data set (the table corrupt_records of the run's journal names them), or raise data.max_corrupt."
        );
        assert_eq!((corrupt.count(), corrupt.count_max()), (4, 3));
        assert!(corrupt.is_known(1) && !corrupt.is_known(2));
        assert!(corrupt.check("one").is_err());
    }

    #[test]
    fn a_share_of_0_accepts_none_and_one_of_1_all() {
        assert!(Corrupt::new(10, 0.0, []).report(3, "three").is_err());
        let mut all = Corrupt::new(10, 1.0, []);
        assert!((0..10).all(|record| all.report(record, "any") == Ok(Report::New)));
    }
}
