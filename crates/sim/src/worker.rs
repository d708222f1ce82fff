//! A model of a worker: what it holds, what it says, and how it obeys. The collective is in `group`.

use std::collections::BTreeMap;

use lsgan_control::{Event, Form, Hello, Message, ParkReason, Resume, SessionId, Task, Wish};
use lsgan_spec::{Generation, Half, Incarnation, Step, VirtualRank};

use crate::history::State;
use crate::network::{Happening, Inner, ProcessIndex};
use crate::world::World;

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
    /// Its incarnation.
    pub incarnation: Option<Incarnation>,
    /// The generation that it was in last.
    pub generation: Generation,
    /// What it has trained.
    pub state: Option<State>,
    /// What it does for the generation that it is in.
    pub membership: Option<Membership>,
    /// SIGTERM has come.
    pub leaving: bool,
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
    /// Snapshots that it has published; told again on each stream, since it cannot know who has heard.
    pub published: Vec<Step>,
    /// What it said on this stream about generations.
    pub said: Vec<Event>,
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
    /// It was told a wish: it puts a control word into the coming reductions.
    pub told_wish: bool,
    /// A control word was in a sum of this step.
    pub heard_wish: bool,
    /// It was told that a snapshot is wanted.
    pub told_snapshot: bool,
    /// The control word for a snapshot was in a sum of this step.
    pub heard_snapshot: bool,
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
        Self {
            name,
            odd,
            blind: false,
            life: Life::Running,
            deferred: Vec::new(),
            session: None,
            incarnation: None,
            generation: Generation(0),
            state: None,
            membership: None,
            leaving: false,
            stuck: false,
            hangs: false,
            slow: false,
            hidden: false,
            clock_percent: 100,
            published: Vec::new(),
            said: Vec::new(),
        }
    }

    /// The membership, if it is of `generation` and still computes.
    pub fn active(&mut self, generation: Generation) -> Option<&mut Membership> {
        let membership = self.membership.as_mut().filter(|m| m.form.generation == generation)?;
        (!matches!(membership.stage, Stage::Draining(_))).then_some(membership)
    }

    fn hello(&self) -> Hello {
        let resume = self.incarnation.map(|incarnation| Resume {
            incarnation,
            generation: self.membership.as_ref().map_or(self.generation, |m| m.form.generation),
            stepping: self.membership.is_some(),
            writes: self.membership.as_ref().is_some_and(|m| m.form.writer == Some(m.form.rank)),
            spec: String::new(),
        });
        Hello {
            name: self.name.clone(),
            address: format!("{}:4000", self.name),
            numerics: if self.odd { "odd".to_owned() } else { "even".to_owned() },
            holds: self.state.map(|s| s.applied),
            resume,
            data_fingerprint: String::new(),
        }
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
            Inner::Tried(session, round, peers) => self.tried(p, session, round, &peers),
            Inner::Drained(g) => self.drained(p, g),
            Inner::Published(state) => {
                let Some(session) = self.processes[p].session else {
                    self.publish(state);
                    return self.processes[p].published.push(state.applied.step());
                };
                if self.failing_writes > 0 {
                    self.failing_writes -= 1;
                    return self.say(p, Event::SnapshotFailed { session });
                }
                self.publish(state);
                self.processes[p].published.push(state.applied.step());
                self.say(p, Event::SnapshotWritten { session, step: state.applied.step() });
            }
            Inner::TaskDone(session) => self.task_done(p, session),
        }
    }

    /// Says something to the coordinator, if a stream is there.
    pub(crate) fn say(&mut self, p: ProcessIndex, event: Event) {
        let Some(session) = self.processes[p].session else { return };
        if matches!(event, Event::Ready { .. } | Event::Parked { .. } | Event::Consumed { .. }) {
            self.processes[p].said.push(event.clone());
        }
        let earliest = self.later(self.setup.net_ms_max);
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
        let (hello, leaving, published) = (process.hello(), process.leaving, process.published.clone());
        self.say(p, Event::Joined { session, hello });
        if leaving {
            self.say(p, Event::WantsLeave { session });
        }
        self.prove_store(p);
        for step in published {
            self.say(p, Event::SnapshotWritten { session, step });
        }
        self.report_consumed(p);
        self.soon(p, self.heartbeat_ms() * self.processes[p].clock_percent / 100, Inner::Heartbeat(session));
    }

    /// Says whether it sees the run's store, right after what it said before.
    pub(crate) fn prove_store(&mut self, p: ProcessIndex) {
        let Some(session) = self.processes[p].session else { return };
        let why_not = self.processes[p].blind.then(|| "another disk".to_owned());
        let at = self.network.arrival_up(session, self.now);
        self.queue.push(at, Happening::AtCoordinator(session, Event::StoreProved { session, why_not }));
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
            let process = &self.processes[p];
            let applied = process.state.map(|s| s.applied);
            let pace_us = (self.setup.hash_every.is_some() && process.membership.is_some())
                .then_some(if process.slow { 5_000 } else { 1_000 });
            self.say(p, Event::Heard { session, applied, pace_us });
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
        if process.leaving && process.state.is_none() && process.membership.is_none() {
            return self.kill(p);
        }
        self.retry_later(p);
    }

    /// A message reaches a worker.
    pub(crate) fn told(&mut self, p: ProcessIndex, session: SessionId, message: Message) {
        if self.processes[p].session != Some(session) || !self.network.link(session).open_at_worker {
            return;
        }
        self.note(|w| format!("{} is told {}", w.processes[p].name, brief(&message)));
        match message {
            Message::Welcome { incarnation, adopted } => self.welcomed(p, incarnation, adopted),
            Message::Refused { .. } => {
                if !self.processes[p].odd {
                    self.violated("a worker like all others is refused".to_owned());
                }
                self.kill(p);
            }
            Message::Form(form) => self.join_group(p, form),
            Message::Abort(g) => {
                if self.processes[p].active(g).is_some() {
                    self.park(p, ParkReason::Aborted);
                }
            }
            Message::Lease { virtual_rank, until } => self.leased(p, virtual_rank, until),
            Message::Wish { generation, wish } => {
                if let Some(membership) = self.processes[p].active(generation) {
                    match wish {
                        Wish::Snapshot => membership.told_snapshot = true,
                        Wish::Reform | Wish::Finish => membership.told_wish = true,
                    }
                }
            }
            Message::Try { round, peers } => {
                let peers = peers.into_iter().map(|(incarnation, _)| incarnation).collect();
                let try_ms = self.rng.delay_ms(2 * self.setup.net_ms_max);
                self.soon(p, try_ms, Inner::Tried(session, round, peers));
            }
            Message::Task(task) => self.task(p, session, task),
            Message::Retired { .. } => self.retired(p),
            Message::Shutdown(_) => self.kill(p),
        }
    }

    fn welcomed(&mut self, p: ProcessIndex, incarnation: Incarnation, adopted: bool) {
        let process = &mut self.processes[p];
        if process.odd {
            return self.violated("a worker with other numerics is admitted".to_owned());
        }
        if adopted {
            self.coverage.adopted += 1;
            return;
        }
        process.incarnation = Some(incarnation);
        let draining = process.membership.as_ref().is_none_or(|m| matches!(m.stage, Stage::Draining(_)));
        if !draining {
            self.park(p, ParkReason::Aborted);
        }
    }

    fn retired(&mut self, p: ProcessIndex) {
        self.coverage.retired += 1;
        if self.processes[p].leaving {
            return self.kill(p);
        }
        self.leave_group(p, true);
        let forgets = self.setup.forgets;
        let process = &mut self.processes[p];
        let hanging = process.membership.as_ref().is_some_and(|m| m.stage == Stage::Hanging);
        process.membership = None;
        process.incarnation = None;
        // One that hangs is killed and started again by its supervisor.
        if forgets || process.stuck || hanging {
            process.state = None;
        }
        process.stuck = false;
        if let Some(session) = process.session.take() {
            self.hang_up(session);
        }
        self.retry_later(p);
    }

    /// Reports what each of its virtual ranks has wholly consumed, counted from the first position.
    pub(crate) fn report_consumed(&mut self, p: ProcessIndex) {
        let process = &self.processes[p];
        let (Some(membership), Some(session), Some(state)) =
            (&process.membership, process.session, process.state)
        else {
            return;
        };
        if matches!(membership.stage, Stage::Connecting | Stage::Taking) {
            return;
        }
        let member = &membership.form.members[membership.form.rank as usize];
        let ordinals = state.applied.step().0 / self.setup.steps_per_ordinal;
        for virtual_rank in member.virtual_ranks() {
            if ordinals > 0 {
                self.say(p, Event::Consumed { session, virtual_rank, ordinals });
            }
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
            if step >= membership.form.last_step {
                return self.park(p, ParkReason::Boundary);
            }
            membership.heard_wish = false;
            membership.heard_snapshot = false;
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

    fn tried(&mut self, p: ProcessIndex, session: SessionId, round: u64, peers: &[Incarnation]) {
        if self.processes[p].session == Some(session) {
            let missing = peers.iter().filter(|peer| !self.reaches(p, **peer));
            let missing = missing.map(|peer| (*peer, "timed out".to_owned())).collect();
            self.say(p, Event::Tried { session, round, missing });
        }
    }

    /// Whether a connection to the one who has this incarnation can be made. One that is frozen has a kernel.
    fn reaches(&self, p: ProcessIndex, peer: Incarnation) -> bool {
        let is_peer = |other: &Process| other.incarnation == Some(peer) && other.life != Life::Ended;
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
        process.generation = generation;
        let applied = process.state.map(|s| s.applied);
        if let Some(session) = process.session {
            self.say(p, Event::Parked { session, generation, applied, reason });
        }
    }

    fn task(&mut self, p: ProcessIndex, session: SessionId, task: Task) {
        if self.processes[p].blind {
            return self.violated("a worker that does not see the store is to write".to_owned());
        }
        if self.processes[p].membership.is_some() {
            return self.violated("a worker that computes is given a task".to_owned());
        }
        if task == Task::Final {
            self.writes_final.insert(p);
        }
        let write_ms = self.rng.delay_ms(300);
        self.soon(p, write_ms, Inner::TaskDone(session));
    }

    fn task_done(&mut self, p: ProcessIndex, session: SessionId) {
        if self.processes[p].session != Some(session) {
            return;
        }
        if self.failing_tasks > 0 {
            self.failing_tasks -= 1;
            return self.say(p, Event::TaskFailed { session, why: "the disk is full".to_owned() });
        }
        let Some(state) = self.processes[p].state else {
            return self.violated("a worker without state is to write it".to_owned());
        };
        self.publish(state);
        if self.writes_final.contains(&p) {
            self.history.final_written(state);
        }
        self.say(p, Event::SnapshotWritten { session, step: state.applied.step() });
        self.say(p, Event::TaskDone { session });
    }

    /// A snapshot is in the store from now on.
    fn publish(&mut self, state: State) {
        if state.applied.half() != Half::Discriminator {
            self.violated(format!("a snapshot is written in the middle of a step, at {}", state.applied));
        }
        self.check(|w| w.history.state("a snapshot", state));
        self.store.insert(state.applied.step(), state);
    }

    /// SIGTERM.
    pub(crate) fn terminate(&mut self, p: ProcessIndex) {
        let process = &mut self.processes[p];
        process.leaving = true;
        match process.session {
            Some(session) => self.say(p, Event::WantsLeave { session }),
            None if process.state.is_none() && process.membership.is_none() => self.kill(p),
            None => {}
        }
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
