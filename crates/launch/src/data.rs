//! Opening a data set, with its progress shown.

use lsgan_console::{Counter, Failure};
use lsgan_data::{OpenOptions, Progress, Source};
use lsgan_spec::{DataSpec, ModelSpec};

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

/// The hash over all that a run reads of a data set: its fingerprint, and the classes of its records where the networks are told
/// them.
///
/// # Errors
/// A record whose class is missing or beyond those of the run, with exit code 2.
pub fn data_fingerprint(data: &dyn Source, model: &ModelSpec) -> Result<String, Failure> {
    let fingerprint = data.fingerprint().to_string();
    let count = model.classes.count;
    if count == 0 {
        return Ok(fingerprint);
    }
    let mut hasher = blake3::Hasher::new_derive_key("lsgan 2026 classes of records");
    hasher.update(fingerprint.as_bytes());
    for record in 0..data.len() {
        match data.class(record) {
            Some(class) if class < count => hasher.update(&class.to_le_bytes()),
            Some(class) => {
                return Err(Failure::bad_input(format!(
                    "record {record} of the data set is of class {class}, and model.classes.count is {count}, which stands for the classes \
                     0 to {}. Set it to the number of classes; `lsgan dataset inspect` shows them.",
                    count - 1
                )));
            }
            None => {
                return Err(Failure::bad_input(format!(
                    "record {record} of the data set has no class, and model.classes.count is {count}. Give the source its classes (a \
                     file of labels for idx, sub-folders for folder), or set it to 0."
                )));
            }
        };
    }
    Ok(hasher.finalize().to_hex().to_string())
}
