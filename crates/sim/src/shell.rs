//! The simulated coordinator: performs effects one by one, keeps a journal, and dies between any two of them.

use lsgan_control::{Effect, Entry, Event, Outcome, Phase, Recovered, Run, SessionId};
use lsgan_spec::{Generation, Millis};

use crate::faults::LARGE;
use crate::network::{Happening, ProcessIndex};
use crate::worker::{Life, Process, brief};
use crate::world::{Trace, World};

/// So many workers are shown of a world.
const SHOWN: usize = 40;

/// In a large world the machine is looked at after one of so many events.
const LOOK_EVERY: u64 = 50_000;

/// One coordinator after another, over the journal that they share.
#[derive(Debug, Default)]
pub struct Shell {
    /// The machine, while a coordinator runs.
    pub run: Option<Run>,
    /// All that was ever journaled.
    pub journal: Vec<Entry>,
    /// It dies while it performs the effects of the next event that has some, and stays away so long.
    pub dies_ms: Option<u64>,
    /// When the machine is woken next.
    alarm: Option<Millis>,
    /// Wake-ups in a row at the same time.
    alarms_in_place: u32,
    /// Since when somebody waits for a place that is free, or to be let go, and beside which generation.
    idle_since: Option<(Generation, Millis)>,
    /// Since when a snapshot is wanted of a stepping generation.
    wanted_since: Option<(Generation, Millis)>,
}

impl Shell {
    /// A coordinator runs.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.run.is_some()
    }
}

impl World {
    /// Starts a coordinator from the journal and the snapshots.
    pub(crate) fn start_coordinator(&mut self) {
        if self.shell.is_up() || self.finished.is_some() {
            return;
        }
        let snapshot = self.store.last_key_value().map(|(step, _)| *step);
        let base = self.shell.journal.iter().rposition(|entry| matches!(entry, Entry::Base(_)));
        let recovered = Recovered::replay(&self.shell.journal[base.unwrap_or(0)..], snapshot);
        self.note(|_| format!("the coordinator starts with {recovered:?}"));
        // As the shipped journal does, so that the next replay starts here.
        self.shell.journal.push(recovered.base());
        self.shell.run = Some(Run::new(self.setup.config.clone(), recovered, self.now));
        self.shell.alarm = None;
        if self.operator_stops.is_some() {
            let ask_ms = self.rng.delay_ms(500);
            let at = self.now.plus(ask_ms);
            self.queue.push(at, Happening::OperatorStops);
        }
        if self.data_unfit {
            self.data_is_unfit();
        }
        self.set_alarm();
    }

    /// SIGKILL to the coordinator.
    pub(crate) fn crash_coordinator(&mut self, down_ms: u64) {
        if self.shell.run.take().is_none() {
            return;
        }
        self.note(|_| "the coordinator is killed".to_owned());
        self.coverage.coordinator_deaths += 1;
        self.shell.dies_ms = None;
        self.shell.idle_since = None;
        self.shell.wanted_since = None;
        for (session, process) in self.network.cut_all() {
            let at = self.later(2 * self.setup.net_ms_max);
            self.queue.push(at, Happening::StreamLost(process, session));
        }
        self.queue.push(self.now.plus(down_ms), Happening::CoordinatorStarts);
    }

    /// An event reaches the coordinator on a stream.
    pub(crate) fn arrived(&mut self, session: SessionId, event: Event) {
        let link = self.network.link(session);
        if !link.open_at_coordinator {
            return;
        }
        if matches!(event, Event::Closed { .. }) {
            link.open_at_coordinator = false;
        }
        self.apply(event);
    }

    /// Applies an event, checks what came of it, and performs the effects.
    pub(crate) fn apply(&mut self, event: Event) {
        let Some(run) = &mut self.shell.run else { return };
        let mut effects = Vec::new();
        self.history.comes(&event);
        if self.setup.workers >= LARGE && !self.coverage.events.is_multiple_of(LOOK_EVERY) {
            self.coverage.events += 1;
            run.apply(self.now, event, &mut effects);
            self.perform(effects);
            return self.set_alarm();
        }
        let before = run.clone();
        run.apply(self.now, event.clone(), &mut effects);
        let after = run.clone();
        if !matches!(event, Event::Heard { .. }) || self.trace == Trace::Print {
            self.note(|w| format!("{} -> {}", w.name_event(&event), phase(&after)));
        }
        if let Err(v) = lsgan_control::invariants::check(&before, &after) {
            return self.violated(format!("{}: {}", v.invariant, v.found));
        }
        self.check(|w| w.history.applied((&before, &after), &event, &effects));
        self.nobody_is_idle_for_long(&after);
        self.a_wanted_snapshot_is_written(&after);
        self.coverage.count(&before, &event, &effects);
        self.perform(effects);
        self.set_alarm();
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        let cut = match self.shell.dies_ms {
            Some(_) if !effects.is_empty() => Some(self.rng.between(0, effects.len() as u64) as usize),
            _ => None,
        };
        let mut ended = None;
        for (index, effect) in effects.into_iter().enumerate() {
            if cut == Some(index) {
                break;
            }
            match effect {
                Effect::Journal(entry) => {
                    self.note(|_| format!("  journal {entry:?}"));
                    self.check(|w| w.history.journaled(&entry));
                    if let Entry::Ended(outcome) = &entry {
                        ended = Some(outcome.clone());
                    }
                    self.shell.journal.push(entry);
                }
                Effect::Send { session, message } => {
                    self.note(|w| format!("  send {} {}", w.name_of(session), brief(&message)));
                    self.check(|w| w.history.sent(&message));
                    if self.network.link(session).open_at_coordinator {
                        let process = self.network.link(session).process;
                        let earliest = self.later(self.setup.net_ms_max);
                        let at = self.network.arrival_down(session, earliest);
                        self.queue.push(at, Happening::AtWorker(process, session, message));
                    }
                }
                Effect::Close { session } => self.close(session),
            }
        }
        if let Some(outcome) = ended {
            self.ended(outcome);
        } else if cut.is_some() {
            let down_ms = self.shell.dies_ms.expect("a cut is a death");
            self.crash_coordinator(down_ms);
        }
    }

    fn close(&mut self, session: SessionId) {
        let link = self.network.link(session);
        if !std::mem::replace(&mut link.open_at_coordinator, false) {
            return;
        }
        let process = link.process;
        let earliest = self.later(self.setup.net_ms_max);
        let at = self.network.arrival_down(session, earliest);
        self.queue.push(at, Happening::StreamLost(process, session));
    }

    /// The worker's end of a stream is gone; what it sent may be overtaken by that.
    pub(crate) fn hang_up(&mut self, session: SessionId) {
        self.network.link(session).open_at_worker = false;
        let at = self.later(2 * self.setup.net_ms_max);
        self.queue.push(at, Happening::AtCoordinator(session, Event::Closed { session }));
    }

    /// The run has ended: the coordinator exits after what it sent.
    fn ended(&mut self, outcome: Outcome) {
        self.shell.run = None;
        self.shell.dies_ms = None;
        let attached = self.network.cut_all();
        for &(session, process) in &attached {
            let earliest = self.later(self.setup.net_ms_max);
            let at = self.network.arrival_down(session, earliest);
            self.queue.push(at, Happening::StreamLost(process, session));
        }
        match &outcome {
            Outcome::Complete => {
                if self.setup.poison.is_some() {
                    self.violated("a run is complete although a gradient was not finite".to_owned());
                }
                let steps = self.setup.config.steps;
                self.check(|w| w.history.complete(steps));
                self.finished = Some(outcome);
            }
            Outcome::Failed { why } => {
                let expected = self.setup.poison.is_some() || self.setup.failing_tasks > 0;
                if !expected && !self.data_unfit && !self.history.tainted {
                    self.violated(format!("a run fails for no reason: {why}"));
                }
                self.finished = Some(outcome);
            }
            Outcome::Refused { why } => {
                let sees = |p: &Process| p.life == Life::Running && !p.blind;
                if attached.iter().any(|(_, p)| sees(&self.processes[*p])) {
                    self.violated(format!("a run does not start although a worker sees the store: {why}"));
                }
                self.finished = Some(outcome);
            }
            Outcome::Stopped { step } => {
                let Some(resume_ms) = self.operator_stops.take() else {
                    return self.violated("a run stops although nobody asked for it".to_owned());
                };
                if step.0 > 0 && !self.store.contains_key(step) {
                    return self.violated(format!("a run stops at step {step} without a snapshot of it"));
                }
                self.coverage.stops += 1;
                self.stopped = true;
                self.queue.push(self.now.plus(resume_ms), Happening::OperatorResumes);
            }
        }
    }

    /// The machine's deadline has come, unless it has moved since.
    pub(crate) fn deadline(&mut self) {
        if self.shell.alarm != Some(self.now) {
            return;
        }
        self.shell.alarm = None;
        let due = self.shell.run.as_ref().and_then(Run::next_deadline).is_some_and(|at| at <= self.now);
        if due {
            self.apply(Event::Tick);
        }
        self.set_alarm();
    }

    fn set_alarm(&mut self) {
        let Some(wanted) = self.shell.run.as_ref().and_then(Run::next_deadline) else { return };
        let at = wanted.max(self.now);
        if self.shell.alarm.is_some_and(|alarm| alarm >= self.now && alarm <= at) {
            return;
        }
        self.shell.alarms_in_place = if at == self.now { self.shell.alarms_in_place + 1 } else { 0 };
        if self.shell.alarms_in_place > 1_000 {
            return self.violated("the machine wants to be woken at once, again and again".to_owned());
        }
        self.shell.alarm = Some(at);
        self.queue.push(at, Happening::Deadline);
    }

    /// A standby gets a free place, and a leaver is let go, after a step or two.
    fn nobody_is_idle_for_long(&mut self, run: &Run) {
        let limit = self.setup.config.virtual_ranks.min(self.setup.config.max_workers) as usize;
        let free = run.members().len() < limit;
        let waits = |w: &lsgan_control::Worker| !w.computing && (free && w.aside.is_none() || w.leaving);
        let idle = *run.phase() == Phase::Stepping && run.workers().values().any(waits);
        let generation = run.generation();
        match self.shell.idle_since {
            Some((g, since)) if idle && g == generation => {
                // A frozen member holds up the step until it counts as dead, one that hangs until the others stand.
                let timeout_ms = self.setup.config.failure_timeout_ms_max;
                // One whose connections are tried may have to be waited for.
                let bound_ms = 15_000 + timeout_ms + 4 * self.setup.half_ms_max() + self.setup.stall_ms_max();
                if self.now > since.plus(bound_ms) {
                    self.violated(format!(
                        "somebody waits for {bound_ms} ms for a free place or to be let go"
                    ));
                }
            }
            _ => self.shell.idle_since = idle.then_some((generation, self.now)),
        }
    }

    /// A snapshot that is asked for is written a step or two later.
    fn a_wanted_snapshot_is_written(&mut self, run: &Run) {
        let generation = run.generation();
        let wanted = *run.phase() == Phase::Stepping && run.wants_snapshot();
        match self.shell.wanted_since {
            Some((g, since)) if wanted && g == generation => {
                let bound_ms =
                    3_000 + 4 * self.setup.config.failure_timeout_ms + 6 * self.setup.half_ms_max();
                if self.now > since.plus(bound_ms) {
                    self.violated(format!("a snapshot is wanted for {bound_ms} ms and not written"));
                }
            }
            _ => self.shell.wanted_since = wanted.then_some((generation, self.now)),
        }
    }

    pub(crate) fn name_of(&self, session: SessionId) -> String {
        let process = self.network.process(session);
        format!("{}/{}", self.processes[process].name, session.0)
    }

    fn name_event(&self, event: &Event) -> String {
        match event {
            Event::Joined { session, .. }
            | Event::StoreProved { session, .. }
            | Event::SnapshotWritten { session, .. }
            | Event::SnapshotFailed { session }
            | Event::Heard { session, .. }
            | Event::StateHash { session, .. }
            | Event::Ready { session, .. }
            | Event::Parked { session, .. }
            | Event::CutOff { session, .. }
            | Event::Tried { session, .. }
            | Event::Consumed { session, .. }
            | Event::WantsLeave { session }
            | Event::TaskDone { session }
            | Event::TaskFailed { session, .. }
            | Event::Closed { session } => format!("{}: {event:?}", self.name_of(*session)),
            Event::StopRequested
            | Event::PauseRequested { .. }
            | Event::ResumeRequested { .. }
            | Event::SnapshotRequested
            | Event::DataUnfit { .. }
            | Event::Tick => format!("{event:?}"),
        }
    }

    /// Where everybody is, for a report.
    pub(crate) fn situation(&self) -> String {
        let mut lines = vec![match &self.shell.run {
            Some(run) => format!("coordinator: {}", phase(run)),
            None => "coordinator: away".to_owned(),
        }];
        let alive = |p: &ProcessIndex| self.processes[*p].life != Life::Ended;
        for p in (0..self.processes.len()).filter(alive).take(SHOWN) {
            let process = &self.processes[p];
            lines.push(format!(
                "{}: {:?}, session {:?}, incarnation {:?}, holds {:?}, {:?}{}",
                process.name,
                process.life,
                process.session.map(|s| s.0),
                process.member.incarnation().map(|i| i.0),
                process.state.map(|s| s.applied.0),
                process.membership.as_ref().map(|m| (m.form.generation.0, &m.stage)),
                if process.member.is_leaving() { ", leaving" } else { "" }
            ));
        }
        lines.join("\n  ")
    }
}

fn phase(run: &Run) -> String {
    let workers: Vec<String> = run
        .workers()
        .iter()
        .take(SHOWN)
        .map(|(i, w)| {
            let holds = w.holds.map_or("-".to_owned(), |r| r.to_string());
            let marks = (if w.computing { "c" } else { "" }, if w.leaving { "l" } else { "" });
            format!("{i}@{holds}{}{}", marks.0, marks.1)
        })
        .collect();
    format!("{:?} of generation {} [{}]", run.phase(), run.generation(), workers.join(" "))
}
