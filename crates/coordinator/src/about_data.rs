//! What a person is told of the data set when a run starts.

use lsgan_data::Source;

/// `(whether to look at it, the sentence)` for each thing to tell.
#[must_use]
pub fn sentences(source: &dyn Source) -> Vec<(bool, String)> {
    left_out(source).into_iter().collect()
}

/// What lies with the records and is none: to be looked at where a picture may be missed.
fn left_out(source: &dyn Source) -> Option<(bool, String)> {
    let left_out = source.left_out();
    let lines = left_out.lines();
    let text = || format!("the data set has {} records; left out are {}", source.len(), lines.join("; "));
    (!lines.is_empty()).then(|| (left_out.may_be_missed(), text()))
}
