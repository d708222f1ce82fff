//! Threads and tasks without which the process must not go on: a panic in one of them ends the process with a message.
//!
//! A thread that is gone while the others go on is worse than a process that is gone: heartbeats still say that all is
//! well, and the run stands still. A process that is gone is noticed and replaced within a second.
//!
//! Panics that are caught (a picture decoder's, libtorch's word for too little memory) end nothing.

use std::panic;
use std::process::ExitCode;
use std::thread::JoinHandle;

use crate::exit::{Failure, finish};
use crate::print;

/// The exit code of a process that a panic ended, as Rust's own.
pub const PANICKED: i32 = 101;

/// Runs the whole of a process: what `main` does. Before anything else, so that all panics are printed by it.
#[must_use]
pub fn run(work: impl FnOnce() -> Result<(), Failure>) -> ExitCode {
    panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let trace = std::backtrace::Backtrace::capture();
        let trace = match trace.status() {
            std::backtrace::BacktraceStatus::Captured => format!("\n{trace}"),
            _ => String::new(),
        };
        let name = thread.name().unwrap_or("without a name");
        print::error_past_bar(&format!("thread {name} {panic}{trace}"));
    }));
    let _vital = Vital("main thread");
    finish(work())
}

/// Starts a thread.
///
/// # Errors
/// The system has no room for it.
pub fn thread<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _vital = Vital(name);
        work()
    })
}

/// Starts a task of the runtime that this is called in.
pub fn task<T: Send + 'static>(
    name: &'static str,
    work: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    tokio::spawn(guard(name, work))
}

/// Work of this task; what `main` waits for, so that a panic in it ends the process before the runtime waits for others.
pub async fn guard<T>(name: &'static str, work: impl Future<Output = T>) -> T {
    let _vital = Vital(name);
    work.await
}

/// A guard that ends the process when a panic drops it. Held where dropping what comes after it could take long.
#[derive(Debug)]
pub struct Vital(pub &'static str);

impl Drop for Vital {
    fn drop(&mut self) {
        if std::thread::panicking() {
            print::error_past_bar(&format!(
                "error: the {} panicked, and this process ends, so that nobody waits for it. This is a bug, please \
                 report it with the lines above.",
                self.0
            ));
            print::end_now(PANICKED);
        }
    }
}
