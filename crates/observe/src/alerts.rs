//! What a person should look at: signs of a run that goes wrong, each with what to do.
//!
//! The rules and their numbers are those of `alerts` in the run's file. They read the journal (`signs`) and the scores, so that
//! page, `lsgan status` and coordinator find the same; how fast each worker is, only the coordinator knows ([`straggler`]).

use std::path::Path;

use lsgan_launch::{ScoreRow, newest_score};
use lsgan_spec::AlertsSpec;
use serde::{Deserialize, Serialize};

use crate::fork::{self, From};
use crate::signs::{FLAPS_WITHIN_MS, ROWS, Signs};

/// The fact of the journal with the reason why the newest snapshot was not written; empty once one is.
pub const SNAPSHOT_FAILED: &str = "snapshot_failed";

/// A run's samples and losses are judged once it has done so many steps: several times as many as a mean is over.
const STEPS_BEFORE: u64 = 3 * ROWS;
/// Without a step for so many times a step's time, a run stands, however long its steps are.
const STALL_STEPS: f64 = 20.0;

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The samples are nearly the same.
    Collapse,
    /// D makes no more mistakes.
    Saturated,
    /// The newest score is much worse than the best.
    Score,
    /// No step ends.
    Stall,
    /// A worker is much slower than the others.
    Straggler,
    /// A worker ends again and again.
    Flapping,
    /// Many records do not decode.
    Corrupt,
    /// Snapshots are not written.
    Snapshot,
}

impl Kind {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Collapse => "collapse",
            Self::Saturated => "saturated",
            Self::Score => "score",
            Self::Stall => "stall",
            Self::Straggler => "straggler",
            Self::Flapping => "flapping",
            Self::Corrupt => "corrupt",
            Self::Snapshot => "snapshot",
        }
    }

    /// How a line about such an alert begins.
    #[must_use]
    pub fn heading(self) -> String {
        format!("alert ({}): ", self.word())
    }
}

/// One thing to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What it is about.
    pub kind: Kind,
    /// What is seen.
    pub text: String,
    /// What to do.
    pub advice: String,
    /// The command in the advice, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

impl Alert {
    fn new(kind: Kind, text: String, advice: &str) -> Self {
        Self { kind, text, advice: advice.to_owned(), command: None }
    }

    /// All of it as a line.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{}{} {}", self.kind.heading(), self.text, self.advice)
    }
}

/// What is found of a run at a moment.
pub(crate) struct Found<'a> {
    pub rules: &'a AlertsSpec,
    pub signs: &'a Signs,
    /// All scores, and the best that the newest can be compared with.
    pub scores: &'a [ScoreRow],
    pub best: Option<&'a ScoreRow>,
    /// Now, of a run whose generation is stepping.
    pub stepping_at: Option<u64>,
    /// Steps between snapshots; 0 for none.
    pub snapshot_every: u64,
    pub back: Back<'a>,
}

/// How a run is taken back.
pub(crate) struct Back<'a> {
    pub dir: &'a Path,
    pub run: &'a str,
    pub from: Option<From>,
    /// Workers of the branch.
    pub workers: u64,
}

impl Found<'_> {
    /// The alerts, in the order of their kinds.
    pub fn alerts(&self) -> Vec<Alert> {
        if !self.rules.enabled {
            return Vec::new();
        }
        let stepping = |alert: Option<Alert>| alert.filter(|_| self.stepping_at.is_some());
        let found = [
            self.collapse(),
            self.saturated(),
            self.worse(),
            stepping(self.stall()),
            stepping(self.flapping()),
            self.corrupt(),
            stepping(self.snapshot()),
        ];
        found.into_iter().flatten().collect()
    }

    fn collapse(&self) -> Option<Alert> {
        let (now, most) = self.signs.fake_std.zip(self.signs.fake_std_most)?;
        let text = format!(
            "the samples have collapsed: they differ by {now:.3} (fake_std), and once differed by {most:.3}."
        );
        let has = self.signs.steps > STEPS_BEFORE && now < self.rules.collapse * most;
        has.then(|| self.back.advise(Alert::new(Kind::Collapse, text, "Look at the samples.")))
    }

    fn saturated(&self) -> Option<Alert> {
        let loss = self.signs.loss_d?;
        let text = format!("D is saturated: its loss is {loss:.5}, so that G learns nothing from it.");
        let advice = "Give D a smaller learning rate, or G a larger one.";
        let has = self.signs.steps > STEPS_BEFORE && loss < self.rules.saturated;
        has.then(|| self.back.advise(Alert::new(Kind::Saturated, text, advice)))
    }

    /// The newest score against the best one.
    fn worse(&self) -> Option<Alert> {
        let (newest, best) = newest_score(self.scores).zip(self.best)?;
        let (now, then) = newest.first().zip(best.first())?;
        let less_is_better = now.metric.better(0.0, 1.0).is_lt();
        let factor = self.rules.score;
        let has = factor > 0.0 && less_is_better && then.value > 0.0 && now.value > factor * then.value;
        let text = format!(
            "{} is {:.4} at step {}, and was {:.4} at step {}.",
            now.metric, now.value, newest.step, then.value, best.step
        );
        has.then(|| self.back.advise(Alert::new(Kind::Score, text, "Look at the samples.")))
    }

    fn stall(&self) -> Option<Alert> {
        let since_ms = self.stepping_at?.saturating_sub(self.signs.stepped_ms?);
        let steps_ms = self.signs.step_ms.unwrap_or(0.0) * STALL_STEPS;
        let most_ms = (self.rules.stall_s * 1000).max(steps_ms as u64);
        let text = format!("no step has ended for {} s.", since_ms / 1000);
        let advice = "`lsgan status` says whom the run waits for; docs/faults.md what to do.";
        (self.rules.stall_s > 0 && since_ms > most_ms).then(|| Alert::new(Kind::Stall, text, advice))
    }

    fn flapping(&self) -> Option<Alert> {
        let (name, count) = self.signs.flapping.as_ref()?;
        let text = format!("worker {name} has ended {count} times in {} minutes.", FLAPS_WITHIN_MS / 60_000);
        let advice = "Its log says why (`lsgan logs`); take it out if its machine is bad.";
        let has = self.rules.flapping > 0 && *count >= self.rules.flapping;
        has.then(|| Alert::new(Kind::Flapping, text, advice))
    }

    fn corrupt(&self) -> Option<Alert> {
        let (corrupt, records) = (self.signs.corrupt, self.signs.records.filter(|records| *records > 0)?);
        let share = corrupt as f64 / records as f64;
        let percent = 100.0 * share;
        let text =
            format!("{corrupt} of {records} records do not decode ({percent:.3} %): they are left out.");
        let advice =
            "`lsgan status` names the newest: mend or remove them. At data.max_corrupt the run ends.";
        let has = self.rules.corrupt > 0.0 && share >= self.rules.corrupt;
        has.then(|| Alert::new(Kind::Corrupt, text, advice))
    }

    fn snapshot(&self) -> Option<Alert> {
        let (factor, steps) = (self.rules.snapshot, self.signs.since_snapshot);
        let text = match &self.signs.snapshot_failed {
            Some(why) => format!("the newest snapshot was not written: {}.", why.trim_end_matches('.')),
            None => format!(
                "no snapshot was written for {steps} steps, and checkpoint.every is {}.",
                self.snapshot_every
            ),
        };
        let advice = "A run that ends now goes back to the newest snapshot that there is. Look at the disk or bucket of \
                      checkpoint.to; training goes on meanwhile, and the next snapshot is tried again.";
        let is_late = self.snapshot_every > 0 && steps > factor.saturating_mul(self.snapshot_every);
        let has = factor > 0 && (is_late || self.signs.snapshot_failed.is_some());
        has.then(|| Alert::new(Kind::Snapshot, text, advice))
    }
}

impl Back<'_> {
    /// The same alert with how to go back.
    fn advise(&self, alert: Alert) -> Alert {
        let Some(from) = self.from else {
            let no_way = "There is no snapshot to go back to: begin anew with --fresh.";
            return Alert { advice: format!("{} {no_way}", alert.advice), ..alert };
        };
        let which = match from {
            From::Best(step) => format!("the best snapshot (step {step})"),
            From::Step(step) => format!("the oldest snapshot (step {step}; none has a score)"),
        };
        let command = fork::command(self.dir, self.run, from, self.workers);
        let changes = "with --set for what is to be different, such as a smaller learning rate";
        let advice = format!("{} A branch from {which}, {changes}: {command}", alert.advice);
        Alert { advice, command: Some(command), ..alert }
    }
}

/// The workers that take longer for a virtual rank than `factor` times the median of the others, of the names and microseconds of
/// all that compute; none where `factor` is 0.
#[must_use]
pub fn straggler(paces: &[(String, u64)], factor: f64) -> Option<Alert> {
    let sorted = paces.iter().map(|(name, pace_us)| (*pace_us, name.as_str()));
    let mut sorted: Vec<(u64, &str)> = sorted.collect();
    sorted.sort_unstable();
    // Of the others; the lower one of two.
    let middle = sorted.len().checked_sub(2)? / 2;
    let slow = sorted.iter().enumerate().filter_map(|(index, &(pace_us, name))| {
        let (median_us, _) = sorted[if index <= middle { middle + 1 } else { middle }];
        let (its, others) = (pace_us as f64 / 1000.0, median_us as f64 / 1000.0);
        let times = pace_us as f64 / median_us.max(1) as f64;
        (factor > 0.0 && its > factor * others).then(|| {
            let than = format!("{times:.1} times the median of the others ({others:.1} ms)");
            format!("worker {name} needs {its:.1} ms for a virtual rank, {than}.")
        })
    });
    let texts: Vec<_> = slow.collect();
    let advice =
        "The others wait for it at every step. Look at its machine; cluster.stragglers can evict it.";
    (!texts.is_empty()).then(|| Alert::new(Kind::Straggler, texts.join(" "), advice))
}

#[cfg(test)]
mod tests {
    use lsgan_launch::{Basis, Value};
    use lsgan_spec::{Metric, SampleWeights, Step};

    use super::*;

    fn healthy() -> Signs {
        Signs {
            steps: 1000,
            fake_std: Some(0.5),
            fake_std_most: Some(0.6),
            loss_d: Some(0.3),
            step_ms: Some(100.0),
            stepped_ms: Some(1_000_000),
            records: Some(10_000),
            since_snapshot: 100,
            flapping: Some(("a".to_owned(), 1)),
            ..Signs::default()
        }
    }

    fn found<'a>(signs: &'a Signs, rules: &'a AlertsSpec) -> Found<'a> {
        let back = Back { dir: Path::new("/nowhere/a"), run: "a", from: None, workers: 1 };
        let (scores, best, stepping_at) = (&[], None, Some(1_000_000));
        Found { rules, signs, scores, best, stepping_at, snapshot_every: 100, back }
    }

    fn kinds(signs: &Signs, rules: &AlertsSpec, now_ms: u64) -> Vec<&'static str> {
        let found = Found { stepping_at: Some(now_ms), ..found(signs, rules) };
        found.alerts().iter().map(|alert| alert.kind.word()).collect()
    }

    /// Every rule that the journal's signs are judged by, with a sign that it is about.
    fn bad() -> [(&'static str, Signs); 7] {
        [
            ("collapse", Signs { fake_std: Some(0.05), ..healthy() }),
            ("saturated", Signs { loss_d: Some(0.001), ..healthy() }),
            ("stall", Signs { stepped_ms: Some(939_000), ..healthy() }),
            ("flapping", Signs { flapping: Some(("a".to_owned(), 5)), ..healthy() }),
            ("corrupt", Signs { corrupt: 5, ..healthy() }),
            ("snapshot", Signs { since_snapshot: 301, ..healthy() }),
            ("snapshot", Signs { snapshot_failed: Some("disk full".to_owned()), ..healthy() }),
        ]
    }

    #[test]
    fn a_healthy_run_has_none_and_each_sign_has_its_own() {
        let rules = AlertsSpec::default();
        assert_eq!(kinds(&healthy(), &rules, 1_050_000), [""; 0]);
        for (kind, signs) in bad() {
            assert_eq!(kinds(&signs, &rules, 1_000_000), [kind], "{signs:?}");
        }
        let slow = Signs { step_ms: Some(10_000.0), ..healthy() };
        assert_eq!(kinds(&slow, &rules, 1_190_000), [""; 0], "its steps take long");
        let young = Signs { steps: 200, fake_std: Some(0.01), loss_d: Some(0.0), ..healthy() };
        assert_eq!(kinds(&young, &rules, 1_000_000), [""; 0], "at the beginning anything may be");
        let few = Signs { corrupt: 4, since_snapshot: 300, ..healthy() };
        assert_eq!(kinds(&few, &rules, 1_000_000), [""; 0]);
        let no_snapshots = Found { snapshot_every: 0, ..found(&bad()[5].1, &rules) }.alerts();
        assert_eq!(no_snapshots, [], "none are asked for");
    }

    #[test]
    fn a_run_that_does_not_step_is_judged_by_what_it_has_done() {
        let rules = AlertsSpec::default();
        for (kind, signs) in bad() {
            let alerts = Found { stepping_at: None, ..found(&signs, &rules) }.alerts();
            let stays = ["collapse", "saturated", "corrupt"].contains(&kind);
            assert_eq!(alerts.len(), usize::from(stays), "{kind}");
        }
    }

    #[test]
    fn a_rule_whose_number_is_0_is_off_and_so_are_all_with_the_switch() {
        let none = AlertsSpec {
            collapse: 0.0,
            saturated: 0.0,
            score: 0.0,
            stall_s: 0,
            straggler: 0.0,
            flapping: 0,
            corrupt: 0.0,
            snapshot: 0,
            ..AlertsSpec::default()
        };
        let off = AlertsSpec { enabled: false, ..AlertsSpec::default() };
        for (kind, signs) in bad() {
            assert_eq!(kinds(&signs, &none, 1_000_000), [""; 0], "{kind}");
            assert_eq!(kinds(&signs, &off, 1_000_000), [""; 0], "{kind}");
        }
        let saturated = Signs { loss_d: Some(0.0), ..healthy() };
        assert_eq!(kinds(&saturated, &none, 1_000_000), [""; 0], "even at its end");
    }

    fn score(step: u64, metric: Metric, value: f64) -> ScoreRow {
        let basis = Basis { extractor: None, version: None, samples: 100, real: None };
        let scores = vec![Value { metric, value, deviation: None }];
        ScoreRow { step: Step(step), weights: SampleWeights::Ema, scores, basis }
    }

    #[test]
    fn a_score_that_is_twice_the_best_is_told_with_the_command_that_goes_back() {
        let (rules, signs) = (AlertsSpec::default(), healthy());
        let scores = [score(10, Metric::Fid, 20.0), score(20, Metric::Fid, 41.0)];
        let back = Back { dir: Path::new("/nowhere/a"), run: "a", from: Some(From::Best(10)), workers: 2 };
        let found = Found { scores: &scores, best: Some(&scores[0]), back, ..found(&signs, &rules) };
        let alerts = found.alerts();
        assert_eq!(alerts[0].text, "fid is 41.0000 at step 20, and was 20.0000 at step 10.");
        let command = "lsgan up --config /nowhere/a --fork a-from-10 --from best --workers 2";
        assert_eq!(alerts[0].command.as_deref(), Some(command));
        assert!(alerts[0].advice.ends_with(command), "{}", alerts[0].advice);
        let lenient = AlertsSpec { score: 3.0, ..AlertsSpec::default() };
        assert_eq!(Found { rules: &lenient, ..found }.alerts(), []);
    }

    #[test]
    fn scores_of_which_more_is_better_are_not_judged_by_a_factor() {
        let (rules, signs) = (AlertsSpec::default(), healthy());
        let scores = [score(10, Metric::Modes, 2.0), score(20, Metric::Modes, 8.0)];
        let found = Found { scores: &scores, best: Some(&scores[0]), ..found(&signs, &rules) };
        assert_eq!(found.alerts(), []);
    }

    #[test]
    fn stragglers_are_named_with_their_times() {
        let paces = |us: &[u64]| -> Vec<(String, u64)> {
            us.iter().enumerate().map(|(index, us)| (format!("w{index}"), *us)).collect()
        };
        let text = |us: &[u64], factor| straggler(&paces(us), factor).map(|alert| alert.text);
        assert_eq!(
            text(&[12_000, 30_100, 12_100], 2.0).as_deref(),
            Some("worker w1 needs 30.1 ms for a virtual rank, 2.5 times the median of the others (12.0 ms).")
        );
        assert_eq!(text(&[12_000, 30_100, 12_100], 3.0), None);
        assert_eq!(text(&[12_000, 30_100], 0.0), None, "the rule is off");
        assert_eq!(text(&[12_000], 2.0), None, "there is no other");
        assert_eq!(text(&[], 2.0), None);
        let two = text(&[10, 20, 1000, 900], 2.0).expect("two are slow");
        assert!(two.contains("worker w2") && two.contains("worker w3") && !two.contains("w1"), "{two}");
    }
}
