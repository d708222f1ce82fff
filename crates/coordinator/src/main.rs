//! The coordinator's binary.

use std::process::ExitCode;

use clap::Parser;
use lsgan_console::{Failure, finish, interrupts, logging};
use lsgan_coordinator::{args::Args, coordinate, limits};

fn main() -> ExitCode {
    let args = Args::parse();
    logging::start(args.log, "info");
    if let Err(error) = limits::raise_open_files() {
        tracing::warn!(%error, "the limit of open files cannot be raised; it bounds the number of workers");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = runtime
        .map_err(Failure::failed)
        .and_then(|runtime| runtime.block_on(async move { coordinate(args, interrupted()?).await }));
    finish(result)
}

/// Completes with the first SIGINT or SIGTERM; the second ends the process at once.
fn interrupted() -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    let mut interrupts = interrupts().map_err(Failure::failed)?;
    Ok(async move {
        interrupts.recv().await;
        tokio::spawn(async move {
            interrupts.recv().await;
            eprintln!("ended at once; the newest snapshot is kept");
            std::process::exit(130);
        });
    })
}
