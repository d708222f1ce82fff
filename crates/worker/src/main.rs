//! The worker's binary.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use lsgan_console::{Failure, finish, interrupts, logging};
use lsgan_worker::{Args, probe, work};
use tokio::sync::mpsc;

/// What cuBLAS reads once, without which libtorch refuses its products where kernels must be deterministic.
const CUBLAS_WORKSPACE: (&str, &str) = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8");

fn main() -> ExitCode {
    let (name, value) = CUBLAS_WORKSPACE;
    if std::env::var_os(name).is_none() {
        // SAFETY: no other thread runs yet that could read the environment.
        unsafe { std::env::set_var(name, value) };
    }
    lsgan_train::allocator::tune();
    lsgan_train::memory::report_too_little_as_error();
    if std::env::args_os().any(|argument| argument == "--probe") {
        return finish(probe::probe(&probe::Args::parse()));
    }
    let args = Args::parse();
    logging::start(args.log, "info");
    // One thread: the session is little work, and the cores belong to the training.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let result = runtime
        .map_err(Failure::failed)
        .and_then(|runtime| runtime.block_on(async { work(args.clone(), terminations(args.grace)?).await }));
    finish(result)
}

/// The first SIGINT or SIGTERM is handed on; the second, or a `grace` that has passed, ends the process at once.
fn terminations(grace: Duration) -> Result<mpsc::Receiver<()>, Failure> {
    let mut interrupts = interrupts().map_err(Failure::failed)?;
    let (tell, told) = mpsc::channel(1);
    tokio::spawn(async move {
        interrupts.recv().await;
        // The session may have ended.
        let _ = tell.send(()).await;
        if tokio::time::timeout(grace, interrupts.recv()).await.is_err() {
            tracing::error!(
                "no step boundary was reached within {}, ends now",
                humantime::format_duration(grace)
            );
            end_now(1);
        }
        end_now(130);
    });
    Ok(told)
}

/// Ends the process without its destructors: libtorch's would pull down what the training thread is using.
fn end_now(code: i32) -> ! {
    // SAFETY: _exit ends the process and touches no memory of it; standard error is not buffered.
    unsafe { nix::libc::_exit(code) }
}
