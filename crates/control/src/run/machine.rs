//! [`Run`]: the state of a run and the handling of each event. What follows from a state is in `phases`.

use std::collections::{BTreeMap, BTreeSet};

use lsgan_spec::{Generation, Incarnation, Millis, Numerics, Reduction, Step, VirtualRank};
use serde::{Deserialize, Serialize};

use super::attempts::Attempts;
use super::attendance::Worker;
use super::config::Config;
use super::effect::{Effect, Entry, GoneReason};
use super::ending::Ending;
use super::event::{Event, SessionId};
use super::faulty::Suspicions;
use super::hashes::StateHashes;
use super::newcomers::Former;
use super::pause::Asked;
use super::reach::Round;
use super::severed::Links;
use super::silences::Silences;
use super::stalls::Progress;
use super::timers::{Timer, Timers};
use crate::protocol::{Member, Message, Outcome, Task, Wish};

/// What the coordinator learned from journal and snapshots when it started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recovered {
    /// The last generation; 0 for a new run.
    pub generation: Generation,
    /// Its members, if it may still be alive; empty if it was seen to end.
    pub members: Vec<Member>,
    /// The highest incarnation ever admitted; 0 for a new run.
    pub incarnation: Incarnation,
    /// The run's numerics, if a worker was ever admitted.
    pub numerics: Option<Numerics>,
    /// For each virtual rank, how many positions it has consumed.
    pub consumed: BTreeMap<VirtualRank, u64>,
    /// Steps done in the newest valid snapshot.
    pub snapshot: Option<Step>,
    /// Steps that the journal knows of and the store has not.
    pub missing: Option<Missing>,
    /// An operator holds the run.
    pub paused: bool,
}

/// Steps that would be lost if the run started from an older state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// So many steps were done.
    pub steps: Step,
    /// What is missing and what to do, for people.
    pub why: String,
}

/// The phase of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// No generation is alive; waiting for enough workers, or deciding at once what comes next.
    Gathering,
    /// The coordinator was started again; waiting for the members of the generation that may be alive.
    Adopting,
    /// The members connect to each other and take over the state.
    Forming {
        /// The members that are ready.
        ready: BTreeSet<Incarnation>,
    },
    /// The members step.
    Stepping,
    /// Waiting for every member to park.
    Halting {
        /// Whether the members were told to abort; otherwise they park by a control word.
        aborted: bool,
    },
    /// A parked holder of the newest state writes it.
    Closing {
        writer: Incarnation,
        task: Task,
        /// What follows.
        then: Then,
    },
    /// Nothing more happens.
    Ended(Outcome),
}

/// What follows a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Then {
    /// The run ends.
    End(Outcome),
    /// The writer leaves: it was the last holder of the newest state.
    Leave,
    /// Nothing: an operator wanted it written.
    Hold,
}

/// The state machine of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub(crate) config: Config,
    pub(crate) phase: Phase,
    pub(crate) generation: Generation,
    pub(crate) members: Vec<Member>,
    pub(crate) incarnation: Incarnation,
    pub(crate) workers: BTreeMap<Incarnation, Worker>,
    pub(crate) numerics: Option<Numerics>,
    /// By virtual rank.
    pub(crate) consumed: Vec<u64>,
    /// By virtual rank.
    pub(crate) leased: Vec<u64>,
    pub(crate) snapshot: Option<Step>,
    /// Why the run is to end before its last step.
    pub(crate) ending: Option<Ending>,
    pub(crate) asked: Asked,
    /// Why the run must not start from an older state, until it has started.
    pub(crate) missing: Option<Missing>,
    /// The member that writes snapshots.
    pub(crate) writer: Option<Incarnation>,
    /// Workers that could not write what closes the run, and why.
    pub(crate) could_not_close: BTreeMap<Incarnation, String>,
    /// The journal has that no worker can keep the state.
    pub(crate) told_no_keeper: bool,
    /// A worker that can keep snapshots was waited for long enough.
    pub(crate) awaited_keeper: bool,
    /// A member steps in a generation that was formed under another file.
    pub(crate) other_spec: bool,
    /// The wish that this generation was told.
    pub(crate) wished: Option<Wish>,
    /// Members that the state of the generation, which did not form, had not reached.
    pub(crate) unreached: Vec<Incarnation>,
    /// Workers that are gone and that states had not reached.
    pub(crate) former: BTreeMap<Incarnation, Former>,
    /// More workers than the first generation needs were waited for long enough.
    pub(crate) gathered: bool,
    /// When the newest generation was formed.
    pub(crate) formed_at: Millis,
    /// A generation has been formed in this life of the coordinator.
    pub(crate) formed_once: bool,
    /// The worker of each stream.
    pub(crate) sessions: BTreeMap<SessionId, Incarnation>,
    pub(crate) timers: Timers,
    pub(crate) silences: Silences,
    /// The members' paces are not compared again before this. It wakes nothing: paces come with heartbeats.
    pub(crate) paces_due: Millis,
    pub(crate) attempts: Attempts,
    pub(crate) hashes: StateHashes,
    pub(crate) suspicions: Suspicions,
    /// While a generation steps.
    pub(crate) progress: Option<Progress>,
    /// Members of this generation that did not reach another one.
    pub(crate) severed: Links,
    /// The connections that are being tried.
    pub(crate) round: Option<Round>,
    /// How many such rounds there were.
    pub(crate) rounds: u64,
    /// The last generation that a member gave up before it was formed.
    pub(crate) unformed: Option<Generation>,
    /// The last generation that broke and whose members' connections were tried.
    pub(crate) tried_of: Option<Generation>,
}

impl Run {
    /// The machine as it is when the coordinator starts, at `now`.
    #[must_use]
    pub fn new(config: Config, recovered: Recovered, now: Millis) -> Self {
        let ranks = config.virtual_ranks as usize;
        let mut consumed = vec![0; ranks];
        for (rank, ordinals) in &recovered.consumed {
            consumed[rank.0 as usize] = *ordinals;
        }
        let leased = consumed.iter().map(|done| done + config.lease_ordinals).collect();
        let mut timers = Timers::default();
        let phase = if recovered.members.is_empty() {
            Phase::Gathering
        } else {
            // Workers notice the loss at once and come back with a back-off of at most a heartbeat.
            timers.set(Timer::Phase, now.plus(2 * config.failure_timeout_ms));
            Phase::Adopting
        };
        Self {
            phase,
            generation: recovered.generation,
            members: recovered.members,
            incarnation: recovered.incarnation,
            workers: BTreeMap::new(),
            numerics: recovered.numerics,
            consumed,
            leased,
            snapshot: recovered.snapshot,
            asked: Asked { paused: recovered.paused, ..Asked::default() },
            ending: None,
            missing: recovered.missing,
            writer: None,
            could_not_close: BTreeMap::new(),
            told_no_keeper: false,
            awaited_keeper: false,
            other_spec: false,
            wished: None,
            unreached: vec![],
            former: BTreeMap::new(),
            gathered: false,
            formed_once: false,
            sessions: BTreeMap::new(),
            timers,
            silences: Silences::default(),
            paces_due: now,
            attempts: Attempts::default(),
            hashes: StateHashes::from(recovered.snapshot.unwrap_or_default()),
            suspicions: Suspicions::default(),
            formed_at: now,
            progress: None,
            severed: Links::new(),
            round: None,
            rounds: 0,
            unformed: None,
            tried_of: None,
            config,
        }
    }

    /// Applies one event at `now`; pushes what the shell must do, in order.
    pub fn apply(&mut self, now: Millis, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Joined { session, hello } => {
                let bare = hello.holds.is_none() && hello.resume.is_none();
                self.joined(now, session, hello, effects);
                if bare && self.waits_for_more() {
                    return; // thousands may come one after another
                }
            }
            Event::Heard { session, applied, pace_us } => {
                let news = self.heard(now, session, applied, pace_us);
                self.adopt_numerics(effects);
                self.watch_paces(now, effects);
                self.watch_progress(now, effects);
                if !news && effects.is_empty() {
                    return; // thousands of workers say so several times a second
                }
            }
            Event::Alive { session } => return self.alive_at(now, session),
            Event::StateHash { session, step, hash } => {
                self.state_hash(session, step, hash, effects);
                self.judge_silence(now, effects);
            }
            Event::Progress { session, generation } => self.progress(now, session, generation),
            Event::Ready { session, generation, applied } => self.ready(now, session, generation, applied),
            Event::Parked { session, generation, applied, reason } => {
                self.parked(now, session, (generation, applied, reason), effects);
            }
            Event::CutOff { session, generation, peer, why } => {
                self.cut_off(session, generation, (peer, why))
            }
            Event::Tried { session, round, missing } => self.tried(session, round, missing),
            Event::Consumed { session, virtual_rank, ordinals } => {
                // Nothing but leases follows from it.
                return self.consumed(session, virtual_rank, ordinals, effects);
            }
            Event::WantsLeave { session } => {
                if let Some((_, worker)) = self.by_session(session) {
                    worker.leaving = true;
                }
            }
            Event::StoreProved { session, why_not } => self.store_proved(session, why_not, effects),
            Event::SnapshotWritten { session, step } => self.snapshot_written(session, step),
            Event::SnapshotFailed { session } => self.snapshot_failed(session),
            Event::TaskDone { session } => self.task_ended(session, None, effects),
            Event::TaskFailed { session, why } => self.task_ended(session, Some(why), effects),
            Event::Closed { session } => {
                if let Some((incarnation, _)) = self.by_session(session) {
                    self.lose(incarnation, GoneReason::StreamBroke, effects);
                }
            }
            Event::StopRequested => self.end_for(Ending::Stop, effects),
            Event::PauseRequested { by } => self.pause(by, effects),
            Event::ResumeRequested { by } => self.resume(by, effects),
            Event::SnapshotRequested => self.want_snapshot(),
            Event::DataUnfit { why } => self.end_for(Ending::Unfit(why), effects),
            Event::Tick => self.tick(now, effects),
        }
        self.settle(now, effects);
    }

    /// The first generation waits for its time or for more workers, and one more without a state changes nothing.
    fn waits_for_more(&self) -> bool {
        let expected = self.config.expected_workers as usize;
        self.phase == Phase::Gathering
            && self.timers.at(Timer::Gather).is_some()
            && (expected == 0 || self.workers.len() < expected)
    }

    /// When the machine wants to be woken with [`Event::Tick`], if nothing happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        if self.ended() { None } else { self.timers.next() }
    }

    fn tick(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        for timer in self.timers.take_due(now) {
            match timer {
                Timer::Silence => self.retire_silent(now, effects),
                Timer::Gather => self.gathered = true,
                Timer::Keeper => self.awaited_keeper = true,
                Timer::Park => self.end_parking(effects),
                Timer::Phase => self.give_phase_up(effects),
                // What is due then follows from the state.
                Timer::Proof | Timer::Retry | Timer::Reach => {}
            }
        }
    }

    /// Retires the workers that were silent for too long.
    fn retire_silent(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let timeout_ms = self.silences.timeout_ms(now, &self.config);
        let silent = |w: &Worker| w.heard.plus(timeout_ms) < now;
        let dead: Vec<_> =
            self.workers.iter().filter(|(_, w)| silent(w)).map(|(i, w)| (*i, w.session)).collect();
        for (incarnation, session) in dead {
            let reason = GoneReason::Silent { timeout_ms };
            self.lose(incarnation, reason, effects);
            // Not before the entry: a coordinator that has been deposed hears nothing of the workers that have gone to another one.
            effects.push(Effect::Send { session, message: Message::Retired { why: reason.to_string() } });
            effects.push(Effect::Close { session });
        }
        if let Some(longest_silent) = self.workers.values().map(|w| w.heard).min() {
            self.timers.set(Timer::Silence, longest_silent.plus(timeout_ms + 1));
        }
    }

    /// The generation did not form in time, or a member of the adopted one did not come back in time.
    fn give_phase_up(&mut self, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Forming { .. } => {
                self.halt(
                    &format!("not formed, and no progress for {} ms", self.config.forming_timeout_ms),
                    effects,
                );
            }
            Phase::Adopting => {
                self.halt("a member is missing after the coordinator's restart", effects);
                for member in self.members.iter().filter(|m| !self.workers.contains_key(&m.incarnation)) {
                    let (incarnation, name) = (member.incarnation, String::new());
                    let reason = GoneReason::NotBack;
                    effects.push(Effect::Journal(Entry::Gone { incarnation, name, reason }));
                }
            }
            Phase::Gathering
            | Phase::Stepping
            | Phase::Halting { .. }
            | Phase::Closing { .. }
            | Phase::Ended(_) => {}
        }
    }

    /// A worker has not parked in time. If the members only waited for a boundary, they are told to abort; otherwise those
    /// that still compute are retired.
    fn end_parking(&mut self, effects: &mut Vec<Effect>) {
        if self.phase == (Phase::Halting { aborted: false }) {
            return self.halt("a member did not park with the others", effects);
        }
        let hanging: Vec<_> = self.workers.iter().filter(|(_, w)| w.computing).map(|(i, _)| *i).collect();
        for incarnation in hanging {
            self.retire(incarnation, GoneReason::NotParked, effects);
        }
    }

    pub(crate) fn is_member(&self, incarnation: Incarnation) -> bool {
        self.members.iter().any(|m| m.incarnation == incarnation)
    }

    /// A generation is forming, stepping or halting.
    pub(crate) fn alive(&self) -> bool {
        matches!(self.phase, Phase::Forming { .. } | Phase::Stepping | Phase::Halting { .. })
    }

    pub(crate) fn ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }
    #[must_use]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// The newest generation, 0 before the first.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The members of the newest generation by rank.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The attached workers.
    #[must_use]
    pub fn workers(&self) -> &BTreeMap<Incarnation, Worker> {
        &self.workers
    }

    /// Steps done in the newest snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Option<Step> {
        self.snapshot
    }

    /// How many of its positions a virtual rank may read, counted from the first.
    #[must_use]
    pub fn leased(&self, rank: VirtualRank) -> u64 {
        self.leased[rank.0 as usize]
    }

    /// The member that writes snapshots.
    #[must_use]
    pub fn writer(&self) -> Option<Incarnation> {
        self.writer
    }

    /// After so many steps all members were found to hold the same.
    #[must_use]
    pub fn equal_until(&self) -> Step {
        self.hashes.equal()
    }

    /// The highest reduction that an attached worker has applied.
    #[must_use]
    pub fn committed(&self) -> Option<Reduction> {
        self.workers.values().filter_map(|w| w.holds).max()
    }
}
