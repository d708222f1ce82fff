//! The coordinator: the shell around the control machine of one run.
//!
//! Not here: decisions (`control`), the order of samples (`plan`), anything of libtorch.
//! Start at [`coordinate`]; then [`shell`] for what happens to an input.
//!
//! - [`args`]: the command line.
//! - [`startup`]: from the run's file and directory to a machine that is ready, or one clear error.
//! - [`service`]: the side of gRPC.
//! - [`shell`]: receive, convert, apply, perform; [`reported`](self): what workers report beside that.
//! - [`clock`]: the machine's time, less what was lost.
//! - [`convert`], [`status`], [`notices`]: the machine's words on the wire and for people.
//! - [`counts`]: how far the journal is, for workers that come back.
//! - [`corrupt`]: records that do not decode.
//! - `seen`: looks into the store before a snapshot counts as written, or a worker as one that sees it.
//! - [`journal`]: what lasts, in SQLite.
//! - [`limits`]: what the operating system allows.

pub mod args;
pub mod clock;
pub mod convert;
pub mod corrupt;
pub mod counts;
pub mod journal;
pub mod limits;
pub mod notices;
mod reported;
mod seen;
pub mod service;
pub mod shell;
pub mod startup;
pub mod status;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use lsgan_console::{Failure, Interrupt, Notices, Progress, announce, exit::chain, say, vital};
use lsgan_control::Outcome;
use lsgan_wire::{Listen, MESSAGE_LEN_BYTES_MAX, v1};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::args::Args;
use crate::service::{Input, Service};
use crate::shell::Ended;
use crate::startup::{Prepared, Start};

/// What stands before the address in the first line on standard output.
pub const LISTENING: &str = "listening on ";

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
    let prepared = match startup::prepare(&args.run, args.expect_workers, args.supervised).await? {
        Start::Ready(prepared) => *prepared,
        Start::Finished(text) => {
            announce!("{text}");
            return Ok(());
        }
    };
    let listener = listen(&args.listen).await.map_err(|error| {
        Failure::failed(format!(
            "cannot listen on {}: {error}. Give another address with --listen; port 0 takes a free one.",
            args.listen
        ))
    })?;
    let address = listener.local_addr().map_err(Failure::failed)?;
    let ended = serve(prepared, listener, address, &args, interrupted).await?;
    report(&ended)
}

/// Listens, on a thread where a name may be looked up.
async fn listen(address: &Listen) -> std::io::Result<TcpListener> {
    let address = address.clone();
    let bound = tokio::task::spawn_blocking(move || address.bind()).await;
    let socket = bound.map_err(std::io::Error::other)??;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

async fn serve(
    mut prepared: Prepared,
    listener: TcpListener,
    address: SocketAddr,
    args: &Args,
    interrupted: impl Future<Output = Interrupt> + Send + 'static,
) -> Result<Ended, Failure> {
    prepared.lock.describe(&address.to_string()).map_err(Failure::failed)?;
    announce!("{LISTENING}http://{address}");
    let Prepared { lock, description, shell, inputs, queue } = prepared;
    let run = description.run.clone();
    let service = Service::new(inputs.clone(), description, shell.counts.clone());
    let service = v1::coordinator_server::CoordinatorServer::new(service)
        .max_decoding_message_size(MESSAGE_LEN_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_LEN_BYTES_MAX);
    let (stop_serving, stopped) = oneshot::channel::<()>();
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    // A host that is lost without a word is noticed by missing heartbeats; this only ends its connection.
    let server =
        Server::builder().http2_keepalive_interval(Some(Duration::from_secs(10))).add_service(service);
    let serving = server.serve_with_incoming_shutdown(incoming, async {
        // The sender may be dropped instead of used; both mean the end.
        let _ = stopped.await;
    });
    let server = vital::task("server", async move {
        // Without it nobody reaches the shell any more.
        serving.await.expect("the server ends when it is told to");
    });
    let (stop, supervised) = (inputs.clone(), args.supervised);
    let interrupt = vital::task("signal task", async move {
        // A person stops the run. The system only wants this process gone, as when it drains a host: the workers go on,
        // unless one command started them all.
        let input = match interrupted.await {
            Interrupt::System if !supervised => Input::Go,
            Interrupt::System | Interrupt::Person => Input::Stop,
        };
        // Only an ended shell does not listen.
        let _ = stop.send(input).await;
    });
    let progress = (!args.quiet).then(|| vital::task("progress task", show_progress(inputs.clone())));

    tracing::info!(%address, run, "listening");
    drop(inputs);
    let ended = shell.run(queue).await.map_err(|error| Failure::failed(chain(&error)));

    interrupt.abort();
    if let Some(progress) = progress {
        // It ends by itself when nobody answers it.
        let _ = progress.await;
    }
    let _ = stop_serving.send(());
    let _ = tokio::time::timeout(Duration::from_secs(1), server).await;
    drop(lock);
    ended
}

/// Shows the status several times a second until the shell ends.
async fn show_progress(inputs: mpsc::Sender<Input>) {
    let mut progress = Progress::new(Notices::Logged);
    let mut beat = tokio::time::interval(Duration::from_millis(200));
    loop {
        beat.tick().await;
        let (answer, status) = oneshot::channel();
        if inputs.send(Input::Status(answer)).await.is_err() {
            break;
        }
        let Ok(status) = status.await else { break };
        progress.show(&status);
        if status.outcome.is_some() {
            break;
        }
    }
    progress.end();
}

/// The last lines: what was written, and what to do next.
fn report(ended: &Ended) -> Result<(), Failure> {
    match &ended.outcome {
        Some(Outcome::Complete) => {
            announce!("{}", startup::final_lines(&ended.final_files));
            Ok(())
        }
        Some(Outcome::Stopped { step }) => {
            announce!("stopped after step {step} with a snapshot; the same command goes on from there");
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
