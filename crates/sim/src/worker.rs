//! A worker: the real machine of its protocol ([`Participant`]), and a model of the rest: what its shell and its training
//! thread do, and how long that takes. The collective is in `group`.

use std::collections::BTreeMap;

use lsgan_control::member::{Duty, Effect, Ending, Event, Identity, Participant};
use lsgan_control::report::{PublishedSnapshot, StoreProof};
use lsgan_control::{Event as Told, Form, Message, ParkReason, Report, SessionId, Task};
use lsgan_spec::{Generation, Half, Incarnation, Millis, VirtualRank};

use crate::history::State;
use crate::network::{Happening, Inner, ProcessIndex};
use crate::world::World;

/// How long a retired worker waits for its training thread to park. The shipped one waits for a minute.
const PARK_WITHIN_MS: u64 = 3_000;

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Running,
    /// SIGSTOP.
    Frozen,
    /// It is no more.
    Ended,
}

/// One process.
#[derive(Debug)]
pub struct Process {
    /// Its label.
    pub name: String,
    /// Its bits would differ.
    pub odd: bool,
    /// It does not see the run's store.
    pub blind: bool,
    /// Whether it runs.
    pub life: Life,
    /// What happened to it while it was frozen.
    pub deferred: Vec<Happening>,
    /// Its stream to the coordinator.
    pub session: Option<SessionId>,
    /// Its side of the protocol.
    pub member: Participant,
    /// What it has trained.
    pub state: Option<State>,
    /// What its training thread does for the generation that it is in.
    pub membership: Option<Membership>,
    /// It hangs when it is told to abort.
    pub stuck: bool,
    /// Its training thread goes with its next half step.
    pub hangs: bool,
    /// It says that it is much slower than the others.
    pub slow: bool,
    /// Nobody can connect to it.
    pub hidden: bool,
    /// How long its seconds are.
    pub clock_percent: u64,
    /// When its writer has written what it was given.
    pub writes_until: Millis,
    /// What it said on this stream about generations.
    pub said: Vec<Report>,
}

/// What a process does for the generation that it is in.
#[derive(Debug)]
pub struct Membership {
    /// What it was told.
    pub form: Form,
    /// How far it is.
    pub stage: Stage,
    /// How many positions each of its virtual ranks may read.
    pub leases: BTreeMap<VirtualRank, u64>,
    /// The state at the beginning of this step, if it was there.
    pub boundary: Option<State>,
}

/// How far a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Connecting to its peers.
    Connecting,
    /// Taking over the state.
    Taking,
    /// Waiting for a lease.
    Starved,
    /// Computing its part of the next reduction.
    Computing,
    /// In the all-reduce.
    Reducing,
    /// Its training thread is gone.
    Hanging,
    /// Waiting for its device to be idle.
    Draining(ParkReason),
}

impl Process {
    /// A process that has just been started.
    #[must_use]
    pub fn new(name: String, odd: bool) -> Self {
        let identity = Identity {
            address: format!("{name}:4000"),
            numerics: if odd { "odd".to_owned() } else { "even".to_owned() },
            name: name.clone(),
            data_fingerprint: String::new(),
        };
        Self {
            name,
            odd,
            blind: false,
            life: Life::Running,
            deferred: Vec::new(),
            session: None,
            member: Participant::new(identity),
            state: None,
            membership: None,
            stuck: false,
            hangs: false,
            slow: false,
            hidden: false,
            clock_percent: 100,
            writes_until: Millis(0),
            said: Vec::new(),
        }
    }

    /// The membership, if it is of `generation` and still computes.
    pub fn active(&mut self, generation: Generation) -> Option<&mut Membership> {
        let membership = self.membership.as_mut().filter(|m| m.form.generation == generation)?;
        (!matches!(membership.stage, Stage::Draining(_))).then_some(membership)
    }
}

impl World {
    /// Something happens inside a worker.
    pub(crate) fn inner(&mut self, p: ProcessIndex, inner: Inner) {
        match inner {
            Inner::Connect => self.connect(p),
            Inner::Heartbeat(session) => self.heartbeat(p, session),
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
                    self.happens(p, Event::ParkOverdue);
                }
            }
            Inner::Published(state) => self.published(p, state),
            Inner::TaskDone { task, state, fails } => self.task_done(p, task, state, fails),
        }
    }

    /// Something happens to the worker's machine: what it wants done is done, and what it has to say is sent.
    pub(crate) fn happens(&mut self, p: ProcessIndex, event: Event) {
        let mut effects = Vec::new();
        self.processes[p].member.apply(event, &mut effects);
        for effect in effects {
            self.perform_at_worker(p, effect);
        }
        for report in self.processes[p].member.take_mail() {
            self.send(p, report);
        }
    }

    /// The training thread says something.
    pub(crate) fn say(&mut self, p: ProcessIndex, report: Report) {
        self.happens(p, Event::Said(report));
    }

    fn perform_at_worker(&mut self, p: ProcessIndex, effect: Effect) {
        if !matches!(effect, Effect::Send(_) | Effect::Form(_)) {
            self.note(|w| format!("  {} does {effect:?}", w.processes[p].name));
        }
        match effect {
            Effect::Connect => self.retry_later(p),
            Effect::Send(report) => self.send(p, report),
            Effect::HangUp => {
                if let Some(session) = self.processes[p].session.take() {
                    self.hang_up(session);
                }
            }
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
                let try_ms = self.rng.delay_ms(2 * self.setup.net_ms_max);
                self.soon(p, try_ms, Inner::Tried(round, peers));
            }
            Effect::AwaitParking { .. } => {
                let incarnation = self.processes[p].member.incarnation();
                self.soon(p, PARK_WITHIN_MS, Inner::ParkOverdue(incarnation));
            }
            Effect::End(ending) => self.ends(p, &ending),
        }
    }

    fn ends(&mut self, p: ProcessIndex, ending: &Ending) {
        match ending {
            Ending::Refused { .. } if !self.processes[p].odd => {
                self.violated("a worker like all others is refused".to_owned());
            }
            // Its supervisor starts it again.
            Ending::Hangs => self.queue.push(self.now.plus(1), Happening::Spawn),
            Ending::Left | Ending::Refused { .. } | Ending::RunEnded(_) | Ending::CoordinatorLost => {}
        }
        self.kill(p);
    }

    /// Sends something to the coordinator, whose shell looks into the store at once.
    pub(crate) fn send(&mut self, p: ProcessIndex, report: Report) {
        let Some(session) = self.processes[p].session else { return };
        if matches!(report, Report::Ready { .. } | Report::Parked { .. } | Report::Consumed { .. }) {
            self.processes[p].said.push(report.clone());
        }
        let mut earliest = self.later(self.setup.net_ms_max);
        let event = match report {
            Report::StoreProof(StoreProof { why_not, .. }) => {
                // At once: whether it sees the store may change meanwhile.
                earliest = self.now;
                let why_not = (!why_not.is_empty()).then_some(why_not);
                Some(Told::StoreProved { session, why_not })
            }
            Report::SnapshotWritten(snapshot) => Some(Told::SnapshotWritten { session, step: snapshot.step }),
            Report::TaskDone { .. } => Some(Told::TaskDone { session }),
            report => report.into_event(session),
        };
        let Some(event) = event else { return };
        let at = self.network.arrival_up(session, earliest);
        self.queue.push(at, Happening::AtCoordinator(session, event));
    }

    fn connect(&mut self, p: ProcessIndex) {
        if self.processes[p].session.is_some() {
            return;
        }
        if !self.shell.is_up() {
            return self.retry_later(p);
        }
        let session = self.network.open(p);
        let process = &mut self.processes[p];
        process.session = Some(session);
        process.said.clear();
        self.happens(p, Event::Connected { spec: String::new() });
        self.soon(p, self.heartbeat_ms() * self.processes[p].clock_percent / 100, Inner::Heartbeat(session));
    }

    /// Says whether it sees the run's store.
    pub(crate) fn prove_store(&mut self, p: ProcessIndex) {
        let why_not = if self.processes[p].blind { "another disk".to_owned() } else { String::new() };
        self.say(p, Report::StoreProof(StoreProof { why_not, ..StoreProof::default() }));
    }

    fn retry_later(&mut self, p: ProcessIndex) {
        let back_off_ms = self.rng.between(1, self.heartbeat_ms());
        self.soon(p, back_off_ms, Inner::Connect);
    }

    fn heartbeat_ms(&self) -> u64 {
        self.setup.config.failure_timeout_ms / 6
    }

    fn heartbeat(&mut self, p: ProcessIndex, session: SessionId) {
        if self.processes[p].session == Some(session) {
            self.happens(p, Event::HeartbeatDue);
            self.soon(
                p,
                self.heartbeat_ms() * self.processes[p].clock_percent / 100,
                Inner::Heartbeat(session),
            );
        }
    }

    /// The worker sees that its stream is gone, and comes back.
    pub(crate) fn stream_lost(&mut self, p: ProcessIndex, session: SessionId) {
        self.network.link(session).open_at_worker = false;
        let process = &mut self.processes[p];
        if process.session != Some(session) {
            return;
        }
        process.session = None;
        self.happens(p, Event::Disconnected);
    }

    /// A message reaches a worker.
    pub(crate) fn told(&mut self, p: ProcessIndex, session: SessionId, message: Message) {
        if self.processes[p].session != Some(session) || !self.network.link(session).open_at_worker {
            return;
        }
        self.note(|w| format!("{} is told {}", w.processes[p].name, brief(&message)));
        if let Message::Retired { .. } = message {
            self.coverage.retired += 1;
            if self.setup.forgets && !self.processes[p].member.is_leaving() {
                // It is killed instead, and its supervisor starts it again.
                self.kill(p);
                let at = self.later(500);
                return self.queue.push(at, Happening::Spawn);
            }
        }
        self.happens(p, Event::Told(message));
    }

    fn admitted(&mut self, p: ProcessIndex, adopted: bool) {
        if self.processes[p].odd {
            return self.violated("a worker with other numerics is admitted".to_owned());
        }
        self.coverage.adopted += u64::from(adopted);
        self.prove_store(p);
    }

    /// Says what each of its virtual ranks has wholly consumed, counted from the first position.
    pub(crate) fn report_consumed(&mut self, p: ProcessIndex) {
        let process = &self.processes[p];
        let (Some(membership), Some(state)) = (&process.membership, process.state) else { return };
        let member = &membership.form.members[membership.form.rank as usize];
        let ordinals = state.applied.step().0 / self.setup.steps_per_ordinal;
        for virtual_rank in member.virtual_ranks() {
            self.say(p, Report::Consumed { virtual_rank, ordinals });
        }
    }

    fn leased(&mut self, p: ProcessIndex, virtual_rank: VirtualRank, until: u64) {
        let Some(membership) = &mut self.processes[p].membership else { return };
        if let Some(lease) = membership.leases.get_mut(&virtual_rank) {
            *lease = (*lease).max(until);
        }
        if membership.stage == Stage::Starved {
            self.begin(p);
        }
    }

    /// Begins the next half step, or parks if there is none.
    pub(crate) fn begin(&mut self, p: ProcessIndex) {
        let process = &mut self.processes[p];
        let state = process.state.expect("a member that steps holds a state");
        let membership = process.membership.as_mut().expect("only a member steps");
        let (step, generation) = (state.applied.step(), membership.form.generation);
        if state.applied.half() == Half::Discriminator {
            if Duty::of(&membership.form).is_over(step) {
                return self.park(p, ParkReason::Boundary);
            }
            membership.boundary = Some(state);
            let ordinal = step.0 / self.setup.steps_per_ordinal;
            if membership.leases.values().any(|until| ordinal >= *until) {
                membership.stage = Stage::Starved;
                return;
            }
        }
        if std::mem::take(&mut process.hangs) {
            membership.stage = Stage::Hanging;
            return;
        }
        membership.stage = Stage::Computing;
        let compute_ms = self.rng.delay_ms(self.setup.compute_ms_max);
        self.soon(p, compute_ms, Inner::Computed(generation, state.applied));
    }

    /// Stops computing; the word to the coordinator follows when the device is idle.
    pub(crate) fn park(&mut self, p: ProcessIndex, reason: ParkReason) {
        let in_place = self.setup.broadcast_in_place;
        let process = &mut self.processes[p];
        let membership = process.membership.as_mut().expect("only a member parks");
        if membership.stage == Stage::Hanging {
            return;
        }
        let generation = membership.form.generation;
        let receives = membership.form.root.is_some_and(|root| root != membership.form.rank);
        if membership.stage == Stage::Taking && receives && in_place {
            // Half overwritten, unless with the very bits that were there.
            process.state = process.state.filter(|s| s.applied == membership.form.from);
        }
        let orderly = matches!(reason, ParkReason::Boundary | ParkReason::Failed(_));
        // One that hangs before it is told to abort is another fault.
        let hangs = process.stuck && reason == ParkReason::Aborted;
        membership.stage = Stage::Draining(reason);
        self.leave_group(p, !orderly);
        if !hangs {
            let drain_ms = self.rng.delay_ms(20);
            self.soon(p, drain_ms, Inner::Drained(generation));
        }
    }

    fn tried(&mut self, p: ProcessIndex, round: u64, peers: &[Incarnation]) {
        let missing = peers.iter().filter(|peer| !self.reaches(p, **peer));
        let missing = missing.map(|peer| (*peer, "timed out".to_owned())).collect();
        self.say(p, Report::Tried { round, missing });
    }

    /// Whether a connection to the one who has this incarnation can be made. One that is frozen has a kernel.
    fn reaches(&self, p: ProcessIndex, peer: Incarnation) -> bool {
        let is_peer = |other: &Process| other.member.incarnation() == Some(peer) && other.life != Life::Ended;
        self.processes.iter().position(is_peer).is_some_and(|to| {
            let cut = self.severed.contains(&(p, to)) || self.severed.contains(&(to, p));
            !cut && !self.processes[to].hidden
        })
    }

    fn drained(&mut self, p: ProcessIndex, generation: Generation) {
        let process = &mut self.processes[p];
        let Some(membership) = process.membership.take_if(|m| m.form.generation == generation) else {
            return;
        };
        let Stage::Draining(reason) = membership.stage else {
            return self.violated(format!("generation {generation} is formed twice in one worker"));
        };
        let applied = process.state.map(|s| s.applied);
        self.say(p, Report::Parked { generation, applied, reason });
    }

    fn task(&mut self, p: ProcessIndex, task: Task) {
        if self.processes[p].blind {
            return self.violated("a worker that does not see the store is to write".to_owned());
        }
        if self.processes[p].membership.is_some() {
            return self.violated("a worker that computes is given a task".to_owned());
        }
        let fails = self.failing_tasks > 0;
        self.failing_tasks = self.failing_tasks.saturating_sub(1);
        self.write(p, task, fails);
    }

    /// Writes a copy of the state that is held now.
    fn write(&mut self, p: ProcessIndex, task: Task, fails: bool) {
        let Some(state) = self.processes[p].state else {
            return self.violated("a worker without state is to write it".to_owned());
        };
        let write_ms = self.rng.delay_ms(300);
        self.when_written(p, write_ms, Inner::TaskDone { task, state, fails });
    }

    /// Its writer writes one thing after another.
    pub(crate) fn when_written(&mut self, p: ProcessIndex, write_ms: u64, written: Inner) {
        let at = self.processes[p].writes_until.max(self.now).plus(write_ms);
        self.processes[p].writes_until = at;
        self.queue.push(at, Happening::Worker(p, written));
    }

    fn task_done(&mut self, p: ProcessIndex, task: Task, state: State, fails: bool) {
        if fails {
            return self.say(p, Report::TaskFailed { why: "the disk is full".to_owned() });
        }
        self.publish(state);
        if task == Task::Final {
            self.history.final_written(state);
        }
        self.say_written(p, state);
        self.say(p, Report::TaskDone { files: Vec::new() });
    }

    /// The snapshot that it wrote while it trained is there, or could not be written.
    fn published(&mut self, p: ProcessIndex, state: State) {
        if self.failing_writes > 0 {
            self.failing_writes -= 1;
            let (step, why) = (state.applied.step(), "the disk is full".to_owned());
            return self.say(p, Report::SnapshotFailed { step, why });
        }
        self.publish(state);
        self.say_written(p, state);
    }

    fn say_written(&mut self, p: ProcessIndex, state: State) {
        let snapshot = PublishedSnapshot { step: state.applied.step(), ..PublishedSnapshot::default() };
        self.say(p, Report::SnapshotWritten(snapshot));
    }

    /// A snapshot is in the store from now on.
    fn publish(&mut self, state: State) {
        if state.applied.half() != Half::Discriminator {
            self.violated(format!("a snapshot is written in the middle of a step, at {}", state.applied));
        }
        self.check(|w| w.history.state("a snapshot", state));
        self.store.insert(state.applied.step(), state);
    }

    /// The process is no more.
    pub(crate) fn kill(&mut self, p: ProcessIndex) {
        self.leave_group(p, true);
        let process = &mut self.processes[p];
        process.life = Life::Ended;
        process.membership = None;
        process.deferred.clear();
        if let Some(session) = process.session.take() {
            self.hang_up(session);
        }
    }
}

/// A message in a few words.
pub(crate) fn brief(message: &Message) -> String {
    match message {
        Message::Form(f) => format!(
            "to form generation {} as rank {} of {} from {} ({:?}, root {:?})",
            f.generation,
            f.rank,
            f.members.len(),
            f.from,
            f.start,
            f.root
        ),
        Message::Welcome { .. }
        | Message::Refused { .. }
        | Message::Abort(_)
        | Message::Lease { .. }
        | Message::Wish { .. }
        | Message::Try { .. }
        | Message::Task(_)
        | Message::Retired { .. }
        | Message::Shutdown(_) => format!("{message:?}"),
    }
}
