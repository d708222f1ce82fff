//! The scores of a run's snapshots, in `scores.jsonl` of the run's directory: a line for each evaluation of a snapshot, written
//! by whoever evaluates, and never changed.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use lsgan_console::Failure;
use lsgan_snapshots::Store;
use lsgan_spec::{Metric, SampleWeights, Step};
use serde::{Deserialize, Serialize};

/// The file's name in a run's directory.
pub const SCORES: &str = "scores.jsonl";

/// One evaluation of one snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreRow {
    /// Steps done in the snapshot.
    pub step: Step,
    /// Which of G's weights made the samples.
    pub weights: SampleWeights,
    /// The numbers, the one first by which snapshots are compared.
    pub scores: Vec<Value>,
    /// What the numbers depend on besides. Only rows that are equal in it can be compared.
    #[serde(flatten)]
    pub basis: Basis,
}

/// One number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Value {
    /// What it is.
    pub metric: Metric,
    /// The number.
    pub value: f64,
    /// Its standard deviation over subsets, where it is a mean of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deviation: Option<f64>,
}

/// What scores depend on besides the weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// The network that made features of pictures; none for points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extractor: Option<String>,
    /// A hash over its weights, and how pictures are scaled for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How many samples were generated.
    pub samples: u64,
    /// How many real ones they were compared with, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real: Option<u64>,
}

impl ScoreRow {
    /// The number by which snapshots are compared.
    #[must_use]
    pub fn first(&self) -> Option<Value> {
        self.scores.first().copied()
    }

    /// Whether it says the same of the same snapshot as `other`, perhaps with other numbers.
    #[must_use]
    pub fn is_again(&self, other: &Self) -> bool {
        let metrics = |row: &Self| row.scores.iter().map(|score| score.metric).collect::<Vec<_>>();
        (self.step, self.weights, &self.basis) == (other.step, other.weights, &other.basis)
            && metrics(self) == metrics(other)
    }
}

/// All evaluations of a run, in the order of the file.
///
/// # Errors
/// A file that cannot be read, or has a line that is none of these.
pub fn read_scores(run_dir: &Path) -> Result<Vec<ScoreRow>, Failure> {
    let path = run_dir.join(SCORES);
    let text = match std::fs::read_to_string(&path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(vec![]);
        }
        read => {
            read.map_err(|error| Failure::failed(format!("{}: it cannot be read: {error}", path.display())))?
        }
    };
    // A line without an end is one that a process is writing, or did not finish.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let parse = |(number, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| {
            Failure::failed(format!(
                "{}:{}: this is no score: {error}. Remove the line; `lsgan eval` scores its snapshot again.",
                path.display(),
                number + 1
            ))
        })
    };
    whole.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(parse).collect()
}

/// Adds a row, at once.
///
/// # Errors
/// A directory that cannot be written.
pub fn append_score(run_dir: &Path, row: &ScoreRow) -> Result<(), Failure> {
    let path = run_dir.join(SCORES);
    let write = || -> std::io::Result<()> {
        let mut file = File::options().create(true).append(true).read(true).open(&path)?;
        // What a process did not finish writing stays a line of its own.
        let mut last = [b'\n'];
        if file.seek(SeekFrom::End(-1)).is_ok() {
            file.read_exact(&mut last)?;
        }
        let start = if last == *b"\n" { "" } else { "\n" };
        file.write_all(format!("{start}{}\n", serde_json::to_string(row)?).as_bytes())
    };
    write().map_err(|error| Failure::failed(format!("{}: the score cannot be kept: {error}", path.display())))
}

/// The best row among those that can be compared with the last one: of the same basis and with the same first metric. `is_there`
/// says which steps count.
#[must_use]
pub fn best_score(rows: &[ScoreRow], is_there: impl Fn(Step) -> bool) -> Option<&ScoreRow> {
    let last = rows.last()?;
    let metric = last.first()?.metric;
    let compared = rows.iter().filter(|row| {
        row.basis == last.basis
            && row.first().is_some_and(|score| score.metric == metric)
            && is_there(row.step)
    });
    let value = |row: &ScoreRow| row.first().map_or(f64::NAN, |score| score.value);
    // Of equal ones the earliest: min_by keeps the first.
    compared.min_by(|a, b| metric.better(value(a), value(b)))
}

/// The step of the whole snapshot in `store` with the best score, of those in `run_dir`; none where none has a score.
///
/// # Errors
/// A store that does not answer, or scores that cannot be read.
pub async fn best_snapshot(store: &Store, run_dir: &Path) -> Result<Option<Step>, Failure> {
    let rows = read_scores(run_dir)?;
    if rows.is_empty() {
        return Ok(None);
    }
    let entries = store.list().await?;
    let is_there = |step| entries.iter().any(|entry| entry.step == step && entry.state.is_ok());
    Ok(best_score(&rows, is_there).map(|row| row.step))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: u64, value: f64, samples: u64) -> ScoreRow {
        ScoreRow {
            step: Step(step),
            weights: SampleWeights::Ema,
            scores: vec![Value { metric: Metric::Kid, value, deviation: Some(0.5) }],
            basis: Basis { extractor: Some("clothes".to_owned()), version: None, samples, real: None },
        }
    }

    #[test]
    fn rows_come_back_as_they_were_written_and_a_torn_one_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_scores(dir.path()).unwrap(), []);
        let (a, b) = (row(1, 0.1, 10), row(2, 1.0 / 3.0, 10));
        append_score(dir.path(), &a).unwrap();
        append_score(dir.path(), &b).unwrap();
        assert_eq!(read_scores(dir.path()).unwrap(), [a.clone(), b.clone()]);
        let path = dir.path().join(SCORES);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 5]).unwrap();
        assert_eq!(read_scores(dir.path()).unwrap(), [a], "the second is being written");
        append_score(dir.path(), &b).unwrap();
        let failure = read_scores(dir.path()).expect_err("its second line was never finished");
        assert!(failure.text.contains("scores.jsonl:2: this is no score"), "{}", failure.text);
    }

    #[test]
    fn the_best_is_of_the_last_rows_basis_and_there() {
        let rows = [row(1, -5.0, 99), row(2, 0.5, 10), row(3, 0.1, 10), row(4, 0.1, 10), row(5, 0.3, 10)];
        let best = |is_there: fn(Step) -> bool| best_score(&rows, is_there).map(|row| row.step.0);
        assert_eq!(best(|_| true), Some(3));
        assert_eq!(best(|step| step.0 > 4), Some(5));
        assert_eq!(best(|step| step.0 == 1), None);
        assert_eq!(best_score(&[], |_| true), None);
    }
}
