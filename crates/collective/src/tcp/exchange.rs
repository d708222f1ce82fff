//! Moves a flow's bytes from the left neighbour and to the right one, in the calling thread.
//!
//! A call begins with a header, so that ranks that make different calls find out before they mix their values.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use lsgan_spec::Generation;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;

use super::flow::Flow;
use super::seal::{Opener, Sealer};
use crate::{Aborter, Call, CallKind, GroupError, LossCause, Peer};

/// The connection to a neighbour.
pub(crate) struct Link {
    pub(crate) socket: Socket,
    pub(crate) peer: Peer,
}

/// This rank's two ends of the ring.
pub(crate) struct Ring {
    pub(crate) rank: usize,
    pub(crate) generation: Generation,
    /// Only receives.
    pub(crate) left: Link,
    /// Only sends: if it becomes readable, the peer has closed it or sent garbage.
    pub(crate) right: Link,
    /// What is received is decrypted, and what is sent is encrypted, if the group's key says so.
    pub(crate) opener: Option<Box<Opener>>,
    pub(crate) sealer: Option<Box<Sealer>>,
    pub(crate) aborter: Aborter,
    pub(crate) stall_timeout: Option<Duration>,
    /// The buffer for received values, kept between calls.
    pub(crate) scratch: Vec<u8>,
}

/// kind (u32), root (u32), sequence (u64), length (u64); little-endian.
pub(super) const HEADER_BYTES: usize = 24;

/// The first number of a header. Neither zeros nor text begin with one.
const ALL_REDUCE_I64: u32 = 0xa11e_d164;
const ALL_REDUCE_I32: u32 = 0xa11e_d132;
const ALL_REDUCE_F32: u32 = 0xa11e_df32;
const BROADCAST: u32 = 0xb40a_dca5;

pub(super) fn encode(call: Call) -> [u8; HEADER_BYTES] {
    let (kind, root) = match call.kind {
        CallKind::AllReduceI64 => (ALL_REDUCE_I64, 0),
        CallKind::AllReduceI32 => (ALL_REDUCE_I32, 0),
        CallKind::AllReduceF32 => (ALL_REDUCE_F32, 0),
        CallKind::Broadcast { root } => (BROADCAST, root),
    };
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&kind.to_le_bytes());
    header[4..8].copy_from_slice(&root.to_le_bytes());
    header[8..16].copy_from_slice(&call.sequence.to_le_bytes());
    header[16..].copy_from_slice(&call.length.to_le_bytes());
    header
}

/// None if these bytes are not a header.
pub(super) fn decode(header: &[u8; HEADER_BYTES]) -> Option<Call> {
    let u32_at = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("4 bytes"));
    let u64_at = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("8 bytes"));
    let kind = match (u32_at(0), u32_at(4)) {
        (ALL_REDUCE_I64, 0) => CallKind::AllReduceI64,
        (ALL_REDUCE_I32, 0) => CallKind::AllReduceI32,
        (ALL_REDUCE_F32, 0) => CallKind::AllReduceF32,
        (BROADCAST, root) => CallKind::Broadcast { root },
        _ => return None,
    };
    Some(Call { kind, sequence: u64_at(8), length: u64_at(16) })
}

/// Makes one call: sends and receives the bytes of `flow` until all have moved, or the group is over.
pub(super) fn exchange(ring: &mut Ring, call: Call, flow: &mut dyn Flow) -> Result<(), GroupError> {
    let mut exchange = Exchange {
        ring,
        call,
        flow,
        header: encode(call),
        header_sent_bytes: 0,
        their_header: [0; HEADER_BYTES],
        header_received_bytes: 0,
        idle_since: None,
    };
    exchange.run().map_err(|error| match exchange.ring.aborter.is_aborted() {
        // An abort closes the connections of all ranks, and their errors may come first.
        true => GroupError::Aborted { generation: exchange.ring.generation },
        false => error,
    })
}

struct Exchange<'a> {
    ring: &'a mut Ring,
    call: Call,
    flow: &'a mut dyn Flow,
    header: [u8; HEADER_BYTES],
    header_sent_bytes: usize,
    their_header: [u8; HEADER_BYTES],
    header_received_bytes: usize,
    /// When bytes last moved, as seen by the first wait since; None while bytes move.
    idle_since: Option<Instant>,
}

impl Exchange<'_> {
    fn run(&mut self) -> Result<(), GroupError> {
        self.send()?;
        while !(self.all_sent() && self.all_received()) {
            if self.ring.aborter.is_aborted() {
                return Err(GroupError::Aborted { generation: self.ring.generation });
            }
            // Receive first: a failing neighbour has sent its header to the right before it stops reading.
            let received = self.receive()?;
            let sent = self.send()?;
            if received || sent {
                self.idle_since = None;
            } else {
                self.wait()?;
            }
        }
        Ok(())
    }

    fn all_sent(&self) -> bool {
        self.header_sent_bytes == HEADER_BYTES && self.flow.all_sent() && self.is_flushed()
    }

    fn is_flushed(&self) -> bool {
        self.ring.sealer.as_ref().is_none_or(|sealer| sealer.is_flushed())
    }

    fn all_received(&self) -> bool {
        self.header_received_bytes == HEADER_BYTES && self.flow.all_received()
    }

    /// Sends as much as the kernel takes now. False if it takes nothing.
    fn send(&mut self) -> Result<bool, GroupError> {
        if self.ring.sealer.is_some() {
            return self.send_sealed();
        }
        let header = &self.header[self.header_sent_bytes..];
        let outgoing = self.flow.outgoing();
        let outcome = match (header, outgoing) {
            ([], []) => return Ok(false),
            ([], outgoing) => self.ring.right.socket.write(outgoing),
            (header, outgoing) => {
                self.ring.right.socket.write_vectored(&[IoSlice::new(header), IoSlice::new(outgoing)])
            }
        };
        let left_to_header = header.len();
        let Some(count_bytes) = self.moved(outcome, Side::Right)? else { return Ok(false) };
        self.sent(count_bytes, left_to_header);
        Ok(true)
    }

    /// Makes a frame of what is ready, unless there is one, and sends of it as much as the kernel takes now.
    fn send_sealed(&mut self) -> Result<bool, GroupError> {
        let ring = &mut *self.ring;
        let sealer = ring.sealer.as_mut().expect("the caller has looked");
        let taken = if sealer.is_flushed() {
            let header = &self.header[self.header_sent_bytes..];
            let taken = sealer.take(header, self.flow.outgoing());
            if taken == 0 {
                return Ok(false);
            }
            Some((taken, header.len()))
        } else {
            None
        };
        let outcome = sealer.flush(&ring.right.socket);
        if let Some((taken, left_to_header)) = taken {
            self.sent(taken, left_to_header);
        }
        Ok(self.moved(outcome, Side::Right)?.is_some())
    }

    /// So many bytes are on their way, of which those of the header are the first.
    fn sent(&mut self, count_bytes: usize, left_to_header: usize) {
        let of_header = count_bytes.min(left_to_header);
        self.header_sent_bytes += of_header;
        if count_bytes > of_header {
            self.flow.sent(count_bytes - of_header);
        }
    }

    /// Receives what has arrived. False if nothing has.
    fn receive(&mut self) -> Result<bool, GroupError> {
        if self.header_received_bytes < HEADER_BYTES {
            let outcome = read(self.ring, &mut self.their_header[self.header_received_bytes..]);
            let Some(count_bytes) = self.moved(outcome, Side::Left)? else { return Ok(false) };
            self.header_received_bytes += count_bytes;
            if self.header_received_bytes == HEADER_BYTES {
                self.check_header()?;
            }
            return Ok(true);
        }
        let incoming = self.flow.incoming();
        if incoming.is_empty() {
            return Ok(false);
        }
        let outcome = read(self.ring, incoming);
        let Some(count_bytes) = self.moved(outcome, Side::Left)? else { return Ok(false) };
        self.flow.received(count_bytes);
        Ok(true)
    }

    fn check_header(&self) -> Result<(), GroupError> {
        let (rank, generation, peer) = (self.ring.rank, self.ring.generation, self.ring.left.peer);
        let ours = self.call;
        match decode(&self.their_header) {
            Some(theirs) if theirs == ours => Ok(()),
            Some(theirs) => Err(GroupError::CallMismatch { rank, generation, ours, peer, theirs }),
            None => Err(GroupError::Garbled { peer, generation, call: ours }),
        }
    }

    fn moved(&self, outcome: io::Result<usize>, side: Side) -> Result<Option<usize>, GroupError> {
        let (peer, generation, call) = (self.link(side).peer, self.ring.generation, self.call);
        moved(outcome).map_err(|cause| match cause {
            // A frame that does not open.
            LossCause::Failed(ErrorKind::InvalidData) => GroupError::Garbled { peer, generation, call },
            cause => GroupError::PeerLost { peer, generation, call, cause },
        })
    }

    fn link(&self, side: Side) -> &Link {
        match side {
            Side::Left => &self.ring.left,
            Side::Right => &self.ring.right,
        }
    }

    /// Sleeps until a neighbour or the aborter wakes this rank.
    ///
    /// Does not poll a neighbour with which this call is done: it may have finished and left.
    fn wait(&mut self) -> Result<(), GroupError> {
        let patience = self.ring.stall_timeout.map(|timeout| {
            // Not the start of this wait: a wake-up without bytes must not restart the timeout.
            *self.idle_since.get_or_insert_with(Instant::now) + timeout
        });
        if patience.is_some_and(|until| until <= Instant::now()) {
            return Err(self.stalled());
        }
        let has_more = self.header_sent_bytes < HEADER_BYTES || !self.flow.outgoing().is_empty();
        let right_events = match has_more || !self.is_flushed() {
            true => PollFlags::POLLIN | PollFlags::POLLOUT,
            false => PollFlags::POLLIN,
        };
        let abort = PollFd::new(self.ring.aborter.woken(), PollFlags::POLLIN);
        let left = PollFd::new(self.ring.left.socket.as_fd(), PollFlags::POLLIN);
        let right = PollFd::new(self.ring.right.socket.as_fd(), right_events);
        let none = PollFlags::empty();
        let (left_woke, right_woke) = match (self.all_received(), self.all_sent()) {
            (false, false) => wait_for([abort, left, right], patience)?.map(|[_, l, r]| (l, r)),
            (false, true) => wait_for([abort, left], patience)?.map(|[_, l]| (l, none)),
            (true, _) => wait_for([abort, right], patience)?.map(|[_, r]| (none, r)),
        }
        .ok_or_else(|| self.stalled())?;
        // Unread bytes from the left may say more about the group's end than the right's closed connection.
        let ended = PollFlags::POLLIN | PollFlags::POLLERR | PollFlags::POLLHUP;
        if right_woke.intersects(ended) && left_woke.is_empty() { self.check_right() } else { Ok(()) }
    }

    /// Finds out why the right connection is readable: its peer never sends there.
    fn check_right(&self) -> Result<(), GroupError> {
        let mut byte = [0];
        let outcome = (&self.ring.right.socket).read(&mut byte);
        match self.moved(outcome, Side::Right)? {
            None => Ok(()),
            Some(_) => Err(GroupError::Garbled {
                peer: self.ring.right.peer,
                generation: self.ring.generation,
                call: self.call,
            }),
        }
    }

    fn stalled(&self) -> GroupError {
        let side = if self.all_received() { Side::Right } else { Side::Left };
        GroupError::Stalled {
            peer: self.link(side).peer,
            generation: self.ring.generation,
            call: self.call,
            after: self.ring.stall_timeout.unwrap_or_default(),
        }
    }
}

/// Reads what the left neighbour sent.
fn read(ring: &mut Ring, out: &mut [u8]) -> io::Result<usize> {
    match &mut ring.opener {
        None => ring.left.socket.read(out),
        Some(opener) => opener.read(&ring.left.socket, out),
    }
}

/// How many bytes a read or write moved; None if it would have blocked.
pub(crate) fn moved(outcome: io::Result<usize>) -> Result<Option<usize>, LossCause> {
    match outcome {
        Ok(0) => Err(LossCause::Closed),
        Ok(count_bytes) => Ok(Some(count_bytes)),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(None),
            kind => Err(LossCause::Failed(kind)),
        },
    }
}

/// A neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::Left, Self::Right];
}

/// Sleeps until one of these has an event; returns their events. None if `deadline` passes first.
fn wait_for<const N: usize>(
    mut fds: [PollFd<'_>; N],
    deadline: Option<Instant>,
) -> Result<Option<[PollFlags; N]>, GroupError> {
    let events = poll_until(&mut fds, deadline)?;
    Ok(events.then(|| fds.map(|fd| fd.revents().unwrap_or(PollFlags::all()))))
}

/// Sleeps until one of these has an event. False if `deadline` passes first.
pub(crate) fn poll_until(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> Result<bool, GroupError> {
    loop {
        let timeout = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            None => PollTimeout::NONE,
            // poll counts whole milliseconds. Rounded up, it does not wake too early and spin.
            Some(left) => PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX),
        };
        match poll(fds, timeout) {
            Ok(0) if deadline.is_some_and(|deadline| deadline <= Instant::now()) => return Ok(false),
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(GroupError::system("poll sockets", &error.into())),
        }
    }
}
