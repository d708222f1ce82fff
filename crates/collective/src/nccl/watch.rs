//! A group's watcher: a thread that ends the group at once when it is aborted or a neighbour is gone. Only this thread
//! aborts the communicator.
//!
//! It sleeps in poll(2) on the aborter and on the side channel, the TCP connections over which the group was formed.
//! While the group lives they are idle. A neighbour that leaves or fails sends a [`Message`]; the connection of one that
//! dies closes without.
//!
//! **Stop all, then abort.** An aborted NCCL kernel does not stop: it runs to its end without waiting for its peers, and
//! passes data that it never received on to them, marked as good. Their kernels then end as if all were well, with
//! garbage, perhaps on a rank whose flag is not yet set. So no rank aborts before all ranks are stopped: each sets its
//! flag, tells its neighbours which ranks it knows to be stopped, and forwards what they tell. The neighbours of a dead
//! rank see its connection close and count it as stopped. `ncclCommAbort` comes only then, or after [`STOPPED_WITHIN`].
//!
//! It is a thread, not a callback of the aborter: `ncclCommAbort` may take long, and the caller of the abort must not
//! wait for it. The group waits for the thread before it is dropped, so that no abort comes later.

use std::collections::BTreeSet;
use std::io::{PipeReader, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use socket2::Socket;

use super::core::{Core, EndReason};
use super::device::Device;
use super::message::{Message, MessageKind};
use crate::tcp::{Side, moved, poll_until};
use crate::{GroupError, LossCause};

/// How long this rank may take to finish a call that a failing neighbour has finished, before it fails as well.
const FINISH_WITHIN: Duration = Duration::from_millis(250);

/// Between two looks whether that call has finished.
const LOOK_EACH: Duration = Duration::from_millis(1);

/// How long all ranks may take to stop: longer than [`FINISH_WITHIN`], which some ranks use first. It runs out only where
/// a rank is frozen, or where several deaths have cut the ring into pieces that do not hear each other. A frozen rank's
/// incarnation is over, whatever it computes; and within this time the members of every piece see a death themselves or
/// hear the coordinator's abort. A rank that is only slow learns that it was not waited for: [`super::trust`].
const STOPPED_WITHIN: Duration = Duration::from_millis(500);

/// Waits for the end of its thread when it is dropped. The group must be over by then.
pub(super) struct Watcher {
    stopped: Receiver<()>,
    patience: Duration,
}

impl Watcher {
    /// Starts to watch `core`; a byte in `wake` wakes the thread. Dropping waits at most `patience` for an abort that NCCL
    /// does not finish; the thread owns all that it works on.
    pub(super) fn start(
        core: &Arc<Core>,
        device: &Arc<dyn Device>,
        wake: PipeReader,
        patience: Duration,
    ) -> Result<Self, GroupError> {
        let (sender, stopped) = channel();
        let (core, device) = (Arc::clone(core), Arc::clone(device));
        let body = move || {
            let _guard = AbortOnPanic;
            // Where this fails, NCCL chooses the device itself.
            _ = device.make_current();
            let mut watch = Watch::new(&core);
            watch.until_over(&wake);
            if !core.is_closed() {
                watch.until_stopped();
                core.abort();
                core.close_links();
            }
            drop((core, device));
            // The receiver is gone where patience has run out.
            _ = sender.send(());
        };
        thread::Builder::new()
            .name("nccl-watcher".to_owned())
            .spawn(body)
            .map_err(|error| GroupError::system("start a thread", &error))?;
        Ok(Self { stopped, patience })
    }
}

/// Ends the process when the watcher panics: without it the group would hang for ever.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        _ = self.stopped.recv_timeout(self.patience);
    }
}

struct Watch<'a> {
    core: &'a Core,
    /// The bytes of each neighbour's next message, by [`Side`]; None once it sends no more.
    received: [Option<Vec<u8>>; 2],
    stopped: BTreeSet<usize>,
}

enum Received {
    Nothing,
    Message(Message),
    End(EndReason),
}

impl<'a> Watch<'a> {
    fn new(core: &'a Core) -> Self {
        let received = Side::BOTH.map(|side| core.link(side).map(|_| Vec::new()));
        Self { core, received, stopped: [core.rank].into() }
    }

    /// Returns when the group is over.
    fn until_over(&mut self, wake: &PipeReader) {
        let core = self.core;
        let mut failing: Option<(Instant, Side)> = None;
        while !core.is_over() {
            let look = failing.map(|_| Instant::now() + LOOK_EACH);
            let own = [wake.as_fd(), core.aborter.woken()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            if let Err(error) = self.sleep(own.into(), look) {
                return core.end(EndReason::Failed(error));
            }
            if core.aborter.is_aborted() {
                return core.end(EndReason::Aborted);
            }
            for side in Side::BOTH {
                match self.receive(side) {
                    Received::Nothing => {}
                    Received::Message(message) => {
                        core.neighbour_left(side, message.finished_calls);
                        if message.kind != MessageKind::Leaving {
                            failing.get_or_insert((Instant::now() + FINISH_WITHIN, side));
                        }
                    }
                    Received::End(reason) => core.end(reason),
                }
            }
            if let Some((until, side)) = failing
                && (core.is_idle() || until <= Instant::now())
            {
                core.lose(side);
            }
        }
    }

    /// Returns when all ranks are stopped, at the latest after [`STOPPED_WITHIN`].
    fn until_stopped(&mut self) {
        let deadline = Instant::now() + STOPPED_WITHIN;
        let mut told = None;
        loop {
            while Side::BOTH.into_iter().any(|side| !matches!(self.receive(side), Received::Nothing)) {}
            // Sent before the abort, so that the neighbours need not wait for what this rank knows.
            if told.as_ref() != Some(&self.stopped) {
                self.core.send(MessageKind::Failing, &self.stopped);
                told = Some(self.stopped.clone());
            }
            if self.stopped.len() == self.core.size {
                return;
            }
            if deadline <= Instant::now() || self.sleep(Vec::new(), Some(deadline)).is_err() {
                return self.core.send(MessageKind::Aborting, &self.stopped);
            }
        }
    }

    /// Sleeps until one of `fds` or a neighbour is readable, or until `deadline`.
    fn sleep<'f>(&'f self, mut fds: Vec<PollFd<'f>>, deadline: Option<Instant>) -> Result<(), GroupError> {
        let open = Side::BOTH.into_iter().filter(|side| self.received[*side as usize].is_some());
        let links = open.filter_map(|side| self.core.link(side));
        fds.extend(links.map(|link| PollFd::new(link.socket.as_fd(), PollFlags::POLLIN)));
        poll_until(&mut fds, deadline).map(|_| ())
    }

    /// Reads this side's next message, and notes which ranks are stopped.
    fn receive(&mut self, side: Side) -> Received {
        let (size, received) = (self.core.size, &mut self.received[side as usize]);
        let (Some(bytes), Some(link)) = (received.as_mut(), self.core.link(side)) else {
            return Received::Nothing;
        };
        let reason = match read(&link.socket, bytes, Message::len_bytes(size)) {
            Ok(false) => return Received::Nothing,
            Ok(true) if bytes.len() < Message::len_bytes(size) => EndReason::Garbled(link.peer),
            Ok(true) => {
                let message = Message::decode(bytes, size);
                bytes.clear();
                self.stopped.insert(link.peer.rank);
                self.stopped.extend(&message.stopped);
                match message.kind {
                    MessageKind::Leaving => *received = None,
                    MessageKind::Failing => {}
                    MessageKind::Aborting if message.stopped.contains(&self.core.rank) => {}
                    MessageKind::Aborting => self.core.trust.given_up(message.finished_calls),
                }
                return Received::Message(message);
            }
            Err(cause) => EndReason::Lost(link.peer, cause),
        };
        // The neighbour is dead, or failed and has said so before.
        self.stopped.insert(link.peer.rank);
        *received = None;
        Received::End(reason)
    }
}

/// Reads until `bytes` has `len_bytes`, or can begin no message. False if it would have to wait.
fn read(mut socket: &Socket, bytes: &mut Vec<u8>, len_bytes: usize) -> Result<bool, LossCause> {
    while bytes.len() < len_bytes {
        let known = bytes.len();
        bytes.resize(len_bytes, 0);
        let outcome = socket.read(&mut bytes[known..]);
        bytes.truncate(known + *outcome.as_ref().unwrap_or(&0));
        match moved(outcome)? {
            None => return Ok(false),
            Some(_) if !Message::may_begin_with(bytes) => return Ok(true),
            Some(_) => {}
        }
    }
    Ok(true)
}
