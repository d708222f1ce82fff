//! Forms one generation's group: dial the right neighbour, be dialed by the left one, close the ring.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::exchange::{Link, Ring, poll_until};
use super::hello::{ANSWER_BYTES, Hello, decode_answer};
use super::listener::has_hung_up;
use super::{Listener, Membership, TcpGroup};
use crate::{Aborter, Group, GroupError, LossCause, Missing, Peer, Refusal};

/// The first pause before a member that could not be reached is dialed again; doubles each time.
const REDIAL_FIRST: Duration = Duration::from_millis(5);
/// The longest: a member that comes up late is found within this time.
const REDIAL_MAX: Duration = Duration::from_millis(200);

/// What may be on its way to a rank on the same host: little enough to be in the cache still when it is received.
/// With the kernel's own choice of several megabytes a large sum took 1.5 times the CPU time. Between hosts that
/// choice stands: there it has to cover the network's delay.
const SEND_BUFFER_SAME_HOST_BYTES: usize = 512 << 10;

/// Ranks travel as u32 and steps are counted in their multiples; a ring of more would be of no use.
const SIZE_MAX: usize = 1 << 16;

/// Forms this generation's group; returns when all members have come, each by its own call of this.
///
/// Members may call it in any order and at any time before `deadline`. Connections of older generations, of other
/// runs and of strangers are turned away, those of newer generations kept for their turn. `aborter` ends the wait
/// and, later, the group.
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
    // Neighbours say nothing of the members beyond them. What closes the ring is a call.
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

/// Connections to the left and the right neighbour, both of which have agreed.
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
        left = listener.left_neighbour(membership)?.or(left).filter(|socket| !has_hung_up(socket));
        dial.advance()?;
        if let (Some(_), State::Agreed(_)) = (&left, &dial.state) {
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
        (Some(left), State::Agreed(right)) => Ok((left, right)),
        _ => unreachable!("the loop ends when both are there"),
    }
}

/// The way to the right neighbour's agreement, tried again until there is one.
struct Dial<'a> {
    membership: &'a Membership,
    peer: Peer,
    state: State,
    pause: Duration,
    last_failure: LossCause,
}

enum State {
    Pausing { until: Instant },
    Connecting(Socket),
    Asking { socket: TcpStream, answer: [u8; ANSWER_BYTES], filled_bytes: usize },
    Agreed(TcpStream),
}

impl<'a> Dial<'a> {
    fn new(membership: &'a Membership) -> Self {
        Self {
            membership,
            peer: membership.right(),
            state: State::Pausing { until: Instant::now() },
            pause: REDIAL_FIRST,
            last_failure: LossCause::Closed,
        }
    }

    /// Goes as far as it can without waiting. An error is the neighbour's no, or the system's.
    fn advance(&mut self) -> Result<(), GroupError> {
        loop {
            let now = Instant::now();
            let next = match std::mem::replace(&mut self.state, State::Pausing { until: now }) {
                State::Pausing { until } if until > now => Next::Wait(State::Pausing { until }),
                State::Pausing { .. } => self.begin()?,
                State::Connecting(socket) => self.greet(socket),
                State::Asking { socket, answer, filled_bytes } => self.hear(socket, answer, filled_bytes)?,
                State::Agreed(socket) => Next::Wait(State::Agreed(socket)),
            };
            match next {
                Next::Wait(state) => {
                    self.state = state;
                    return Ok(());
                }
                Next::Go(state) => self.state = state,
                Next::Failed(cause) => {
                    self.last_failure = cause;
                    self.state = State::Pausing { until: now + self.pause };
                    self.pause = (self.pause * 2).min(REDIAL_MAX);
                }
            }
        }
    }

    fn begin(&self) -> Result<Next, GroupError> {
        let address = self.peer.address;
        let opened = || -> std::io::Result<Socket> {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_nonblocking(true)?;
            socket.set_tcp_nodelay(true)?;
            Ok(socket)
        };
        let socket = match opened() {
            Ok(socket) => socket,
            // An address of IPv6, on a host whose kernel has none.
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32) => {
                return Ok(Next::Failed(LossCause::Failed(ErrorKind::Unsupported)));
            }
            Err(error) => return Err(GroupError::system("open a socket", &error)),
        };
        Ok(match socket.connect(&SockAddr::from(address)) {
            Ok(()) => Next::Go(State::Connecting(socket)),
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => {
                Next::Wait(State::Connecting(socket))
            }
            Err(error) => Next::Failed(LossCause::Failed(error.kind())),
        })
    }

    /// Says hello once the connection stands.
    fn greet(&self, socket: Socket) -> Next {
        match socket.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => return Next::Failed(LossCause::Failed(error.kind())),
        }
        match socket.peer_addr() {
            Err(error) if error.kind() == ErrorKind::NotConnected => {
                return Next::Wait(State::Connecting(socket));
            }
            Err(error) => return Next::Failed(LossCause::Failed(error.kind())),
            Ok(_) => {}
        }
        let mut socket = TcpStream::from(socket);
        if socket.local_addr().is_ok_and(|ours| ours.ip() == self.peer.address.ip()) {
            // A wish: where the system limits it further, it is only slower.
            _ = SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER_SAME_HOST_BYTES);
        }
        let hello = Hello::to_right(self.membership).encode();
        match socket.write(&hello) {
            Ok(count_bytes) if count_bytes == hello.len() => {
                Next::Go(State::Asking { socket, answer: [0; ANSWER_BYTES], filled_bytes: 0 })
            }
            Ok(_) => Next::Failed(LossCause::Closed),
            Err(error) => Next::Failed(LossCause::Failed(error.kind())),
        }
    }

    /// Reads the answer as far as it has come.
    fn hear(
        &self,
        mut socket: TcpStream,
        mut answer: [u8; ANSWER_BYTES],
        mut filled_bytes: usize,
    ) -> Result<Next, GroupError> {
        while filled_bytes < ANSWER_BYTES {
            match socket.read(&mut answer[filled_bytes..]) {
                Ok(0) => return Ok(Next::Failed(LossCause::Closed)),
                Ok(count_bytes) => filled_bytes += count_bytes,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => {
                        return Ok(Next::Wait(State::Asking { socket, answer, filled_bytes }));
                    }
                    ErrorKind::Interrupted => {}
                    kind => return Ok(Next::Failed(LossCause::Failed(kind))),
                },
            }
        }
        match decode_answer(&answer) {
            Some(Ok(())) => Ok(Next::Go(State::Agreed(socket))),
            Some(Err(refusal)) => Err(self.refused(refusal)),
            None => Ok(Next::Failed(LossCause::Failed(ErrorKind::InvalidData))),
        }
    }

    fn refused(&self, refusal: Refusal) -> GroupError {
        let Membership { rank, generation, .. } = *self.membership;
        GroupError::Refused { rank, generation, peer: self.peer, refusal }
    }

    fn poll_fd(&self) -> Option<PollFd<'_>> {
        match &self.state {
            State::Connecting(socket) => Some(PollFd::new(socket.as_fd(), PollFlags::POLLOUT)),
            State::Asking { socket, .. } => Some(PollFd::new(socket.as_fd(), PollFlags::POLLIN)),
            State::Pausing { .. } | State::Agreed(_) => None,
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Pausing { until } => Some(until),
            State::Connecting(_) | State::Asking { .. } | State::Agreed(_) => None,
        }
    }

    fn missing(&self) -> Option<Missing> {
        match &self.state {
            State::Pausing { .. } => Some(Missing::Unreachable(self.peer, self.last_failure)),
            State::Connecting(_) => {
                Some(Missing::Unreachable(self.peer, LossCause::Failed(ErrorKind::TimedOut)))
            }
            State::Asking { .. } => Some(Missing::NotJoined(self.peer)),
            State::Agreed(_) => None,
        }
    }
}

/// What a step of the dialing led to.
enum Next {
    /// Nothing more can be done until an event comes.
    Wait(State),
    /// On to the next step.
    Go(State),
    /// To be tried again after a pause.
    Failed(LossCause),
}
