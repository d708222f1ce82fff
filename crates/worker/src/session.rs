//! The conversation with the coordinator: attach, keep the stream alive, turn what comes into orders, and when it
//! breaks come back, while the training thread goes on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use lsgan_collective::tcp::{Listener, RunToken};
use lsgan_console::{Failure, News, RunEnd, exit::chain, print, vital};
use lsgan_data::Source;
use lsgan_launch::open_data;
use lsgan_plan::Plan;
use lsgan_spec::{Half, Reduction, RunSpec, VirtualRank};
use lsgan_train::device::{self, Chosen};
use lsgan_train::rehearsal::Rehearsal;
use lsgan_train::{ControlWord, Numerics, Replica, numerics};
use lsgan_wire::v1::{self, coordinator_message::Kind};
use lsgan_wire::{Address, Client, STARTING, dial, file_hash};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::Args;
use crate::address::for_peers;
use crate::orders::{Live, Order};
use crate::outbox::Outbox;
use crate::reduce::Way;
use crate::snapshots::{Origin, Writer};
use crate::store::RunStore;
use crate::trainer::{Faults, Trainer};
use crate::trouble;
use crate::try_peers::try_peers;

/// The first pause after a coordinator could not be reached; doubles each time.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
/// The longest: a coordinator that is started again is found within this time.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// How long a worker that gives its coordinator up tries to keep what it holds.
const KEEP_WITHIN: Duration = Duration::from_secs(60);
/// Between two words about a coordinator that cannot be reached.
const UNREACHABLE_SAID_EVERY: Duration = Duration::from_secs(5);

/// Between two looks whether a coordinator that is starting has started.
const STARTING_PAUSE: Duration = Duration::from_millis(500);
/// How long the training thread may take to stop once its incarnation is over. The coordinator has waited as long before,
/// if that was the reason.
const PARK_WITHIN: Duration = Duration::from_secs(60);

/// Messages on their way to the coordinator; the outbox keeps what does not fit.
const OUTBOUND_MESSAGES_MAX: usize = 256;

/// How the conversation ended.
enum End {
    /// The stream broke: attach again.
    Broken(String),
    /// This incarnation is over: attach as a new one.
    Retired,
    /// The worker is to end, well or not.
    Over(Result<Ended, Failure>),
}

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

/// A worker's side of a run, over all its streams.
struct Session {
    args: Args,
    description: v1::RunDescription,
    /// The run's file as the coordinator has it now: what its mathematics does not depend on may change.
    spec: Arc<RunSpec>,
    /// Hash of the file under which the last generation was formed.
    formed_under: String,
    store: Arc<RunStore>,
    /// Proves to the coordinator that this worker sees its store.
    proving: Option<JoinHandle<()>>,
    numerics: String,
    peer_address: SocketAddr,
    outbox: Arc<Outbox>,
    orders: Sender<Order>,
    live: Option<Arc<Live>>,
    incarnation: Option<u64>,
    /// It was welcome once.
    attached: bool,
    leaving: bool,
    /// The last stream, once the worker is to end.
    last: Option<Stream>,
}

/// Both directions of a stream to the coordinator; closed by dropping it.
type Stream = (mpsc::Sender<v1::WorkerMessage>, Streaming<v1::CoordinatorMessage>);

/// Runs a worker until its run has ended or it has left. Each completion of `terminate` is a wish to leave.
///
/// # Errors
/// A failure with its exit code: a coordinator that cannot be reached or refuses the worker, data that cannot be
/// opened, a run that failed.
pub async fn work(args: Args, mut terminate: mpsc::Receiver<()>) -> Result<Ended, Failure> {
    let (channel, description) = tokio::select! {
        reached = reach(&args, None) => reached?,
        _ = terminate.recv() => return Ok(left_at_start()),
    };
    let (name, client, mut started) = (args.name.clone(), channel.clone(), false);
    let result = take_part(args, (channel, description), &mut terminate, &mut started).await;
    if let (Err(failure), false) = (&result, started) {
        trouble::report(client, name, &failure.text).await;
    }
    result
}

/// What [`work`] does once it knows the run; `started` is set when nothing on this host keeps it from training any more.
#[expect(clippy::too_many_lines, reason = "a flat list of what a worker starts with")]
async fn take_part(
    args: Args,
    (channel, description): (Client, v1::RunDescription),
    terminate: &mut mpsc::Receiver<()>,
    started: &mut bool,
) -> Result<Ended, Failure> {
    let spec = parse_spec(&description.spec_yaml)?;
    crate::isa::enforce(spec.compute.cpu_isa)?;
    let (data, seed) = (spec.data.clone(), spec.seed);
    let opened = tokio::task::spawn_blocking(move || open_data(&data, seed));
    let Some(opened) = unless_asked_to_end(terminate, opened).await else {
        return Ok(left_at_start());
    };
    let source: Arc<dyn Source> = Arc::from(opened.map_err(Failure::failed)??);
    let listener = listen(args.peer_listen)?;
    let peer_address = for_peers(&args, listener.local_addr()).await?;
    let outbox = Arc::new(Outbox::default());
    let (orders, queue) = channel_of_orders();
    let fingerprint = source.fingerprint().to_string();
    let store = Arc::new(RunStore::at(&description.store));

    let (grown, growing) = tokio::sync::oneshot::channel();
    let faults = Faults {
        flip_bit_at: args.fault_flip_bit,
        panic_at: args.fault_panic_at,
        stall_at: args.fault_stall_at,
        slowness: args.fault_slowness,
    };
    let seed = Seed {
        spec: spec.clone(),
        source,
        listener,
        store: store.clone(),
        description: description.clone(),
        outbox: outbox.clone(),
        faults,
        rehearses: args.rehearse_gpu,
        local_rank: args.local_rank,
    };
    let runtime = tokio::runtime::Handle::current();
    let thread = vital::thread("trainer", move || {
        match seed.grow(runtime) {
            Ok((trainer, numerics)) => {
                // The session may have ended meanwhile.
                let _ = grown.send(Ok(numerics));
                trainer.run(&queue);
            }
            Err(failure) => {
                let _ = grown.send(Err(failure));
            }
        }
    });
    let thread = thread.map_err(Failure::failed)?;
    let Some(numerics) = unless_asked_to_end(terminate, growing).await else {
        return Ok(left_at_start());
    };
    let numerics = numerics.map_err(|_| Failure::failed("the training thread ended before it began"))??;

    let mut session = Session {
        args,
        description: v1::RunDescription { data_fingerprint: fingerprint, ..description },
        spec: Arc::new(spec),
        formed_under: String::new(),
        store,
        proving: None,
        numerics: describe(&numerics),
        peer_address,
        outbox,
        orders,
        live: None,
        incarnation: None,
        attached: false,
        leaving: false,
        last: None,
    };
    *started = true;
    let result = session.attach_until_over(channel, terminate).await;
    if let Some(live) = &session.live {
        live.abort();
    }
    if let Some(proving) = session.proving.take() {
        proving.abort();
    }
    // Closed when nothing is written any more: the coordinator waits for that before it looks at the snapshots again.
    let last = session.last.take();
    drop(session);
    // The training thread ends when nobody gives orders any more, after the snapshots under way are written.
    tokio::task::spawn_blocking(move || thread.join())
        .await
        .map_err(Failure::failed)?
        .map_err(|_| Failure::failed("the training thread panicked; this is a bug, please report it"))?;
    drop(last);
    result
}

fn listen(address: SocketAddr) -> Result<Listener, Failure> {
    let socket = lsgan_wire::listen(address).map_err(|error| {
        Failure::failed(format!(
            "cannot listen on {address} for other workers: {error}. Give another address with --peer-listen; port 0 \
             takes a free one."
        ))
    })?;
    Listener::on(socket).map_err(|error| Failure::failed(chain(&error)))
}

fn parse_spec(yaml: &str) -> Result<RunSpec, Failure> {
    lsgan_runfile::parse(yaml, "the coordinator's run", &[]).map_err(|errors| {
        Failure::bad_input(format!("the coordinator is of another version: {}", errors.render_plain()))
    })
}

/// Waits for a part of the start, however long it takes; none where the process is asked to end.
async fn unless_asked_to_end<T>(
    terminate: &mut mpsc::Receiver<()>,
    part: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        done = part => Some(done),
        _ = terminate.recv() => None,
    }
}

fn left_at_start() -> Ended {
    tracing::info!("ended before it took part in the run");
    Ended::Left
}

fn channel_of_orders() -> (Sender<Order>, std::sync::mpsc::Receiver<Order>) {
    // Unbounded, but the coordinator sends the next order only after the last one was answered.
    channel()
}

/// What the training thread starts from.
struct Seed {
    spec: RunSpec,
    source: Arc<dyn Source>,
    listener: Listener,
    store: Arc<RunStore>,
    description: v1::RunDescription,
    outbox: Arc<Outbox>,
    faults: Faults,
    rehearses: bool,
    local_rank: u32,
}

impl Seed {
    fn grow(self, runtime: tokio::runtime::Handle) -> Result<(Trainer, Numerics), Failure> {
        let Self { spec, source, listener, store, description, outbox, faults, rehearses, local_rank } = self;
        let failed = |error: &dyn std::error::Error| Failure::failed(chain(error));
        let Chosen { device, no_gpu } =
            device::choose(spec.compute.device, local_rank).map_err(|e| Failure::bad_input(chain(&e)))?;
        if let Some(why) = no_gpu {
            tracing::warn!("trains on the CPU: {why}");
        }
        device::configure(device, spec.precision, &spec.compute)
            .map_err(|e| Failure::bad_input(chain(&e)))?;
        let way = Way::of(device)?;
        let rehearsal = rehearses.then_some(Rehearsal::Recorded);
        let numerics = numerics(device);
        let plan = Plan::of_run(&spec, source.len()).map_err(|e| failed(&e))?;
        let replica = Replica::builder(&spec).device(device).rehearsal(rehearsal).build();
        let replica = replica.map_err(|e| failed(&e))?;
        let origin = Origin {
            identity: description.identity.clone(),
            data_fingerprint: source.fingerprint().to_string(),
            numerics: describe(&numerics),
        };
        let writer = Writer::start(store.clone(), origin, outbox.clone()).map_err(|e| failed(&e))?;
        let token = token(&description.token)?;
        let trainer = Trainer {
            spec,
            plan,
            source,
            replica,
            way,
            listener,
            token,
            store,
            writer,
            outbox,
            holds: false,
            runtime,
            faults,
        };
        Ok((trainer, numerics))
    }
}

fn token(bytes: &[u8]) -> Result<RunToken, Failure> {
    let token = bytes.try_into().map_err(|_| {
        Failure::failed(format!(
            "the coordinator's token has {} bytes, 32 are right: it is of another version",
            bytes.len()
        ))
    })?;
    Ok(RunToken(token))
}

fn describe(numerics: &Numerics) -> String {
    let Numerics { libtorch, device_model, capability, probe_hash } = numerics;
    format!("libtorch {libtorch} on {device_model} with {capability}, probe {}", &probe_hash[..16])
}

/// Reaches the coordinator and learns of the run; with `known`, only the same run will do, with a journal that has all
/// that this worker was told of.
async fn reach(
    args: &Args,
    known: Option<&v1::RunDescription>,
) -> Result<(Client, v1::RunDescription), Failure> {
    let address: Address = args.coordinator.parse().map_err(Failure::bad_input)?;
    let (mut since, mut pause, mut told) = (Instant::now(), BACKOFF_FIRST, None::<Instant>);
    let mut waits = false;
    loop {
        let error = match try_reach(&address).await {
            Ok((client, found)) => return same_run(known, &found).map(|()| (client, found)),
            Err(error) => error,
        };
        if error == STARTING {
            // It is there, and takes as long as its data set does.
            if !std::mem::replace(&mut waits, true) {
                let why = format!("waits for the coordinator at {}: {STARTING}", args.coordinator);
                tracing::info!("{why}");
                tell(args, News::Unreachable { why });
            }
            since = Instant::now();
            tokio::time::sleep(STARTING_PAUSE).await;
            continue;
        }
        let give_up = args.give_up_after;
        if !give_up.is_zero() && since.elapsed() + pause > give_up {
            tell(args, News::GaveUp);
            return Err(Failure::failed(format!(
                "the coordinator at {} cannot be reached for {}: {error}. --give-up-after sets how long to try.",
                args.coordinator,
                humantime::format_duration(give_up)
            )));
        }
        // At once: an address may be wrong.
        if told.is_none_or(|told| told.elapsed() >= UNREACHABLE_SAID_EVERY) {
            told = Some(Instant::now());
            let why =
                format!("the coordinator at {} cannot be reached, trying again: {error}", args.coordinator);
            tracing::warn!("{why}");
            tell(args, News::Unreachable { why });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(BACKOFF_MAX);
    }
}

/// Tells the process that supervises this one, if one does.
fn tell(args: &Args, news: News) {
    if args.supervised {
        news.tell();
    }
}

fn run_end(outcome: v1::OutcomeKind) -> RunEnd {
    match outcome {
        v1::OutcomeKind::Complete => RunEnd::Complete,
        v1::OutcomeKind::Stopped => RunEnd::Stopped,
        v1::OutcomeKind::Failed | v1::OutcomeKind::Refused | v1::OutcomeKind::Unspecified => RunEnd::Failed,
    }
}

async fn try_reach(address: &Address) -> Result<(Client, v1::RunDescription), String> {
    let mut client = dial(address).await?;
    let reply = client.describe_run(v1::DescribeRunRequest {}).await;
    let description = reply.map_err(|status| status.message().to_owned())?.into_inner();
    Ok((client, description))
}

fn same_run(known: Option<&v1::RunDescription>, found: &v1::RunDescription) -> Result<(), Failure> {
    match known {
        Some(known) if known.token != found.token => Err(Failure::failed(format!(
            "the coordinator came back with another run (`{}`, it was `{}`) or another journal. Start the coordinator \
             with the right run directory, or this worker anew.",
            found.run, known.run
        ))),
        Some(known)
            if found.generation < known.generation
                || found.incarnation < known.incarnation
                || found.metrics_until < known.metrics_until =>
        {
            Err(Failure::failed(format!(
                "the coordinator came back with an older copy of its journal: it has generation {}, incarnation {} \
                 and the metrics below step {}, and this worker was told of generation {}, incarnation {} and step \
                 {}. Start the coordinator with the newest journal; this worker ends, so that the two do not mix.",
                found.generation,
                found.incarnation,
                found.metrics_until,
                known.generation,
                known.incarnation,
                known.metrics_until
            )))
        }
        _ => Ok(()),
    }
}

impl Session {
    /// The run with how far its journal was, as this worker was told.
    fn known(&self) -> v1::RunDescription {
        v1::RunDescription {
            generation: self.outbox.life().generation,
            incarnation: self.incarnation.unwrap_or(0),
            metrics_until: self.outbox.metrics_stored_until(),
            ..self.description.clone()
        }
    }

    async fn attach_until_over(
        &mut self,
        client: Client,
        terminate: &mut mpsc::Receiver<()>,
    ) -> Result<Ended, Failure> {
        let mut client = Some(client);
        loop {
            let reached = match client.take() {
                Some(client) => client,
                None => {
                    let known = self.known();
                    tokio::select! {
                        reached = reach(&self.args, Some(&known)) => match reached {
                            Ok((client, found)) => {
                                self.take_file(found.spec_yaml)?;
                                client
                            }
                            Err(failure) => {
                                self.leave();
                                // A lease that ends before the step does would make it wait for ever.
                                let _ = tokio::time::timeout(KEEP_WITHIN, self.keep_alone()).await;
                                return Err(failure);
                            }
                        },
                        Some(()) = terminate.recv() => {
                            self.leave();
                            continue;
                        }
                        () = self.keep_alone(), if self.leaving => return Ok(Ended::Left),
                    }
                }
            };
            match self.converse(reached, terminate).await {
                End::Broken(why) => {
                    tracing::warn!("the coordinator is away, going on without it: {why}");
                    self.tell(News::CutOff { why });
                }
                End::Retired => {
                    self.abort();
                    self.await_parking().await;
                    self.incarnation = None;
                }
                End::Over(result) => return result,
            }
        }
    }

    /// A coordinator that was started again may have another file, with the same mathematics.
    fn take_file(&mut self, spec_yaml: String) -> Result<(), Failure> {
        if spec_yaml == self.description.spec_yaml {
            return Ok(());
        }
        self.spec = Arc::new(parse_spec(&spec_yaml)?);
        self.description.spec_yaml = spec_yaml;
        Ok(())
    }

    /// Keeps what this worker holds while the coordinator is away: at the step boundary that it wished for, it writes a
    /// snapshot. The others may hold the same and write it too: equal states give equal bytes.
    async fn keep_alone(&self) {
        let held = loop {
            let life = self.outbox.life();
            if !life.stepping {
                break life.applied.map(Reduction);
            }
            self.outbox.news.notified().await;
        };
        let Some(held) = held else { return };
        let step = held.step();
        if held.half() != Half::Discriminator {
            return tracing::error!(%step, "the coordinator is away, and the step is half done: it cannot be kept");
        }
        tracing::info!(%step, "the coordinator is away: writing a snapshot without it");
        if self.order(Order::Task(v1::TaskKind::Snapshot)).is_some() {
            return tracing::error!(%step, "the training thread is gone: nothing can be kept");
        }
        let result = loop {
            match self.outbox.task_result() {
                Some(result) => break result,
                None => self.outbox.news.notified().await,
            }
        };
        match result {
            Ok(()) => tracing::info!(%step, "the snapshot is written; leaving"),
            Err(why) => tracing::error!(%step, "the snapshot could not be written: {why}"),
        }
    }

    /// A training thread that goes on after its incarnation is over and does not come to an end can't be waited for, and
    /// would not take up another generation: the process ends, and whoever supervises it starts it again.
    async fn await_parking(&self) {
        let parked = async {
            while self.outbox.life().stepping {
                self.outbox.news.notified().await;
            }
        };
        if tokio::time::timeout(PARK_WITHIN, parked).await.is_err() {
            print::error("the training thread hangs: it was told to stop and did not. This worker ends.");
            print::end_now(i32::from(Failure::FAILED));
        }
    }

    /// One stream, from Hello to its end.
    async fn converse(&mut self, mut client: Client, terminate: &mut mpsc::Receiver<()>) -> End {
        let (outbound, messages) = mpsc::channel::<v1::WorkerMessage>(OUTBOUND_MESSAGES_MAX);
        let hello = self.hello();
        outbound.try_send(hello.into()).expect("an empty queue takes one message");
        if self.leaving {
            outbound.try_send(v1::WantsLeave {}.into()).expect("an almost empty queue takes one message");
        }
        let mut inbound = match client.session(ReceiverStream::new(messages)).await {
            Ok(response) => response.into_inner(),
            Err(status) => return End::Broken(status.message().to_owned()),
        };
        let mut beat = tokio::time::interval(self.spec.cluster.failure_timeout.least() / 6);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let outbox = self.outbox.clone();
        loop {
            tokio::select! {
                message = inbound.message() => match message {
                    Ok(Some(message)) => {
                        if let Some(end) = message.kind.and_then(|kind| self.obey(kind)) {
                            if matches!(end, End::Over(_)) {
                                self.last = Some((outbound, inbound));
                            }
                            return end;
                        }
                    }
                    Ok(None) => return End::Broken("it closed the stream".to_owned()),
                    Err(status) => return End::Broken(status.message().to_owned()),
                },
                () = outbox.news.notified() => {}
                _ = beat.tick() => {
                    let life = outbox.life();
                    let beat = v1::Heartbeat { applied: life.applied, pace_us: life.pace_us };
                    if outbound.send(beat.into()).await.is_err() {
                        return End::Broken("it closed the stream".to_owned());
                    }
                }
                Some(()) = terminate.recv() => {
                    self.leave();
                    outbox.say(v1::WantsLeave {});
                }
            }
            if self.incarnation.is_none() {
                continue; // not yet welcome
            }
            for message in outbox.take() {
                if outbound.send(message).await.is_err() {
                    return End::Broken("it closed the stream".to_owned());
                }
            }
        }
    }

    fn hello(&mut self) -> v1::Hello {
        let life = self.outbox.attach();
        let resume = self.incarnation.map(|incarnation| v1::Resume {
            incarnation,
            generation: life.generation,
            stepping: life.stepping,
            writes: self.live.as_ref().is_some_and(|live| live.writes),
            spec: self.formed_under.clone(),
        });
        v1::Hello {
            name: self.args.name.clone(),
            address: self.peer_address.to_string(),
            numerics: self.numerics.clone(),
            holds: life.applied,
            resume,
            data_fingerprint: self.description.data_fingerprint.clone(),
        }
    }

    /// Does what the coordinator says. Returns an end if that is what it says.
    fn obey(&mut self, kind: Kind) -> Option<End> {
        match kind {
            Kind::Welcome(welcome) => {
                if !welcome.adopted {
                    self.abort();
                }
                tracing::info!(incarnation = welcome.incarnation, adopted = welcome.adopted, "attached");
                let again = std::mem::replace(&mut self.attached, true);
                let run = self.description.run.clone();
                self.tell(News::Attached { run, incarnation: welcome.incarnation, again });
                self.incarnation = Some(welcome.incarnation);
                let proving = vital::task("store task", self.store.clone().prove(self.outbox.clone()));
                if let Some(before) = self.proving.replace(proving) {
                    before.abort();
                }
            }
            // Another try would be refused as well.
            Kind::Refused(refused) => return Some(End::Over(Err(Failure::bad_input(refused.why)))),
            Kind::Form(form) => return self.form(form),
            Kind::Abort(abort) => {
                if let Some(live) = self.live.as_ref().filter(|live| live.generation.0 == abort.generation) {
                    live.abort();
                }
            }
            Kind::Lease(lease) => {
                if let Some(live) = &self.live {
                    live.leases.grant(VirtualRank(lease.virtual_rank), lease.until);
                }
            }
            Kind::Wish(wish) => self.wish(wish),
            Kind::TryPeers(order) => drop(tokio::spawn(try_peers(order, self.outbox.clone()))),
            Kind::Task(task) => return self.order(Order::Task(task.kind())),
            Kind::Retired(retired) => {
                if self.leaving {
                    return Some(End::Over(Ok(Ended::Left)));
                }
                tracing::warn!("this incarnation is over: {}", retired.why);
                return Some(End::Retired);
            }
            Kind::Shutdown(shutdown) => {
                self.tell(News::RunEnded { how: run_end(shutdown.outcome()) });
                let result = match shutdown.outcome() {
                    v1::OutcomeKind::Failed => Err(Failure::failed(shutdown.why)),
                    v1::OutcomeKind::Refused => Err(Failure::bad_input(shutdown.why)),
                    v1::OutcomeKind::Complete => Ok(Ended::Finished),
                    v1::OutcomeKind::Stopped | v1::OutcomeKind::Unspecified => Ok(Ended::Stopped),
                };
                return Some(End::Over(result));
            }
            Kind::MetricsStored(stored) => self.outbox.metrics_stored(stored.until),
        }
        None
    }

    fn form(&mut self, form: v1::Form) -> Option<End> {
        self.abort();
        match Live::new(&form) {
            Ok(live) => {
                let live = Arc::new(live);
                if self.leaving {
                    live.wish(ControlWord::Leave);
                }
                self.live = Some(live.clone());
                self.formed_under = file_hash(&self.description.spec_yaml);
                self.order(Order::Form(Box::new(form), live, self.spec.clone()))
            }
            Err(error) => Some(End::Over(Err(Failure::failed(chain(&error))))),
        }
    }

    fn wish(&self, wish: v1::Wish) {
        let Some(live) = self.live.as_ref().filter(|live| live.generation.0 == wish.generation) else {
            return;
        };
        match wish.kind() {
            v1::WishKind::Reform => live.wish(ControlWord::Reform),
            v1::WishKind::Finish => live.wish(ControlWord::Finish),
            v1::WishKind::Snapshot => live.wish(ControlWord::Snapshot),
            v1::WishKind::Unspecified => tracing::warn!("the coordinator wishes what is unknown here"),
        }
    }

    fn leave(&mut self) {
        tracing::info!("leaving at the next step boundary");
        self.leaving = true;
        if let Some(live) = &self.live {
            live.wish(ControlWord::Leave);
        }
    }

    fn tell(&self, news: News) {
        tell(&self.args, news);
    }

    /// Ends what the training thread does in its generation, if it is in one.
    fn abort(&self) {
        if let Some(live) = &self.live {
            live.abort();
        }
    }

    fn order(&self, order: Order) -> Option<End> {
        let gone = || Failure::failed("the training thread is gone; this is a bug, please report it");
        self.orders.send(order).err().map(|_| End::Over(Err(gone())))
    }
}
