//! Alerts while the run trains: what the rules of `alerts` find, told when it begins and when it ends.
//!
//! A task beside the shell looks into the journal from time to time, as `lsgan status` does from another process. The shell hears
//! of an alert that begins or ends, and of nothing else: it logs it, keeps it as a warning, and writes it into the journal.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lsgan_journal::wall_ms;
use lsgan_observe::alerts::{Alert, Kind, straggler};
use lsgan_observe::summary::{Summary, Told};
use lsgan_spec::RunSpec;
use lsgan_wire::v1;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::causes::Cause;
use crate::service::Input;
use crate::shell::Shell;
use crate::status::StatusFeed;
use crate::webhook::{Outbox, Webhook};

/// Between two looks, which take milliseconds.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// An alert begins or ends once so many looks in a row agree: a number on the edge of a rule must not tell again and again.
const IN_A_ROW: u32 = 3;

/// Watches a run.
#[derive(Debug)]
pub struct Watch {
    run_dir: PathBuf,
    /// The factor of the one rule that the journal is not enough for.
    straggler: f64,
    webhook: Option<Webhook>,
    outbox: Arc<Outbox>,
}

/// Whether an alert begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Began,
    Ended,
}

/// An alert that begins or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    pub state: State,
    pub alert: Alert,
}

/// What the shell is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turned {
    turns: Vec<Turn>,
    /// All that stand now.
    told: Told,
}

impl Watch {
    /// Of the run in this directory; none where its file says that it is not watched.
    #[must_use]
    pub fn of(spec: &RunSpec, run_dir: &Path, webhook: Option<Webhook>) -> Option<Self> {
        if !spec.alerts.enabled {
            return None;
        }
        if let Some(webhook) = &webhook {
            tracing::info!("alerts are posted to {}", webhook.shown());
        }
        Some(Self {
            run_dir: run_dir.to_owned(),
            straggler: spec.alerts.straggler,
            webhook,
            outbox: Arc::default(),
        })
    }

    /// Where alerts wait to be posted; none where nothing is posted.
    #[must_use]
    pub fn outbox(&self) -> Option<Arc<Outbox>> {
        self.webhook.is_some().then(|| self.outbox.clone())
    }

    /// Looks until the run has ended, and posts what it finds.
    pub async fn follow(self, feed: StatusFeed, inputs: mpsc::Sender<Input>) {
        let looks = async {
            self.look(&feed, &inputs).await;
            self.outbox.close();
        };
        match &self.webhook {
            Some(webhook) => {
                tokio::join!(looks, webhook.deliver(&self.outbox));
            }
            None => looks.await,
        }
    }

    async fn look(&self, feed: &StatusFeed, inputs: &mpsc::Sender<Input>) {
        let mut standing = Standing::default();
        // Not once the run has ended: the journal is closed then, wholly only if nobody else has it open.
        while timeout(LOOK_EVERY, feed.ended()).await.is_err() {
            let Some(summary) = self.found(feed).await else { continue };
            let turns = standing.look(summary.alerts.clone());
            if turns.is_empty() {
                continue;
            }
            if self.webhook.is_some() {
                turns.iter().for_each(|turn| self.outbox.put(self.message(turn, &summary)));
            }
            // Only an ended shell does not listen.
            let _ = inputs.send(Input::Alerts(Turned { turns, told: standing.told() })).await;
        }
    }

    /// The run as it is now; none where its journal cannot be read at the moment, of which the shell tells.
    async fn found(&self, feed: &StatusFeed) -> Option<Summary> {
        let dir = self.run_dir.clone();
        let read = tokio::task::spawn_blocking(move || Summary::read("", &dir, true, wall_ms())).await;
        let mut summary = read.ok()?.ok()?;
        // What the journal has of these is what was told last.
        summary.alerts.retain(|alert| alert.kind != Kind::Straggler);
        if summary.state == "stepping" {
            summary.alerts.extend(straggler(&paces(&feed.newest()), self.straggler));
        }
        Some(summary)
    }

    fn message(&self, Turn { state, alert }: &Turn, summary: &Summary) -> Value {
        json!({
            "run": summary.name,
            "run_dir": self.run_dir.display().to_string(),
            "kind": alert.kind,
            "state": state,
            "text": alert.text,
            "advice": alert.advice,
            "command": alert.command,
            "step": summary.step,
            "time_ms": wall_ms(),
        })
    }
}

/// The microseconds of a virtual rank for each worker that computes; nothing while one has not told its own.
fn paces(status: &v1::RunStatus) -> Vec<(String, u64)> {
    let members = status.workers.iter().filter(|worker| worker.role() == v1::Role::Member);
    let paces: Option<_> = members.map(|worker| Some((worker.name.clone(), worker.pace_us?))).collect();
    paces.unwrap_or_default()
}

/// Which alerts stand, one of each kind.
#[derive(Debug, Default)]
struct Standing {
    known: BTreeMap<Kind, Known>,
    begun: u64,
}

#[derive(Debug)]
struct Known {
    /// As it was when it began, or was found last before it begins.
    alert: Alert,
    stands: bool,
    /// Looks in a row that say otherwise.
    against: u32,
}

impl Standing {
    /// What begins and what ends with what was found now.
    fn look(&mut self, found: Vec<Alert>) -> Vec<Turn> {
        let mut found: BTreeMap<_, _> = found.into_iter().map(|alert| (alert.kind, alert)).collect();
        for (kind, alert) in &found {
            let new = || Known { alert: alert.clone(), stands: false, against: 0 };
            self.known.entry(*kind).or_insert_with(new);
        }
        let mut turns = Vec::new();
        let mut turn = |state, alert: &Alert| turns.push(Turn { state, alert: alert.clone() });
        self.known.retain(|kind, known| match (found.remove(kind), known.stands) {
            (Some(_), true) => {
                known.against = 0;
                true
            }
            (None, false) => false,
            (Some(alert), false) => {
                (known.alert, known.against) = (alert, known.against + 1);
                if known.against == IN_A_ROW {
                    (known.stands, known.against) = (true, 0);
                    self.begun += 1;
                    turn(State::Began, &known.alert);
                }
                true
            }
            (None, true) => {
                known.against += 1;
                let ends = known.against == IN_A_ROW;
                if ends {
                    turn(State::Ended, &known.alert);
                }
                !ends
            }
        });
        turns
    }

    fn told(&self) -> Told {
        let standing = self.known.values().filter(|known| known.stands);
        Told { begun: self.begun, alerts: standing.map(|known| known.alert.clone()).collect() }
    }
}

impl Shell {
    /// Tells of alerts that begin and end.
    pub(crate) fn alerts_turned(&mut self, Turned { turns, told }: Turned) {
        for Turn { state, alert } in turns {
            let cause = Cause::Alert(alert.kind);
            match state {
                State::Began => self.warn_until(cause, alert.line()),
                State::Ended => {
                    self.notices.end(&cause);
                    self.notice(false, format!("alert ({}) has ended: {}", alert.kind.word(), alert.text));
                }
            }
        }
        let told = serde_json::to_string(&told).expect("words and numbers turn into JSON");
        self.journal.set_fact(Told::FACT, told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(kind: Kind, text: &str) -> Alert {
        Alert { kind, text: text.to_owned(), advice: "Look.".to_owned(), command: None }
    }

    /// One look after the other, each with what it finds; what each turns.
    fn turns(standing: &mut Standing, looks: &[&[Kind]]) -> Vec<Vec<(Kind, State)>> {
        let look = |found: &&[Kind]| {
            let found = found.iter().map(|kind| alert(*kind, "it is so")).collect();
            standing.look(found).iter().map(|turn| (turn.alert.kind, turn.state)).collect()
        };
        looks.iter().map(look).collect()
    }

    #[test]
    fn an_alert_is_told_once_when_it_begins_and_once_when_it_ends() {
        let mut standing = Standing::default();
        let (stall, none): (&[Kind], &[Kind]) = (&[Kind::Stall], &[]);
        let told = turns(&mut standing, &[stall, stall, stall, stall, stall]);
        assert_eq!(told, [vec![], vec![], vec![(Kind::Stall, State::Began)], vec![], vec![]]);
        assert_eq!(standing.told(), Told { begun: 1, alerts: vec![alert(Kind::Stall, "it is so")] });
        let told = turns(&mut standing, &[none, none, none, none]);
        assert_eq!(told, [vec![], vec![], vec![(Kind::Stall, State::Ended)], vec![]]);
        assert_eq!(standing.told(), Told { begun: 1, alerts: vec![] });
    }

    #[test]
    fn a_number_on_the_edge_of_a_rule_tells_nothing_and_kinds_do_not_disturb_each_other() {
        let mut standing = Standing::default();
        let (edge, both): (&[Kind], &[Kind]) = (&[Kind::Collapse], &[Kind::Collapse, Kind::Straggler]);
        let told = turns(&mut standing, &[both, both, edge, both, edge, both]);
        assert_eq!(told.concat(), [(Kind::Collapse, State::Began)]);
        let none: &[Kind] = &[];
        let told = turns(&mut standing, &[none, none, edge, none, none, edge]);
        assert_eq!(told.concat(), [], "it stands");
    }

    #[test]
    fn a_worker_that_has_told_no_pace_is_compared_with_none() {
        let worker = |name: &str, pace_us, role: v1::Role| v1::WorkerStatus {
            name: name.to_owned(),
            pace_us,
            role: role.into(),
            ..v1::WorkerStatus::default()
        };
        let status = |workers| v1::RunStatus { workers, ..v1::RunStatus::default() };
        let two = || vec![worker("a", Some(1), v1::Role::Member), worker("b", Some(2), v1::Role::Standby)];
        assert_eq!(paces(&status(two())), [("a".to_owned(), 1)], "a standby does not compute");
        let new = [two(), vec![worker("c", None, v1::Role::Member)]].concat();
        assert_eq!(paces(&status(new)), []);
    }
}
