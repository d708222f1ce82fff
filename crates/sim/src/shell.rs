//! The simulated coordinator: it performs effects one by one, keeps a journal, and dies between any two effects.

use std::collections::BTreeSet;

use lsgan_control::gate::Rejection;
use lsgan_control::report::StoreProof;
use lsgan_control::{Effect, Entry, Event, Message, Outcome, Phase, Report, Run, SessionId, Worker};
use lsgan_spec::{Generation, Millis};

use crate::faults::Class;
use crate::fence::{Coordinator, Fence};
use crate::network::Happening;
use crate::process::{Life, Process};
use crate::setup::LARGE;
use crate::worker::brief;
use crate::world::{Trace, World};

/// So many workers of a world are printed.
pub(crate) const SHOWN: usize = 40;

/// In a large world invariants are checked after one of so many events.
const CHECK_EVERY: u64 = 50_000;

/// One coordinator after another, over the journal that they share.
#[derive(Debug, Default)]
pub struct Shell {
    /// The machine, while a coordinator runs.
    pub run: Option<Run>,
    /// All entries of all coordinators; in a copied world those that are on this one's disk.
    pub journal: Vec<Entry>,
    /// Which coordinator it is; 0 where there is one journal for all.
    pub id: Coordinator,
    /// Its view of the journal's copy, in a copied world.
    pub fence: Option<Fence>,
    /// Which journal is on its disk; 0 for none.
    pub journal_of: Coordinator,
    /// Its way to the store is slow until then.
    pub slow_until: Millis,
    /// The coordinator dies while it performs the effects of the next event that has some, and restarts after so long.
    pub dies_ms: Option<u64>,
    /// Its journal is lost with it.
    pub loses_host: bool,
    /// So many entries are in the copy for certain: something was sent after them.
    copied: usize,
    /// So many entries were checked: others may still be lost.
    settled: usize,
    /// The streams that have said Hello.
    greeted: BTreeSet<SessionId>,
    /// When the machine is woken next.
    alarm: Option<Millis>,
    /// Wake-ups in a row at the same time.
    alarms_in_place: u32,
    /// Since when a worker waits for a free place, or to leave.
    idle_since: Since,
    /// Since when a snapshot of a stepping generation is wanted.
    wanted_since: Since,
}

impl Shell {
    /// Whether a coordinator runs.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.run.is_some()
    }
}

/// Since when a condition holds, and in which generation.
type Since = Option<(Generation, Millis)>;

/// How long a condition that is `true` now has held in this generation.
fn held_ms(since: &mut Since, condition: bool, generation: Generation, now: Millis) -> u64 {
    *since = condition.then(|| since.filter(|(g, _)| *g == generation).unwrap_or((generation, now)));
    since.map_or(0, |(_, at)| now.0 - at.0)
}

impl World {
    /// Starts a coordinator from the journal and the snapshots.
    pub(crate) fn start_coordinator(&mut self) {
        if self.shell.is_up() || self.finished.is_some() || self.stopped {
            return;
        }
        if self.is_copied() {
            return self.start_candidate();
        }
        let recovered = self.recovered();
        // As the shipped journal does, so that the next replay starts here.
        self.shell.journal.push(recovered.base());
        self.settle();
        self.shell.run = Some(Run::new(self.setup.config.clone(), recovered, self.now));
        self.leads_now();
    }

    /// The coordinator has its machine.
    pub(crate) fn leads_now(&mut self) {
        self.shell.alarm = None;
        if self.operator_stops.is_some() {
            self.push_within(500, Happening::OperatorStops);
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
        let loses_host = std::mem::take(&mut self.shell.loses_host);
        if self.is_copied() {
            self.drop_fence(loses_host);
        } else if loses_host {
            self.lose_journal();
        }
        self.settle();
        self.shell.idle_since = None;
        self.shell.wanted_since = None;
        for (session, process) in self.network.cut_all(self.shell.id) {
            self.push_within(2 * self.setup.net_ms_max, Happening::StreamLost(process, session));
        }
        self.queue.push(self.now.plus(down_ms), Happening::CoordinatorStarts);
    }

    /// The host is lost. Each entry that nothing was sent about may be in the copy, or lost with all after it.
    fn lose_journal(&mut self) {
        let Shell { copied, journal, .. } = &self.shell;
        let kept = self.rng.between(*copied as u64, journal.len() as u64) as usize;
        self.coverage.lost_entries += (journal.len() - kept) as u64;
        self.note(|w| format!("  {} entries are lost with its host", w.shell.journal.len() - kept));
        self.shell.journal.truncate(kept);
    }

    /// The entries up to here lasted.
    fn settle(&mut self) {
        if self.is_copied() {
            return;
        }
        for index in self.shell.settled..self.shell.journal.len() {
            self.check(|w| w.history.journaled(&w.shell.journal[index]));
        }
        self.shell.settled = self.shell.journal.len();
        self.shell.copied = self.shell.settled;
    }

    /// A report reaches the coordinator on a stream. As in the shipped shell it passes the gate first, and the shell has
    /// looked into the store when a report of that becomes an event.
    pub(crate) fn arrived(&mut self, session: SessionId, report: Report) {
        let (true, Some(run)) = (self.network.link(session).open_at_coordinator, &self.shell.run) else {
            return;
        };
        match run.admits(session, &report) {
            Ok(()) => {}
            Err(_) if self.processes[self.network.process(session)].stranger => {
                self.coverage.ignored += 1;
                return;
            }
            Err(Rejection::Late) => return,
            // What another one has decided since is unknown to it. It will find that it does not lead.
            Err(_) if self.is_superseded() => return,
            // Its incarnation is over, and the word of that is on its way.
            Err(Rejection::NoHello) if self.shell.greeted.contains(&session) => return,
            Err(rejection) => {
                return self.violated(format!("{report:?} of an honest worker is ignored: {rejection}"));
            }
        }
        if matches!(report, Report::Hello(_)) {
            self.shell.greeted.insert(session);
        }
        if let Report::Heartbeat { .. } = report {
            // As in the shipped shell where others have much to say: it is known before it is handled.
            self.apply_from(Some(session), Event::Alive { session });
        }
        let event = match report {
            Report::StoreProof(StoreProof { why_not, .. }) => {
                let why_not = (!why_not.is_empty()).then_some(why_not);
                Some(Event::StoreProved { session, why_not })
            }
            Report::SnapshotWritten(snapshot) => {
                Some(Event::SnapshotWritten { session, step: snapshot.step })
            }
            Report::TaskDone { .. } => Some(Event::TaskDone { session }),
            report => report.into_event(session),
        };
        if let Some(event) = event {
            self.apply_from(Some(session), event);
        }
    }

    /// The coordinator sees that a worker has closed its stream.
    pub(crate) fn closed(&mut self, session: SessionId) {
        if std::mem::replace(&mut self.network.link(session).open_at_coordinator, false) {
            self.apply_from(Some(session), Event::Closed { session });
        }
    }

    /// Gives the machine an event that no worker caused.
    pub(crate) fn apply(&mut self, event: Event) {
        self.apply_from(None, event);
    }

    /// Gives the machine an event, checks the result, and performs the effects.
    fn apply_from(&mut self, session: Option<SessionId>, event: Event) {
        let Some(run) = &mut self.shell.run else { return };
        let mut effects = Vec::new();
        self.history.comes(&event);
        if self.setup.workers >= LARGE && !self.coverage.events.is_multiple_of(CHECK_EVERY) {
            self.coverage.events += 1;
            run.apply(self.now, event, &mut effects);
            self.perform(effects);
            return self.set_alarm();
        }
        let before = run.clone();
        run.apply(self.now, event.clone(), &mut effects);
        let after = run.clone();
        if !matches!(event, Event::Heard { .. } | Event::Alive { .. }) || self.trace == Trace::Print {
            self.note(|w| {
                let from = session.map_or(String::new(), |session| w.name_of(session) + ": ");
                format!("{from}{event:?} -> {}", phase(&after))
            });
        }
        if let Err(v) = lsgan_control::invariants::check(&before, &after) {
            return self.violated(format!("{}: {}", v.invariant, v.found));
        }
        self.check(|w| w.history.applied((&before, &after), &event, &effects));
        // While two believe that they lead, what one waits for may be with the other.
        if !self.is_copied() || (self.calm && self.olds.is_empty()) {
            self.no_worker_waits_for_long(&after);
            self.a_wanted_snapshot_is_written(&after);
        }
        self.coverage.count(&before, &event, &effects);
        self.perform(effects);
        self.set_alarm();
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        let cut = match self.shell.dies_ms {
            Some(_) if !effects.is_empty() => Some(self.rng.between(0, effects.len() as u64) as usize),
            _ => None,
        };
        if self.is_copied() {
            return self.hold(effects, cut);
        }
        let mut ended = None;
        for (index, effect) in effects.into_iter().enumerate() {
            if cut == Some(index) {
                break;
            }
            match effect {
                Effect::Journal(entry) => {
                    self.note(|_| format!("  journal {entry:?}"));
                    if let Entry::Ended(outcome) = &entry {
                        ended = Some(outcome.clone());
                    }
                    // Which workers may join depends on it, and so it is copied at once.
                    let hurries = matches!(entry, Entry::Numerics(_));
                    self.shell.journal.push(entry);
                    if hurries {
                        self.settle();
                    }
                }
                Effect::Send { session, message } => {
                    self.settle();
                    self.tell(session, message);
                }
                Effect::Close { session } => self.close(session),
            }
        }
        if let Some(outcome) = ended {
            self.settle();
            self.ended(outcome);
        } else if cut.is_some() {
            let down_ms = self.shell.dies_ms.expect("a cut is a death");
            self.crash_coordinator(down_ms);
        }
    }

    /// A message goes on its way.
    pub(crate) fn tell(&mut self, session: SessionId, message: Message) {
        self.note(|w| format!("  send {} {}", w.name_of(session), brief(&message)));
        let was_held = self.is_copied();
        self.check(|w| w.history.sent(&message, was_held));
        let link = *self.network.link(session);
        if link.open_at_coordinator {
            self.push_down(session, Happening::AtWorker(link.process, session, message));
        }
    }

    /// The coordinator ends a stream after what it sent on it.
    pub(crate) fn close(&mut self, session: SessionId) {
        let link = self.network.link(session);
        let process = link.process;
        if std::mem::replace(&mut link.open_at_coordinator, false) {
            self.push_down(session, Happening::StreamLost(process, session));
        }
    }

    /// Schedules what a worker sees on its stream, after all that was sent to it before.
    fn push_down(&mut self, session: SessionId, what: Happening) {
        let earliest = self.later(self.setup.net_ms_max);
        let at = self.network.arrival_down(session, earliest);
        self.queue.push(at, what);
    }

    /// The worker closes its end of a stream. The coordinator may see that before messages that the worker sent earlier.
    pub(crate) fn hang_up(&mut self, session: SessionId) {
        self.network.link(session).open_at_worker = false;
        self.push_within(2 * self.setup.net_ms_max, Happening::StreamClosed(session));
    }

    /// The run has ended: the coordinator exits after what it sent.
    pub(crate) fn ended(&mut self, outcome: Outcome) {
        let Some(run) = self.shell.run.take() else { return };
        self.shell.dies_ms = None;
        self.shell.loses_host = false;
        for (session, process) in self.network.cut_all(self.shell.id) {
            self.push_down(session, Happening::StreamLost(process, session));
        }
        match &outcome {
            Outcome::Complete => {
                if self.setup.poison.is_some() {
                    self.violated("a run is complete although a gradient was not finite".to_owned());
                }
                let steps = self.setup.config.steps;
                self.check(|w| w.history.complete(steps));
            }
            Outcome::Failed { why } => {
                // There may be too few others.
                let sick = self.setup.classes.contains(&Class::Sick);
                let expected = self.setup.poison.is_some() || self.setup.failing_tasks > 0 || sick;
                if !expected && !self.data_unfit && !self.history.tainted {
                    self.violated(format!("a run fails for no reason: {why}"));
                }
            }
            Outcome::Refused { why } => {
                // A worker whose Hello is still under way is not known to the machine.
                let sees = |p: &Process| p.life == Life::Running && !p.blind;
                let process = |w: &Worker| &self.processes[self.network.process(w.session)];
                if run.workers().values().any(|w| sees(process(w))) {
                    self.violated(format!("a run does not start although a worker sees the store: {why}"));
                }
            }
            Outcome::Stopped { step } => {
                let Some(resume_ms) = self.operator_stops.take() else {
                    return self.violated("a run stops although no operator asked for it".to_owned());
                };
                if step.0 > 0 && !self.store.contains_key(step) {
                    return self.violated(format!("a run stops at step {step} without a snapshot of it"));
                }
                self.coverage.stops += 1;
                self.stopped = true;
                return self.queue.push(self.now.plus(resume_ms), Happening::OperatorResumes);
            }
        }
        self.finished = Some(outcome);
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

    /// A standby gets a free place, and a leaver may leave, after a step or two.
    fn no_worker_waits_for_long(&mut self, run: &Run) {
        let limit = self.setup.config.virtual_ranks.min(self.setup.config.max_workers) as usize;
        let free = run.members().len() < limit;
        let member = |i| run.members().iter().any(|m| m.incarnation == i);
        // A worker that computes and is no member hangs in an earlier generation.
        let leaves = |i, w: &Worker| w.leaving && (!w.computing || member(i));
        let waits = |w: &Worker| !w.computing && free && w.aside.is_none();
        let mut workers = run.workers().iter();
        let idle = *run.phase() == Phase::Stepping && workers.any(|(i, w)| leaves(*i, w) || waits(w));
        let idle_ms = held_ms(&mut self.shell.idle_since, idle, run.generation(), self.now);
        // A frozen member holds up the step until it counts as dead, one that hangs until the generation counts as
        // standing. 15 s are for connections that are tried first.
        let timeout_ms = self.setup.config.failure_timeout_ms_max;
        let bound_ms = 15_000 + timeout_ms + 4 * self.setup.half_ms_max() + self.setup.stall_ms_max();
        if idle_ms > bound_ms {
            self.violated(format!("a worker waits for {bound_ms} ms for a free place or to leave"));
        }
    }

    /// A snapshot that is asked for is written a step or two later.
    fn a_wanted_snapshot_is_written(&mut self, run: &Run) {
        let wanted = *run.phase() == Phase::Stepping && run.wants_snapshot();
        let wanted_ms = held_ms(&mut self.shell.wanted_since, wanted, run.generation(), self.now);
        let bound_ms = 3_000 + 4 * self.setup.config.failure_timeout_ms + 6 * self.setup.half_ms_max();
        if wanted_ms > bound_ms {
            self.violated(format!("a snapshot is wanted for {bound_ms} ms and not written"));
        }
    }

    fn name_of(&self, session: SessionId) -> String {
        format!("{}/{}", self.processes[self.network.process(session)].name, session.0)
    }
}

pub(crate) fn phase(run: &Run) -> String {
    let workers = run.workers().iter().take(SHOWN).map(|(i, w)| {
        let holds = w.holds.map_or("-".to_owned(), |r| r.to_string());
        let marks = (if w.computing { "c" } else { "" }, if w.leaving { "l" } else { "" });
        format!("{i}@{holds}{}{}", marks.0, marks.1)
    });
    let workers: Vec<String> = workers.collect();
    format!("{:?} of generation {} [{}]", run.phase(), run.generation(), workers.join(" "))
}
