//! A worker's stream between its task on the side of gRPC and the shell.
//!
//! The task reads, the shell decides. What is beyond the stream's [`Allowance`] is dropped here; what waits for the shell
//! is bounded for each stream, so that one that floods does not delay the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lsgan_control::SessionId;
use lsgan_wire::v1::{self, worker_message::Kind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_stream::StreamExt;
use tonic::{Status, Streaming};

use crate::allowance::Allowance;
use crate::bounded::{MessageLimit, Sender};
use crate::service::Input;

/// Messages of one stream that wait for the shell. It handles a message in microseconds: more would be a flood's.
const WAITING_MAX: usize = 16;
/// After so many messages that were dropped the reader pauses, so that a flood does not take the processor either. The
/// heartbeats in it are still read.
const DROPPED_AT_ONCE: u64 = 64;
/// How long.
const PAUSE: Duration = Duration::from_millis(1);
/// How long a worker may take to end a stream that the shell has closed.
const GOODBYE: Duration = Duration::from_secs(20);

/// The way to a worker.
pub type Outbound = mpsc::Sender<Result<v1::CoordinatorMessage, Status>>;

/// The shell's end of a stream. The stream ends when it is dropped.
#[derive(Debug)]
pub struct Stream {
    pub(crate) outbound: Outbound,
    limit: Arc<MessageLimit>,
    heartbeats: Arc<Heartbeats>,
    _open: oneshot::Sender<()>,
}

/// The other end: reads what the worker says.
#[derive(Debug)]
pub struct Reader {
    heartbeats: Arc<Heartbeats>,
    closed: oneshot::Receiver<()>,
}

/// Heartbeats on their way to the shell. Who has sent one is not silent, however many inputs are before it.
#[derive(Debug, Default)]
struct Heartbeats(AtomicU32);

/// Both ends of a stream.
#[must_use]
pub fn stream(outbound: Outbound, limit: Arc<MessageLimit>) -> (Stream, Reader) {
    let heartbeats = Arc::<Heartbeats>::default();
    let (open, closed) = oneshot::channel();
    let reader = Reader { heartbeats: heartbeats.clone(), closed };
    (Stream { outbound, limit, heartbeats, _open: open }, reader)
}

impl Stream {
    /// The shell knows who sends.
    pub(crate) fn raise_limit(&self, sender: Sender) {
        self.limit.raise(sender);
    }

    /// The shell handles a heartbeat.
    pub(crate) fn heartbeat_handled(&self) {
        // One that a test gave the shell was not counted.
        let less = |waiting: u32| waiting.checked_sub(1);
        let _ = self.heartbeats.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Whether a heartbeat waits for the shell.
    pub(crate) fn heartbeat_waits(&self) -> bool {
        self.heartbeats.0.load(Ordering::Relaxed) > 0
    }
}

impl Reader {
    /// Carries the worker's messages to the shell until its stream ends, or the shell has closed it.
    pub async fn run(
        self,
        session: SessionId,
        mut messages: Streaming<v1::WorkerMessage>,
        inputs: mpsc::Sender<Input>,
    ) {
        let Self { heartbeats, mut closed } = self;
        let (room, mut dropped) = (Arc::new(Semaphore::new(WAITING_MAX)), 0_u64);
        let mut allowance = Allowance::new(Instant::now());
        loop {
            let message = tokio::select! {
                _ = &mut closed => return hear_out(messages).await,
                message = messages.next() => message,
            };
            let Some(Ok(message)) = message else { break };
            let Some(kind) = message.kind else { continue }; // a kind that a newer worker knows
            let input = if !allowance.takes(&kind, Instant::now()) {
                dropped += 1;
                if dropped.is_multiple_of(DROPPED_AT_ONCE) {
                    tokio::time::sleep(PAUSE).await;
                }
                if dropped > 1 {
                    continue;
                }
                Input::Floods(session)
            } else if let Kind::Heartbeat(_) = kind {
                heartbeats.0.fetch_add(1, Ordering::Relaxed);
                Input::Message { session, kind, room: None }
            } else {
                let room = room.clone().acquire_owned().await.expect("nobody closes it");
                Input::Message { session, kind, room: Some(room) }
            };
            if inputs.send(input).await.is_err() {
                return;
            }
        }
        // The shell may have ended before the stream.
        let _ = inputs.send(Input::Closed { session, dropped }).await;
    }
}

/// Reads on what nobody listens to: a worker whose messages are cut off may not read what it was told last.
async fn hear_out(mut messages: Streaming<v1::WorkerMessage>) {
    let all = async {
        while let Some(Ok(_)) = messages.next().await {
            tokio::time::sleep(PAUSE).await;
        }
    };
    // A connection that is silent for longer is ended.
    let _ = tokio::time::timeout(GOODBYE, all).await;
}

/// A place in the queue of the shell, which a message holds until it is handled.
pub type Room = OwnedSemaphorePermit;
