//! What a person is told of the data set when a run starts.

use lsgan_data::Source;
use lsgan_data::tools::mixing;
use lsgan_spec::RunSpec;

/// `(whether to look at it, the sentence)` for each thing to tell of a run's data.
#[must_use]
pub fn sentences(source: &dyn Source, spec: &RunSpec) -> Vec<(bool, String)> {
    [left_out(source), poorly_mixed(source, spec)].into_iter().flatten().collect()
}

/// What lies with the records and is none: to be looked at where a picture may be missed.
fn left_out(source: &dyn Source) -> Option<(bool, String)> {
    let left_out = source.left_out();
    let lines = left_out.lines();
    let text = || format!("the data set has {} records; left out are {}", source.len(), lines.join("; "));
    (!lines.is_empty()).then(|| (left_out.may_be_missed(), text()))
}

/// Batches of few classes.
fn poorly_mixed(source: &dyn Source, spec: &RunSpec) -> Option<(bool, String)> {
    let mixing = mixing(source, &spec.data, &spec.batch, spec.seed).filter(|mixing| mixing.is_poor())?;
    Some((true, mixing.to_string()))
}
