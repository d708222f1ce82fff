//! Forms one generation's group: dials the right neighbour, accepts the left one's dial, closes the ring.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::exchange::{Link, Ring, moved, poll_until};
use super::hello::{ANSWER_BYTES, CHALLENGE_BYTES, Hello, Reply};
use super::listener::{Caller, is_closed};
use super::proof::{End, FrameKeys, Secrets, nonce};
use super::seal::{Opener, Sealer};
use super::{Listener, Membership, TcpGroup, local};
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
        left: Link { socket: left.socket, peer: membership.left() },
        right: Link { socket: right.socket, peer: membership.right() },
        opener: left.keys.map(|keys| Box::new(Opener::new(keys))),
        sealer: right.keys.map(|keys| Box::new(Sealer::new(keys))),
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
) -> Result<(Caller, Called), GroupError> {
    let generation = membership.generation;
    let started = Instant::now();
    let mut left: Option<Caller> = None;
    let mut dial = Dial::new(membership, listener.is_local_too());
    loop {
        if aborter.is_aborted() {
            return Err(GroupError::Aborted { generation });
        }
        left = listener.left_neighbour(membership)?.or(left).filter(|left| !is_closed(&left.socket));
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

/// The connection to the right neighbour, which has proved that it knows the key.
struct Called {
    socket: Socket,
    /// What is encrypted with on the way there.
    keys: Option<FrameKeys>,
}

/// Dials the right neighbour again and again until it accepts or refuses.
struct Dial<'a> {
    membership: &'a Membership,
    peer: Peer,
    state: DialState,
    pause: Duration,
    last_failure: LossCause,
    /// Whether the next attempt looks for the neighbour on this host first.
    tries_local: bool,
    /// Whether attempts may be made there at all.
    may_be_local: bool,
}

enum DialState {
    Pausing { until: Instant },
    Connecting(Socket),
    Asking(Box<Asking>),
    Accepted(Called),
}

/// A connection on which a hello was sent.
struct Asking {
    socket: Socket,
    hello: Hello,
    /// The challenge, then the answer.
    reply: [u8; CHALLENGE_BYTES],
    filled_bytes: usize,
    /// Set once this member has proved that it knows the key.
    keys: Option<Option<FrameKeys>>,
}

impl<'a> Dial<'a> {
    fn new(membership: &'a Membership, may_be_local: bool) -> Self {
        Self {
            membership,
            peer: membership.right(),
            state: DialState::Pausing { until: Instant::now() },
            pause: REDIAL_FIRST,
            last_failure: LossCause::Closed,
            tries_local: may_be_local,
            may_be_local,
        }
    }

    /// Goes as far as it can without waiting. Fails if the neighbour or the system refuses.
    fn advance(&mut self) -> Result<(), GroupError> {
        loop {
            let now = Instant::now();
            let next = match std::mem::replace(&mut self.state, DialState::Pausing { until: now }) {
                DialState::Pausing { until } if until > now => DialStep::Wait(DialState::Pausing { until }),
                DialState::Pausing { .. } => self.begin()?,
                DialState::Connecting(socket) => self.greet(socket)?,
                DialState::Asking(asking) => self.hear(asking)?,
                DialState::Accepted(called) => DialStep::Wait(DialState::Accepted(called)),
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

    fn begin(&mut self) -> Result<DialStep, GroupError> {
        let address = self.peer.address;
        if self.tries_local
            && let Some(socket) = local::dial(address)
        {
            // If that fails, whatever it was, TCP is next.
            self.tries_local = false;
            return Ok(DialStep::Go(DialState::Connecting(socket)));
        }
        self.tries_local = self.may_be_local;
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
    fn greet(&self, socket: Socket) -> Result<DialStep, GroupError> {
        let failed = |error: std::io::Error| Ok(DialStep::Failed(LossCause::Failed(error.kind())));
        match socket.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => return failed(error),
        }
        match socket.peer_addr() {
            Err(error) if error.kind() == ErrorKind::NotConnected => {
                return Ok(DialStep::Wait(DialState::Connecting(socket)));
            }
            Err(error) => return failed(error),
            Ok(_) => {}
        }
        let our_ip = socket.local_addr().ok().and_then(|ours| ours.as_socket()).map(|ours| ours.ip());
        if local::is_local(&socket) || our_ip == Some(self.peer.address.ip()) {
            // If the system allows only less, sums are only slower.
            _ = socket.set_send_buffer_size(SEND_BUFFER_SAME_HOST_BYTES);
        }
        let hello = Hello::to_right(self.membership, nonce()?);
        let asking = Asking { socket, hello, reply: [0; CHALLENGE_BYTES], filled_bytes: 0, keys: None };
        Ok(asking.say(&hello.encode()))
    }

    /// Reads the listener's challenge or answer as far as it has arrived, and does what follows.
    fn hear(&self, mut asking: Box<Asking>) -> Result<DialStep, GroupError> {
        let reply = match asking.read() {
            Ok(Some(reply)) => reply,
            Ok(None) => return Ok(DialStep::Wait(DialState::Asking(asking))),
            Err(cause) => return Ok(DialStep::Failed(cause)),
        };
        match (reply, asking.keys.take()) {
            (Reply::Answer(Err(refusal)), _) => Err(self.refused(refusal)),
            (Reply::Answer(Ok(())), Some(keys)) => {
                Ok(DialStep::Go(DialState::Accepted(Called { socket: asking.socket, keys })))
            }
            (Reply::Challenge { nonce, proof }, None) => {
                let hello = asking.hello.encode();
                let key = local::key_on(&asking.socket, &self.membership.key);
                let secrets = Secrets::new(&key, &asking.hello.nonce, &nonce);
                if !secrets.is_proof(End::Listener, &hello, &proof) {
                    return Ok(DialStep::Failed(LossCause::Unproved));
                }
                let ours = secrets.prove(End::Dialer, &hello);
                asking.keys = Some(secrets.frame_keys());
                Ok(asking.say(&ours))
            }
            // It believes without a proof, or wants two.
            (Reply::Answer(Ok(())), None) | (Reply::Challenge { .. }, Some(_)) => {
                Ok(DialStep::Failed(LossCause::Unproved))
            }
        }
    }

    fn refused(&self, refusal: Refusal) -> GroupError {
        let Membership { rank, generation, .. } = *self.membership;
        GroupError::Refused { rank, generation, peer: self.peer, refusal }
    }

    fn poll_fd(&self) -> Option<PollFd<'_>> {
        match &self.state {
            DialState::Connecting(socket) => Some(PollFd::new(socket.as_fd(), PollFlags::POLLOUT)),
            DialState::Asking(asking) => Some(PollFd::new(asking.socket.as_fd(), PollFlags::POLLIN)),
            DialState::Pausing { .. } | DialState::Accepted(_) => None,
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            DialState::Pausing { until } => Some(until),
            DialState::Connecting(_) | DialState::Asking(_) | DialState::Accepted(_) => None,
        }
    }

    fn missing(&self) -> Option<Missing> {
        match &self.state {
            DialState::Pausing { .. } => Some(Missing::Unreachable(self.peer, self.last_failure)),
            DialState::Connecting(_) => {
                Some(Missing::Unreachable(self.peer, LossCause::Failed(ErrorKind::TimedOut)))
            }
            DialState::Asking(_) => Some(Missing::NotJoined(self.peer)),
            DialState::Accepted(_) => None,
        }
    }
}

impl Asking {
    /// Sends a few bytes, and waits for what is said to them.
    fn say(mut self, bytes: &[u8]) -> DialStep {
        self.filled_bytes = 0;
        match self.socket.write(bytes) {
            Ok(count_bytes) if count_bytes == bytes.len() => DialStep::Go(DialState::Asking(Box::new(self))),
            Ok(_) => DialStep::Failed(LossCause::Closed),
            Err(error) => DialStep::Failed(LossCause::Failed(error.kind())),
        }
    }

    /// The listener's reply; none while it is not complete.
    fn read(&mut self) -> Result<Option<Reply>, LossCause> {
        let garbage = LossCause::Failed(ErrorKind::InvalidData);
        loop {
            let whole_bytes = Reply::len_bytes(&self.reply[..self.filled_bytes]).ok_or(garbage)?;
            if self.filled_bytes == whole_bytes && whole_bytes >= ANSWER_BYTES {
                return Reply::decode(&self.reply[..whole_bytes]).map(Some).ok_or(garbage);
            }
            match moved(self.socket.read(&mut self.reply[self.filled_bytes..whole_bytes]))? {
                Some(count_bytes) => self.filled_bytes += count_bytes,
                None => return Ok(None),
            }
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
