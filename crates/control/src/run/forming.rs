//! The next generation: which workers are its members, where its state comes from, and what they are told.

use std::collections::{BTreeMap, BTreeSet};

use lsgan_spec::{Incarnation, Millis, Reduction, Step};

use super::attendance::Worker;
use super::effect::{Effect, Entry};
use super::hashes::StateHashes;
use super::machine::{Phase, Run};
use super::membership::{Candidate, choose, split};
use super::timers::Timer;
use crate::pass::Rights;
use crate::protocol::{Form, Member, Message, Outcome, Start};

/// A run that begins waits so long for each worker to prove whether it sees the store. One that never does holds up nothing.
const PROOF_WAIT_MS: u64 = 15_000;

impl Run {
    /// Forms the next generation if there are enough workers, of which one can keep what it trains. `last_copy`: the worker
    /// that leaves when it has handed its state on.
    pub(crate) fn form_next(
        &mut self,
        now: Millis,
        truth: Option<Reduction>,
        last_copy: Option<Incarnation>,
        effects: &mut Vec<Effect>,
    ) {
        let candidates = self.of_one_kind(self.candidates(last_copy));
        let unproved = || self.workers.values().filter(|w| w.is_unproved() && !w.leaving);
        let in_time = unproved().map(|w| w.since.plus(PROOF_WAIT_MS)).filter(|until| *until > now).min();
        let unproved = unproved().count();
        let count = (candidates.len() + unproved) as u64;
        // A run that is to stop or rest in the middle of a step needs its other half, from the workers that are there.
        let needed = if self.parks() || last_copy.is_some() { 1 } else { u64::from(self.config.min_workers) };
        let complete = count >= u64::from(self.config.expected_workers).max(needed);
        let expects = self.config.expected_workers > 0;
        let first = !self.formed_once && truth.is_none();
        if count < needed {
            return;
        }
        if first && !self.gathered && !(expects && complete) {
            self.timers.set_once(Timer::Gather, now.plus(self.config.gather_ms));
            return;
        }
        if let Some(until) = in_time.filter(|_| truth.is_none()) {
            return self.timers.set(Timer::Proof, until); // it proves in a moment whether it can keep snapshots
        }
        if (candidates.len() as u64) < needed {
            return;
        }
        // Members that fail together time after time do not finish a step together.
        let alone = truth.is_some() && self.attempts.hopeless().is_some();
        let candidates = candidates.into_iter().filter(|c| !alone || c.holds == truth).collect();
        let chosen = self.in_ring(choose(candidates, if alone { 1 } else { self.places() }));
        let (start, from, _) = self.start_of(&chosen);
        if start != Start::Held {
            if !chosen.iter().any(|c| c.keeps) {
                return self.refuse_to_start(now, expects && complete, effects);
            }
            if let Some(missing) = self.missing.clone().filter(|m| from < m.steps.first_reduction()) {
                return self.end(Outcome::Refused { why: missing.why }, effects);
            }
        }
        self.form_when_due(now, &chosen, Step(self.config.steps), effects);
    }

    /// Makes workers of one host neighbours: over TCP their sums go around a ring, which then crosses each host's network twice,
    /// in and out, however many workers it has. Hosts, and the workers of each, come in the order of their incarnations.
    pub(crate) fn in_ring(&self, mut chosen: Vec<Candidate>) -> Vec<Candidate> {
        let host = |one: &Candidate| {
            let address = &self.workers[&one.incarnation].address;
            address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host)
        };
        let mut oldest = BTreeMap::new();
        for one in &chosen {
            oldest.entry(host(one)).or_insert(one.incarnation);
        }
        chosen.sort_by_key(|one| (oldest[host(one)], one.incarnation));
        chosen
    }

    /// Forms the next generation of `chosen`, unless it has to wait because those before it failed.
    pub(crate) fn form_when_due(
        &mut self,
        now: Millis,
        chosen: &[Candidate],
        last_step: Step,
        effects: &mut Vec<Effect>,
    ) {
        let (_, from, _) = self.start_of(chosen);
        let members: Vec<_> = chosen.iter().map(|candidate| candidate.incarnation).collect();
        let Some(until) = self.attempts.waits_until(now, from, &members) else {
            return self.form(now, chosen, last_step, effects);
        };
        self.timers.set(Timer::Retry, until);
        effects.extend(self.attempts.warning(until).map(Effect::Journal));
    }

    /// Forms the next generation of `chosen`, which parks when `last_step` steps are done.
    pub(crate) fn form(
        &mut self,
        now: Millis,
        chosen: &[Candidate],
        last_step: Step,
        effects: &mut Vec<Effect>,
    ) {
        let shares =
            split(self.config.virtual_ranks, u32::try_from(chosen.len()).expect("at most max_workers"));
        let (start, from, root) = self.start_of(chosen);
        let writer = self.writer_of(chosen);
        let member = |(candidate, (first, count)): (&Candidate, _)| {
            let address = self.workers[&candidate.incarnation].address.clone();
            Member { incarnation: candidate.incarnation, address, first, count }
        };
        let members: Vec<Member> = chosen.iter().zip(shares).map(member).collect();

        self.generation = self.generation.next();
        self.formed_at = now;
        self.suspicions.formed();
        self.members = members;
        self.formed_once = true;
        self.attempts.formed(from, self.members.iter().map(|m| m.incarnation).collect());
        self.wished = None;
        self.missing = None;
        self.other_spec = false;
        self.writer = writer.map(|rank| chosen[rank as usize].incarnation);
        if from < last_step.first_reduction() {
            self.could_not_close.clear();
            self.told_no_keeper = false;
        }
        self.timers.set(Timer::Phase, now.plus(self.config.forming_timeout_ms));
        self.phase = Phase::Forming { ready: BTreeSet::new() };
        // Steps that are done again without the exact sum may give other bits than the first time.
        match start {
            Start::Fresh => self.hashes = StateHashes::from(Step(0)),
            Start::Snapshot(step) => self.hashes = StateHashes::from(step),
            Start::Held => {}
        }
        effects.push(Effect::Journal(Entry::Generation {
            generation: self.generation,
            members: self.members.clone(),
            from,
            start,
        }));
        self.send_forms((from, start, root), writer, last_step, effects);
    }

    /// Tells each member to form the newest generation.
    fn send_forms(
        &mut self,
        (from, start, root): (Reduction, Start, Option<u32>),
        writer: Option<u32>,
        last_step: Step,
        effects: &mut Vec<Effect>,
    ) {
        for (rank, member) in self.members.iter().enumerate() {
            let worker = self.workers.get_mut(&member.incarnation).expect("a candidate is attached");
            worker.computing = true;
            worker.rights = Rights {
                incarnation: member.incarnation,
                generation: self.generation,
                until: worker.rights.until.max(last_step),
                led: worker.rights.led || rank == 0,
            };
            worker.failed = None;
            worker.pace_us = None;
            worker.slow_in_a_row = 0;
            let leases = member.virtual_ranks().map(|v| (v, self.leased[v.0 as usize])).collect();
            let form = Form {
                generation: self.generation,
                rank: u32::try_from(rank).expect("at most max_workers"),
                members: self.members.clone(),
                from,
                start,
                root,
                writer,
                last_step,
                leases,
                pass: self.config.pass_key.seal(worker.rights),
                ring: self.config.ring_keys.of(self.generation),
            };
            effects.push(Effect::Send { session: worker.session, message: Message::Form(form) });
        }
    }

    /// Where the state of a generation of `chosen` comes from: `(start, reductions applied, broadcasting rank)`.
    fn start_of(&self, chosen: &[Candidate]) -> (Start, Reduction, Option<u32>) {
        let held = chosen.iter().filter_map(|c| c.holds).max();
        let saved = self.snapshot.map(Step::first_reduction);
        match (held, self.snapshot) {
            (Some(held), _) if saved.is_none_or(|saved| held >= saved) => {
                let root =
                    chosen.iter().position(|c| c.holds == Some(held)).expect("one of them holds the most");
                let all_hold = chosen.iter().all(|c| c.holds == Some(held));
                let root = u32::try_from(root).expect("at most max_workers");
                (Start::Held, held, (!all_hold).then_some(root))
            }
            (_, Some(step)) => {
                let reader = self.writer_of(chosen).unwrap_or(0);
                (Start::Snapshot(step), step.first_reduction(), (chosen.len() > 1).then_some(reader))
            }
            (_, None) => (Start::Fresh, Reduction(0), None),
        }
    }

    /// Idle workers that want to take part, and the one that must `stay` until its state is handed on.
    pub(crate) fn candidates(&self, stay: Option<Incarnation>) -> Vec<Candidate> {
        let enough = self.enough_without_aside();
        let reached = self.workers.values().filter(|w| w.aside.is_none()).filter_map(|w| w.holds).max();
        // A worker that stands aside is chosen again where there are too few others, or where it holds a newer state.
        let stands_by = |w: &Worker| w.aside.is_some() && enough && w.holds <= reached;
        let idle = self.workers.iter().filter(|(_, w)| !w.computing && !w.is_unproved());
        idle.filter(|(i, w)| !w.leaving && !stands_by(w) || Some(**i) == stay)
            .map(|(&incarnation, w)| Candidate {
                incarnation,
                holds: w.holds,
                was_member: self.is_member(incarnation),
                keeps: w.can_keep() && !self.could_not_close.contains_key(&incarnation),
            })
            .collect()
    }

    /// How many members a generation can have.
    pub(crate) fn places(&self) -> usize {
        self.config.virtual_ranks.min(self.config.max_workers) as usize
    }
}
