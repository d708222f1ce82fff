//! `--halving METRIC`: settings that are behind are given up early (successive halving, Jamieson and Talwalkar,
//! arXiv 1502.07943).
//!
//! In each round all settings that are left train to the same step, and the worse half of them, by the median over their seeds,
//! is given up. The last round trains what is left to the end. A run that is trained in several rounds has the weights of one
//! that is trained at once.

use std::collections::BTreeMap;

use lsgan_console::{Failure, Interrupt, say};
use lsgan_launch::{ScoreRow, newest_score, read_scores};
use lsgan_spec::Metric;
use tokio::sync::mpsc;

use super::Means;
use super::plan::{Job, Sweep};
use super::pool::Ended;
use super::table::median;

/// The last step of each round: doubled from one to the next, each a multiple of `every`, at which snapshots are scored.
#[must_use]
pub fn rounds(settings: usize, steps: u64, every: u64) -> Vec<u64> {
    let halvings = settings.next_power_of_two().trailing_zeros();
    let early = (1..=halvings).rev().map(|halving| (steps >> halving).max(1).next_multiple_of(every));
    let mut rounds: Vec<u64> = early.filter(|step| *step < steps).collect();
    rounds.dedup();
    rounds.push(steps);
    rounds
}

/// Whether the runs are scored by this metric.
///
/// # Errors
/// They are not, with exit code 2.
pub fn check(sweep: &Sweep, metric: Metric) -> Result<(), Failure> {
    let spec = &sweep.jobs[0].file.spec;
    let named = spec.evaluate.named_metrics().is_none_or(|named| named.contains(&metric));
    let is_of_them = named && metric.is_of_points() != spec.data.source.gives_pictures();
    if spec.evaluate.scores_itself() && is_of_them {
        return Ok(());
    }
    Err(Failure::bad_input(format!(
        "--halving {metric} needs runs that score themselves by it. Set evaluate.every to a multiple of checkpoint.every, and \
         {metric} among evaluate.metrics."
    )))
}

/// Trains all settings round by round.
///
/// # Errors
/// As [`super::run`]; runs of a round that have no score.
pub async fn run(
    sweep: &Sweep,
    metric: Metric,
    means: &mut Means,
    interrupts: &mut mpsc::Receiver<Interrupt>,
) -> Result<Ended, Failure> {
    let spec = &sweep.jobs[0].file.spec;
    let mut left = settings(&sweep.jobs);
    let (mut ended, rounds) = (Ended::default(), rounds(left.len(), spec.steps, spec.evaluate.every));
    for (round, &steps) in rounds.iter().enumerate() {
        let of_round = sweep.of_round(&left, steps);
        ended.add(super::run(&of_round, means, interrupts).await?);
        if ended.stopped.is_some() || round + 1 == rounds.len() {
            break;
        }
        let count = left.len();
        left = best(&of_round, &left, metric)?;
        say!("after {steps} steps {} of {count} settings go on: {}", left.len(), shown(&left));
    }
    Ok(ended)
}

fn shown(settings: &[Vec<String>]) -> String {
    settings.iter().map(|values| values.join(" ")).collect::<Vec<_>>().join(", ")
}

/// The values of all settings, in their order.
fn settings(jobs: &[Job]) -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = vec![];
    for job in jobs {
        if !found.contains(&job.values) {
            found.push(job.values.clone());
        }
    }
    found
}

/// The better half of the settings, the best one first. A setting whose runs have failed is worst.
fn best(sweep: &Sweep, left: &[Vec<String>], metric: Metric) -> Result<Vec<Vec<String>>, Failure> {
    let mut scores: BTreeMap<&[String], Vec<f64>> = BTreeMap::new();
    for job in &sweep.jobs {
        let mut rows: Vec<ScoreRow> = read_scores(&job.dir)?;
        rows.retain(|row| row.step.0 == job.file.spec.steps);
        let score =
            newest_score(&rows).and_then(|row| row.scores.iter().find(|score| score.metric == metric));
        scores.entry(&job.values).or_default().extend(score.map(|score| score.value));
    }
    let of = |values: &Vec<String>| {
        let mut found = scores[values.as_slice()].clone();
        found.sort_by(f64::total_cmp);
        if found.is_empty() { f64::NAN } else { median(&found) }
    };
    let mut ranked: Vec<(f64, &Vec<String>)> = left.iter().map(|values| (of(values), values)).collect();
    if ranked.iter().all(|(score, _)| score.is_nan()) {
        return Err(Failure::failed(format!(
            "no run has a score {metric}, so that none is better than another."
        )));
    }
    ranked.sort_by(|(a, _), (b, _)| metric.better(*a, *b));
    let half = ranked.len().div_ceil(2);
    Ok(ranked.into_iter().take(half).map(|(_, values)| values.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::rounds;

    #[test]
    fn rounds_double_and_end_with_all_steps() {
        assert_eq!(rounds(8, 1000, 100), [200, 300, 500, 1000]);
        assert_eq!(rounds(4, 1000, 10), [250, 500, 1000]);
        assert_eq!(rounds(5, 64, 1), [8, 16, 32, 64]);
        assert_eq!(rounds(1, 1000, 100), [1000]);
        assert_eq!(rounds(8, 100, 100), [100]);
        assert_eq!(rounds(16, 1000, 400), [400, 800, 1000]);
    }
}
