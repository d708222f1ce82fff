//! Reports of members about their generation: ready, parked, positions consumed, hashes of the state, tasks done.

use lsgan_spec::{Generation, Millis, Reduction, Step, VirtualRank};

use super::effect::{Effect, Entry, GoneReason};
use super::event::SessionId;
use super::hashes::StateHash;
use super::machine::{Phase, Run, Then};
use super::timers::Timer;
use crate::protocol::{Member, Message, Outcome, ParkReason};

/// A generation that says that it moves on may form for so many times [`Config::forming_timeout_ms`](crate::Config): an hour. A
/// member that only says so must not hold up the others for ever.
const FORMING_TIMES: u64 = 60;

impl Run {
    pub(crate) fn ready(
        &mut self,
        now: Millis,
        session: SessionId,
        generation: Generation,
        applied: Reduction,
    ) {
        if generation != self.generation {
            return;
        }
        let Some((incarnation, worker)) = self.by_session(session) else { return };
        worker.heard = now;
        // A Ready that is repeated later may be older than what the worker holds by now.
        if let Phase::Forming { ready, .. } = &mut self.phase
            && ready.insert(incarnation)
        {
            self.workers.get_mut(&incarnation).expect("it was found by its session").holds = Some(applied);
        }
    }

    /// A state that travels over a slow link takes as long as it takes: what ends a generation that forms is a time without
    /// progress.
    pub(crate) fn progress(&mut self, now: Millis, session: SessionId, generation: Generation) {
        let Some((incarnation, worker)) = self.by_session(session) else { return };
        worker.heard = now;
        let forms = matches!(self.phase, Phase::Forming { .. }) && generation == self.generation;
        let in_time = now < self.formed_at.plus(FORMING_TIMES * self.config.forming_timeout_ms);
        if forms && self.is_member(incarnation) && in_time {
            self.timers.set(Timer::Phase, now.plus(self.config.forming_timeout_ms));
        }
    }

    pub(crate) fn parked(
        &mut self,
        now: Millis,
        session: SessionId,
        (generation, applied, reason): (Generation, Option<Reduction>, ParkReason),
        effects: &mut Vec<Effect>,
    ) {
        let current = self.generation;
        let Some((incarnation, worker)) = self.by_session(session) else { return };
        worker.heard = now;
        let computing = worker.computing;
        // A member's report about an earlier generation is late: the member has been told of the new one since.
        let member = self.is_member(incarnation);
        if !computing || (member && generation != current) {
            return;
        }
        let worker = self.workers.get_mut(&incarnation).expect("it was found by its session");
        worker.computing = false;
        worker.holds = applied;
        let name = worker.name.clone();
        self.adopt_numerics(effects);
        if !member || !self.alive() {
            return;
        }
        match reason {
            ParkReason::Boundary => {
                self.workers.get_mut(&incarnation).expect("it was found by its session").failed_in_a_row = 0;
                self.await_parking("all park at the same step", effects);
            }
            // Numbers that are wrong are seen by all, and all say so.
            ParkReason::Failed(why) => {
                self.await_parking(&format!("worker {incarnation} ({name}): {why}"), effects);
                self.workers.get_mut(&incarnation).expect("it was found by its session").failed = Some(why);
            }
            ParkReason::Aborted => self.halt("a member was told to abort", effects),
            ParkReason::Broken(why) => {
                if matches!(self.phase, Phase::Forming { .. }) {
                    self.unformed = Some(current);
                }
                self.halt(&format!("worker {incarnation} ({name}): {why}"), effects)
            }
        }
    }

    pub(crate) fn consumed(
        &mut self,
        session: SessionId,
        rank: VirtualRank,
        ordinals: u64,
        effects: &mut Vec<Effect>,
    ) {
        let generation = self.generation;
        let Some((incarnation, _)) = self.by_session(session) else { return };
        let owns = |m: &&Member| m.incarnation == incarnation && m.virtual_ranks().any(|r| r == rank);
        if self.members.iter().find(owns).is_none() {
            return;
        }
        let done = &mut self.consumed[rank.0 as usize];
        // Reported before, or more than it may have read.
        if ordinals <= *done || ordinals > self.leased[rank.0 as usize] {
            return;
        }
        effects.push(Effect::Journal(Entry::Consumed {
            virtual_rank: rank,
            from: *done,
            until: ordinals,
            incarnation,
            generation,
        }));
        *done = ordinals;
        let leased = &mut self.leased[rank.0 as usize];
        // Renewed when half is used up, so that a lease is a rare message.
        if *leased < ordinals + self.config.lease_ordinals.div_ceil(2) {
            *leased = ordinals + self.config.lease_ordinals;
            let message = Message::Lease { virtual_rank: rank, until: *leased };
            effects.push(Effect::Send { session, message });
        }
    }

    pub(crate) fn state_hash(
        &mut self,
        session: SessionId,
        step: Step,
        hash: StateHash,
        effects: &mut Vec<Effect>,
    ) {
        let Some((incarnation, _)) = self.by_session(session) else { return };
        if !self.is_member(incarnation) {
            return;
        }
        self.hashes.report(incarnation, step, hash);
        let differs = self.hashes.compare(self.members.iter().map(|m| m.incarnation)).is_some();
        if differs && (self.alive() || self.phase == Phase::Adopting) {
            self.halt("members hold different states", effects);
        }
    }

    pub(crate) fn task_ended(
        &mut self,
        session: SessionId,
        failed: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        let Phase::Closing { writer, then, .. } = self.phase.clone() else { return };
        if self.workers.get(&writer).is_none_or(|w| w.session != session) {
            return;
        }
        match (then, failed) {
            // A worker came back with a newer state while this was written: that one is written then.
            (Then::End(Outcome::Stopped { step }), None)
                if self.committed() > Some(step.first_reduction()) =>
            {
                self.phase = Phase::Gathering;
            }
            (Then::End(outcome), None) => self.end(outcome, effects),
            // Another worker may be able to.
            (Then::End(_) | Then::Leave, Some(why)) => {
                self.snapshot_failed(session);
                self.could_not_close.insert(writer, why);
                self.phase = Phase::Gathering;
            }
            (Then::Hold, failed) => self.held(session, writer, failed.is_some()),
            (Then::Leave, None) => {
                self.retire(writer, GoneReason::Left, effects);
                self.phase = Phase::Gathering;
            }
        }
    }

    /// Sends the leases of the member at `rank` again. They follow from what is consumed.
    pub(crate) fn send_leases(&self, rank: usize, session: SessionId, effects: &mut Vec<Effect>) {
        for virtual_rank in self.members[rank].virtual_ranks() {
            let until = self.leased[virtual_rank.0 as usize];
            effects.push(Effect::Send { session, message: Message::Lease { virtual_rank, until } });
        }
    }
}
