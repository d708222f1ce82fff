//! The coordinator's binary.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use lsgan_console::{
    Failure, Interrupt, arguments, interrupts, log_file, logging, print, recent, say, slowly_if, vital,
};
use lsgan_coordinator::pod::Followed;
use lsgan_coordinator::{args::Args, coordinate, limits};
use tokio::sync::mpsc;

fn main() -> ExitCode {
    let args: Args = arguments();
    logging::start(args.log, "info");
    recent::keep();
    log_file::keep();
    vital::run(|| slowly_if(args.in_pod, coordinator(args)))
}

fn coordinator(args: Args) -> Result<(), Failure> {
    if let Err(error) = limits::raise_open_files() {
        tracing::warn!(%error, "the limit of open files cannot be raised; it bounds the number of workers");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let followed = Followed::of(&args)?;
    let shell = async { coordinate(args, interrupted(followed)?).await };
    let runtime = runtime?;
    let result = runtime.block_on(vital::guard("shell", shell));
    // Threads of an interrupted start may still read files: they are not waited for.
    runtime.shutdown_background();
    result
}

/// Completes with the first signal that asks for the end, or when the run's file has changed; the second signal ends the
/// process at once.
fn interrupted(followed: Followed) -> Result<impl Future<Output = Interrupt> + Send + 'static, Failure> {
    let mut interrupts = interrupts()?;
    Ok(async move {
        let first = tokio::select! {
            first = next(&mut interrupts) => first,
            () = followed.changed() => Interrupt::System,
        };
        vital::task("signal task", async move {
            let second = next(&mut interrupts).await;
            say!("ended at once; the newest snapshot is kept");
            print::end_now(second.exit_code().into());
        });
        first
    })
}

async fn next(interrupts: &mut mpsc::Receiver<Interrupt>) -> Interrupt {
    match interrupts.recv().await {
        Some(interrupt) => interrupt,
        // Signals come no more while the runtime ends.
        None => std::future::pending().await,
    }
}
