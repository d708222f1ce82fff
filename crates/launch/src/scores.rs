//! The scores of a run's snapshots, in `scores.jsonl` of the run's directory: a line for each evaluation of a snapshot, and never
//! changed. `lsgan eval` writes it where it has the directory, and the coordinator what workers and other hosts send it: the same
//! line.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use lsgan_console::{Failure, digits};
use lsgan_snapshots::Store;
use lsgan_spec::{EvaluateSpec, Metric, SampleWeights, Step, printable};
use serde::{Deserialize, Serialize};

/// The file's name in a run's directory.
pub const SCORES: &str = "scores.jsonl";
/// The longest line that is taken from another process. One of all metrics has less than 1 KiB.
const LINE_LEN_BYTES_MAX: usize = 4 << 10;

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

    /// Whether it is what the run's file asks for of the snapshot of this step, or a part of it where several weights are scored.
    #[must_use]
    pub fn is_asked_for(&self, step: Step, asked: &EvaluateSpec) -> bool {
        let metrics = self.scores.iter().map(|score| score.metric);
        (self.step, self.basis.samples) == (step, u64::from(asked.samples))
            && asked.weights.all().contains(&self.weights)
            && asked.named_metrics().is_none_or(|named| metrics.eq(named))
    }

    /// Whether it says the same of the same snapshot as `other`, perhaps with other numbers.
    #[must_use]
    pub fn is_again(&self, other: &Self) -> bool {
        let metrics = |row: &Self| row.scores.iter().map(|score| score.metric).collect::<Vec<_>>();
        (self.step, self.weights, &self.basis) == (other.step, other.weights, &other.basis)
            && metrics(self) == metrics(other)
    }

    /// As a line of the file, without its end.
    #[must_use]
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("its keys are texts")
    }

    /// What [`Self::to_line`] made in another process.
    ///
    /// # Errors
    /// It is too long, no row, or has what no row has: no numbers, some that cannot be, or texts that a terminal does not show as they are.
    pub fn from_line(line: &str) -> Result<Self, String> {
        if line.len() > LINE_LEN_BYTES_MAX {
            return Err(format!(
                "a score has {} bytes; accepted are at most {LINE_LEN_BYTES_MAX}",
                line.len()
            ));
        }
        let row: Self = serde_json::from_str(line).map_err(|error| format!("this is no score: {error}"))?;
        let can_be = |score: &Value| {
            score.metric.can_be(score.value) && score.deviation.is_none_or(|d| d.is_finite() && d >= 0.0)
        };
        if row.scores.is_empty() || row.scores.len() > Metric::ALL.len() || !row.scores.iter().all(can_be) {
            return Err("a score has no numbers, too many, or one that its metric cannot have".to_owned());
        }
        let texts = [&row.basis.extractor, &row.basis.version];
        if let Some(text) = texts.into_iter().flatten().find(|text| printable(text) != text.as_str()) {
            return Err(format!("a score names an extractor `{}`, which cannot be printed", printable(text)));
        }
        Ok(row)
    }
}

/// `step 500 (ema): fid 83.21, kid 0.03120 ± 0.002100`
impl fmt::Display for ScoreRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} ({}):", self.step, self.weights.word())?;
        for (index, score) in self.scores.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma} {} {score}", score.metric)?;
        }
        Ok(())
    }
}

/// The number, with its deviation.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.deviation {
            Some(deviation) if deviation > 0.0 => {
                write!(f, "{} ± {}", digits(self.value), digits(deviation))
            }
            _ => f.write_str(&digits(self.value)),
        }
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
        file.write_all(format!("{start}{}\n", row.to_line()).as_bytes())
    };
    write().map_err(|error| Failure::failed(format!("{}: the score cannot be kept: {error}", path.display())))
}

/// Whether these rows are all that the run's file asks for of the snapshot of this step: one for each of the weights that it names.
#[must_use]
pub fn has_all_scores(rows: &[ScoreRow], step: Step, asked: &EvaluateSpec) -> bool {
    let is_there = |weights: &SampleWeights| {
        rows.iter().any(|row| row.weights == *weights && row.is_asked_for(step, asked))
    };
    asked.weights.all().iter().all(is_there)
}

/// The newest row by which snapshots are compared. A snapshot that was scored with several weights is compared by those that
/// were scored first: in a run, the first that its file names.
#[must_use]
pub fn newest_score(rows: &[ScoreRow]) -> Option<&ScoreRow> {
    let last = rows.last()?;
    let metric = |row: &ScoreRow| row.first().map(|score| score.metric);
    let is_beside =
        |row: &&ScoreRow| row.step == last.step && row.basis == last.basis && metric(row) == metric(last);
    let first = rows.iter().find(is_beside)?;
    rows.iter().rev().filter(is_beside).find(|row| row.weights == first.weights)
}

/// The best row among those that can be compared with the newest one: of the same weights and basis and with the same first metric.
/// `is_there` says which steps count.
#[must_use]
pub fn best_score(rows: &[ScoreRow], is_there: impl Fn(Step) -> bool) -> Option<&ScoreRow> {
    let last = newest_score(rows)?;
    let metric = last.first()?.metric;
    let compared = rows.iter().filter(|row| {
        (row.weights, &row.basis) == (last.weights, &last.basis)
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
    use lsgan_spec::ScoredWeights;

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
    fn a_line_of_another_process_is_taken_as_it_is_or_refused() {
        let mut sent = row(2, 1.0 / 3.0, 10);
        assert_eq!(ScoreRow::from_line(&sent.to_line()), Ok(sent.clone()));
        let refused = |row: &ScoreRow| ScoreRow::from_line(&row.to_line()).expect_err("it is refused");
        assert!(refused(&row(2, f64::NAN, 10)).contains("this is no score"));
        assert!(refused(&ScoreRow { scores: vec![], ..sent.clone() }).contains("no numbers"));
        let recall = Value { metric: Metric::Recall, value: 1.5, deviation: None };
        assert!(refused(&ScoreRow { scores: vec![recall], ..sent.clone() }).contains("cannot have"));
        sent.basis.version = Some("\u{1b}[2J".to_owned());
        assert!(refused(&sent).contains("`\\u001b[2J`, which cannot be printed"));
        sent.basis.version = Some("x".repeat(LINE_LEN_BYTES_MAX));
        assert!(refused(&sent).contains("bytes; accepted are at most 4096"));
    }

    #[test]
    fn a_row_is_what_the_runs_file_asks_for_where_all_that_it_names_is_the_same() {
        let asked = EvaluateSpec { samples: 10, ..EvaluateSpec::default() };
        assert!(row(2, 0.5, 10).is_asked_for(Step(2), &asked));
        assert!(!row(2, 0.5, 10).is_asked_for(Step(3), &asked));
        assert!(!row(2, 0.5, 11).is_asked_for(Step(2), &asked));
        for (metrics, is_asked_for) in [("kid", true), ("kid,fid", false), ("fid", false)] {
            let asked = EvaluateSpec { metrics: metrics.to_owned(), ..asked.clone() };
            assert_eq!(row(2, 0.5, 10).is_asked_for(Step(2), &asked), is_asked_for, "{metrics}");
        }
    }

    #[test]
    fn of_several_weights_the_first_count() {
        let raw = |step, value| ScoreRow { weights: SampleWeights::Raw, ..row(step, value, 10) };
        let both = ScoredWeights::try_from("ema,raw".to_owned()).expect("they are weights");
        let asked = EvaluateSpec { samples: 10, weights: both, ..EvaluateSpec::default() };
        let rows = [row(1, 0.5, 10), raw(1, 0.1), row(2, 0.4, 10), raw(2, 0.2), row(3, 0.6, 10)];
        assert!(rows.iter().all(|row| row.is_asked_for(row.step, &asked)));
        assert!(has_all_scores(&rows, Step(2), &asked));
        assert!(!has_all_scores(&rows, Step(3), &asked), "the raw weights are not scored yet");
        for rows in [&rows[..4], &rows[..]] {
            assert_eq!(best_score(rows, |_| true), Some(&rows[2]));
        }
        assert_eq!(newest_score(&rows[..4]), Some(&rows[2]));
        // By hand with the raw weights alone.
        assert_eq!(best_score(&[row(1, 0.5, 10), raw(4, 0.9)], |_| true), Some(&raw(4, 0.9)));
    }

    #[test]
    fn a_score_is_shown_with_its_deviation() {
        assert_eq!(row(2, 0.25, 10).to_string(), "step 2 (ema): kid 0.2500 ± 0.5000");
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
