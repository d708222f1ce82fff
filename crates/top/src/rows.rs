//! What the routes answer, with all texts as a terminal may show them: names and events are those of others.

use std::collections::BTreeMap;

use lsgan_observe::alerts::Alert;
use lsgan_observe::summary::Summary;
use lsgan_pictures::RgbImage;
use lsgan_spec::printable;
use serde::{Deserialize, Deserializer};

/// All that is known of the run at a moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    pub summary: Summary,
    pub curves: Curves,
    pub series: Vec<Series>,
    pub workers: Vec<Worker>,
    /// The newest first.
    pub events: Vec<Event>,
    /// The newest grid of samples.
    pub picture: Option<std::sync::Arc<RgbImage>>,
}

/// A text that is printable, or empty where there is none.
fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = Option::<String>::deserialize(from)?.unwrap_or_default();
    Ok(printable(&text).into_owned())
}

/// `/api/live`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Told {
    pub runs: Vec<Summary>,
    pub gone: Vec<String>,
}

/// The same with texts that a terminal may show.
pub(crate) fn shown(summary: Summary) -> Summary {
    let shown = |text: String| printable(&text).into_owned();
    let alert = |alert: Alert| Alert {
        text: shown(alert.text),
        advice: shown(alert.advice),
        command: alert.command.map(shown),
        ..alert
    };
    Summary {
        name: shown(summary.name),
        dir: shown(summary.dir),
        state: shown(summary.state),
        why: shown(summary.why),
        alerts: summary.alerts.into_iter().map(alert).collect(),
        newest: summary.newest.into_iter().map(|(name, value)| (shown(name), value)).collect(),
        ..summary
    }
}

/// `/api/runs/{run}/curves`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Curves {
    pub steps: Vec<u64>,
    pub scalars: BTreeMap<String, Curve>,
}

/// Numbers at `steps`; extremes where a column has several rows.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Curve {
    pub mean: Vec<Option<f64>>,
    pub min: Vec<Option<f64>>,
    pub max: Vec<Option<f64>>,
}

/// `/api/runs/{run}/scores`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Scored {
    pub series: Vec<Series>,
}

/// Scores of one metric.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Series {
    #[serde(deserialize_with = "text")]
    pub name: String,
    pub best_step: Option<u64>,
    pub steps: Vec<u64>,
    pub values: Vec<Option<f64>>,
}

/// An event, of `/api/runs/{run}/events`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Event {
    pub at_ms: u64,
    /// 1 for what a person should look at.
    pub warning: u8,
    #[serde(deserialize_with = "text")]
    pub text: String,
    /// Of a warning that stands until its cause ends.
    pub cause: Option<String>,
    pub over_ms: Option<u64>,
}

impl Event {
    pub(crate) fn stands(&self) -> bool {
        self.warning != 0 && self.cause.is_some() && self.over_ms.is_none()
    }
}

/// `/api/runs/{run}/workers`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Workers {
    /// All lives, the newest first.
    workers: Vec<Life>,
    generations: Vec<Generation>,
    members: Vec<Member>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Life {
    incarnation: u64,
    #[serde(deserialize_with = "text")]
    name: String,
    gone_ms: Option<u64>,
    #[serde(deserialize_with = "text")]
    why: String,
    /// JSON of a [`Load`].
    load: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Generation {
    generation: u64,
    halted_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Member {
    generation: u64,
    incarnation: u64,
    first_virtual_rank: u64,
    virtual_rank_count: u64,
}

/// What a worker says of its steps. Nothing in it is relied on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Load {
    pub step_us: u64,
    pub data_wait_us: u64,
    pub discriminator_us: u64,
    pub generator_us: u64,
    pub reduce_us: u64,
    pub apply_us: u64,
    pub memory_bytes: u64,
    #[serde(deserialize_with = "text")]
    pub host: String,
    #[serde(deserialize_with = "text")]
    pub device: String,
}

/// A worker as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Worker {
    pub incarnation: u64,
    pub name: String,
    /// It takes part in the run.
    pub is_here: bool,
    /// Why it is gone.
    pub why: String,
    /// The first of its virtual ranks, and the last; none where it computes nothing.
    pub ranks: Option<(u64, u64)>,
    pub load: Option<Load>,
}

/// Lives that ended are shown so many at most.
const GONE_MAX: usize = 50;

impl Workers {
    /// Those of a run that is live or not: who is here by incarnation, then who is gone, the newest first.
    pub(crate) fn shown(self, is_live: bool) -> Vec<Worker> {
        let newest = self.generations.last().filter(|generation| is_live && generation.halted_ms.is_none());
        let newest = newest.map(|generation| generation.generation);
        let worker = |life: Life| {
            let is_here = is_live && life.gone_ms.is_none();
            let owned = self
                .members
                .iter()
                .find(|member| Some(member.generation) == newest && member.incarnation == life.incarnation);
            let ranks = owned.filter(|owned| is_here && owned.virtual_rank_count > 0).map(|owned| {
                let last = owned.first_virtual_rank.saturating_add(owned.virtual_rank_count - 1);
                (owned.first_virtual_rank, last)
            });
            let load = life.load.filter(|_| is_here).and_then(|json| serde_json::from_str(&json).ok());
            Worker { incarnation: life.incarnation, name: life.name, is_here, why: life.why, ranks, load }
        };
        let (mut here, gone): (Vec<_>, Vec<_>) =
            self.workers.into_iter().map(worker).partition(|worker| worker.is_here);
        here.sort_by_key(|worker| worker.incarnation);
        here.into_iter().chain(gone.into_iter().take(GONE_MAX)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn workers_have_their_virtual_ranks_and_what_they_said_of_their_steps() {
        let load = json!({ "step_us": 1500, "memory_bytes": 7, "host": "a\u{1b}[2J" }).to_string();
        let answer = json!({
            "workers": [
                { "incarnation": 3, "name": "third", "gone_ms": null, "why": null, "load": null },
                { "incarnation": 2, "name": "second", "gone_ms": 5, "why": "died", "load": load },
                { "incarnation": 1, "name": "first\n", "gone_ms": null, "why": null, "load": load, "load_ms": 4 },
            ],
            "generations": [{ "generation": 1, "halted_ms": 9 }, { "generation": 2, "halted_ms": null, "start": "x" }],
            "members": [
                { "generation": 1, "incarnation": 2, "first_virtual_rank": 0, "virtual_rank_count": 4 },
                { "generation": 2, "incarnation": 1, "first_virtual_rank": 2, "virtual_rank_count": 2 },
            ],
        });
        let workers: Workers = serde_json::from_value(answer.clone()).unwrap();
        let shown = workers.shown(true);
        let names: Vec<_> = shown.iter().map(|worker| (worker.name.as_str(), worker.ranks)).collect();
        assert_eq!(names, [("first\\n", Some((2, 3))), ("third", None), ("second", None)]);
        let load = shown[0].load.as_ref().unwrap();
        assert_eq!((load.step_us, load.host.as_str()), (1500, "a\\u001b[2J"));
        assert_eq!((shown[2].load.as_ref(), shown[2].why.as_str()), (None, "died"));
        let workers: Workers = serde_json::from_value(answer).unwrap();
        assert!(workers.shown(false).iter().all(|worker| !worker.is_here && worker.ranks.is_none()));
    }

    #[test]
    fn a_warning_stands_until_its_cause_ends() {
        let event = |value| serde_json::from_value::<Event>(value).unwrap();
        assert!(event(json!({ "id": 1, "at_ms": 2, "warning": 1, "text": "slow", "cause": "slow: 1", "over_ms": null })).stands());
        assert!(!event(json!({ "warning": 1, "text": "slow", "cause": "slow: 1", "over_ms": 9 })).stands());
        assert!(!event(json!({ "warning": 1, "text": "of an older journal" })).stands());
    }
}
