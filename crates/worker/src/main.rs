//! The worker's binary.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lsgan_console::{Failure, Interrupt, arguments, interrupts, logging, print, recent, slowly_if, vital};
use lsgan_train::gpu;
use lsgan_worker::{Args, Ended, interface, probe, work};
use tokio::sync::mpsc;

/// What cuBLAS reads once, without which libtorch refuses its products where kernels must be deterministic.
const CUBLAS_WORKSPACE: (&str, &str) = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8");

fn main() -> ExitCode {
    vital::run(worker)
}

fn worker() -> Result<(), Failure> {
    let (name, value) = CUBLAS_WORKSPACE;
    // SAFETY: no other thread runs yet.
    unsafe { set_unless_set(name, value) };
    lsgan_train::allocator::tune();
    lsgan_train::memory::report_too_little_as_error();
    if std::env::args_os().any(|argument| argument == "--probe") {
        return probe::probe(&arguments());
    }
    let args: Args = arguments();
    // The coordinator's name may have to be looked up, which can take seconds.
    if gpu::may_be_here()
        && let Some((name, value)) = interface::for_nccl(&args)
    {
        // SAFETY: as above.
        unsafe { set_unless_set(name, &value) };
    }
    logging::start(args.log, "info");
    recent::keep();
    slowly_if(args.in_pod, take_part(args))
}

fn take_part(args: Args) -> Result<(), Failure> {
    // One thread: the session is little work, and the cores belong to the training.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let asked = Arc::new(OnceLock::new());
    let session = async { work(args.clone(), terminations(args.grace, asked.clone())?).await };
    let runtime = runtime?;
    let ended = runtime.block_on(vital::guard("session", session))?;
    match ended {
        Ended::Finished => Ok(()),
        Ended::Stopped => Err(Failure::stopped(Interrupt::Person.exit_code())),
        // Threads of an interrupted start may still read data and use libtorch: they are not waited for.
        Ended::Left => print::end_now(asked.get().unwrap_or(&Interrupt::System).exit_code().into()),
    }
}

/// Sets a variable of the environment that the user has not set.
///
/// # Safety
/// No other thread runs that could read the environment.
unsafe fn set_unless_set(name: &str, value: &str) {
    if std::env::var_os(name).is_none() {
        // SAFETY: the caller vouches for it.
        unsafe { std::env::set_var(name, value) };
    }
}

/// The first signal that asks for the end is handed on; the second, or a `grace` that has passed, ends the process at once.
fn terminations(grace: Duration, asked: Arc<OnceLock<Interrupt>>) -> Result<mpsc::Receiver<()>, Failure> {
    let mut interrupts = interrupts()?;
    let (tell, told) = mpsc::channel(1);
    vital::task("signal task", async move {
        let Some(first) = interrupts.recv().await else { return std::future::pending().await };
        let code = asked.get_or_init(|| first).exit_code().into();
        // The session may have ended.
        let _ = tell.send(()).await;
        if tokio::time::timeout(grace, interrupts.recv()).await.is_err() {
            tracing::error!(
                "no step boundary was reached within {}, ends now",
                humantime::format_duration(grace)
            );
        }
        print::end_now(code);
    });
    Ok(told)
}
