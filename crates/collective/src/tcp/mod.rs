//! A ring of TCP connections between the workers themselves: each rank dials its right neighbour and is dialed by
//! its left one. Values flow to the right only.
//!
//! All work is done by the calling thread, on non-blocking sockets: it sends and receives in turn, adds what has
//! come while the kernel moves the rest, and sleeps in poll(2) when it can do neither. No thread is started, no
//! work is handed over, and after an error nobody is left who could write to the caller's values.
//!
//! What it cannot do: tell a peer that died from one that left, since a rank that fails closes its connections and
//! so tells its neighbours, who tell theirs. Who died is known to the coordinator. A peer that is frozen or cut off
//! closes nothing: the coordinator's abort ends that wait, or [`TcpGroup::set_stall_timeout`]. Where only the way
//! between two ranks is cut, the coordinator sees nothing wrong: [`TcpGroup::set_unreachable_after`].
//!
//! - [`Listener`]: takes the other members' connections, over all generations of a worker's life.
//! - [`connect`]: forms one generation's group.
//! - `hello`: the first bytes on a connection. `flow`: what a call sends and receives, in which order.
//!   `exchange`: moves it.

mod exchange;
mod flow;
mod form;
mod hello;
mod listener;

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use lsgan_spec::Generation;
use socket2::{SockRef, TcpKeepalive};

use self::exchange::exchange;
pub(crate) use self::exchange::{Link, Ring, poll_until};
use self::flow::{Element, Relay, RingSum};
pub use self::form::connect;
pub use self::listener::Listener;
use crate::{Aborter, Call, CallKind, Group, GroupError, Peer};

/// Linux waits no longer than 32,767 s before it asks.
const ASK_AFTER_MAX: Duration = Duration::from_secs(32_767);

/// Keeps the connections of different runs apart. Not a password: it crosses the network as it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RunToken(pub [u8; 32]);

impl fmt::Debug for RunToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunToken(..)")
    }
}

/// One generation's members, and which of them this is.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The run; a member of another run is refused.
    pub token: RunToken,
    /// The generation; an older one is refused, a newer one waits for its turn.
    pub generation: Generation,
    /// This worker's rank, an index into `members`.
    pub rank: usize,
    /// Where each rank's [`Listener`] can be reached, by rank.
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

/// A group over TCP. Made by [`connect`]; closes its connections when it is dropped or fails.
pub struct TcpGroup {
    rank: usize,
    size: usize,
    generation: Generation,
    aborter: Aborter,
    /// None in a group of one.
    ring: Option<Ring>,
    /// How many calls were made.
    calls: u64,
    /// What ended the group; every later call says it again.
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

    /// Ends a call with [`GroupError::Stalled`] when nothing came or went for this long. None, as at first, waits
    /// until somebody aborts.
    pub fn set_stall_timeout(&mut self, timeout: Option<Duration>) {
        if let Some(ring) = &mut self.ring {
            ring.stall_timeout = timeout;
        }
    }

    /// Loses a neighbour whose host has answered nothing for about this long, with a cause of which
    /// [`GroupError::unreachable`] knows. A frozen peer's host answers, however long it is frozen.
    ///
    /// Counted in whole seconds, at least three. The rank that receives notices it: it has nothing under way, so that
    /// the kernel asks. (TCP_USER_TIMEOUT would see it on the other side too, but ends also a connection to a peer
    /// that is only slow to read.)
    pub fn set_unreachable_after(&mut self, timeout: Duration) -> Result<(), GroupError> {
        let Some(ring) = &self.ring else { return Ok(()) };
        [&ring.left, &ring.right].into_iter().try_for_each(|link| ask_after_silence(&link.socket, timeout))
    }

    /// The connections, for a collective that only watches them. None in a group of one.
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
            // Closes the connections, which tells the neighbours.
            self.ring = None;
            self.failed = Some(error.clone());
        })
    }

    fn all_reduce<T: Element>(&mut self, kind: CallKind, values: &mut [T]) -> Result<(), GroupError> {
        let (rank, size) = (self.rank, self.size);
        self.call(kind, values.len(), |ring, call| {
            let mut scratch = std::mem::take(&mut ring.scratch);
            let outcome = exchange(ring, call, &mut RingSum::new(rank, size, values, &mut scratch));
            ring.scratch = scratch;
            outcome
        })
    }
}

/// What [`TcpGroup::set_unreachable_after`] says, for one connection.
pub(crate) fn ask_after_silence(socket: &TcpStream, timeout: Duration) -> Result<(), GroupError> {
    // Silent for a half, then asked twice in the other one: a single packet may get lost.
    let seconds = |part: Duration| {
        let part = part.clamp(Duration::from_secs(1), ASK_AFTER_MAX).as_millis().div_ceil(1000);
        Duration::from_secs(u64::try_from(part).expect("it is bounded"))
    };
    let (silent, apart) = (seconds(timeout / 2), seconds(timeout / 4));
    let keepalive = TcpKeepalive::new().with_time(silent).with_interval(apart).with_retries(2);
    let set = SockRef::from(socket).set_tcp_keepalive(&keepalive);
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
        self.all_reduce(CallKind::AllReduceI64, values)
    }

    fn all_reduce_f32(&mut self, values: &mut [f32]) -> Result<(), GroupError> {
        self.all_reduce(CallKind::AllReduceF32, values)
    }

    fn broadcast(&mut self, root: usize, bytes: &mut [u8]) -> Result<(), GroupError> {
        let (rank, size, generation) = (self.rank, self.size, self.generation);
        if root >= size {
            return Err(GroupError::NoSuchRoot { generation, root, size });
        }
        let kind = CallKind::Broadcast { root: u32::try_from(root).expect("a rank is below 65536") };
        self.call(kind, bytes.len(), |ring, call| {
            exchange(ring, call, &mut Relay::new(rank, size, root, bytes))
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
