//! What a person should look at: signs of a run that goes wrong, each with what to do.

use lsgan_launch::ScoreRow;
use lsgan_spec::scalars::{FAKE_STD, LOSS_D, STEP_MS, Scalar};
use rusqlite::{Connection, params};
use serde::Serialize;

/// A run is judged by the means of so many rows, and not before it has done several times as many steps.
const ROWS: u64 = 100;
const STEPS_BEFORE: u64 = 3 * ROWS;
/// So many places of a run are looked at for what its samples were like before.
const PLACES: u64 = 20;
/// Samples that differ so much less than they once did have collapsed.
const COLLAPSED: f64 = 0.1;
/// A discriminator with a smaller loss makes no more mistakes: there is nothing left for G to learn from.
const SATURATED: f64 = 0.002;
/// A score is much worse if it is so many times the best.
const MUCH_WORSE: f64 = 2.0;
/// No step for so long is too long, however long steps are,
const STALL_MS: u64 = 60_000;
/// and so is the time of so many of them.
const STALL_STEPS: f64 = 20.0;
/// A worker that ended so often in so short a time.
const FLAPS: u64 = 5;
const FLAPS_WITHIN_MS: u64 = 600_000;

/// One thing to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// In a word: collapse, saturated, score, stall, flapping.
    pub kind: &'static str,
    /// What is seen.
    pub text: String,
    /// What to do.
    pub advice: String,
}

/// What the journal shows beside scores.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signs {
    steps: u64,
    fake_std: Option<f64>,
    fake_std_most: Option<f64>,
    loss_d: Option<f64>,
    step_ms: Option<f64>,
    /// When the newest step ended or the newest generation began to step.
    stepped_ms: Option<u64>,
    flapping: Option<(String, u64)>,
}

impl Signs {
    pub fn read(db: &Connection, known: &[Scalar], now_ms: u64) -> rusqlite::Result<Self> {
        let (first, last): (Option<u64>, Option<u64>) =
            db.query_row("select min(step), max(step) from metrics", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let (Some(first), Some(last)) = (first, last) else { return Ok(Self::default()) };
        let mean = |scalar: Scalar, until: u64| -> rusqlite::Result<Option<f64>> {
            if !known.contains(&scalar) {
                return Ok(None);
            }
            let name = scalar.name;
            let rows = format!("select {name} from metrics where step <= ?1 order by step desc limit {ROWS}");
            db.query_row(&format!("select avg({name}) from ({rows})"), params![until], |row| row.get(0))
        };
        let mut most = None;
        for place in 1..=PLACES {
            let there = mean(FAKE_STD, first + (last - first) / PLACES * place)?;
            most = [most, there].into_iter().flatten().reduce(f64::max);
        }
        let newest = "select max(at) from (select max(wall_ms) as at from metrics where step = ?1
                      union all select max(stepping_ms) from generations)";
        let flaps = "select name, count(*) from workers where gone_ms > ?1 group by name having count(*) >= ?2 limit 1";
        let mut flapping = db.prepare(flaps)?;
        let since = now_ms.saturating_sub(FLAPS_WITHIN_MS);
        let mut flapping = flapping.query_map(params![since, FLAPS], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Self {
            steps: last - first + 1,
            fake_std: mean(FAKE_STD, last)?,
            fake_std_most: most,
            loss_d: mean(LOSS_D, last)?,
            step_ms: mean(STEP_MS, last)?,
            stepped_ms: db.query_row(newest, params![last], |row| row.get(0))?,
            flapping: flapping.next().transpose()?,
        })
    }
}

/// The alerts of a run. `stepping_at`: now, of a run whose generation is stepping.
pub(crate) fn alerts(
    signs: &Signs,
    scores: &[ScoreRow],
    best: Option<&ScoreRow>,
    stepping_at: Option<u64>,
) -> Vec<Alert> {
    let fork = match best {
        Some(best) => format!("--fork NAME --from best (step {})", best.step),
        None => "--fork NAME --fork-at STEP, a snapshot from before".to_owned(),
    };
    let fork = format!("Look at the samples. To go back: the command that started the run, with {fork}.");
    let found = [
        collapse(signs).map(|text| Alert { kind: "collapse", text, advice: fork.clone() }),
        saturated(signs).map(|text| Alert {
            kind: "saturated",
            text,
            advice: format!("Give D a smaller learning rate, or G a larger one. {fork}"),
        }),
        worse(scores, best).map(|text| Alert { kind: "score", text, advice: fork.clone() }),
        stepping_at.and_then(|now_ms| stall(signs, now_ms)).map(|text| Alert {
            kind: "stall",
            text,
            advice: "`lsgan status` says whom the run waits for; docs/faults.md what to do.".to_owned(),
        }),
        signs.flapping.as_ref().filter(|_| stepping_at.is_some()).map(|(name, count)| Alert {
            kind: "flapping",
            text: format!("worker {name} has ended {count} times in 10 minutes."),
            advice: "Its log says why; take it out if its machine is bad.".to_owned(),
        }),
    ];
    found.into_iter().flatten().collect()
}

fn collapse(signs: &Signs) -> Option<String> {
    let (now, most) = signs.fake_std.zip(signs.fake_std_most)?;
    (signs.steps > STEPS_BEFORE && now < COLLAPSED * most).then(|| {
        format!(
            "the samples have collapsed: they differ by {now:.3} (fake_std), and once differed by {most:.3}."
        )
    })
}

fn saturated(signs: &Signs) -> Option<String> {
    let loss = signs.loss_d?;
    (signs.steps > STEPS_BEFORE && loss < SATURATED)
        .then(|| format!("D is saturated: its loss is {loss:.5}, so that G learns nothing from it."))
}

/// The newest score against the best one that it can be compared with.
fn worse(scores: &[ScoreRow], best: Option<&ScoreRow>) -> Option<String> {
    let (newest, best) = scores.last().zip(best)?;
    let (now, then) = newest.first().zip(best.first())?;
    let less_is_better = now.metric.better(0.0, 1.0).is_lt();
    let is_worse = less_is_better && then.value > 0.0 && now.value > MUCH_WORSE * then.value;
    is_worse.then(|| {
        format!(
            "{} is {:.4} at step {}, and was {:.4} at step {}.",
            now.metric, now.value, newest.step, then.value, best.step
        )
    })
}

fn stall(signs: &Signs, now_ms: u64) -> Option<String> {
    let since_ms = now_ms.saturating_sub(signs.stepped_ms?);
    let steps_ms = signs.step_ms.unwrap_or(0.0) * STALL_STEPS;
    let most_ms = STALL_MS.max(steps_ms as u64);
    (since_ms > most_ms).then(|| format!("no step has ended for {} s.", since_ms / 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> Signs {
        Signs {
            steps: 1000,
            fake_std: Some(0.5),
            fake_std_most: Some(0.6),
            loss_d: Some(0.3),
            step_ms: Some(100.0),
            stepped_ms: Some(1_000_000),
            flapping: None,
        }
    }

    fn kinds(signs: &Signs, now_ms: u64) -> Vec<&'static str> {
        alerts(signs, &[], None, Some(now_ms)).iter().map(|alert| alert.kind).collect()
    }

    #[test]
    fn a_healthy_run_has_none_and_each_sign_has_its_own() {
        assert_eq!(kinds(&healthy(), 1_050_000), [""; 0]);
        assert_eq!(kinds(&Signs { fake_std: Some(0.05), ..healthy() }, 1_000_000), ["collapse"]);
        assert_eq!(kinds(&Signs { loss_d: Some(0.001), ..healthy() }, 1_000_000), ["saturated"]);
        assert_eq!(kinds(&healthy(), 1_061_000), ["stall"]);
        let slow = Signs { step_ms: Some(10_000.0), ..healthy() };
        assert_eq!(kinds(&slow, 1_190_000), [""; 0], "its steps take long");
        assert_eq!(
            kinds(&Signs { flapping: Some(("a".to_owned(), 5)), ..healthy() }, 1_000_000),
            ["flapping"]
        );
        let young = Signs { steps: 200, fake_std: Some(0.01), loss_d: Some(0.0), ..healthy() };
        assert_eq!(kinds(&young, 1_000_000), [""; 0], "at the beginning anything may be");
        assert!(alerts(&healthy(), &[], None, None).is_empty());
    }
}
