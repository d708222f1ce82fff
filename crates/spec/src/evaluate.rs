//! The rows about scores that are made while a run trains.

use crate::macros::{section, words};
use crate::run::MAX_STEPS;
use serde::{Deserialize, Serialize};

use crate::table::{Form, Kind, field, of, text, whole};
use crate::{Metric, SampleWeights};

section! {
    /// Scores of snapshots, made while the run trains.
    EvaluateSpec: Eq {
        /// Steps between snapshots that are scored, and the last one; 0 for none. Only snapshots that are written can be:
        /// choose a multiple of checkpoint.every. Training does not wait for it, and the weights do not depend on it.
        every: u64 => whole(0, MAX_STEPS).default("0"),
        /// The scores, with commas; snapshots are compared by the first. Of pictures fid, kid, precision, recall, density and
        /// coverage; of 2-D points modes, modes_kde and high_quality. auto: fid (or kid, where samples are fewer than features), kid,
        /// precision, recall; or modes, high_quality.
        metrics: String => text(METRICS).default("auto"),
        /// Samples that are generated for a score.
        samples: u32 => whole(2, 1_000_000).default("5000"),
        /// Which of G's weights make them. ema: the moving average. raw: the weights as they are. Where both are named, a snapshot has
        /// scores of both, and snapshots are compared by those of the first.
        weights: ScoredWeights => text(WEIGHTS).default("ema"),
        /// Whether the snapshot with the best score stays, beside the newest ones (checkpoint.keep_last). It is the best of those
        /// that have a score and are still there.
        keep_best: bool => field(Kind::YesNo).default("true"),
        /// Who scores them, in a process of the lowest priority. `lsgan eval --follow` scores them as well, on any machine.
        r#where: ScoringPlace => of::<ScoringPlace>().default("beside"),
    }
}

words! {
    /// Who scores snapshots while a run trains.
    ScoringPlace {
        /// a process that `lsgan up` starts beside its workers, and nobody in runs that are started otherwise
        Beside = "beside",
        /// a worker that stands by, until it is needed: then it drops the score at once, and another worker begins it anew.
        /// What has no score when the run ends gets it from `lsgan up`, where that started the run
        Standby = "standby",
        /// the worker that writes the snapshots, beside its training; at the end as with standby
        Writer = "writer",
        /// nobody of the run
        Off = "off",
    }
}

impl ScoringPlace {
    /// Whether the coordinator asks workers for scores.
    #[must_use]
    pub fn is_a_worker(self) -> bool {
        match self {
            Self::Standby | Self::Writer => true,
            Self::Beside | Self::Off => false,
        }
    }
}

const METRICS: Form = Form {
    accepts: "auto, or names of metrics as a list or with commas, as fid,kid",
    takes: |text| text == AUTO || named(text).is_some(),
    pattern: "^(auto|(fid|kid|precision|recall|density|coverage|modes|modes_kde|high_quality)\
              ( *, *(fid|kid|precision|recall|density|coverage|modes|modes_kde|high_quality))*)$",
    list: true,
    file: None,
};

const AUTO: &str = "auto";

const WEIGHTS: Form = Form {
    accepts: "ema, raw, or both as a list or with a comma, as ema,raw",
    takes: |text| ScoredWeights::try_from(text.to_owned()).is_ok(),
    pattern: "^(ema|raw|ema *, *raw|raw *, *ema)$",
    list: true,
    file: None,
};

/// Which of G's weights are scored: at least one, none twice. In a file `ema`, `ema,raw` or `[ema, raw]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScoredWeights(Vec<SampleWeights>);

impl ScoredWeights {
    /// In the order in which they are scored; snapshots are compared by the first.
    #[must_use]
    pub fn all(&self) -> &[SampleWeights] {
        &self.0
    }
}

impl TryFrom<String> for ScoredWeights {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let named = |word: &str| SampleWeights::ALL.iter().find(|one| one.word() == word.trim()).copied();
        let all: Option<Vec<_>> = text.split(',').map(named).collect();
        let is_twice = |all: &[SampleWeights]| (1..all.len()).any(|at| all[..at].contains(&all[at]));
        all.filter(|all| !is_twice(all)).map(Self).ok_or_else(|| format!("{text} is not {}", WEIGHTS.accepts))
    }
}

impl From<ScoredWeights> for String {
    fn from(weights: ScoredWeights) -> Self {
        weights.all().iter().map(|one| one.word()).collect::<Vec<_>>().join(",")
    }
}

impl EvaluateSpec {
    /// The scores in their order; none where the program is to choose them.
    #[must_use]
    pub fn named_metrics(&self) -> Option<Vec<Metric>> {
        if self.metrics == AUTO { None } else { named(&self.metrics) }
    }

    /// Whether a run that is started by `lsgan up` ends with scores.
    #[must_use]
    pub fn scores_itself(&self) -> bool {
        self.every > 0 && self.r#where != ScoringPlace::Off
    }

    /// Whether the snapshot of a step is scored, in a run of so many steps.
    #[must_use]
    pub fn is_due(&self, step: u64, steps: u64) -> bool {
        self.every > 0 && (step.is_multiple_of(self.every) || step >= steps)
    }
}

fn named(text: &str) -> Option<Vec<Metric>> {
    text.split(',').map(|name| Metric::named(name.trim())).collect()
}
