//! Opening a data set, with its progress shown.

use lsgan_data::{Indexing, OpenOptions, Source};
use lsgan_spec::RunSpec;

use crate::counted::Counted;
use crate::exit::{Failure, chain};

/// Opens the run's data set; one of millions of records that is seen for the first time takes a while, and says so.
///
/// # Errors
/// A data set that is missing, damaged or of another kind, with exit code 2.
pub fn open_data(spec: &RunSpec) -> Result<Box<dyn Source>, Failure> {
    let counted = Counted::new("reading the data set's index");
    let progress = |i: Indexing| counted.show(i.done, i.total, i.unit);
    let options = OpenOptions { progress: &progress, ..OpenOptions::new(spec.seed) };
    lsgan_data::open_with(&spec.data, &options).map_err(|error| Failure::bad_input(chain(&error)))
}
