//! The training thread: takes up a generation, steps until something ends it, parks, and waits for the next order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use lsgan_collective::tcp::{Listener, Membership, RunToken};
use lsgan_collective::{Group, GroupError};
use lsgan_console::exit::chain;
use lsgan_console::vital::Vital;
use lsgan_data::{Loader, LoaderError, LoaderOptions, RecordError, Replaced, Source, WaitWatch};
use lsgan_plan::Plan;
use lsgan_spec::{Generation, Half, Reduction, RunSpec, Step, VirtualRank};
use lsgan_train::{
    Applied, ControlWord, ControlWords, Metrics, NotApplied, Notice, RankBatch, Replica, TrainError,
    rehearsal,
};
use lsgan_wire::v1;

use crate::meter::Meter;
use crate::orders::{Live, Order};
use crate::outbox::Outbox;
use crate::pace::Pace;
use crate::reduce::{Formed, Queued, ReduceError, Update, Way};
use crate::snapshots::{Writer, from_snapshot};
use crate::store::RunStore;

/// Steps that are read ahead of the one that is computed: enough to hide a slow record, little memory.
const LOADER_DEPTH_STEPS: usize = 3;

/// A peer that was told of the same generation answers in milliseconds. So many failure timeouts are waited for one
/// that does not, so that the coordinator notices first if it is dead; its Abort ends the wait at any time.
const CONNECT_FAILURE_TIMEOUTS: u32 = 4;
/// The shortest and the longest of that; the coordinator's own limit is longer.
const CONNECT_TIMEOUTS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));

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
    pub way: Way,
    /// Where peers connect.
    pub listener: Listener,
    /// Tells the run's connections from others.
    pub token: RunToken,
    /// Where snapshots are.
    pub store: Arc<RunStore>,
    /// Writes them.
    pub writer: Writer,
    /// What it has to say.
    pub outbox: Arc<Outbox>,
    /// The state is one of the run: made, loaded or received for a generation.
    pub holds: bool,
    /// Runs what is asynchronous.
    pub runtime: tokio::runtime::Handle,
    /// What goes wrong on purpose, in tests.
    pub faults: Faults,
}

/// What goes wrong on purpose, in tests.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// A bit of the weights flips after so many steps.
    pub flip_bit_at: Option<u64>,
    /// The training thread panics after so many steps.
    pub panic_at: Option<u64>,
    /// It stands still for ever after so many steps.
    pub stall_at: Option<u64>,
    /// It computes so many times as slowly.
    pub slowness: u32,
}

/// Why a generation ended for this worker.
#[derive(Debug, thiserror::Error)]
enum Halt {
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

/// Why a worker parked, for its log.
fn in_words(reason: v1::ParkReason) -> &'static str {
    match reason {
        v1::ParkReason::Boundary => "all do at this step",
        v1::ParkReason::Aborted => "the coordinator said so",
        v1::ParkReason::Broken => "the group broke",
        v1::ParkReason::Failed => "the step failed",
        v1::ParkReason::Unspecified => "for no reason",
    }
}

impl Faults {
    /// Ends the thread after so many steps, or has it stand still.
    fn cripple(self, done: u64) {
        assert!(self.panic_at != Some(done), "after step {done}, as --fault-panic-at says");
        while self.stall_at == Some(done) {
            std::thread::park();
        }
    }

    /// Stretches what began then.
    fn dawdle(self, begin: Instant) {
        if self.slowness > 1 {
            std::thread::sleep(begin.elapsed() * (self.slowness - 1));
        }
    }
}

impl Trainer {
    /// Follows orders until nobody gives them any more.
    pub fn run(mut self, orders: &Receiver<Order>) {
        // A panic must not wait for the snapshots that are being written.
        let _vital = Vital("trainer");
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
    fn generation(&mut self, form: &v1::Form, live: &Live) {
        self.outbox.enter(form.generation, form.rank == 0);
        let halt = match self.enter(form, live) {
            Ok(group) => self.steps(form, live, group),
            Err(halt) => halt,
        };
        let (reason, why) = match &halt {
            Halt::Boundary => (v1::ParkReason::Boundary, String::new()),
            _ if live.aborter().is_aborted() => (v1::ParkReason::Aborted, String::new()),
            Halt::Group(error) => {
                tracing::debug!(generation = form.generation, "{error}");
                (v1::ParkReason::Broken, error.for_people())
            }
            Halt::NotApplied(_)
            | Halt::Train(_)
            | Halt::Loader(_)
            | Halt::Snapshot(_)
            | Halt::Coordinator(_) => (v1::ParkReason::Failed, chain(&halt)),
        };
        if matches!(halt, Halt::NotApplied(_)) && self.replica.step_back() {
            tracing::info!(
                step = self.replica.reduction().step().0,
                "back to the state before the step that failed"
            );
        }
        if let (Halt::Group(error), v1::ParkReason::Broken) = (&halt, reason)
            && let Some((peer, why)) = error.unreachable()
        {
            let incarnation = form.members[peer.rank].incarnation;
            self.outbox.say(v1::CutOff { generation: form.generation, incarnation, why });
        }
        if !why.is_empty() {
            tracing::warn!(generation = form.generation, "{why}");
        }
        let applied = self.holds.then(|| self.replica.reduction().0);
        let step = self.holds.then(|| self.replica.reduction().step().0);
        tracing::info!(generation = form.generation, step, "parked: {}", in_words(reason));
        self.outbox.parked(applied, reason, why);
    }

    /// Connects to the peers and takes over the state that the generation starts from.
    fn enter(&mut self, form: &v1::Form, live: &Live) -> Result<Formed, Halt> {
        let members = form.members.iter().map(|m| m.address.parse::<SocketAddr>());
        let members = members.collect::<Result<Vec<_>, _>>();
        let members =
            members.map_err(|e| Halt::Coordinator(format!("a peer's address makes no sense: {e}")))?;
        let membership = Membership {
            token: self.token,
            generation: Generation(form.generation),
            rank: form.rank as usize,
            members,
        };
        let failure_timeout = self.spec.cluster.failure_timeout.least();
        let patience =
            (CONNECT_FAILURE_TIMEOUTS * failure_timeout).clamp(CONNECT_TIMEOUTS.0, CONNECT_TIMEOUTS.1);
        let deadline = Instant::now() + patience;
        let mut group = self.way.connect(&mut self.listener, &membership, deadline, live.aborter())?;
        // A host that is lost is noticed by the coordinator, before this.
        group.set_unreachable_after(2 * failure_timeout)?;
        self.take_over(form, group.group())?;
        self.outbox.ready(self.replica.reduction().0);
        tracing::info!(
            generation = form.generation,
            rank = form.rank,
            size = form.members.len(),
            step = self.replica.reduction().step().0,
            "formed"
        );
        Ok(group)
    }

    fn take_over(&mut self, form: &v1::Form, group: &mut dyn Group) -> Result<(), Halt> {
        let root = form.root.is_none_or(|root| root == form.rank);
        match form.start() {
            v1::Start::Fresh => self.replica.reset(),
            v1::Start::Snapshot if root => {
                let step = Step(form.snapshot_step);
                let store = self.store.open().map_err(Halt::Coordinator)?;
                let snapshot = self.runtime.block_on(store.load(step))?;
                self.replica.import(&from_snapshot(snapshot), step.first_reduction())?;
            }
            v1::Start::Snapshot | v1::Start::Held => {}
            v1::Start::Unspecified => {
                let text = format!("the coordinator starts a generation in way {}, unknown here", form.start);
                return Err(Halt::Coordinator(text));
            }
        }
        match form.root {
            Some(rank) if rank == form.rank => {
                // A broadcast only reads the root's bytes, but takes them as everybody's: mutable.
                let mut bytes = self.replica.state_bytes().to_vec();
                group.broadcast(rank as usize, &mut bytes)?;
            }
            Some(rank) => {
                self.holds = false; // until all of it has come
                self.replica
                    .receive_state(|bytes| group.broadcast(rank as usize, bytes).map_err(Halt::from))?;
            }
            None => {}
        }
        self.holds = true;
        let (held, from) = (self.replica.reduction(), Reduction(form.from));
        if held == from {
            return Ok(());
        }
        self.holds = held > from && form.start() == v1::Start::Held;
        Err(Halt::Coordinator(format!(
            "generation {} starts from reduction {from}, held is {held}",
            form.generation
        )))
    }

    /// Steps until something ends the generation.
    fn steps(&mut self, form: &v1::Form, live: &Live, group: Formed) -> Halt {
        let me = &form.members[form.rank as usize];
        let ranks = (me.first_virtual_rank..me.first_virtual_rank + me.virtual_rank_count).map(VirtualRank);
        let ranks: Vec<_> = ranks.collect();
        let first = self.first_step_to_load();
        let options = LoaderOptions {
            ranks: ranks.clone(),
            from: first,
            threads: self.spec.compute.loader_threads as usize,
            depth_steps: LOADER_DEPTH_STEPS,
        };
        let started = Loader::start(self.source.clone(), self.plan, live.leases.clone(), options);
        let loader = match started {
            Ok(loader) => loader,
            Err(error) => return error.into(),
        };
        live.watch(loader.stopper());
        let mut stepping = Stepping {
            writes: live.writes,
            pictures: form.rank == 0,
            last_step: form.last_step,
            meter: Meter::new(self.spec.report.every),
            pace: Pace::start(),
            waits: WaitWatch::default(),
            step_began: Instant::now(),
            data_waited: Duration::ZERO,
            queued: None,
            trainer: self,
            live,
            group,
            loader,
            ranks,
        };
        loop {
            if let Err(halt) = stepping.half() {
                // What ended an update that is still queued came first.
                return stepping.settle().err().unwrap_or(halt);
            }
        }
    }

    /// D's half of a step that is entered in its middle is done; its real samples are not needed any more.
    fn first_step_to_load(&self) -> Step {
        match self.replica.reduction().half() {
            Half::Discriminator => self.replica.reduction().step(),
            Half::Generator => self.replica.reduction().step().next(),
        }
    }

    fn task(&mut self, task: v1::TaskKind) {
        let boundary = self.holds && self.replica.reduction().half() == Half::Discriminator;
        let last = match task {
            v1::TaskKind::Snapshot => false,
            v1::TaskKind::Final => true,
            v1::TaskKind::Unspecified => return self.fail("the coordinator asks for a task unknown here"),
        };
        if !boundary {
            return self.fail("no state at a step boundary is held here");
        }
        if last {
            self.sample();
        }
        let state = self.copy_state();
        self.writer.close(state, lsgan_runfile::to_yaml(&self.spec), last);
    }

    fn fail(&self, why: &str) {
        self.outbox.say(v1::TaskFailed { why: why.to_owned() });
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
    fn snapshot(&mut self) {
        let begin = Instant::now();
        let state = self.copy_state();
        self.writer.snapshot(
            state,
            lsgan_runfile::to_yaml(&self.spec),
            begin.elapsed().as_secs_f64() * 1000.0,
        );
    }

    /// Makes a picture of what G makes of the fixed z.
    fn sample(&self) {
        let step = self.replica.reduction().step().0;
        match self.replica.sample_picture() {
            Ok(png) => self.outbox.say(v1::Sample { step, png }),
            Err(error) => tracing::warn!(step, "no picture: {}", chain(&error)),
        }
    }
}

/// One generation, while it steps.
struct Stepping<'a> {
    trainer: &'a mut Trainer,
    live: &'a Live,
    group: Formed,
    loader: Loader,
    ranks: Vec<VirtualRank>,
    meter: Meter,
    pace: Pace,
    waits: WaitWatch,
    step_began: Instant,
    /// In this step.
    data_waited: Duration,
    /// It writes the snapshots that all could write.
    writes: bool,
    /// The first rank makes the pictures.
    pictures: bool,
    /// All park when so many steps are done.
    last_step: u64,
    /// An update that a GPU has not come to yet, as far as was looked. Never on a CPU.
    queued: Option<Queued>,
}

impl Stepping<'_> {
    /// One half of a step, up to and with the update that its reduction feeds.
    ///
    /// On a GPU this queues its work ahead of it: while the device sums and updates, the host queues the next half, which
    /// changes nothing that lasts; only before it queues that half's own sum it looks at what has come of the update before
    /// ([`Self::settle`]). So the device never waits for the host, and yet all that a step boundary decides is decided from
    /// the reduced header before this rank takes part in a sum beyond it: every rank parks at the same reduction.
    ///
    /// Of D's sum nothing is left to compute meanwhile but that: G's half needs D's new weights, the fake and its graph are
    /// kept, and batches and noise have a stream of their own (`lsgan_train::feed`). So sums stay on the training stream.
    fn half(&mut self) -> Result<(), Halt> {
        let reduction = self.trainer.replica.next_reduction();
        let step = reduction.step();
        match reduction.half() {
            Half::Discriminator if step.0 >= self.last_step => Err(Halt::Boundary),
            Half::Discriminator => self.discriminator(step),
            Half::Generator => self.generator(step),
        }
    }

    fn discriminator(&mut self, step: Step) -> Result<(), Halt> {
        if !self.may_run_ahead(step.0) {
            self.settle()?;
        }
        let batch = self.loader.next()?;
        debug_assert_eq!(batch.step, step);
        for replaced in &batch.replaced {
            self.replaced(step, replaced);
        }
        let work: Vec<_> = batch
            .batches
            .iter()
            .map(|b| RankBatch { virtual_rank: b.virtual_rank, samples: &b.samples })
            .collect();
        let begin = Instant::now();
        let (group, queued) = (&mut self.group, &self.queued);
        let mut after_first = || queued.iter().for_each(|queued| group.wait_for(queued));
        let controls = ControlWords::default();
        self.trainer.replica.compute_discriminator_with(step, &work, controls, &mut after_first)?;
        self.trainer.faults.dawdle(begin);
        let waited = batch.waited;
        self.loader.recycle(batch);
        self.settle()?;
        self.meter.data_wait(waited);
        self.data_waited = waited;
        self.reduce(step)
    }

    fn generator(&mut self, step: Step) -> Result<(), Halt> {
        let (group, queued) = (&mut self.group, &self.queued);
        let mut after_first = || queued.iter().for_each(|queued| group.wait_for(queued));
        // Wishes ride here alone: all ranks read them in the last reduction before a step boundary.
        let (ranks, wishes) = (&self.ranks, self.live.wishes());
        self.trainer.replica.compute_generator_with(step, ranks, wishes, &mut after_first)?;
        self.settle()?;
        self.reduce(step)
    }

    /// Whether D's half of `step` may be computed before it is known what has come of the update before. Not where the
    /// state is looked at in between, nor where the loader may wait for the coordinator, which waits for our word.
    fn may_run_ahead(&self, step: u64) -> bool {
        let spec = &self.trainer.spec;
        let due = |every: u64| every > 0 && step.is_multiple_of(every);
        let looks = [spec.samples.every, spec.checkpoint.every, spec.report.state_hash_every];
        let flips = self.trainer.faults.flip_bit_at == Some(step);
        !looks.into_iter().any(due) && !flips && self.loader.has_next()
    }

    /// Sums what was computed over all members, and applies it or queues that.
    fn reduce(&mut self, step: Step) -> Result<(), Halt> {
        let begin = Instant::now();
        self.group.all_reduce(&mut self.trainer.replica)?;
        self.meter.reduce(begin.elapsed());
        self.pace.waited(begin.elapsed());
        let metrics = if self.meter.wants(step.0) { Metrics::Read } else { Metrics::Skipped };
        match self.group.apply(&mut self.trainer.replica, metrics)? {
            Update::Done(applied) => self.applied(applied),
            Update::Queued(queued) => {
                self.queued = Some(queued);
                Ok(())
            }
        }
    }

    /// Waits for the update that is queued, if one is, and does what is due after it.
    fn settle(&mut self) -> Result<(), Halt> {
        let Some(queued) = self.queued.take() else { return Ok(()) };
        let finished = self.group.finish(&mut self.trainer.replica, queued);
        if matches!(finished, Err(ReduceError::Group(GroupError::NotDrained { .. }))) {
            // The device may yet change the state, so that nobody knows what it is.
            self.trainer.holds = false;
        }
        self.applied(finished?)
    }

    /// What is due after an update.
    fn applied(&mut self, applied: Applied) -> Result<(), Halt> {
        let Applied { reduction, controls, metrics } = applied;
        let outbox = &self.trainer.outbox;
        match reduction.half() {
            // D's was it.
            Half::Generator => {
                self.meter.discriminator(metrics);
                outbox.applied(reduction.0);
                Ok(())
            }
            Half::Discriminator => {
                self.meter.generator(metrics);
                outbox.applied(reduction.0);
                self.step_ended(Step(reduction.step().0 - 1), controls)
            }
        }
    }

    fn replaced(&self, step: Step, replaced: &Replaced) {
        let Replaced { record, by, reason, .. } = replaced;
        tracing::warn!(step = step.0, record, by, "{reason}");
        if let RecordError::Undecodable { key, reason, .. } = reason {
            let (key, reason) = (key.clone(), reason.clone());
            self.trainer.outbox.corrupt(v1::CorruptRecord { record: *record, key, reason, step: step.0 });
        }
    }

    /// Says so where the steps wait for data.
    fn watch_waiting(&mut self) {
        let (waited, whole) = (std::mem::take(&mut self.data_waited), self.step_began.elapsed());
        self.step_began = Instant::now();
        if let Some(slow) = self.waits.step_ended(waited, whole, self.trainer.spec.compute.loader_threads) {
            tracing::warn!("{slow}");
            self.trainer.outbox.say(v1::Warning { text: slow.to_string() });
        }
    }

    /// What is due at a step boundary. Every rank decides the same, from the step and the reduced header.
    fn step_ended(&mut self, step: Step, controls: ControlWords) -> Result<(), Halt> {
        let done = step.0 + 1;
        self.watch_waiting();
        while let Some(Notice { is_warning, text }) = self.trainer.replica.take_notice() {
            if is_warning {
                tracing::warn!(step = step.0, "{text}")
            } else {
                tracing::info!(step = step.0, "{text}")
            }
        }
        self.trainer.outbox.pace(self.pace.step_ended(self.ranks.len()));
        if let Some(row) = self.meter.step_ended(step.0) {
            self.trainer.outbox.metrics(row);
        }
        for &rank in &self.ranks {
            self.trainer.outbox.consumed(rank.0, self.trainer.plan.completed_ordinals(rank, done));
        }
        let ends = [ControlWord::Reform, ControlWord::Finish, ControlWord::Leave];
        if self.trainer.faults.flip_bit_at == Some(done) {
            tracing::warn!(step = done, "a bit of the weights is flipped, as --fault-flip-bit says");
            rehearsal::flip_a_bit(&mut self.trainer.replica);
        }
        self.trainer.faults.cripple(done);
        self.report_state(done);
        if controls.is_set(ControlWord::Snapshot) {
            self.live.fulfilled(ControlWord::Snapshot);
        }
        let park = ends.into_iter().any(|word| controls.is_set(word)) || done >= self.last_step;
        let due = |every: u64| every > 0 && done.is_multiple_of(every);
        if self.pictures && due(self.trainer.spec.samples.every) && done < self.last_step {
            self.trainer.sample();
        }
        if self.writes {
            // What closes a run is a snapshot too; two of the same step would be one too many.
            let closes = controls.is_set(ControlWord::Finish) || done >= self.last_step;
            if (due(self.trainer.spec.checkpoint.every) || controls.is_set(ControlWord::Snapshot)) && !closes
            {
                self.trainer.snapshot();
            }
        }
        if park { Err(Halt::Boundary) } else { Ok(()) }
    }

    /// Lets the coordinator compare what all members hold.
    fn report_state(&self, done: u64) {
        let every = self.trainer.spec.report.state_hash_every;
        if every > 0 && done.is_multiple_of(every) {
            let hash = self.trainer.replica.state_hash().as_bytes().to_vec();
            self.trainer.outbox.say(v1::StateHash { step: done, hash });
        }
    }
}
