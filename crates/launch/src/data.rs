//! Opening a data set, with its progress shown.

use lsgan_console::{Counter, Failure};
use lsgan_data::{OpenOptions, Progress, Source};
use lsgan_spec::DataSpec;

/// Opens a data set; one of millions of records that is seen for the first time takes a while, and says so. `seed`, the
/// run's, decides the points of a made-up one.
///
/// # Errors
/// A data set that is missing, damaged or of another kind, with exit code 2.
pub fn open_data(spec: &DataSpec, seed: u64) -> Result<Box<dyn Source>, Failure> {
    let counter = Counter::new("indexing");
    let progress = |i: Progress| counter.show(i.unit, i.done, i.total);
    let opened = lsgan_data::open_with(spec, &OpenOptions { progress: &progress, ..OpenOptions::new(seed) });
    counter.end();
    opened.map_err(Failure::bad_input_of)
}
