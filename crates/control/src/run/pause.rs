//! A run that an operator pauses, and snapshots that an operator asks for.
//!
//! A pause is a snapshot and a rest: all members park at a step boundary, one of them writes the state, and no generation is
//! formed until an operator resumes the run. Workers keep their state and are watched as always, so that the run goes on
//! where it was; if all of them are lost, there is the snapshot. The journal has the pause, so that it outlives the
//! coordinator.
//!
//! A snapshot while the run steps needs no halt: one member puts a control word into the next step's header, and the member
//! that writes snapshots writes one after that step.

use std::collections::BTreeSet;

use lsgan_spec::{Generation, Half, Incarnation, Reduction, Step};
use serde::{Deserialize, Serialize};

use super::effect::{Effect, Entry};
use super::event::SessionId;
use super::machine::{Phase, Run, Then};
use super::phases::boundary_of;
use crate::protocol::{Message, Task, Wish};

/// What operators ask for, except the run's end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// No generation is formed, but to finish a step.
    pub paused: bool,
    /// A snapshot of this step or a later one is wanted.
    pub snapshot: Option<Step>,
    /// The generation that was told of it.
    pub told: Option<Generation>,
    /// Workers that failed to write the state that rests.
    pub failed: BTreeSet<Incarnation>,
}

impl Run {
    /// The run rests at a step boundary, or is on its way there, until an operator resumes it.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.asked.paused
    }

    /// The paused run has come to its step boundary: no worker computes, and the state is written, or no worker can write
    /// it.
    #[must_use]
    pub fn rests(&self) -> bool {
        self.asked.paused && self.phase == Phase::Gathering && !self.workers.values().any(|w| w.computing)
    }

    /// A snapshot that is asked for is not written yet.
    #[must_use]
    pub fn wants_snapshot(&self) -> bool {
        self.asked.snapshot.is_some()
    }

    pub(crate) fn pause(&mut self, by: String, effects: &mut Vec<Effect>) {
        if !self.asked.paused && !self.ended() {
            self.asked.paused = true;
            self.asked.failed.clear();
            self.wished = None;
            effects.push(Effect::Journal(Entry::Paused { by }));
        }
    }

    pub(crate) fn resume(&mut self, by: String, effects: &mut Vec<Effect>) {
        if self.asked.paused && !self.ended() {
            self.asked.paused = false;
            effects.push(Effect::Journal(Entry::Resumed { by }));
        }
    }

    /// Asks for a snapshot of the next step boundary. One that is known to be at or after it will do.
    pub(crate) fn want_snapshot(&mut self) {
        let held = self.committed().unwrap_or(Reduction(0));
        let next = match held.half() {
            Half::Discriminator => held.step(),
            Half::Generator => held.step().next(),
        };
        if self.snapshot.is_none_or(|snapshot| snapshot < next) {
            let wanted = *self.asked.snapshot.get_or_insert(next);
            self.asked.snapshot = Some(wanted.max(next));
            self.asked.told = None;
            self.asked.failed.clear();
        }
    }

    /// A snapshot is there.
    pub(crate) fn snapshot_seen(&mut self, step: Step) {
        if self.asked.snapshot.is_some_and(|wanted| wanted <= step) {
            self.asked.snapshot = None;
        }
    }

    /// Tells one member of the stepping generation to wish for a snapshot. Only one: the wish of a second member could be
    /// summed a step later and make another snapshot.
    pub(crate) fn wish_for_snapshot(&mut self, effects: &mut Vec<Effect>) {
        let generation = self.generation;
        if self.asked.snapshot.is_none() || self.asked.told == Some(generation) {
            return;
        }
        let Some(worker) = self.members.first().and_then(|m| self.workers.get(&m.incarnation)) else {
            return;
        };
        let message = Message::Wish { generation, wish: Wish::Snapshot };
        effects.push(Effect::Send { session: worker.session, message });
        self.asked.told = Some(generation);
    }

    /// Has the newest state (`truth`) written if a pause or an operator wants it. Returns whether no generation is to be
    /// formed now, because of that or because the run is paused. In the middle of a step the step is finished first.
    pub(crate) fn hold(&mut self, truth: Option<Reduction>, effects: &mut Vec<Effect>) -> bool {
        let boundary = boundary_of(truth);
        if truth.is_some() && boundary.is_none() {
            return false;
        }
        let asked = self.asked.paused || self.asked.snapshot.is_some();
        let due = boundary.is_some_and(|step| step.0 > 0 && self.snapshot < Some(step));
        if asked
            && due
            && let Some(writer) = self.able_writer(truth, |i| self.asked.failed.contains(i))
        {
            self.give_task(writer, Task::Snapshot, Then::Hold, effects);
            return true;
        }
        self.asked.paused
    }

    /// The snapshot is written, or failed; the run goes on as before. The writer reports the reason itself.
    pub(crate) fn held(&mut self, session: SessionId, writer: Incarnation, failed: bool) {
        if failed {
            self.snapshot_failed(session);
            self.asked.failed.insert(writer);
        }
        self.phase = Phase::Gathering;
    }
}
