//! A ring of TCP connections between the workers: each rank dials its right neighbour and accepts its left neighbour's
//! dial. Values flow to the right only. Neighbours on one host have a Unix socket instead (`local`).
//!
//! The calling thread does all work, on non-blocking sockets: it sends and receives in turn, adds received values while
//! the kernel moves the rest, and sleeps in poll(2) when it can do neither. No other thread has them, so after an error
//! nothing writes to the caller's values.
//!
//! Limits: a peer that died looks like one that left, since every rank that fails closes its connections, and its
//! neighbours fail too. The coordinator knows which rank died. A peer that is frozen or cut off closes nothing: the
//! coordinator's abort ends that wait, or [`TcpGroup::set_stall_timeout`]. Where only the network between two ranks is
//! cut, the coordinator notices nothing: [`TcpGroup::set_unreachable_after`].
//!
//! - [`Listener`]: takes the other members' connections, over all generations of a worker's life. `door`: accepts them.
//! - [`connect`]: forms one generation's group.
//! - `hello`: the first bytes on a connection. `proof`: how its ends show that they know their generation's key. `seal`: frames
//!   that nobody else reads or changes.
//! - `flow`: the bytes of a call and their order; `gather`: those of a call with few values. `exchange`: moves them.

mod door;
mod exchange;
mod flow;
mod form;
#[cfg(test)]
mod fuzz;
mod gather;
mod hello;
mod listener;
pub(crate) mod local;
mod proof;
mod seal;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use lsgan_spec::Generation;
use socket2::{Socket, TcpKeepalive};

use self::exchange::exchange;
pub(crate) use self::exchange::{Link, Ring, Side, moved, poll_until};
use self::flow::{Element, RingAllReduce, RingBroadcast};
pub use self::form::connect;
use self::gather::{RingGather, is_few};
pub use self::listener::Listener;
pub use self::proof::RingKey;
use crate::{Aborter, Call, CallKind, Group, GroupError, Peer};

/// Linux's maximum for the idle time before the first keep-alive probe.
const KEEPALIVE_IDLE_MAX: Duration = Duration::from_secs(32_767);

/// Distinguishes the connections of different runs. Not a password: it crosses the network unencrypted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RunToken(pub [u8; 32]);

impl fmt::Debug for RunToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunToken(..)")
    }
}

/// One generation's members, and this worker's rank among them.
#[derive(Clone, Debug)]
pub struct Membership {
    pub token: RunToken,
    /// What only members of this generation know.
    pub key: RingKey,
    pub generation: Generation,
    /// An index into `members`.
    pub rank: usize,
    /// The address of each rank's [`Listener`], by rank.
    pub members: Vec<SocketAddr>,
}

impl Membership {
    fn peer(&self, rank: usize) -> Peer {
        Peer { rank, address: self.members[rank] }
    }

    fn left(&self) -> Peer {
        self.peer((self.rank + self.members.len() - 1) % self.members.len())
    }

    fn right(&self) -> Peer {
        self.peer((self.rank + 1) % self.members.len())
    }
}

/// A group over TCP, made by [`connect`]. It closes its connections when it is dropped or fails.
pub struct TcpGroup {
    rank: usize,
    size: usize,
    generation: Generation,
    aborter: Aborter,
    /// None in a group of one.
    ring: Option<Ring>,
    /// The number of calls made.
    calls: u64,
    /// What ended the group; every later call returns it again.
    failed: Option<GroupError>,
}

impl TcpGroup {
    fn new(membership: &Membership, aborter: &Aborter, ring: Option<Ring>) -> Self {
        Self {
            rank: membership.rank,
            size: membership.members.len(),
            generation: membership.generation,
            aborter: aborter.clone(),
            ring,
            calls: 0,
            failed: None,
        }
    }

    /// Ends a call with [`GroupError::Stalled`] when no byte moved for this long. None, the default, waits for an abort.
    pub fn set_stall_timeout(&mut self, timeout: Option<Duration>) {
        if let Some(ring) = &mut self.ring {
            ring.stall_timeout = timeout;
        }
    }

    /// Ends the group when a neighbour's host has not answered for about this long, with an error for which
    /// [`GroupError::unreachable`] names that neighbour. The host of a frozen peer answers, so it is not lost by this.
    ///
    /// Counted in whole seconds, at least three. The receiving rank notices it: it has nothing to send, so that the kernel
    /// sends keep-alive probes. (TCP_USER_TIMEOUT would work for the sender too, but it also ends a connection to a peer
    /// that only reads slowly.)
    pub fn set_unreachable_after(&mut self, timeout: Duration) -> Result<(), GroupError> {
        let Some(ring) = &self.ring else { return Ok(()) };
        [&ring.left, &ring.right].into_iter().try_for_each(|link| set_keepalive(&link.socket, timeout))
    }

    /// The connections, for NCCL's side channel, which is not encrypted. None in a group of one.
    pub(crate) fn into_ring(self) -> Option<Ring> {
        self.ring
    }

    /// Runs `body` as this group's next call, unless the group is over; an error ends the group.
    fn call(
        &mut self,
        kind: CallKind,
        length: usize,
        body: impl FnOnce(&mut Ring, Call) -> Result<(), GroupError>,
    ) -> Result<(), GroupError> {
        if self.aborter.is_aborted() {
            self.failed = Some(GroupError::Aborted { generation: self.generation });
        }
        if let Some(error) = &self.failed {
            self.ring = None;
            return Err(error.clone());
        }
        let call = Call { kind, sequence: self.calls, length: length as u64 };
        self.calls += 1;
        let Some(ring) = &mut self.ring else { return Ok(()) };
        body(ring, call).inspect_err(|error| {
            // Closes the connections, by which the neighbours notice.
            self.ring = None;
            self.failed = Some(error.clone());
        })
    }

    /// Of `values`, or of `own` into `values`.
    fn all_reduce<T: Element>(
        &mut self,
        kind: CallKind,
        own: Option<&[T]>,
        values: &mut [T],
    ) -> Result<(), GroupError> {
        let members = (self.rank, self.size);
        self.call(kind, values.len(), |ring, call| {
            let mut scratch = std::mem::take(&mut ring.scratch);
            let outcome = if is_few(size_of_val(values)) {
                let mut flow = RingGather::new(members, own, values, &mut scratch);
                exchange(ring, call, &mut flow).map(|()| flow.finish())
            } else {
                exchange(ring, call, &mut RingAllReduce::new(members, own, values, &mut scratch))
            };
            ring.scratch = scratch;
            outcome
        })
    }
}

/// [`TcpGroup::set_unreachable_after`] for one connection. A host reaches itself.
pub(crate) fn set_keepalive(socket: &Socket, timeout: Duration) -> Result<(), GroupError> {
    if local::is_local(socket) {
        return Ok(());
    }
    // Idle for the first half, two probes in the second: a single packet may get lost.
    let seconds = |part: Duration| {
        let part = part.clamp(Duration::from_secs(1), KEEPALIVE_IDLE_MAX).as_millis().div_ceil(1000);
        Duration::from_secs(u64::try_from(part).expect("it is bounded"))
    };
    let (idle, interval) = (seconds(timeout / 2), seconds(timeout / 4));
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(2);
    let set = socket.set_tcp_keepalive(&keepalive);
    set.map_err(|error| GroupError::system("watch a connection", &error))
}

impl Group for TcpGroup {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn generation(&self) -> Generation {
        self.generation
    }

    fn all_reduce_i64(&mut self, values: &mut [i64]) -> Result<(), GroupError> {
        self.all_reduce(CallKind::AllReduceI64, None, values)
    }

    fn all_reduce_i32(&mut self, own: &[i32], sums: &mut [i32]) -> Result<(), GroupError> {
        assert_eq!(own.len(), sums.len(), "a sum for each value");
        if self.size == 1 {
            sums.copy_from_slice(own);
        }
        self.all_reduce(CallKind::AllReduceI32, Some(own), sums)
    }

    fn all_reduce_f32(&mut self, values: &mut [f32]) -> Result<(), GroupError> {
        self.all_reduce(CallKind::AllReduceF32, None, values)
    }

    fn broadcast(&mut self, root: usize, bytes: &mut [u8]) -> Result<(), GroupError> {
        let (rank, size, generation) = (self.rank, self.size, self.generation);
        if root >= size {
            return Err(GroupError::NoSuchRoot { generation, root, size });
        }
        let kind = CallKind::Broadcast { root: u32::try_from(root).expect("a rank is below 65536") };
        self.call(kind, bytes.len(), |ring, call| {
            exchange(ring, call, &mut RingBroadcast::new(rank, size, root, bytes))
        })
    }

    fn aborter(&self) -> Aborter {
        self.aborter.clone()
    }
}

impl fmt::Debug for TcpGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rank, size, generation, calls, .. } = self;
        write!(f, "TcpGroup(generation {generation}, rank {rank} of {size}, {calls} calls)")
    }
}
