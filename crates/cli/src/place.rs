//! Where a run's snapshots are, from the run's directory or URL.

use std::path::Path;

use lsgan_console::{Failure, say};
use lsgan_journal::{JournalError, Reader, Wait, patiently};
use lsgan_launch::Places;
use lsgan_snapshots::Store;

/// Opens the store of a run for reading. `run` is what its `checkpoint.to` says, or its directory: that of a run with its
/// snapshots elsewhere has a journal, which says where.
///
/// # Errors
/// No such directory, or a store that cannot be opened.
pub fn store_of(run: &str) -> Result<Store, Failure> {
    let elsewhere = if run.contains("://") { None } else { elsewhere(Path::new(run))? };
    let place = elsewhere.as_deref().unwrap_or(run);
    Ok(Store::open_existing(place)?)
}

/// The URL of the store that the run in this directory writes to, if it is not the directory itself.
fn elsewhere(dir: &Path) -> Result<Option<String>, Failure> {
    let journal = dir.join(lsgan_journal::FILE);
    // A directory with snapshots needs no journal, and may be read-only.
    if dir.join("snapshots").is_dir() || !journal.is_file() {
        return Ok(None);
    }
    let known = waiting(|| Reader::open(&journal)?.known())?;
    Ok(known.fact("spec_yaml").and_then(Places::bucket_of))
}

/// Reads a journal; while another program holds it locked, waits and says so.
///
/// # Errors
/// It cannot be read, or it is no journal.
pub fn waiting<T>(read: impl FnMut() -> Result<T, JournalError>) -> Result<T, JournalError> {
    let tell = |wait| match wait {
        Wait::Begins(error) => say!("waiting for the journal: {error}"),
        Wait::Ends => {}
    };
    patiently(read, tell)
}
