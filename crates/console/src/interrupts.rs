//! SIGINT and SIGTERM, counted.

use std::io;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Two signals within this time are one wish: timeout(1) and some shells send one to the process and one to its group.
const ONE_WISH: Duration = Duration::from_millis(300);

/// A message for each time that the user (or the system) asks the process to end. Must be called inside a runtime.
///
/// # Errors
/// The system does not hand signals over.
pub fn interrupts() -> io::Result<mpsc::Receiver<()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (tell, told) = mpsc::channel(4);
    tokio::spawn(async move {
        let mut wished: Option<Instant> = None;
        loop {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            // Counted from the wish, not from its last signal: a key that is held down must not make it endless.
            if wished.is_some_and(|at| at.elapsed() < ONE_WISH) {
                continue;
            }
            wished = Some(Instant::now());
            if tell.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(told)
}
