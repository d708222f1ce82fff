//! The coordinator's binary.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use lsgan_console::{Failure, Interrupt, interrupts, logging, print, say, vital};
use lsgan_coordinator::{args::Args, coordinate, limits};
use tokio::sync::mpsc;

fn main() -> ExitCode {
    let args = Args::parse();
    logging::start(args.log, "info");
    vital::run(|| coordinator(args))
}

fn coordinator(args: Args) -> Result<(), Failure> {
    if let Err(error) = limits::raise_open_files() {
        tracing::warn!(%error, "the limit of open files cannot be raised; it bounds the number of workers");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let shell = async { coordinate(args, interrupted()?).await };
    let runtime = runtime?;
    let result = runtime.block_on(vital::guard("shell", shell));
    // Threads of an interrupted start may still read files: they are not waited for.
    runtime.shutdown_background();
    result
}

/// Completes with the first signal that asks for the end; the second ends the process at once.
fn interrupted() -> Result<impl Future<Output = Interrupt> + Send + 'static, Failure> {
    let mut interrupts = interrupts()?;
    Ok(async move {
        let first = next(&mut interrupts).await;
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
