//! Which workers can write snapshots. A worker proves when it attaches that it sees the run's store; one that does not see
//! it computes, and never writes. The run does not end while one worker holds a state that is not written and another
//! worker could write it: that one gets the state first.

use lsgan_spec::{Incarnation, Millis, Reduction, Step, gone_further};

use super::attendance::{Keeps, Worker};
use super::effect::{Effect, Entry};
use super::event::SessionId;
use super::machine::{Phase, Run, Then};
use super::membership::{Candidate, choose};
use super::timers::Timer;
use crate::protocol::{Message, Outcome, Task};

/// Where enough workers are attached and none can keep snapshots, the run waits so long for one that can before it refuses
/// to start. It does not wait where all expected workers are there.
const KEEPER_WAIT_MS: u64 = 10_000;

impl Worker {
    /// It has proved that it can keep snapshots.
    #[must_use]
    pub fn can_keep(&self) -> bool {
        self.keeps == Keeps::Yes
    }

    /// It attached without a state, and has not proved yet whether it can keep snapshots: that takes a moment.
    pub(crate) fn is_unproved(&self) -> bool {
        self.keeps == Keeps::Unknown && self.holds.is_none()
    }
}

impl Run {
    pub(crate) fn store_proved(
        &mut self,
        session: SessionId,
        why_not: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        let Some((incarnation, worker)) = self.by_session(session) else { return };
        let keeps = why_not.map_or(Keeps::Yes, Keeps::No);
        if worker.keeps == keeps {
            return;
        }
        if let Keeps::No(why) = &keeps {
            effects.push(Effect::Journal(Entry::CannotKeep { incarnation, why: why.clone() }));
        }
        worker.failed_writes = 0;
        worker.keeps = keeps;
    }

    pub(crate) fn snapshot_written(&mut self, session: SessionId, step: Step) {
        if let Some((_, worker)) = self.by_session(session) {
            worker.failed_writes = 0;
        }
        self.snapshot = self.snapshot.max(Some(step));
        self.snapshot_seen(step);
    }

    pub(crate) fn snapshot_failed(&mut self, session: SessionId) {
        let Some((_, worker)) = self.by_session(session) else { return };
        worker.failed_writes = worker.failed_writes.saturating_add(1);
        // The operator who asked for it is told. The next snapshot is tried when it is due.
        self.asked.snapshot = None;
    }

    /// Which of `chosen` writes: of those that can keep snapshots the one with the fewest failures.
    pub(crate) fn writer_of(&self, chosen: &[Candidate]) -> Option<u32> {
        let able = chosen.iter().enumerate().filter(|(_, c)| self.workers[&c.incarnation].can_keep());
        let (rank, _) = able.min_by_key(|(rank, c)| (self.workers[&c.incarnation].failed_writes, *rank))?;
        Some(u32::try_from(rank).expect("at most max_workers"))
    }

    /// Another worker should write than the one that does: its last write failed and another member's did not, or no
    /// member sees the store and a standby does.
    pub(crate) fn wants_other_writer(&self) -> bool {
        let writer = self.writer.and_then(|incarnation| self.workers.get(&incarnation));
        let failures = writer.filter(|w| !matches!(w.keeps, Keeps::No(_))).map(|w| w.failed_writes);
        let members = self.members.iter().filter_map(|m| self.workers.get(&m.incarnation));
        let fewest = members.filter(|w| w.can_keep() && !w.leaving).map(|w| w.failed_writes).min();
        match (failures, fewest) {
            (Some(failures), Some(fewest)) => fewest < failures,
            (None, Some(_)) => true,
            (None, None) => self.places() > 1 && self.candidates(None).iter().any(|c| c.keeps),
            (Some(_), None) => false,
        }
    }

    /// No worker holds a state, and none of those that came can read or write the store: the run does not start.
    pub(crate) fn refuse_to_start(&mut self, now: Millis, all_there: bool, effects: &mut Vec<Effect>) {
        if self.formed_once || self.workers.values().any(|w| w.keeps == Keeps::Unknown) {
            return; // a worker that can may come back, or prove it in a moment
        }
        if !all_there && !self.awaited_keeper {
            self.timers.set_once(Timer::Keeper, now.plus(KEEPER_WAIT_MS));
            return;
        }
        let reasons: Vec<String> = self
            .workers
            .values()
            .filter_map(|w| match &w.keeps {
                Keeps::No(why) => Some(format!("\n  {}: {why}", w.name)),
                Keeps::Yes | Keeps::Unknown => None,
            })
            .collect();
        let why = format!(
            "no worker can keep this run's snapshots, so that all of its training would be lost:{}\nLet checkpoint.to be a \
             directory that the coordinator and the workers share, or a bucket for which all of them have keys.",
            reasons.concat()
        );
        self.end(Outcome::Refused { why }, effects);
    }

    /// Has a holder of the newest state, which is at `boundary`, do `task`; then the run ends. It ends at once if no worker
    /// holds that state. Where no holder can keep snapshots, another worker gets the state first; where no worker can, the
    /// run waits for one.
    pub(crate) fn close(
        &mut self,
        now: Millis,
        boundary: Option<Step>,
        (task, outcome): (Task, Outcome),
        effects: &mut Vec<Effect>,
    ) {
        let Some(step) = boundary else { return self.end(outcome, effects) };
        let truth = Some(step.first_reduction());
        let tried = &self.could_not_close;
        if let Some(writer) = self.able_writer(truth, |i| tried.contains_key(i)) {
            return self.give_task(writer, task, Then::End(outcome), effects);
        }
        let holds = |w: &Worker| !w.computing && w.holds == truth;
        let holder = self.workers.iter().find(|(_, w)| holds(w)).map(|(i, _)| *i);
        if holder.is_none() {
            return self.end(outcome, effects);
        }
        if matches!(outcome, Outcome::Failed { .. } | Outcome::Refused { .. }) {
            // A holder that came back a moment ago may prove that it sees the store: then it writes first.
            if !self.workers.values().any(|w| holds(w) && w.keeps == Keeps::Unknown) {
                self.end(outcome, effects);
            }
            return;
        }
        let heir = self.candidates(holder).into_iter().find(|c| c.keeps && Some(c.incarnation) != holder);
        let another = self.workers.values().any(|w| w.keeps == Keeps::Unknown);
        match (heir, tried.values().next()) {
            (Some(_), _) if self.places() > 1 => self.hand_over(now, step, holder, effects),
            (_, Some(why)) if !another => {
                let what = if task == Task::Final { "the final weights" } else { "the snapshot" };
                self.end(Outcome::Failed { why: format!("{what} could not be written: {why}") }, effects);
            }
            _ if !another && !self.told_no_keeper => {
                self.told_no_keeper = true;
                effects.push(Effect::Journal(Entry::NoKeeper { step }));
            }
            _ => {}
        }
    }

    /// Which worker writes what is held: of those that hold it, can keep it and did not fail at it (`failed`), the one
    /// with the fewest failures.
    pub(crate) fn able_writer(
        &self,
        held: Option<Reduction>,
        failed: impl Fn(&Incarnation) -> bool,
    ) -> Option<Incarnation> {
        let able =
            |(i, w): &(&Incarnation, &Worker)| !w.computing && w.holds == held && w.can_keep() && !failed(i);
        let able = self.workers.iter().filter(able);
        able.min_by_key(|(i, w)| (w.failed_writes, **i)).map(|(i, _)| *i)
    }

    /// Has a worker do a task with the state that it holds.
    pub(crate) fn give_task(
        &mut self,
        writer: Incarnation,
        task: Task,
        then: Then,
        effects: &mut Vec<Effect>,
    ) {
        let session = self.workers[&writer].session;
        effects.push(Effect::Send { session, message: Message::Task(task) });
        self.phase = Phase::Closing { writer, task, then };
    }

    /// Forms a generation that ends where it starts, so that a worker that can keep the state gets it.
    fn hand_over(&mut self, now: Millis, step: Step, holder: Option<Incarnation>, effects: &mut Vec<Effect>) {
        let chosen = self.in_ring(choose(self.candidates(holder), self.places()));
        self.form_when_due(now, &chosen, step, effects);
    }

    /// The number of steps was lowered under workers that had done more.
    pub(crate) fn gone_further(&self, step: Step) -> String {
        format!(
            "{} They are kept as a snapshot. Train it longer with a higher `steps`, or branch off from an earlier snapshot \
             with --fork NAME --fork-at STEP.",
            gone_further(step, self.config.steps)
        )
    }
}
