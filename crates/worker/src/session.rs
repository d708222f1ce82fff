//! The shell around the worker's machine: receives, converts, applies, performs.
//!
//! What a worker decides is in [`lsgan_control::member`]. The training thread applies events to the same machine
//! ([`Outbox`]); what follows from them is performed here too.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use lsgan_console::{Failure, News, RunEnd, print, vital};
use lsgan_control::member::{Effect, Ending, Event};
use lsgan_control::{Form, Outcome, Task};
use lsgan_spec::{Incarnation, RunSpec, ScoringPlace};
use lsgan_wire::v1::{self, coordinator_message::Kind};
use lsgan_wire::{Client, convert, file_hash};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::Args;
use crate::orders::{Live, Order};
use crate::outbox::Outbox;
use crate::reach::{Reached, reach, tell};
use crate::scoring::{Scoring, score};
use crate::start::parse_spec;
use crate::store::RunStore;
use crate::try_peers::try_peers;

/// How long a worker whose coordinator is lost tries to keep what it holds. A lease that ends before the step does would
/// make it wait for ever.
const KEEP_WITHIN: Duration = Duration::from_secs(60);
/// How long the training thread may take to stop once its incarnation is over. The coordinator has waited as long before,
/// if that was the reason.
const PARK_WITHIN: Duration = Duration::from_secs(60);
/// Messages on their way to the coordinator; the outbox keeps what does not fit.
const OUTBOUND_MESSAGES_MAX: usize = 256;

/// How a worker ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its run is finished.
    Finished,
    /// Its run was stopped before that.
    Stopped,
    /// It left because it was told to.
    Left,
}

type Reaching = Pin<Box<dyn Future<Output = Result<Reached, Failure>> + Send>>;
type Inbound = Streaming<v1::CoordinatorMessage>;

/// A worker's connection to its coordinator and to its training thread.
pub struct Session {
    args: Args,
    description: v1::RunDescription,
    /// The run's file as the coordinator has it now: what its mathematics does not depend on may change.
    spec: Arc<RunSpec>,
    store: Arc<RunStore>,
    outbox: Arc<Outbox>,
    orders: Sender<Order>,
    /// The newest generation.
    live: Option<Arc<Live>>,
    /// Proves to the coordinator that this worker sees its store.
    proving: Option<JoinHandle<()>>,
    /// The score that the coordinator asked for. It ends when this is dropped.
    scoring: Option<Scoring>,
    /// The attempt to reach the coordinator, while there is no stream.
    reaching: Option<Reaching>,
    outbound: Option<mpsc::Sender<v1::WorkerMessage>>,
    inbound: Option<Inbound>,
    heartbeat: Interval,
    /// When the training thread has to have parked, or to have kept what it holds.
    deadline: Option<Instant>,
    /// Why the coordinator is lost.
    failure: Option<Failure>,
}

impl Session {
    /// A session that is not connected yet.
    pub fn new(
        args: Args,
        description: v1::RunDescription,
        spec: Arc<RunSpec>,
        store: Arc<RunStore>,
        outbox: Arc<Outbox>,
        orders: Sender<Order>,
    ) -> Self {
        let heartbeat = heartbeat(&spec);
        Self {
            args,
            description,
            spec,
            store,
            outbox,
            orders,
            live: None,
            proving: None,
            scoring: None,
            reaching: None,
            outbound: None,
            inbound: None,
            heartbeat,
            deadline: None,
            failure: None,
        }
    }

    /// Takes part until the worker ends. Each completion of `terminate` is a wish to leave.
    ///
    /// # Errors
    /// The worker is refused, the run failed, or the coordinator is lost.
    pub async fn run(
        &mut self,
        client: Client,
        terminate: &mut mpsc::Receiver<()>,
    ) -> Result<Ended, Failure> {
        self.connect(client).await;
        loop {
            if let Some(ending) = self.perform().await? {
                return self.ended(ending);
            }
            self.send_mail().await;
            let outbox = self.outbox.clone();
            tokio::select! {
                message = next_message(&mut self.inbound) => self.hear(message)?,
                reached = until_reached(&mut self.reaching) => self.reached(reached).await?,
                () = outbox.news.notified() => {}
                scored = until_scored(&mut self.scoring) => {
                    self.scoring = None;
                    self.send(scored.into()).await;
                }
                _ = self.heartbeat.tick(), if self.outbound.is_some() => outbox.apply(Event::HeartbeatDue),
                Some(()) = terminate.recv() => {
                    tracing::info!("leaving at the next step boundary");
                    outbox.apply(Event::Terminate);
                }
                () = until(self.deadline) => self.overdue()?,
            }
        }
    }

    /// Stops what this session started. Returns the stream, which is to be closed when nothing is written any more: the
    /// coordinator waits for that before it looks at the snapshots again.
    pub fn close(mut self) -> impl Sized {
        self.abort();
        if let Some(proving) = self.proving.take() {
            proving.abort();
        }
        (self.outbound.take(), self.inbound.take())
    }

    async fn connect(&mut self, mut client: Client) {
        let (outbound, messages) = mpsc::channel(OUTBOUND_MESSAGES_MAX);
        self.outbound = Some(outbound);
        self.heartbeat = heartbeat(&self.spec);
        self.outbox.apply(Event::Connected { spec: file_hash(&self.description.spec) });
        match client.session(ReceiverStream::new(messages)).await {
            Ok(response) => self.inbound = Some(response.into_inner()),
            Err(status) => self.lost(status.message()),
        }
    }

    async fn reached(&mut self, reached: Result<Reached, Failure>) -> Result<(), Failure> {
        self.reaching = None;
        match reached {
            Ok((client, found)) => {
                self.take_file(found.spec)?;
                self.connect(client).await;
            }
            Err(failure) => {
                self.failure = Some(failure);
                self.deadline = Some(Instant::now() + KEEP_WITHIN);
                self.outbox.apply(Event::CoordinatorLost);
            }
        }
        Ok(())
    }

    /// A coordinator that was started again may have another file, with the same mathematics.
    fn take_file(&mut self, spec: String) -> Result<(), Failure> {
        if spec != self.description.spec {
            self.spec = Arc::new(parse_spec(&spec)?);
            self.description.spec = spec;
        }
        Ok(())
    }

    fn hear(&mut self, message: Result<Option<v1::CoordinatorMessage>, Status>) -> Result<(), Failure> {
        match message {
            Ok(Some(v1::CoordinatorMessage { kind: Some(Kind::MetricsStored(stored)) })) => {
                self.outbox.metrics_stored(stored.until);
            }
            Ok(Some(v1::CoordinatorMessage { kind: Some(Kind::Score(asked)) })) => {
                self.scoring = Some(score(&self.description.store, &self.spec.evaluate, asked.step));
            }
            Ok(Some(v1::CoordinatorMessage { kind: Some(Kind::RecordSpans(ask)) })) => {
                self.outbox.profiling.ask(ask);
            }
            Ok(Some(v1::CoordinatorMessage { kind: Some(kind) })) => {
                if let Some(message) = convert::message(kind).map_err(Failure::failed)? {
                    self.outbox.apply(Event::Told(message));
                }
            }
            Ok(Some(v1::CoordinatorMessage { kind: None })) => {} // a kind that a newer coordinator knows
            Ok(None) => self.lost("it closed the stream"),
            Err(status) => self.lost(status.message()),
        }
        Ok(())
    }

    fn lost(&mut self, why: &str) {
        tracing::warn!("the coordinator is away, going on without it: {why}");
        tell(&self.args, News::CutOff { why: why.to_owned() });
        self.hang_up();
        self.outbox.apply(Event::Disconnected);
    }

    /// Ends the stream. A score that was asked for on it would come to another one.
    fn hang_up(&mut self) {
        (self.outbound, self.inbound, self.scoring) = (None, None, None);
    }

    async fn send_mail(&mut self) {
        for message in self.outbox.take_mail() {
            self.send(message).await;
        }
    }

    async fn send(&mut self, message: v1::WorkerMessage) {
        if let Some(outbound) = &self.outbound
            && outbound.send(message).await.is_err()
        {
            self.lost("it closed the stream");
        }
    }

    /// Does what the machine wants done, in order. Returns how the worker ends, if it does.
    async fn perform(&mut self) -> Result<Option<Ending>, Failure> {
        for effect in self.outbox.take_effects() {
            match effect {
                Effect::Connect => self.start_reaching(),
                Effect::Send(report) => self.send(report.into()).await,
                Effect::HangUp => self.hang_up(),
                Effect::Admitted { incarnation, adopted, again } => {
                    self.admitted(incarnation, adopted, again)
                }
                Effect::Form(form) => self.form(form)?,
                Effect::Abort => self.abort(),
                Effect::Grant { virtual_rank, until } => {
                    if let Some(live) = &self.live {
                        live.leases.grant(virtual_rank, until);
                    }
                }
                Effect::Task(task) => self.order(Order::Task(task))?,
                Effect::KeepAlone { step } => {
                    tracing::info!(%step, "the coordinator is away: writing a snapshot without it");
                    self.order(Order::Task(Task::Snapshot))?;
                }
                Effect::CannotKeep { step } => {
                    tracing::error!(%step, "the coordinator is away, and the step is half done: it cannot be kept");
                }
                Effect::Try { round, peers } => {
                    drop(tokio::spawn(try_peers(round, peers, self.outbox.clone())));
                }
                Effect::AwaitParking { why } => {
                    tracing::warn!("this incarnation is over: {why}");
                    self.deadline = Some(Instant::now() + PARK_WITHIN);
                }
                Effect::End(ending) => return Ok(Some(ending)),
            }
        }
        Ok(None)
    }

    fn start_reaching(&mut self) {
        self.deadline = None;
        let known = self.outbox.known();
        let known = v1::RunDescription {
            generation: known.generation.0,
            incarnation: known.incarnation.map_or(0, |incarnation| incarnation.0),
            metrics_until: known.metrics_until,
            ..self.description.clone()
        };
        let args = self.args.clone();
        self.reaching = Some(Box::pin(async move { reach(&args, Some(&known)).await }));
    }

    fn admitted(&mut self, incarnation: Incarnation, adopted: bool, again: bool) {
        tracing::info!(incarnation = incarnation.0, adopted, "attached");
        let run = self.description.run.clone();
        tell(&self.args, News::Attached { run, incarnation: incarnation.0, again });
        let proving = vital::task("store task", self.store.clone().prove(self.outbox.clone()));
        if let Some(before) = self.proving.replace(proving) {
            before.abort();
        }
    }

    fn form(&mut self, form: Form) -> Result<(), Failure> {
        if self.spec.evaluate.r#where != ScoringPlace::Writer {
            // A generation waits for no score, and has all of this host.
            self.scoring = None;
        }
        let live = Arc::new(Live::new(&form)?);
        self.live = Some(live.clone());
        self.outbox.begin_generation(form.rank == 0);
        self.order(Order::Form(Box::new(form), live, self.spec.clone()))
    }

    /// Ends what the training thread does in its generation, if it is in one.
    fn abort(&self) {
        if let Some(live) = &self.live {
            live.abort();
        }
    }

    fn order(&self, order: Order) -> Result<(), Failure> {
        let gone = |_| Failure::failed("the training thread is gone; this is a bug, please report it");
        self.orders.send(order).map_err(gone)
    }

    fn overdue(&mut self) -> Result<(), Failure> {
        self.deadline = None;
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => {
                self.outbox.apply(Event::ParkOverdue);
                Ok(())
            }
        }
    }

    fn ended(&mut self, ending: Ending) -> Result<Ended, Failure> {
        match ending {
            Ending::Left => Ok(Ended::Left),
            Ending::Refused { why } => Err(Failure::bad_input(why)),
            Ending::CoordinatorLost => Err(self.failure.take().expect("it was lost for a reason")),
            Ending::RunEnded(outcome) => {
                tell(&self.args, News::RunEnded { how: run_end(&outcome) });
                match outcome {
                    Outcome::Complete => Ok(Ended::Finished),
                    Outcome::Stopped { .. } => Ok(Ended::Stopped),
                    Outcome::Failed { why } => Err(Failure::failed(why)),
                    Outcome::Refused { why } => Err(Failure::bad_input(why)),
                }
            }
            Ending::Hangs => {
                print::error("the training thread hangs: it was told to stop and did not. This worker ends.");
                print::end_now(i32::from(Failure::FAILED));
            }
        }
    }
}

fn run_end(outcome: &Outcome) -> RunEnd {
    match outcome {
        Outcome::Complete => RunEnd::Complete,
        Outcome::Stopped { .. } => RunEnd::Stopped,
        Outcome::Failed { .. } | Outcome::Refused { .. } => RunEnd::Failed,
    }
}

fn heartbeat(spec: &RunSpec) -> Interval {
    let mut heartbeat = interval(spec.cluster.failure_timeout.least() / 6);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat
}

async fn next_message(inbound: &mut Option<Inbound>) -> Result<Option<v1::CoordinatorMessage>, Status> {
    match inbound {
        Some(inbound) => inbound.message().await,
        None => std::future::pending().await,
    }
}

async fn until_reached(reaching: &mut Option<Reaching>) -> Result<Reached, Failure> {
    match reaching {
        Some(reaching) => reaching.await,
        None => std::future::pending().await,
    }
}

async fn until_scored(scoring: &mut Option<Scoring>) -> v1::Scored {
    match scoring {
        Some(scoring) => scoring.await,
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
