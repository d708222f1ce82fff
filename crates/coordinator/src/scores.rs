//! What the run's snapshots score, for its status.
//!
//! Whoever scores them writes into `scores.jsonl` of the run's directory: this process, or another one beside it. A task reads that
//! file when it has grown, so that no disk holds up the shell.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lsgan_console::vital;
use lsgan_launch::{SCORES, ScoreRow, best_score, read_scores};
use lsgan_wire::v1;
use tokio::sync::watch;
use tokio::time::timeout;

/// Between two looks at the file.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The score of the run in `run_dir`, as it is now: as long as somebody has the receiver.
pub fn follow(run_dir: PathBuf) -> watch::Receiver<Option<v1::SnapshotScore>> {
    let (sender, score) = watch::channel(None);
    vital::task("score task", look(run_dir, sender));
    score
}

async fn look(run_dir: PathBuf, sender: watch::Sender<Option<v1::SnapshotScore>>) {
    let mut known = 0;
    loop {
        let dir = run_dir.clone();
        let read = tokio::task::spawn_blocking(move || grown(&dir, known)).await;
        if let Ok(Some((len_bytes, score))) = read {
            known = len_bytes;
            sender.send_replace(score);
        }
        if timeout(LOOK_EVERY, sender.closed()).await.is_ok() {
            return;
        }
    }
}

/// How long the file is, and the score; none if that is as long as it was, or cannot be read, of which those tell who score.
fn grown(run_dir: &Path, known_len_bytes: u64) -> Option<(u64, Option<v1::SnapshotScore>)> {
    let len_bytes = std::fs::metadata(run_dir.join(SCORES)).ok()?.len();
    if len_bytes == known_len_bytes {
        return None;
    }
    Some((len_bytes, newest(&read_scores(run_dir).ok()?)))
}

/// Of the newest snapshot, and of the best one of those that can be compared with it.
fn newest(rows: &[ScoreRow]) -> Option<v1::SnapshotScore> {
    // What was scored last says what is compared; an older snapshot may have been scored after a newer one.
    let last = rows.last()?;
    let metric = last.first()?.metric;
    let is_compared =
        |row: &&ScoreRow| row.basis == last.basis && row.first().is_some_and(|score| score.metric == metric);
    let newest = rows.iter().filter(is_compared).max_by_key(|row| row.step)?;
    let best = best_score(rows, |_| true)?;
    Some(v1::SnapshotScore {
        metric: metric.to_string(),
        value: newest.first()?.value,
        step: newest.step.0,
        best_value: best.first()?.value,
        best_step: best.step.0,
    })
}

#[cfg(test)]
mod tests {
    use lsgan_launch::{Basis, Value, append_score};
    use lsgan_spec::{Metric, SampleWeights, Step};

    use super::*;

    fn row(step: u64, metric: Metric, value: f64) -> ScoreRow {
        ScoreRow {
            step: Step(step),
            weights: SampleWeights::Ema,
            scores: vec![Value { metric, value, deviation: None }],
            basis: Basis { extractor: None, version: None, samples: 100, real: None },
        }
    }

    #[test]
    fn the_newest_snapshot_counts_also_where_an_older_one_is_scored_after_it() {
        let told = |score: v1::SnapshotScore| {
            (score.metric, score.value, score.step, score.best_value, score.best_step)
        };
        let rows = [row(10, Metric::Fid, 9.0), row(30, Metric::Fid, 8.0), row(20, Metric::Fid, 7.0)];
        assert_eq!(newest(&rows).map(told), Some(("fid".to_owned(), 8.0, 30, 7.0, 20)));
        let other = [row(10, Metric::Fid, 1.0), row(5, Metric::Kid, 2.0)];
        assert_eq!(newest(&other).map(told), Some(("kid".to_owned(), 2.0, 5, 2.0, 5)));
        assert_eq!(newest(&[]), None);
    }

    #[test]
    fn the_file_is_read_when_it_has_grown_and_bad_lines_change_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(grown(dir.path(), 0), None, "there is none");
        append_score(dir.path(), &row(10, Metric::Fid, 9.0)).unwrap();
        let (len_bytes, score) = grown(dir.path(), 0).unwrap();
        assert_eq!(score.unwrap().step, 10);
        assert_eq!(grown(dir.path(), len_bytes), None, "it is known");
        std::fs::write(dir.path().join(SCORES), "nonsense\n").unwrap();
        assert_eq!(grown(dir.path(), len_bytes), None);
    }
}
