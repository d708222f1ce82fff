//! A worker's shell: it drives the real machine of its protocol ([`lsgan_control::member::Participant`]) and carries its
//! reports and messages. The training thread is in `training`, the collective in `group`.

use lsgan_control::member::{Effect, Ending, Event};
use lsgan_control::report::StoreProof;
use lsgan_control::{Message, ParkReason, Report, SessionId, Task};

use crate::network::{Happening, Inner, ProcessIndex};
use crate::process::Life;
use crate::world::World;

/// How long a retired worker waits for its training thread to park. The shipped one waits for a minute.
const PARK_WITHIN_MS: u64 = 3_000;

impl World {
    /// Something happens inside a worker.
    pub(crate) fn inner(&mut self, p: ProcessIndex, inner: Inner) {
        match inner {
            Inner::Connect => self.connect(p),
            Inner::Heartbeat(session) => {
                if self.processes[p].session == Some(session) {
                    self.apply_at_worker(p, Event::HeartbeatDue);
                    self.heartbeat_later(p, session);
                }
            }
            Inner::Connected(g) => self.connected(p, g),
            Inner::Taken(g) => self.taken(p, g),
            Inner::Computed(g, r) => self.enter(p, g, r),
            Inner::Reduced(g, r) => self.reduced(p, g, r),
            Inner::PeerLost(g) => {
                if self.processes[p].active(g).is_some() {
                    self.park(p, ParkReason::Broken("a peer is gone".to_owned()));
                }
            }
            Inner::Unreachable(g, peer) => self.unreachable(p, g, peer),
            Inner::Tried(round, peers) => self.tried(p, round, &peers),
            Inner::Drained(g) => self.drained(p, g),
            Inner::ParkOverdue(incarnation) => {
                if self.processes[p].member.incarnation() == incarnation {
                    self.apply_at_worker(p, Event::ParkOverdue);
                }
            }
            Inner::Published(state) => self.published(p, state),
            Inner::TaskDone { task, state, fails } => self.task_done(p, task, state, fails),
        }
    }

    /// Gives the worker's machine an event, performs its effects, and sends its mail.
    pub(crate) fn apply_at_worker(&mut self, p: ProcessIndex, event: Event) {
        let mut effects = Vec::new();
        self.processes[p].member.apply(event, &mut effects);
        for effect in effects {
            self.perform_at_worker(p, effect);
        }
        for report in self.processes[p].member.take_mail() {
            self.send(p, report);
        }
    }

    /// The training thread, or a helper beside it, reports something.
    pub(crate) fn say(&mut self, p: ProcessIndex, report: Report) {
        self.apply_at_worker(p, Event::Said(report));
    }

    fn perform_at_worker(&mut self, p: ProcessIndex, effect: Effect) {
        if !matches!(effect, Effect::Send(_) | Effect::Form(_)) {
            self.note(|w| format!("  {} does {effect:?}", w.processes[p].name));
        }
        match effect {
            Effect::Connect => self.retry_later(p),
            Effect::Send(report) => self.send(p, report),
            Effect::HangUp => self.close_stream(p),
            Effect::Admitted { adopted, .. } => self.admitted(p, adopted),
            Effect::Form(form) => self.join_group(p, form),
            Effect::Abort => {
                if let Some(generation) = self.processes[p].membership.as_ref().map(|m| m.form.generation)
                    && self.processes[p].active(generation).is_some()
                {
                    self.park(p, ParkReason::Aborted);
                }
            }
            Effect::Grant { virtual_rank, until } => self.leased(p, virtual_rank, until),
            Effect::Task(task) => self.task(p, task),
            Effect::KeepAlone { .. } => {
                let fails = self.processes[p].blind;
                self.write(p, Task::Snapshot, fails);
            }
            Effect::CannotKeep { .. } => {}
            Effect::Try { round, peers } => {
                let peers = peers.into_iter().map(|(incarnation, _)| incarnation).collect();
                self.soon(p, 2 * self.setup.net_ms_max, Inner::Tried(round, peers));
            }
            Effect::AwaitParking { .. } => {
                let incarnation = self.processes[p].member.incarnation();
                self.after(p, PARK_WITHIN_MS, Inner::ParkOverdue(incarnation));
            }
            Effect::End(ending) => self.ends(p, &ending),
        }
    }

    fn ends(&mut self, p: ProcessIndex, ending: &Ending) {
        match ending {
            Ending::Refused { .. } if !self.processes[p].odd => {
                self.violated("a worker with the run's numerics is refused".to_owned());
            }
            // Its supervisor starts it again.
            Ending::Hangs => self.queue.push(self.now.plus(1), Happening::Spawn),
            Ending::Left | Ending::Refused { .. } | Ending::RunEnded(_) | Ending::CoordinatorLost => {}
        }
        self.kill(p);
    }

    /// Sends a report to the coordinator.
    pub(crate) fn send(&mut self, p: ProcessIndex, report: Report) {
        let Some(session) = self.processes[p].session else { return };
        if matches!(report, Report::Ready { .. } | Report::Parked { .. } | Report::Consumed { .. }) {
            self.processes[p].said.push(report.clone());
        }
        let mut earliest = self.later(self.setup.net_ms_max);
        if matches!(report, Report::StoreProof(_)) {
            // Without delay, because the worker may see the store by then.
            earliest = self.now;
        }
        let at = self.network.arrival_up(session, earliest);
        self.queue.push(at, Happening::AtCoordinator(session, report));
    }

    fn connect(&mut self, p: ProcessIndex) {
        if self.processes[p].session.is_some() {
            return;
        }
        let Some(coordinator) = self.some_coordinator() else { return self.retry_later(p) };
        let session = self.network.open(p, coordinator);
        let process = &mut self.processes[p];
        process.session = Some(session);
        process.said.clear();
        self.apply_at_worker(p, Event::Connected { spec: String::new() });
        self.heartbeat_later(p, session);
    }

    /// Reports whether the worker sees the run's store.
    pub(crate) fn prove_store(&mut self, p: ProcessIndex) {
        let why_not = if self.processes[p].blind { "another disk".to_owned() } else { String::new() };
        let answer = self.processes[p].name.clone();
        self.say(p, Report::StoreProof(StoreProof { why_not, answer, ..StoreProof::default() }));
    }

    fn retry_later(&mut self, p: ProcessIndex) {
        let back_off_ms = self.rng.between(1, self.heartbeat_ms());
        self.after(p, back_off_ms, Inner::Connect);
    }

    fn heartbeat_ms(&self) -> u64 {
        self.setup.config.failure_timeout_ms / 6
    }

    fn heartbeat_later(&mut self, p: ProcessIndex, session: SessionId) {
        let after_ms = self.heartbeat_ms() * self.processes[p].clock_percent / 100;
        self.after(p, after_ms, Inner::Heartbeat(session));
    }

    /// The worker sees that its stream is gone.
    pub(crate) fn stream_lost(&mut self, p: ProcessIndex, session: SessionId) {
        self.network.link(session).open_at_worker = false;
        if self.processes[p].session.take_if(|own| *own == session).is_some() {
            self.apply_at_worker(p, Event::Disconnected);
        }
    }

    /// A message reaches a worker.
    pub(crate) fn received(&mut self, p: ProcessIndex, session: SessionId, message: Message) {
        if self.processes[p].session != Some(session) || !self.network.link(session).open_at_worker {
            return;
        }
        self.note(|w| format!("{} is told {}", w.processes[p].name, brief(&message)));
        let coordinator = self.network.link(session).coordinator;
        self.check(|w| w.processes[p].told_by(coordinator, &message));
        if let Message::Retired { .. } = message {
            self.coverage.retired += 1;
            if self.setup.forgets && !self.processes[p].member.is_leaving() {
                // Its supervisor kills it and starts it again.
                self.kill(p);
                return self.push_within(500, Happening::Spawn);
            }
        }
        self.apply_at_worker(p, Event::Told(message));
    }

    fn admitted(&mut self, p: ProcessIndex, adopted: bool) {
        if self.processes[p].odd {
            return self.violated("a worker with other numerics is admitted".to_owned());
        }
        self.coverage.adopted += u64::from(adopted);
        self.prove_store(p);
    }

    /// Ends the process.
    pub(crate) fn kill(&mut self, p: ProcessIndex) {
        self.leave_group(p, true);
        let process = &mut self.processes[p];
        process.life = Life::Ended;
        process.membership = None;
        process.deferred.clear();
        self.close_stream(p);
    }

    fn close_stream(&mut self, p: ProcessIndex) {
        if let Some(session) = self.processes[p].session.take() {
            self.hang_up(session);
        }
    }
}

/// A message in a few words.
pub(crate) fn brief(message: &Message) -> String {
    let Message::Form(f) = message else { return format!("{message:?}") };
    let (generation, rank, members) = (f.generation, f.rank, f.members.len());
    let (from, start, root) = (f.from, f.start, f.root);
    format!(
        "to form generation {generation} as rank {rank} of {members} from {from} ({start:?}, root {root:?})"
    )
}
