//! The start of `lsgan up`'s coordinator: until it listens, or has said why it does not.

use std::process::ExitStatus;
use std::time::Duration;

use lsgan_console::{Failure, Interrupt, announce, say};
use lsgan_launch::LISTENING;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::children::Running;

/// After so long the start is announced: the coordinator reads the data set and verifies a snapshot first.
const START_TAKES: Duration = Duration::from_secs(5);

/// Waits until the coordinator listens, and returns its address; none where its run was finished already.
pub(crate) async fn listening(
    child: &mut Running,
    lines: &mut mpsc::Receiver<String>,
    interrupts: &mut mpsc::Receiver<Interrupt>,
) -> Result<Option<String>, Failure> {
    let first = tokio::select! {
        first = first_line(lines) => first,
        status = child.ended() => return early_end(child, status, lines).await.map(|()| None),
        asked = interrupts.recv() => {
            let code = asked.unwrap_or(Interrupt::System).exit_code();
            return Err(Failure { code, text: "ended before the run began; nothing has changed".to_owned() });
        }
    };
    if let Some(address) = first.as_deref().and_then(|line| line.strip_prefix(LISTENING)) {
        return Ok(Some(address.to_owned()));
    }
    let status = child.ended().await;
    if let Some(line) = first {
        announce!("{line}");
    }
    early_end(child, status, lines).await.map(|()| None)
}

/// The coordinator's first line on standard output, however long it takes.
async fn first_line(lines: &mut mpsc::Receiver<String>) -> Option<String> {
    if let Ok(first) = timeout(START_TAKES, lines.recv()).await {
        return first;
    }
    say!("starting: the coordinator reads the data set and looks at the snapshots");
    lines.recv().await
}

/// Reports a coordinator that ended before it listened: its last error and its exit code.
async fn early_end(
    child: &mut Running,
    status: Option<ExitStatus>,
    lines: &mut mpsc::Receiver<String>,
) -> Result<(), Failure> {
    let error = child.last_error().await;
    while let Ok(line) = lines.try_recv() {
        announce!("{line}");
    }
    if status.is_some_and(|status| status.success()) {
        return Ok(());
    }
    let code = status.and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
    let text = error.unwrap_or_else(|| "the coordinator ended without a word".to_owned());
    Err(Failure { code: code.unwrap_or(Failure::FAILED), text })
}
