//! The training thread: takes up a generation, steps until something ends it, parks, and waits for the next order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use lsgan_collective::tcp::{Listener, Membership, RingKey, RunToken};
use lsgan_collective::{Group, GroupError};
use lsgan_console::exit::chain;
use lsgan_console::print;
use lsgan_console::vital::Vital;
use lsgan_control::{Form, ParkReason, Report, Start, Task};
use lsgan_data::{LoaderError, Source};
use lsgan_plan::Plan;
use lsgan_spec::{Half, RunSpec, Step, VirtualRank};
use lsgan_train::{NotApplied, Replica, TrainError, memory};

use crate::faults::Faults;
use crate::orders::{Live, Order};
use crate::outbox::Outbox;
use crate::painter::Painter;
use crate::reduce::{Formed, ReduceError, Transport};
use crate::snapshots::Writer;
use crate::stepping::Stepping;
use crate::store::RunStore;

/// A peer that was told of the same generation answers in milliseconds. So many failure timeouts are waited for one
/// that does not, so that the coordinator notices first if it is dead; its Abort ends the wait at any time.
const CONNECT_FAILURE_TIMEOUTS: u32 = 4;
/// The shortest and the longest of that; the coordinator's own limit is longer.
const CONNECT_TIMEOUTS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));

/// A state is broadcast in pieces of this size, which a link of 1 Mbit/s carries in 8 s: far less than the coordinator waits
/// for progress.
const BROADCAST_PIECE_BYTES: usize = 1 << 20;
/// How often progress is reported.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// What the training thread owns.
pub struct Trainer {
    /// The run.
    pub spec: RunSpec,
    /// The order of samples.
    pub plan: Plan,
    /// The real samples.
    pub source: Arc<dyn Source>,
    /// The trainable state.
    pub replica: Replica,
    /// What sums travel over.
    pub transport: Transport,
    /// Where peers connect.
    pub listener: Listener,
    /// Tells the run's connections from others.
    pub token: RunToken,
    /// Where snapshots are.
    pub store: Arc<RunStore>,
    /// Writes them.
    pub writer: Writer,
    /// Makes pictures.
    pub painter: Painter,
    /// What it has to say.
    pub outbox: Arc<Outbox>,
    /// The state is one of the run: made, loaded or received for a generation.
    pub holds: bool,
    /// What it computes on, for people.
    pub device: String,
    /// Runs what is asynchronous.
    pub runtime: tokio::runtime::Handle,
    /// What goes wrong on purpose, in tests.
    pub faults: Faults,
}

/// Why a generation ended for this worker.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    #[error("all park at this step")]
    Boundary,
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error(transparent)]
    Loader(#[from] LoaderError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    NotApplied(#[from] NotApplied),
    #[error(transparent)]
    Snapshot(#[from] lsgan_snapshots::Error),
    #[error("{0}")]
    Coordinator(String),
}

impl From<ReduceError> for Halt {
    fn from(error: ReduceError) -> Self {
        match error {
            ReduceError::Group(error) => error.into(),
            ReduceError::NotApplied(error) => error.into(),
        }
    }
}

/// Broadcasts a state from rank `root` in pieces, and says now and then that some of it has passed here.
fn broadcast(
    group: &mut dyn Group,
    root: u32,
    state: &mut [u8],
    progress: impl Fn(),
) -> Result<(), GroupError> {
    let mut said = Instant::now();
    for piece in state.chunks_mut(BROADCAST_PIECE_BYTES) {
        group.broadcast(root as usize, piece)?;
        if said.elapsed() > PROGRESS_EVERY {
            progress();
            said = Instant::now();
        }
    }
    Ok(())
}

/// Why a worker parked, for its log.
fn in_words(reason: &ParkReason) -> &'static str {
    match reason {
        ParkReason::Boundary => "all do at this step",
        ParkReason::Aborted => "the coordinator said so",
        ParkReason::Broken(_) => "the group broke",
        ParkReason::Failed(_) => "the step failed",
    }
}

impl Trainer {
    /// Follows orders until the session has ended.
    pub fn run(mut self, orders: &Receiver<Order>) {
        // A panic must not wait for the snapshots that are being written.
        let _vital = Vital("trainer");
        if let Err(too_little) = memory::caught(|| self.follow(orders)) {
            // An update may be half queued: another process takes the state from the other members, or from a snapshot.
            print::error(&too_little.to_string());
            print::end_now(1);
        }
    }

    fn follow(&mut self, orders: &Receiver<Order>) {
        while let Ok(order) = orders.recv() {
            match order {
                Order::Form(form, live, spec) => {
                    self.spec = (*spec).clone();
                    self.generation(&form, &live);
                }
                Order::Task(task) => self.task(task),
            }
        }
    }

    /// Takes up a generation and stays in it until it ends.
    fn generation(&mut self, form: &Form, live: &Live) {
        let halt = match self.enter(form, live) {
            Ok(group) => {
                let trust = group.trust();
                let halt = match Stepping::new(self, form, live, group) {
                    Ok(mut stepping) => stepping.run(),
                    Err(halt) => halt,
                };
                if trust.is_some_and(|trust| trust.is_lost()) {
                    tracing::warn!(
                        "this host stood still for so long that the other workers ended the sum without it: what it made of that \
                         sum may be wrong, and it takes the state from them"
                    );
                    self.holds = false;
                }
                halt
            }
            Err(halt) => halt,
        };
        self.park(form, live, &halt);
    }

    /// Says that it computes no more in this generation, and why.
    fn park(&mut self, form: &Form, live: &Live, halt: &Halt) {
        let generation = form.generation;
        let reason = match halt {
            Halt::Boundary => ParkReason::Boundary,
            _ if live.aborter().is_aborted() => ParkReason::Aborted,
            Halt::Group(error) => {
                tracing::debug!(generation = generation.0, "{error}");
                if let Some((peer, why)) = error.unreachable() {
                    let peer = form.members[peer.rank].incarnation;
                    self.outbox.say(Report::CutOff { generation, peer, why });
                }
                ParkReason::Broken(error.for_people())
            }
            Halt::NotApplied(_)
            | Halt::Train(_)
            | Halt::Loader(_)
            | Halt::Snapshot(_)
            | Halt::Coordinator(_) => ParkReason::Failed(chain(halt)),
        };
        if matches!(halt, Halt::NotApplied(_)) && self.replica.step_back() {
            let step = self.replica.reduction().step().0;
            tracing::info!(step, "back to the state before the step that failed");
        }
        if let ParkReason::Broken(why) | ParkReason::Failed(why) = &reason {
            tracing::warn!(generation = generation.0, "{why}");
        }
        if matches!(halt, Halt::Boundary) {
            // It may leave now, or be asked to close the run.
            self.painter.finish();
        }
        let applied = self.holds.then(|| self.replica.reduction());
        let step = applied.map(|applied| applied.step().0);
        tracing::info!(generation = generation.0, step, "parked: {}", in_words(&reason));
        self.outbox.say(Report::Parked { generation, applied, reason });
    }

    /// Connects to the peers and takes over the state that the generation starts from.
    fn enter(&mut self, form: &Form, live: &Live) -> Result<Formed, Halt> {
        let members = form.members.iter().map(|m| m.address.parse::<SocketAddr>());
        let members = members.collect::<Result<Vec<_>, _>>();
        let members =
            members.map_err(|e| Halt::Coordinator(format!("a peer's address makes no sense: {e}")))?;
        let membership = Membership {
            token: self.token,
            key: RingKey { secret: form.ring.secret, sealed: form.ring.sealed },
            generation: form.generation,
            rank: form.rank as usize,
            members,
        };
        let failure_timeout = self.spec.cluster.failure_timeout.least();
        let patience =
            (CONNECT_FAILURE_TIMEOUTS * failure_timeout).clamp(CONNECT_TIMEOUTS.0, CONNECT_TIMEOUTS.1);
        let deadline = Instant::now() + patience;
        let (outbox, generation) = (&self.outbox, form.generation);
        let waiting = || outbox.say(Report::Progress { generation });
        let mut group =
            self.transport.connect(&mut self.listener, &membership, deadline, live.aborter(), &waiting)?;
        self.replica.sums_travel_from_host(group.shares_a_gpu());
        if let Some(text) = group.warning(form.ring.sealed).filter(|_| form.rank == 0) {
            tracing::warn!("{text}");
            self.outbox.say(Report::Warning { text });
        }
        // A host that is lost is noticed by the coordinator, before this.
        group.set_unreachable_after(2 * failure_timeout)?;
        self.take_over(form, group.group())?;
        let applied = self.replica.reduction();
        self.outbox.say(Report::Ready { generation: form.generation, applied });
        tracing::info!(
            generation = form.generation.0,
            rank = form.rank,
            size = form.members.len(),
            step = applied.step().0,
            "formed"
        );
        Ok(group)
    }

    fn take_over(&mut self, form: &Form, group: &mut dyn Group) -> Result<(), Halt> {
        let root = form.root.is_none_or(|root| root == form.rank);
        match form.start {
            Start::Fresh => self.replica.reset(),
            Start::Snapshot(step) if root => {
                let store = self.store.open().map_err(Halt::Coordinator)?;
                let snapshot = self.runtime.block_on(store.load(step))?;
                let parts: Vec<_> = snapshot.parts.into_iter().map(Arc::unwrap_or_clone).collect();
                self.replica.import(&parts, step.first_reduction())?;
            }
            Start::Snapshot(_) | Start::Held => {}
        }
        let outbox = &self.outbox;
        let progress = || outbox.say(Report::Progress { generation: form.generation });
        match form.root {
            Some(rank) if rank == form.rank => {
                // A broadcast only reads the root's bytes, but takes them as mutable, like those of the others.
                let mut bytes = self.replica.state_bytes().to_vec();
                broadcast(group, rank, &mut bytes, progress)?;
            }
            Some(rank) => {
                self.holds = false; // until all of it has come
                self.replica
                    .receive_state(|bytes| broadcast(group, rank, bytes, progress).map_err(Halt::from))?;
            }
            None => {}
        }
        self.holds = true;
        let (held, from) = (self.replica.reduction(), form.from);
        if held == from {
            return Ok(());
        }
        self.holds = held > from && form.start == Start::Held;
        Err(Halt::Coordinator(format!(
            "generation {} starts from reduction {from}, held is {held}",
            form.generation
        )))
    }

    /// Says what a virtual rank has wholly consumed when so many steps are done.
    pub fn report_consumed(&self, virtual_rank: VirtualRank, done: Step) {
        let ordinals = self.plan.completed_ordinals(virtual_rank, done.0);
        self.outbox.say(Report::Consumed { virtual_rank, ordinals });
    }

    fn task(&mut self, task: Task) {
        if !self.holds || self.replica.reduction().half() != Half::Discriminator {
            let why = "no state at a step boundary is held here".to_owned();
            return self.outbox.say(Report::TaskFailed { why });
        }
        if task == Task::Final {
            self.sample();
        }
        self.painter.finish();
        let state = self.copy_state();
        self.writer.close(state, lsgan_runfile::to_yaml(&self.spec), task);
    }

    fn copy_state(&mut self) -> lsgan_train::StateCopy {
        match self.writer.spare() {
            Some(mut copy) => {
                self.replica.copy_state_into(&mut copy);
                copy
            }
            None => self.replica.copy_state(),
        }
    }

    /// Writes a snapshot while training goes on.
    pub fn snapshot(&mut self) {
        let begin = Instant::now();
        let state = self.copy_state();
        self.writer.snapshot(state, lsgan_runfile::to_yaml(&self.spec), begin.elapsed());
    }

    /// Makes a picture of what G makes of the fixed z, while training goes on.
    pub fn sample(&self) {
        self.painter.paint(self.replica.reduction().step(), self.replica.freeze_generator());
    }
}
