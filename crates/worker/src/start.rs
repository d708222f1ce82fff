//! From the command line to a worker that takes part: reaches the coordinator, opens the data, prepares the training
//! thread, and runs the session until it ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use lsgan_collective::tcp::{Listener, RunToken};
use lsgan_console::{Failure, vital};
use lsgan_control::Report;
use lsgan_control::member::{Identity, Participant};
use lsgan_data::Source;
use lsgan_launch::{data_fingerprint, open_data};
use lsgan_plan::Plan;
use lsgan_spec::{Numerics, RunSpec};
use lsgan_train::device::{self, Chosen};
use lsgan_train::{Replica, memory, numerics};
use lsgan_wire::v1;
use tokio::sync::{mpsc, oneshot};

use crate::Args;
use crate::address::for_peers;
use crate::faults::Faults;
use crate::orders::Order;
use crate::outbox::Outbox;
use crate::painter::Painter;
use crate::reach::{Reached, reach};
use crate::reduce::Transport;
use crate::session::{Ended, Session};
use crate::snapshots::{Origin, Writer};
use crate::store::RunStore;
use crate::trainer::Trainer;
use crate::trouble;

/// Runs a worker until its run has ended or it has left. Each completion of `terminate` is a wish to leave.
///
/// # Errors
/// A failure with its exit code: a coordinator that cannot be reached or refuses the worker, data that cannot be
/// opened, a run that failed.
pub async fn work(args: Args, mut terminate: mpsc::Receiver<()>) -> Result<Ended, Failure> {
    let args = args.opened()?;
    let Some(reached) = unless_asked_to_end(&mut terminate, reach(&args, None)).await else {
        return Ok(left_at_start());
    };
    let (client, description) = reached?;
    let prepared = match prepare(&args, &description, &mut terminate).await {
        Ok(Some(prepared)) => prepared,
        Ok(None) => return Ok(left_at_start()),
        Err(failure) => {
            trouble::report(client, args.name, &failure.text).await;
            return Err(failure);
        }
    };
    take_part(args, (client, description), prepared, &mut terminate).await
}

/// A worker whose training thread waits for orders.
struct Prepared {
    spec: RunSpec,
    store: Arc<RunStore>,
    outbox: Arc<Outbox>,
    orders: Sender<Order>,
    thread: std::thread::JoinHandle<()>,
}

/// Opens the data and starts the training thread. None where the process is asked to end meanwhile.
async fn prepare(
    args: &Args,
    description: &v1::RunDescription,
    terminate: &mut mpsc::Receiver<()>,
) -> Result<Option<Prepared>, Failure> {
    let spec = parse_spec(&description.spec)?;
    crate::isa::enforce(spec.compute.cpu_isa)?;
    let (data, seed) = (spec.data.clone(), spec.seed);
    let opened = tokio::task::spawn_blocking(move || open_data(&data, seed));
    let Some(opened) = unless_asked_to_end(terminate, opened).await else { return Ok(None) };
    let source: Arc<dyn Source> = Arc::from(opened??);
    let listener = listen(args.listens())?;
    let store = Arc::new(RunStore::at(&description.store));
    let training = Training {
        identity: Identity {
            name: args.name.clone(),
            address: for_peers(args, listener.local_addr()).await?.to_string(),
            numerics: Numerics::default(), // known when the device is configured
            data_fingerprint: data_fingerprint(&*source, &spec.model)?,
        },
        run_identity: description.identity.clone(),
        token: token(&description.token)?,
        spec: spec.clone(),
        source,
        listener,
        store: store.clone(),
        faults: args.faults,
        local_rank: args.local_rank,
    };
    // Unbounded, but the coordinator sends the next order only after the last one was answered.
    let (orders, queue) = channel();
    let (report, started) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    let thread = vital::thread("trainer", move || match memory::caught(|| training.prepare(runtime)) {
        Ok(Ok((trainer, outbox))) => {
            // The session may have ended meanwhile.
            let _ = report.send(Ok(outbox));
            trainer.run(&queue);
        }
        Ok(Err(failure)) => {
            let _ = report.send(Err(failure));
        }
        Err(too_little) => {
            let _ = report.send(Err(Failure::failed(too_little)));
        }
    });
    let thread = thread?;
    let Some(started) = unless_asked_to_end(terminate, started).await else { return Ok(None) };
    let outbox = started.map_err(|_| Failure::failed("the training thread ended before it began"))??;
    Ok(Some(Prepared { spec, store, outbox, orders, thread }))
}

async fn take_part(
    args: Args,
    (client, description): Reached,
    prepared: Prepared,
    terminate: &mut mpsc::Receiver<()>,
) -> Result<Ended, Failure> {
    let Prepared { spec, store, outbox, orders, thread } = prepared;
    let mut session = Session::new(args, description, Arc::new(spec), store, outbox, orders);
    let result = session.run(client, terminate).await;
    let stream = session.close();
    // Without a session no more orders come: the training thread ends after the snapshots under way are written.
    tokio::task::spawn_blocking(move || thread.join())
        .await?
        .map_err(|_| Failure::failed("the training thread panicked; this is a bug, please report it"))?;
    drop(stream);
    result
}

fn listen(address: SocketAddr) -> Result<Listener, Failure> {
    let socket = lsgan_wire::listen(address).map_err(|error| {
        Failure::failed(format!(
            "cannot listen on {address} for other workers: {error}. Give another address with --peer-listen; port 0 \
             takes a free one."
        ))
    })?;
    Ok(Listener::on(socket)?.also_local())
}

/// The run's file as the coordinator sends it.
///
/// # Errors
/// It is a file of another version.
pub fn parse_spec(json: &str) -> Result<RunSpec, Failure> {
    RunSpec::from_json(json)
        .map_err(|error| Failure::bad_input(format!("the coordinator is of another version: {error}")))
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

/// What the training thread is made from.
struct Training {
    identity: Identity,
    run_identity: String,
    token: RunToken,
    spec: RunSpec,
    source: Arc<dyn Source>,
    listener: Listener,
    store: Arc<RunStore>,
    faults: Faults,
    local_rank: u32,
}

impl Training {
    /// Configures the device and makes the trainer. On the training thread, since libtorch's settings are a thread's.
    fn prepare(self, runtime: tokio::runtime::Handle) -> Result<(Trainer, Arc<Outbox>), Failure> {
        let Self { identity, run_identity, token, spec, source, listener, store, faults, local_rank } = self;
        let Chosen { device, no_gpu } =
            device::choose(spec.compute.device, local_rank).map_err(Failure::bad_input_of)?;
        device::configure(device, spec.precision, &spec.compute).map_err(Failure::bad_input_of)?;
        let transport = Transport::of(device)?;
        let mut numerics = numerics(device, Some(&spec));
        transport.describe(&mut numerics);
        let plan = Plan::of_run(&spec, source.len())?;
        let replica = Replica::builder(&spec).device(device).rehearsal(faults.rehearsal()).build()?;
        let origin = Origin {
            identity: run_identity,
            data_fingerprint: identity.data_fingerprint.clone(),
            numerics: numerics.to_string(),
        };
        let model = numerics.model.clone();
        let outbox = Arc::new(Outbox::new(Participant::new(Identity { numerics, ..identity })));
        if let Some(why) = no_gpu {
            let text = format!("it trains on the CPU: {why}");
            tracing::warn!("{text}");
            outbox.say(Report::Warning { text });
        }
        let writer = Writer::start(store.clone(), origin, outbox.clone())?;
        let painter = Painter::start(outbox.clone())?;
        let trainer = Trainer {
            spec,
            plan,
            source,
            replica,
            transport,
            listener,
            token,
            store,
            writer,
            painter,
            outbox: outbox.clone(),
            holds: false,
            device: model,
            runtime,
            faults,
        };
        Ok((trainer, outbox))
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
