//! What the tables hold beside the machine's entries.

use std::collections::BTreeMap;

/// The scalars of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepRow {
    /// Index of the step, counted from 0.
    pub step: u64,
    /// When it ended.
    pub wall_ms: u64,
    /// By the names of the registry, [`lsgan_spec::scalars`].
    pub scalars: BTreeMap<String, f64>,
}

/// A snapshot that was published.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Steps done.
    pub step: u64,
    /// Where it is.
    pub url: String,
    /// All of its parts together.
    pub len_bytes: u64,
    /// Of its manifest.
    pub blake3: String,
    /// How long the training thread stood still for it.
    pub blocked_ms: f64,
}

/// A record of the data set that does not decode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorruptRecord {
    /// Its number in the data set.
    pub record: u64,
    /// Its name there: its file, its key, or its number.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
    /// The step that it was first met in.
    pub step: u64,
}

/// A file that a finished run has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalFile {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// Of its bytes.
    pub blake3: String,
}

/// What a coordinator writes when it begins to run, in one transaction.
#[derive(Clone, Debug, Default)]
pub struct Beginning {
    /// Facts of the run, by their names in the table `meta`.
    pub facts: Vec<(&'static str, String)>,
    /// The data set is another one than before: its corrupt records are not those that are known.
    pub other_data: bool,
    /// Snapshots of later steps are no more.
    pub no_snapshot_after: Option<u64>,
}
