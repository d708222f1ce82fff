//! Signals that ask the process to end, counted.

use std::io;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::vital;

/// Two signals within this time are one wish: timeout(1) and some shells send one to the process and one to its group, and
/// a scheduler or a closed terminal sends several.
const ONE_WISH: Duration = Duration::from_millis(300);

/// Why the process is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// A person at a terminal: SIGINT.
    Person,
    /// A supervisor or the system: SIGTERM, SIGUSR1 (which schedulers send ahead of the end), SIGHUP.
    System,
}

impl Interrupt {
    /// The exit code of a process that ended for it before its work was done, as a shell reports such a signal.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Person => 130,
            Self::System => 143,
        }
    }
}

/// A message for each time that the process is asked to end. SIGHUP does not count where the process was started to ignore
/// it (nohup). Must be called inside a runtime.
///
/// # Errors
/// The system does not hand signals over.
pub fn interrupts() -> io::Result<mpsc::Receiver<Interrupt>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut ahead = signal(SignalKind::user_defined1())?;
    let mut hang_up = if ignores_hang_up() { None } else { Some(signal(SignalKind::hangup())?) };
    let (tell, told) = mpsc::channel(4);
    vital::task("signal task", async move {
        let mut wished: Option<Instant> = None;
        loop {
            let asked = tokio::select! {
                _ = interrupt.recv() => Interrupt::Person,
                _ = terminate.recv() => Interrupt::System,
                _ = ahead.recv() => Interrupt::System,
                () = next(hang_up.as_mut()) => Interrupt::System,
            };
            // Counted from the wish, not from its last signal: a key that is held down must not make it endless.
            if wished.is_some_and(|at| at.elapsed() < ONE_WISH) {
                continue;
            }
            wished = Some(Instant::now());
            if tell.send(asked).await.is_err() {
                return;
            }
        }
    });
    Ok(told)
}

async fn next(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether this process was started so that it outlives its terminal (`nohup`).
fn ignores_hang_up() -> bool {
    // SAFETY: a zeroed sigaction is a valid place for the answer.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is changed, and the answer has its place.
    let asked = unsafe { libc::sigaction(libc::SIGHUP, std::ptr::null(), &mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}
