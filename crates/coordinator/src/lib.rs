//! The coordinator: the shell around the control machine of one run.
//!
//! Not here: decisions (`control`), the order of samples (`plan`), anything of libtorch.
//! Start at [`coordinate`]; then [`shell`] for what happens to an input.
//!
//! - [`args`]: the command line.
//! - [`about_data`]: what is told of the data set at the start.
//! - [`startup`]: from the run's file and directory to a machine that is ready, or one clear error.
//! - [`service`]: the side of gRPC. [`roles`]: who may call what. [`tokens`]: join tokens, by which workers without a
//!   certificate may.
//! - `bounded`: how long a message may be before its sender is known. `stream`: a worker's stream between gRPC and shell.
//!   `allowance`: how much it may say.
//! - `random`: the system's random source.
//! - [`entrance`]: a worker's message on its way to the gate of `control`.
//! - [`shell`]: receive, convert, apply, perform; `reported`: what workers report beside that; `held`: what waits for the
//!   journal.
//! - [`clock`]: the machine's time, less what was lost.
//! - [`status`], [`notices`]: the machine's words for people.
//! - [`causes`]: how long a warning is one. [`troubles`]: why workers cannot start.
//! - [`copy`]: the journal's copy beside the snapshots, and which coordinator leads.
//! - [`counts`]: how far the journal is, for workers that come back.
//! - [`catalogue`]: the snapshots of the run: pins, suspects, retention. [`data_set`]: its data: fingerprint, corrupt records.
//! - `confirm`: reads records that workers say do not decode, before they count.
//! - `scoring`: which worker scores which snapshot; keeps what comes of it. `scores`: what the status says of it.
//! - `grids`: how many grids of samples are kept.
//! - `seen`: looks into the store before a snapshot counts as written, or a worker as one that sees it.
//! - [`operate`]: what operators ask for, and who waits for the run's end.
//! - [`queue`]: the thread that writes the journal. `rows`: messages as its rows.
//! - [`health`]: what probes ask. [`pod`]: what is different where a coordinator is replaced as soon as it ends.
//! - [`page`]: the run in a browser, and what its readers may ask for. `load`: what steps take each worker, for them.
//! - [`alerts`]: what a person is told of at once. [`webhook`]: a server that it is posted to. `post`: how things are posted.
//! - `reading`: rows of the journal for tools on other hosts. `tensorboard`: event files beside the run.
//! - [`trainjob`]: progress for Kubeflow Trainer. [`spans`]: what happens, for OpenTelemetry.
//! - [`logs`]: the newest lines that workers and this process have printed. [`profile`]: where the time of a few steps goes.
//! - [`limits`]: what the operating system allows.

#![forbid(unsafe_code)]

pub mod about_data;
pub mod alerts;
mod allowance;
pub mod args;
mod bounded;
pub mod catalogue;
pub mod causes;
pub mod clock;
mod confirm;
pub mod copy;
pub mod counts;
pub mod data_set;
pub mod entrance;
mod grids;
pub mod health;
mod held;
pub mod limits;
mod load;
pub mod logs;
pub mod notices;
pub mod operate;
pub mod page;
pub mod pod;
mod post;
pub mod profile;
pub mod queue;
mod random;
mod reading;
mod reported;
pub mod roles;
mod rows;
mod scores;
mod scoring;
mod seen;
pub mod service;
pub mod shell;
pub mod spans;
pub mod startup;
pub mod status;
pub mod stream;
mod tensorboard;
pub mod tokens;
pub mod trainjob;
pub mod troubles;
pub mod webhook;

use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lsgan_certs::{Identity, Role};
use lsgan_console::{Failure, Interrupt, Notices, Progress, print, say, vital};
use lsgan_control::Outcome;
use lsgan_launch::{LISTENING, Places};
use lsgan_runfile::RunFile;
use lsgan_snapshots::RunLock;
use lsgan_spec::{Step, Webhook as Named};
use lsgan_wire::{Incoming, Limits, Listen, MESSAGE_LEN_BYTES_MAX, from_here, scheme, v1};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Server;

use crate::alerts::Watch;
use crate::args::Args;
use crate::bounded::{Bounded, LEADERS_BYTES_MAX};
use crate::health::Health;
use crate::page::Page;
use crate::roles::Roles;
use crate::service::{Input, Service};
use crate::shell::Ended;
use crate::spans::Exporter;
use crate::startup::{Prepared, Start, Workers};
use crate::status::StatusFeed;
use crate::tensorboard::EventFile;
use crate::tokens::Tokens;
use crate::trainjob::{LAST_WITHIN, TrainJob};
use crate::webhook::Webhook;

/// How often a silent connection is pinged, and how long the answer may take.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Calls of one connection at the same time. A worker has one for long, and `lsgan` a few.
const CALLS_MAX: u32 = 16;
/// What a connection may have sent that is not read yet, and each of its calls: a picture comes in a few round trips, and a
/// call that is not read does not hold up the others.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
const CALL_WINDOW_BYTES: u32 = 1 << 18;
/// The headers of a call, which have a few hundred bytes.
const HEADERS_BYTES_MAX: u32 = 16 << 10;

/// How long the port may still belong to the coordinator before, which is ending.
const PORT_TAKES: Duration = Duration::from_secs(2);
/// Between two tries.
const PORT_PAUSE: Duration = Duration::from_millis(50);
/// How long a supervisor has to ask once more when the run is over; `lsgan up` asks five times a second.
const SUPERVISOR_ASKS_WITHIN: Duration = Duration::from_millis(500);

/// Runs a coordinator until its run has ended. `interrupted` is awaited once: by a person the run is stopped at a step
/// boundary; awaited again by the caller it may mean to end at once.
///
/// # Errors
/// A failure with its exit code: bad input, a port or run directory in use, a journal or snapshot that cannot be
/// read, or a run that failed.
pub async fn coordinate(
    args: Args,
    interrupted: impl Future<Output = Interrupt> + Send + 'static,
) -> Result<(), Failure> {
    // What the user can get wrong without a look at the disk comes before the port, and what takes long after it.
    let file = args.run.load_file()?;
    let run_dir = Places::of(&file.spec, args.run.run_dir.as_deref()).run_dir;
    let identity = args.tls.open(&[Role::Coordinator])?;
    let webhook = Webhook::of(&file.spec.alerts.webhook, std::env::var(Named::VARIABLE).ok())?;
    let listener = listen(&args.listen).await.map_err(|error| cannot_listen(&args, &run_dir, &error))?;
    let address = listener.local_addr()?;
    args.open.check(address, identity.is_some(), ("the coordinator", "--listen"))?;
    let health = match &args.health_listen {
        Some(address) => Some(Health::start(address).await?),
        None => None,
    };
    let page = match &args.http {
        Some(address) => {
            Some(Page::listen(address, &args.open, (args.http_actions, identity.is_some())).await?)
        }
        None => None,
    };
    tracing::info!(%address, run = file.spec.run, "starting: reading the data set, looking at the snapshots");
    let tokens = Arc::new(Tokens::new(identity.clone()));
    let service = Service::starting(status::starting(&file.spec, &run_dir), tokens.clone());
    let server = Serving::start(listener, (identity, tokens.clone()), service.clone());
    let mut interrupted = Box::pin(interrupted);
    let start = tokio::select! {
        start = prepare(file, args.clone(), tokens) => start?,
        asked = &mut interrupted => {
            let text = "ended before the run began; nothing has changed".to_owned();
            return Err(Failure { code: asked.exit_code(), text });
        }
    };
    match start {
        Start::Ready(prepared) => {
            if let Some(health) = health {
                health.watch(prepared.status.clone());
            }
            let shown = (page, webhook);
            report(&run(*prepared, (server, shown), &service, (address, &args), interrupted).await?)
        }
        Start::Finished(text) => {
            print::announce_as(&json!({ "outcome": "complete", "message": text }), format_args!("{text}"));
            if args.in_pod {
                pod::tell_the_end(&service, interrupted).await;
            }
            Ok(())
        }
    }
}

/// Makes the run ready on a thread of its own, so that a signal ends the process while files are read.
async fn prepare(file: RunFile, args: Args, tokens: Arc<Tokens>) -> Result<Start, Failure> {
    if args.in_pod {
        pod::until_free(&Places::of(&file.spec, args.run.run_dir.as_deref()).run_dir).await;
    }
    let runtime = tokio::runtime::Handle::current();
    let sealed = args.tls.is_given();
    let workers = Workers { expected: args.expect_workers, supervised: args.supervised, sealed, tokens };
    let prepare = move || runtime.block_on(startup::prepare(file, &args.run, workers));
    match tokio::task::spawn_blocking(prepare).await {
        Ok(start) => start,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The same command a second time finds the port taken, by the coordinator that has the run directory too.
fn cannot_listen(args: &Args, run_dir: &Path, error: &std::io::Error) -> Failure {
    let is_there = args.run.fork.is_none() && run_dir.is_dir();
    match is_there.then(|| RunLock::acquire(run_dir)) {
        Some(Err(held @ lsgan_snapshots::Error::InUse { .. })) => held.into(),
        _ => Failure::failed(format!(
            "cannot listen on {}: {error}. Give another address with --listen; port 0 takes a free one.",
            args.listen
        )),
    }
}

/// Listens, on a thread where a name may be looked up.
async fn listen(address: &Listen) -> std::io::Result<TcpListener> {
    let begin = Instant::now();
    let socket = loop {
        let address = address.clone();
        let bound = tokio::task::spawn_blocking(move || address.bind()).await;
        match bound.map_err(std::io::Error::other)? {
            Err(error) if error.kind() == ErrorKind::AddrInUse && begin.elapsed() < PORT_TAKES => {
                tokio::time::sleep(PORT_PAUSE).await;
            }
            bound => break bound?,
        }
    };
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// What answers on the port.
struct Serving {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Serving {
    fn start(
        listener: TcpListener,
        (identity, tokens): (Option<Arc<Identity>>, Arc<Tokens>),
        service: Service,
    ) -> Self {
        let service = v1::coordinator_server::CoordinatorServer::new(service)
            .max_decoding_message_size(LEADERS_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_LEN_BYTES_MAX);
        let (stop, stopped) = oneshot::channel::<()>();
        let incoming = Incoming::new(listener, identity, tokens.are_there(), Limits::default());
        let server = Server::builder()
            // A host that is lost without a word is noticed by missing heartbeats; this only ends its connection.
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .http2_keepalive_timeout(Some(KEEP_ALIVE))
            .max_concurrent_streams(CALLS_MAX)
            .initial_stream_window_size(CALL_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_max_header_list_size(HEADERS_BYTES_MAX)
            .layer(Roles(tokens))
            .add_service(Bounded(service));
        let serving = server.serve_with_incoming_shutdown(incoming, async {
            // The sender may be dropped instead of used; both mean the end.
            let _ = stopped.await;
        });
        let task = vital::task("server", async move {
            // Without it no client reaches the shell.
            serving.await.expect("the server ends when it is told to");
        });
        Self { task, stop }
    }

    async fn end(self) {
        // It may have ended with the last connection.
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(Duration::from_secs(1), self.task).await;
    }
}

async fn run(
    mut prepared: Prepared,
    (server, (page, webhook)): (Serving, (Option<Page>, Option<Webhook>)),
    service: &Service,
    (address, args): (SocketAddr, &Args),
    interrupted: impl Future<Output = Interrupt> + Send + 'static,
) -> Result<Ended, Failure> {
    prepared.lock.describe(&from_here(address).to_string())?;
    let Prepared { lock, description, shell, inputs, queue, status, exporter } = prepared;
    let run = description.run.clone();
    let moment = (shell.counts.clone(), status.clone(), shell.logs.clone());
    service.begin(inputs.clone(), description, moment, shell.run_dir.clone());
    let listening = format!("{}{address}", scheme(args.tls.is_given()));
    print::announce_as(&json!({ "listening": listening }), format_args!("{LISTENING}{listening}"));
    let watch = Watch::of(&shell.spec, &shell.run_dir, webhook);
    if let Some(page) = page {
        let outbox = watch.as_ref().and_then(Watch::outbox);
        let counting = page::counting(exporter.as_ref(), outbox, &shell.logs);
        page.serve(shell.run_dir.clone(), service.clone(), counting);
    }
    let (stop, supervised) = (inputs.clone(), args.supervised);
    let (gone, told_to_go) = oneshot::channel();
    let interrupt = vital::task("signal task", async move {
        // A person stops the run. The system only wants this process gone, as when it drains a host: the workers go on,
        // unless one command started them all.
        let interrupt = interrupted.await;
        // Listened to once the run has ended.
        let _ = gone.send(());
        let input = match interrupt {
            Interrupt::System if !supervised => Input::Go,
            Interrupt::System | Interrupt::Person => Input::Stop,
        };
        // Only an ended shell does not listen.
        let _ = stop.send(input).await;
    });
    let job = TrainJob::of(|name| std::env::var(name).ok());
    let reports = job.map(|job| vital::task("report task", job.follow(status.clone())));
    // Not vital: a run that nobody watches goes on.
    let alerts = watch.map(|watch| tokio::spawn(watch.follow(status.clone(), inputs.clone())));
    let supervisor = supervised.then(|| status.clone());
    let progress = (!args.quiet).then(|| vital::task("progress task", show_progress(status)));
    let event_file = EventFile::of(&shell.spec, &shell.run_dir);
    let beside = Beside { exporter, progress, event_file, reports, alerts, supervisor };

    tracing::info!(%address, run, "listening");
    drop(inputs);
    let ended = shell.run(queue).await;

    beside.end().await;
    if args.in_pod && ended.outcome == Some(Outcome::Complete) {
        pod::tell_the_end(service, told_to_go).await;
    }
    interrupt.abort();
    server.end().await;
    drop(lock);
    Ok(ended)
}

/// What goes on beside the shell.
struct Beside {
    exporter: Option<Exporter>,
    progress: Option<JoinHandle<()>>,
    event_file: Option<EventFile>,
    reports: Option<JoinHandle<()>>,
    alerts: Option<JoinHandle<()>>,
    supervisor: Option<StatusFeed>,
}

impl Beside {
    /// Waits for what is left to do once the shell has ended, for a short time each.
    async fn end(self) {
        if let Some(exporter) = self.exporter {
            exporter.finish().await;
        }
        if let Some(progress) = self.progress {
            let _ = progress.await; // it sees that the shell has ended
        }
        if let Some(event_file) = self.event_file {
            event_file.finish().await;
        }
        if let Some(reports) = self.reports {
            // The last one may have failed.
            let _ = tokio::time::timeout(LAST_WITHIN, reports).await;
        }
        if let Some(alerts) = self.alerts
            && tokio::time::timeout(LAST_WITHIN, alerts).await.is_err()
        {
            tracing::warn!("alerts that were not posted yet are dropped: the run has ended");
        }
        if let Some(supervisor) = self.supervisor {
            // It shows what happened last, which only this process can tell.
            supervisor.asked_within(SUPERVISOR_ASKS_WITHIN).await;
        }
    }
}

/// Shows the status several times a second until the shell ends.
async fn show_progress(status: StatusFeed) {
    let mut progress = Progress::new(Notices::Logged);
    let mut beat = tokio::time::interval(Duration::from_millis(200));
    loop {
        beat.tick().await;
        let is_last = status.is_last();
        let status = status.read().await;
        progress.show(&status);
        if is_last || status.outcome.is_some() {
            break;
        }
    }
    progress.end();
}

/// What is kept of a run that was stopped.
fn stopped(step: Step) -> String {
    match step {
        Step(0) => "stopped, and nothing is kept: no snapshot was written. The same command begins at step 0"
            .to_owned(),
        step => format!("stopped after step {step} with a snapshot; the same command goes on from there"),
    }
}

/// The last lines: what was written, and what to do next.
fn report(ended: &Ended) -> Result<(), Failure> {
    if let Some(why) = &ended.deposed {
        return Err(Failure::bad_input(why));
    }
    match &ended.outcome {
        Some(Outcome::Complete) => {
            let files: Vec<_> = ended.final_files.iter().map(file).collect();
            let lines = startup::final_lines(&ended.final_files);
            print::announce_as(&json!({ "outcome": "complete", "files": files }), format_args!("{lines}"));
            Ok(())
        }
        Some(Outcome::Stopped { step }) => {
            print::announce_as(
                &json!({ "outcome": "stopped", "step": step.0 }),
                format_args!("{}", stopped(*step)),
            );
            Err(Failure::stopped(Interrupt::Person.exit_code()))
        }
        Some(Outcome::Failed { why }) => Err(Failure::failed(why)),
        Some(Outcome::Refused { why }) => Err(Failure::bad_input(why)),
        None => {
            say!(
                "this coordinator goes; the run's workers go on without it, and the same command adopts them"
            );
            Err(Failure::stopped(Interrupt::System.exit_code()))
        }
    }
}

fn file(file: &v1::FinalFile) -> serde_json::Value {
    json!({ "name": file.name, "url": file.url, "blake3": file.blake3 })
}
