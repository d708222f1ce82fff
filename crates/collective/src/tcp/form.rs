//! Forms one generation's group: dials the right neighbour, accepts the left one's dial, closes the ring.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::exchange::{Link, Ring, moved, poll_until};
use super::hello::{ANSWER_BYTES, Hello, decode_answer};
use super::listener::is_closed;
use super::{Listener, Membership, TcpGroup};
use crate::{Aborter, Group, GroupError, LossCause, Missing, Peer, Refusal};

/// The first pause before a member that could not be reached is dialed again; doubles each time.
const REDIAL_FIRST: Duration = Duration::from_millis(5);
/// A member that comes up late is found within this time.
const REDIAL_MAX: Duration = Duration::from_millis(200);

/// The send buffer towards a rank on the same host: small enough that the bytes are in the cache when they are received.
/// With the kernel's choice of several megabytes a large sum took 1.5 times the CPU time. Between hosts the kernel's
/// choice stands, because the buffer has to cover the network's delay.
const SEND_BUFFER_SAME_HOST_BYTES: usize = 512 << 10;

/// Ranks are sent as u32, and steps are counted in multiples of the size; a larger ring would be useless.
const SIZE_MAX: usize = 1 << 16;

/// Forms this generation's group; returns when all members have called it.
///
/// Members may call it in any order and at any time before `deadline`. Connections of older generations and of other runs
/// are refused, those of newer generations kept until their generation is formed. `aborter` ends the wait and, later,
/// the group.
pub fn connect(
    listener: &mut Listener,
    membership: &Membership,
    deadline: Instant,
    aborter: &Aborter,
) -> Result<TcpGroup, GroupError> {
    let (rank, generation, size) = (membership.rank, membership.generation, membership.members.len());
    if rank >= size || size > SIZE_MAX {
        return Err(GroupError::NoSuchRank { generation, rank, size });
    }
    if aborter.is_aborted() {
        return Err(GroupError::Aborted { generation });
    }
    if size == 1 {
        return Ok(TcpGroup::new(membership, aborter, None));
    }
    let started = Instant::now();
    let (left, right) = find_neighbours(listener, membership, deadline, aborter)?;
    let ring = Ring {
        rank,
        generation,
        left: Link { socket: left, peer: membership.left() },
        right: Link { socket: right, peer: membership.right() },
        aborter: aborter.clone(),
        stall_timeout: Some(deadline.saturating_duration_since(Instant::now())),
        scratch: Vec::new(),
    };
    let mut group = TcpGroup::new(membership, aborter, Some(ring));
    // A neighbour's answer says nothing about the members beyond it. Only a call shows that the ring is closed.
    group.barrier().map_err(|error| match error {
        GroupError::Stalled { .. } => GroupError::NotFormed {
            generation,
            rank,
            missing: vec![Missing::Beyond(membership.left(), membership.right())],
            waited: started.elapsed(),
        },
        other => other,
    })?;
    group.set_stall_timeout(None);
    Ok(group)
}

/// Connects to the left and the right neighbour, both of which must accept.
fn find_neighbours(
    listener: &mut Listener,
    membership: &Membership,
    deadline: Instant,
    aborter: &Aborter,
) -> Result<(TcpStream, TcpStream), GroupError> {
    let generation = membership.generation;
    let started = Instant::now();
    let mut left = None;
    let mut dial = Dial::new(membership);
    loop {
        if aborter.is_aborted() {
            return Err(GroupError::Aborted { generation });
        }
        left = listener.left_neighbour(membership)?.or(left).filter(|socket| !is_closed(socket));
        dial.advance()?;
        if let (Some(_), DialState::Accepted(_)) = (&left, &dial.state) {
            break;
        }
        if deadline <= Instant::now() {
            let not_called = left.is_none().then(|| Missing::NotCalled(membership.left()));
            let missing = dial.missing().into_iter().chain(not_called).collect();
            return Err(GroupError::NotFormed {
                generation,
                rank: membership.rank,
                missing,
                waited: started.elapsed(),
            });
        }
        let mut fds = vec![PollFd::new(aborter.woken(), PollFlags::POLLIN)];
        fds.extend(listener.poll_fds());
        fds.extend(dial.poll_fd());
        let wake_at =
            [Some(deadline), listener.next_deadline(), dial.next_deadline()].into_iter().flatten().min();
        poll_until(&mut fds, wake_at)?;
    }
    match (left, dial.state) {
        (Some(left), DialState::Accepted(right)) => Ok((left, right)),
        _ => unreachable!("the loop ends when both are there"),
    }
}

/// Dials the right neighbour again and again until it accepts or refuses.
struct Dial<'a> {
    membership: &'a Membership,
    peer: Peer,
    state: DialState,
    pause: Duration,
    last_failure: LossCause,
}

enum DialState {
    Pausing { until: Instant },
    Connecting(Socket),
    Asking { socket: TcpStream, answer: [u8; ANSWER_BYTES], filled_bytes: usize },
    Accepted(TcpStream),
}

impl<'a> Dial<'a> {
    fn new(membership: &'a Membership) -> Self {
        Self {
            membership,
            peer: membership.right(),
            state: DialState::Pausing { until: Instant::now() },
            pause: REDIAL_FIRST,
            last_failure: LossCause::Closed,
        }
    }

    /// Goes as far as it can without waiting. Fails if the neighbour or the system refuses.
    fn advance(&mut self) -> Result<(), GroupError> {
        loop {
            let now = Instant::now();
            let next = match std::mem::replace(&mut self.state, DialState::Pausing { until: now }) {
                DialState::Pausing { until } if until > now => DialStep::Wait(DialState::Pausing { until }),
                DialState::Pausing { .. } => self.begin()?,
                DialState::Connecting(socket) => self.greet(socket),
                DialState::Asking { socket, answer, filled_bytes } => {
                    self.read_answer(socket, answer, filled_bytes)?
                }
                DialState::Accepted(socket) => DialStep::Wait(DialState::Accepted(socket)),
            };
            match next {
                DialStep::Wait(state) => {
                    self.state = state;
                    return Ok(());
                }
                DialStep::Go(state) => self.state = state,
                DialStep::Failed(cause) => {
                    self.last_failure = cause;
                    self.state = DialState::Pausing { until: now + self.pause };
                    self.pause = (self.pause * 2).min(REDIAL_MAX);
                }
            }
        }
    }

    fn begin(&self) -> Result<DialStep, GroupError> {
        let address = self.peer.address;
        let opened = || -> std::io::Result<Socket> {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_nonblocking(true)?;
            socket.set_tcp_nodelay(true)?;
            Ok(socket)
        };
        let socket = match opened() {
            Ok(socket) => socket,
            // An IPv6 address, on a host whose kernel has no IPv6.
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32) => {
                return Ok(DialStep::Failed(LossCause::Failed(ErrorKind::Unsupported)));
            }
            Err(error) => return Err(GroupError::system("open a socket", &error)),
        };
        Ok(match socket.connect(&SockAddr::from(address)) {
            Ok(()) => DialStep::Go(DialState::Connecting(socket)),
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => {
                DialStep::Wait(DialState::Connecting(socket))
            }
            Err(error) => DialStep::Failed(LossCause::Failed(error.kind())),
        })
    }

    /// Sends the hello once the connection is established.
    fn greet(&self, socket: Socket) -> DialStep {
        match socket.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => return DialStep::Failed(LossCause::Failed(error.kind())),
        }
        match socket.peer_addr() {
            Err(error) if error.kind() == ErrorKind::NotConnected => {
                return DialStep::Wait(DialState::Connecting(socket));
            }
            Err(error) => return DialStep::Failed(LossCause::Failed(error.kind())),
            Ok(_) => {}
        }
        let mut socket = TcpStream::from(socket);
        if socket.local_addr().is_ok_and(|ours| ours.ip() == self.peer.address.ip()) {
            // If the system allows only less, sums are only slower.
            _ = SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER_SAME_HOST_BYTES);
        }
        let hello = Hello::to_right(self.membership).encode();
        match socket.write(&hello) {
            Ok(count_bytes) if count_bytes == hello.len() => {
                DialStep::Go(DialState::Asking { socket, answer: [0; ANSWER_BYTES], filled_bytes: 0 })
            }
            Ok(_) => DialStep::Failed(LossCause::Closed),
            Err(error) => DialStep::Failed(LossCause::Failed(error.kind())),
        }
    }

    /// Reads the answer as far as it has arrived.
    fn read_answer(
        &self,
        mut socket: TcpStream,
        mut answer: [u8; ANSWER_BYTES],
        mut filled_bytes: usize,
    ) -> Result<DialStep, GroupError> {
        while filled_bytes < ANSWER_BYTES {
            match moved(socket.read(&mut answer[filled_bytes..])) {
                Ok(Some(count_bytes)) => filled_bytes += count_bytes,
                Ok(None) => return Ok(DialStep::Wait(DialState::Asking { socket, answer, filled_bytes })),
                Err(cause) => return Ok(DialStep::Failed(cause)),
            }
        }
        match decode_answer(&answer) {
            Some(Ok(())) => Ok(DialStep::Go(DialState::Accepted(socket))),
            Some(Err(refusal)) => Err(self.refused(refusal)),
            None => Ok(DialStep::Failed(LossCause::Failed(ErrorKind::InvalidData))),
        }
    }

    fn refused(&self, refusal: Refusal) -> GroupError {
        let Membership { rank, generation, .. } = *self.membership;
        GroupError::Refused { rank, generation, peer: self.peer, refusal }
    }

    fn poll_fd(&self) -> Option<PollFd<'_>> {
        match &self.state {
            DialState::Connecting(socket) => Some(PollFd::new(socket.as_fd(), PollFlags::POLLOUT)),
            DialState::Asking { socket, .. } => Some(PollFd::new(socket.as_fd(), PollFlags::POLLIN)),
            DialState::Pausing { .. } | DialState::Accepted(_) => None,
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            DialState::Pausing { until } => Some(until),
            DialState::Connecting(_) | DialState::Asking { .. } | DialState::Accepted(_) => None,
        }
    }

    fn missing(&self) -> Option<Missing> {
        match &self.state {
            DialState::Pausing { .. } => Some(Missing::Unreachable(self.peer, self.last_failure)),
            DialState::Connecting(_) => {
                Some(Missing::Unreachable(self.peer, LossCause::Failed(ErrorKind::TimedOut)))
            }
            DialState::Asking { .. } => Some(Missing::NotJoined(self.peer)),
            DialState::Accepted(_) => None,
        }
    }
}

/// The outcome of a step of dialing.
enum DialStep {
    /// The dial waits for an event.
    Wait(DialState),
    Go(DialState),
    /// The dial is tried again after a pause.
    Failed(LossCause),
}
