//! The transitions between phases, applied after every event until nothing changes.

use lsgan_spec::{Half, Incarnation, Millis, Reduction, Step};

use super::attendance::Worker;
use super::effect::{Effect, Entry, GoneReason};
use super::ending::Ending;
use super::hashes::Difference;
use super::machine::{Phase, Run, Then};
use super::membership::Candidate;
use super::timers::Timer;
use crate::protocol::{Member, Message, Outcome, Task, Wish};

impl Run {
    /// Follows the transitions until the state rests.
    pub(crate) fn settle(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.end_round(now, effects);
        loop {
            let before = std::mem::discriminant(&self.phase);
            let generation = self.generation;
            match &self.phase {
                Phase::Gathering => self.gather(now, effects),
                Phase::Adopting => self.adopt(effects),
                Phase::Forming { ready, .. } => {
                    if self.members.iter().all(|m| ready.contains(&m.incarnation)) {
                        self.phase = Phase::Stepping;
                        self.members_reach_each_other();
                        effects.push(Effect::Journal(Entry::Stepping(self.generation)));
                    }
                }
                Phase::Stepping => {
                    let ahead = self.ahead();
                    self.retire_idle_leavers(ahead, effects);
                    self.try_waiting(now, effects);
                    self.wish(ahead, effects);
                    self.wish_for_snapshot(effects);
                }
                Phase::Halting { .. } => {
                    let computing =
                        |m: &Member| self.workers.get(&m.incarnation).is_some_and(|w| w.computing);
                    if !self.members.iter().any(computing) {
                        self.phase = Phase::Gathering;
                        self.judge_members(effects);
                        self.leave_unreached_behind(effects);
                    }
                }
                Phase::Closing { writer, .. } => {
                    if !self.workers.contains_key(writer) {
                        self.phase = Phase::Gathering;
                    }
                }
                Phase::Ended(_) => {}
            }
            if before == std::mem::discriminant(&self.phase) && generation == self.generation {
                return self.set_timers(now);
            }
        }
    }

    /// Sets the timers that follow from the state, and cancels those of a phase that is over.
    fn set_timers(&mut self, now: Millis) {
        // A worker that should park is not waited for forever. Parking may take as long as forming.
        let parking = matches!(self.phase, Phase::Gathering | Phase::Halting { .. }) && self.any_computes();
        if parking {
            self.timers.set_once(Timer::Park, now.plus(self.config.forming_timeout_ms));
        } else {
            self.timers.cancel(Timer::Park);
        }
        if !matches!(self.phase, Phase::Forming { .. } | Phase::Adopting) {
            self.timers.cancel(Timer::Phase);
        }
        if self.phase != Phase::Gathering {
            for timer in [Timer::Gather, Timer::Keeper, Timer::Proof, Timer::Retry] {
                self.timers.cancel(timer);
            }
        }
        if self.workers.is_empty() {
            self.timers.cancel(Timer::Silence);
        }
        self.timers.put(Timer::Reach, self.reach_due());
    }

    fn any_computes(&self) -> bool {
        self.workers.values().any(|w| w.computing)
    }

    /// No generation is alive: closes the run, lets leavers go, or forms the next generation.
    fn gather(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        // A worker from before a restart still has to park, and may hold the newest state.
        if self.any_computes() {
            return;
        }
        if let Some(difference) = self.hashes.known_difference() {
            return self.fail_for_difference(difference, effects);
        }
        if !self.severed_are_tried(now, effects) {
            return;
        }
        self.part_severed(now, effects);
        let truth = self.truth();
        // In the middle of a step one worker finishes it alone first (`form_next`).
        if let Some(why) =
            self.attempts.hopeless().filter(|_| truth.is_none() || boundary_of(truth).is_some())
        {
            self.end_for(Ending::Failed(why), effects);
        }
        if let Some((boundary, task, outcome)) = self.due_end(truth) {
            return self.close(now, boundary, (task, outcome), effects);
        }
        let last_copy = self.last_copy(truth);
        if let Some(writer) = last_copy
            && boundary_of(truth).is_some()
            && self.workers[&writer].can_keep()
            && !self.could_not_close.contains_key(&writer)
        {
            return self.give_task(writer, Task::Snapshot, Then::Leave, effects);
        }
        // In the middle of a step the holder of the last copy finishes it first, with the others or alone.
        self.retire_idle_leavers(last_copy, effects);
        if !self.hold(truth, effects) {
            self.form_next(now, truth, last_copy, effects);
        }
    }

    /// How the run is to be closed now, if it is: `(boundary that is held, task, outcome)`.
    fn due_end(&self, truth: Option<Reduction>) -> Option<(Option<Step>, Task, Outcome)> {
        let boundary = boundary_of(truth);
        if let Some(Ending::Failed(why)) = &self.ending {
            // Members go back to the beginning of a step that failed in its middle, if they were there at its beginning.
            let held = self.workers.values().filter(|w| !w.computing).filter_map(|w| w.holds);
            let boundary = held.filter_map(|r| boundary_of(Some(r))).max();
            return Some((boundary, Task::Snapshot, Outcome::Failed { why: why.clone() }));
        }
        if let Some(step) = boundary.filter(|step| step.0 >= self.config.steps) {
            return Some(if step.0 == self.config.steps {
                (boundary, Task::Final, Outcome::Complete)
            } else {
                (boundary, Task::Snapshot, Outcome::Refused { why: self.gone_further(step) })
            });
        }
        if truth.is_some() && boundary.is_none() {
            return None;
        }
        let step = boundary.or(self.snapshot).unwrap_or_default();
        let outcome = match self.ending.as_ref()? {
            Ending::Stop => Outcome::Stopped { step },
            Ending::Unfit(why) | Ending::Failed(why) => Outcome::Failed { why: why.clone() },
        };
        Some((boundary, Task::Snapshot, outcome))
    }

    /// All members of the adopted generation have come: it goes on, or is ended if one of them no longer steps.
    fn adopt(&mut self, effects: &mut Vec<Effect>) {
        let Some(all) =
            self.members.iter().map(|m| self.workers.get(&m.incarnation)).collect::<Option<Vec<_>>>()
        else {
            return;
        };
        let stepping = all.iter().all(|w| w.computing);
        self.phase = Phase::Stepping;
        self.formed_once = true;
        self.missing = None;
        if !stepping {
            self.halt("a member had parked while the coordinator was away", effects);
        } else if self.other_spec {
            // At once and not at a step boundary: the run may have fewer steps now than are under way.
            self.halt("the run's file has changed since it was formed", effects);
        }
    }

    /// The members are to park at the next step boundary, and no other generation follows for now.
    pub(crate) fn parks(&self) -> bool {
        self.ends_early() || self.is_paused()
    }

    /// Ends the live generation at once: tells the members that compute to abort.
    pub(crate) fn halt(&mut self, why: &str, effects: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Halting { aborted: true }) {
            return;
        }
        self.journal_halting(why, effects);
        self.phase = Phase::Halting { aborted: true };
        for member in &self.members {
            if let Some(worker) = self.workers.get(&member.incarnation).filter(|w| w.computing) {
                let message = Message::Abort(self.generation);
                effects.push(Effect::Send { session: worker.session, message });
            }
        }
    }

    /// A member parked for a reason for which all members park: the others follow by themselves.
    pub(crate) fn await_parking(&mut self, why: &str, effects: &mut Vec<Effect>) {
        if !matches!(self.phase, Phase::Halting { .. }) {
            self.journal_halting(why, effects);
            self.phase = Phase::Halting { aborted: false };
        }
    }

    fn journal_halting(&mut self, why: &str, effects: &mut Vec<Effect>) {
        let generation = self.generation;
        self.attempts.ended(why);
        self.note_unreached();
        effects.push(Effect::Journal(Entry::Halting { generation, why: why.to_owned() }));
    }

    /// Asks the members to park after a step, where a worker or an operator waits for that.
    fn wish(&mut self, ahead: Option<Incarnation>, effects: &mut Vec<Effect>) {
        // A joiner that cannot be reached would only cost the members a step.
        let reached = |candidate: &Candidate| self.workers[&candidate.incarnation].reach.proven;
        let joiner = self.members.len() < self.places() && self.candidates(None).iter().any(reached);
        let aside = |m: &Member| self.workers.get(&m.incarnation).is_some_and(|w| w.aside.is_some());
        let outcast = self.enough_without_aside() && self.members.iter().any(aside);
        let reform = joiner || outcast || ahead.is_some() || self.wants_other_writer();
        let wish = match (self.parks(), reform) {
            (true, _) => Wish::Finish,
            (false, true) => Wish::Reform,
            (false, false) => return,
        };
        if self.wished == Some(wish) {
            return;
        }
        self.wished = Some(wish);
        // To all of them: one would be enough, but any of them may die.
        for worker in self.members.iter().filter_map(|m| self.workers.get(&m.incarnation)) {
            let message = Message::Wish { generation: self.generation, wish };
            effects.push(Effect::Send { session: worker.session, message });
        }
    }

    /// The worker that asked to leave and holds the only copy of the newest state, which is not written.
    fn last_copy(&self, truth: Option<Reduction>) -> Option<Incarnation> {
        let saved = self.snapshot.unwrap_or_default().first_reduction();
        if truth.is_none_or(|truth| truth <= saved) {
            return None;
        }
        let mut holders = self.workers.iter().filter(|(_, w)| !w.computing && w.holds == truth);
        let first = holders.clone().next().map(|(i, _)| *i);
        if holders.any(|(_, w)| !w.leaving) { None } else { first }
    }

    /// The worker that stands by with a newer state than the stepping generation's: it came back to a restarted coordinator
    /// after the generation had been formed without it. The next generation starts from its state.
    fn ahead(&self) -> Option<Incarnation> {
        let reached = self.members.iter().filter_map(|m| self.workers.get(&m.incarnation)?.holds).max();
        let saved = self.snapshot.map(Step::first_reduction);
        let idle = self.workers.iter().filter(|(_, w)| !w.computing && w.holds > reached.max(saved));
        // Of equals one that does not leave.
        idle.max_by_key(|(_, w)| (w.holds, !w.leaving)).map(|(i, _)| *i)
    }

    /// Retires the workers that asked to leave and do not compute, except the one that must `stay` for now.
    fn retire_idle_leavers(&mut self, stay: Option<Incarnation>, effects: &mut Vec<Effect>) {
        let idle = self.workers.iter().filter(|(_, w)| w.leaving && !w.computing).map(|(i, _)| *i);
        let idle: Vec<_> = idle.filter(|i| Some(*i) != stay).collect();
        for incarnation in idle {
            self.retire(incarnation, GoneReason::Left, effects);
        }
    }

    /// Tells a worker that its incarnation is over, and forgets it.
    pub(crate) fn retire(&mut self, incarnation: Incarnation, reason: GoneReason, effects: &mut Vec<Effect>) {
        let Some(Worker { session, name, .. }) = self.detach(incarnation) else { return };
        effects.push(Effect::Journal(Entry::Gone { incarnation, name, reason }));
        effects.push(Effect::Send { session, message: Message::Retired { why: reason.to_string() } });
        effects.push(Effect::Close { session });
    }

    /// Ends the run without a snapshot: it is not known which state is right.
    pub(crate) fn fail_for_difference(&mut self, difference: Difference, effects: &mut Vec<Effect>) {
        let Difference { odd, step, equal } = &difference;
        let label = |incarnation: &Incarnation| match self.workers.get(incarnation) {
            Some(worker) => format!("worker {incarnation} ({})", worker.name),
            None => format!("worker {incarnation}"),
        };
        let who = odd.iter().map(label).collect::<Vec<_>>().join(" and ");
        let what =
            if odd.len() == 1 { "holds another state than the others" } else { "hold different states" };
        let why = format!(
            "{who} {what} after step {step}: memory, a device or its driver is at fault there. All held the same \
             after step {equal}, and newer snapshots are set aside. Keep that machine out and run the same command \
             again."
        );
        effects.push(Effect::Journal(Entry::Differs(difference)));
        self.end(Outcome::Failed { why }, effects);
    }

    /// Ends the run and tells all workers.
    pub(crate) fn end(&mut self, outcome: Outcome, effects: &mut Vec<Effect>) {
        effects.push(Effect::Journal(Entry::Ended(outcome.clone())));
        for worker in self.workers.values() {
            let message = Message::Shutdown(outcome.clone());
            effects.push(Effect::Send { session: worker.session, message });
        }
        self.phase = Phase::Ended(outcome);
    }

    /// The newest state that an idle worker holds.
    fn truth(&self) -> Option<Reduction> {
        self.workers.values().filter(|w| !w.computing).filter_map(|w| w.holds).max()
    }
}

/// The step that a state is at the beginning of, if it is.
pub(crate) fn boundary_of(held: Option<Reduction>) -> Option<Step> {
    held.filter(|r| r.half() == Half::Discriminator).map(Reduction::step)
}
