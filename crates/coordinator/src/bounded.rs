//! How much of a message is received before its sender is known.
//!
//! tonic holds a message in memory until all of it is there, and knows one limit for all callers. Here a limit goes with each
//! call: it is low until the shell knows a worker on the stream, and until then a longer message stays in the network, where
//! HTTP/2 stops its sender. A message that is begun must arrive in time, so that nobody holds memory with half of one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::task::AtomicWaker;
use http_body::Frame;
use lsgan_control::gate::PICTURE_BYTES_MAX;
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;

/// The longest message of a caller that is no worker. A Hello and what operators ask for have less than 8 KiB.
const STRANGERS_BYTES_MAX: usize = 64 << 10;
/// The longest message of a worker: twice 256 records that do not decode, each with two texts of 4 KiB.
const WORKERS_BYTES_MAX: usize = 4 << 20;
/// The longest message of a worker that has led a generation, and so of all: a picture, with room for the gate to see one that
/// is too large.
pub(crate) const LEADERS_BYTES_MAX: usize = 2 * PICTURE_BYTES_MAX;

/// How long the first message of a call may take, and each message from its first byte to its last. A worker is heard
/// again after 15 s of silence at most, so that one that needs longer is gone already.
const WITHIN: Duration = Duration::from_secs(60);

/// The one call that is more than a question: its limit grows.
const SESSION: &str = "/lsgan.v1.Coordinator/Session";
/// Before each message: whether it is compressed, and its length (gRPC over HTTP/2, Length-Prefixed-Message).
const HEADER_BYTES: usize = 5;

/// Who is at the other end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// A worker that was given an incarnation.
    Worker,
    /// One that is or was the first rank of a generation.
    Leader,
}

/// The longest message that a stream may send. It never becomes shorter.
#[derive(Debug)]
pub struct MessageLimit {
    len_bytes: AtomicUsize,
    /// Waits for a higher one.
    reader: AtomicWaker,
}

impl Default for MessageLimit {
    fn default() -> Self {
        Self { len_bytes: AtomicUsize::new(STRANGERS_BYTES_MAX), reader: AtomicWaker::new() }
    }
}

impl MessageLimit {
    pub(crate) fn raise(&self, sender: Sender) {
        let len_bytes = match sender {
            Sender::Worker => WORKERS_BYTES_MAX,
            Sender::Leader => LEADERS_BYTES_MAX,
        };
        self.len_bytes.fetch_max(len_bytes, Ordering::Relaxed);
        self.reader.wake();
    }
}

/// The service of the coordinator, behind these limits.
#[derive(Clone, Debug)]
pub(crate) struct Bounded<S>(pub S);

impl<S: NamedService> NamedService for Bounded<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: tower_service::Service<http::Request<Body>>> tower_service::Service<http::Request<Body>>
    for Bounded<S>
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> S::Future {
        let limit = Arc::new(MessageLimit::default());
        let most = if request.uri().path() == SESSION { LEADERS_BYTES_MAX } else { STRANGERS_BYTES_MAX };
        let (mut head, body) = request.into_parts();
        head.extensions.insert(limit.clone());
        let received = Received::new(body, limit, most);
        self.0.call(http::Request::from_parts(head, Body::new(received)))
    }
}

/// What a caller sends, as far as it may.
struct Received {
    body: Body,
    /// Came, and is not passed on.
    held: Bytes,
    framing: Framing,
    limit: Arc<MessageLimit>,
    /// What the limit can become.
    most: usize,
    /// When the message of this number must be there.
    deadline: Option<(u64, Pin<Box<Sleep>>)>,
}

impl Received {
    fn new(body: Body, limit: Arc<MessageLimit>, most: usize) -> Self {
        Self { body, held: Bytes::new(), framing: Framing::default(), limit, most, deadline: None }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if !self.held.is_empty() {
                // First of all, so that a limit that grows meanwhile is seen.
                self.limit.reader.register(cx.waker());
                let limit = self.limit.len_bytes.load(Ordering::Relaxed);
                return match self.framing.pass(&self.held, limit) {
                    Ok(passed) => Poll::Ready(Some(Ok(Frame::data(self.held.split_to(passed))))),
                    Err(len_bytes) if len_bytes > self.most => {
                        Poll::Ready(Some(Err(too_long(len_bytes, self.most))))
                    }
                    Err(_) => Poll::Pending,
                };
            }
            match ready!(http_body::Body::poll_frame(Pin::new(&mut self.body), cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.held = bytes,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return Poll::Ready(other),
            }
        }
    }

    /// Ready when a message has taken too long.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let number = self.framing.messages;
        let is_awaited = number == 0 || self.framing.is_inside() || !self.held.is_empty();
        if !is_awaited {
            self.deadline = None;
            return Poll::Pending;
        }
        let (_, sleep) = match &mut self.deadline {
            Some(deadline) if deadline.0 == number => deadline,
            deadline => deadline.insert((number, Box::pin(sleep(WITHIN)))),
        };
        sleep.as_mut().poll(cx)
    }
}

fn too_long(len_bytes: usize, most: usize) -> Status {
    Status::resource_exhausted(format!("a message has {len_bytes} bytes; accepted are at most {most}"))
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let next = self.poll_next(cx);
        if next.is_pending() && self.poll_overdue(cx).is_ready() {
            let text = format!("a message did not arrive within {} s", WITHIN.as_secs());
            return Poll::Ready(Some(Err(Status::deadline_exceeded(text))));
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && http_body::Body::is_end_stream(&self.body)
    }
}

/// Where in the sequence of messages a stream of bytes is.
#[derive(Debug, Default)]
struct Framing {
    /// Messages that have passed as a whole.
    messages: u64,
    /// Bytes of the header that have passed.
    header_bytes: usize,
    /// The length that they say so far.
    len_bytes: u32,
    /// Bytes of the message that are still to come.
    left_bytes: u32,
}

impl Framing {
    /// Lets bytes pass up to the end of the header of a message that is longer than `limit`: how many, at least one.
    ///
    /// # Errors
    /// None may pass: a message of so many bytes is next.
    fn pass(&mut self, bytes: &[u8], limit: usize) -> Result<usize, usize> {
        let mut passed = 0;
        while let Some(byte) = bytes.get(passed) {
            if self.left_bytes > 0 {
                let rest = u32::try_from(bytes.len() - passed).unwrap_or(u32::MAX).min(self.left_bytes);
                self.left_bytes -= rest;
                self.messages += u64::from(self.left_bytes == 0);
                passed += rest as usize;
                continue;
            }
            // The first byte says whether it is compressed.
            let len_bytes = if self.header_bytes == 0 { 0 } else { self.len_bytes << 8 | u32::from(*byte) };
            let is_last = self.header_bytes + 1 == HEADER_BYTES;
            if is_last && len_bytes as usize > limit {
                return if passed > 0 { Ok(passed) } else { Err(len_bytes as usize) };
            }
            (self.len_bytes, self.header_bytes) = (len_bytes, (self.header_bytes + 1) % HEADER_BYTES);
            if is_last {
                self.left_bytes = len_bytes;
                self.messages += u64::from(len_bytes == 0);
            }
            passed += 1;
        }
        Ok(passed)
    }

    /// A message has begun and not ended.
    fn is_inside(&self) -> bool {
        self.header_bytes > 0 || self.left_bytes > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(len_bytes: usize) -> Vec<u8> {
        let length = u32::try_from(len_bytes).expect("it is short").to_be_bytes();
        [&[0][..], &length, &vec![7; len_bytes]].concat()
    }

    /// Lets all pass that may, in pieces of so many bytes; how many bytes passed, and the length that stopped them.
    fn pass(framing: &mut Framing, bytes: &[u8], piece: usize, limit: usize) -> (usize, Option<usize>) {
        let mut at = 0;
        while at < bytes.len() {
            match framing.pass(&bytes[at..bytes.len().min(at + piece)], limit) {
                Ok(passed) => at += passed,
                Err(len_bytes) => return (at, Some(len_bytes)),
            }
        }
        (at, None)
    }

    #[test]
    fn a_message_that_is_too_long_is_stopped_within_its_header() {
        let bytes = [message(0), message(3), message(100), message(101), message(1)].concat();
        let before = bytes.len() - message(101).len() - message(1).len();
        for piece in [1, 2, 5, 7, 1_000] {
            let mut framing = Framing::default();
            let (passed, stopped) = pass(&mut framing, &bytes, piece, 100);
            assert_eq!((passed, stopped), (before + 4, Some(101)), "in pieces of {piece}");
            assert_eq!((framing.messages, framing.is_inside()), (3, true));
            // Once it may, the rest passes.
            assert_eq!(pass(&mut framing, &bytes[passed..], piece, 101), (bytes.len() - passed, None));
            assert_eq!((framing.messages, framing.is_inside()), (5, false));
        }
    }

    #[test]
    fn half_a_message_is_one_that_is_awaited() {
        let mut framing = Framing::default();
        assert!(!framing.is_inside());
        assert_eq!(framing.pass(&message(10)[..9], 100), Ok(9));
        assert_eq!((framing.messages, framing.is_inside()), (0, true));
    }
}
