//! Accepts the other members' connections, over all generations of a worker's life.
//!
//! Between two generations nothing is read here: connections wait at the [`Door`], and their dialers for an answer.
//! The connection of a member that forms a later generation is parked until this worker forms it too.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use socket2::Socket;

use super::door::{Door, host, make_room};
use super::hello::{Answer, HELLO_BYTES, Hello, Verdict, encode_answer, encode_challenge};
use super::proof::{End, FrameKeys, PROOF_BYTES, Secrets, nonce};
use super::{Membership, local, moved};
use crate::{GroupError, Refusal};

/// A dialer sends its hello in one piece, right after it has connected, and its proof as soon as it is asked; this is long
/// enough for slow networks.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections without a complete hello or proof. One other rank dials this one; the rest of the room is for unrelated
/// programs.
const PENDING_MAX: usize = 64;

/// Connections for later generations. Usually there is one; each generation that is given up early leaves one more.
const PARKED_MAX: usize = 16;

/// Listens for the other members. A worker has one, and forms each generation over it.
#[derive(Debug)]
pub struct Listener {
    door: Door,
    /// For members on this host.
    local: Option<Door>,
    address: SocketAddr,
    pending: Vec<PendingConnection>,
    /// Their dialers have proved nothing yet, so that none takes the place of another.
    parked: Vec<(Hello, Socket)>,
}

/// A connection whose hello or proof is not complete.
#[derive(Debug)]
struct PendingConnection {
    socket: Socket,
    since: Instant,
    /// Of the hello, then of the proof.
    bytes: [u8; HELLO_BYTES],
    filled_bytes: usize,
    challenged: Option<Box<Challenged>>,
}

/// A dialer that was asked to prove that it knows the key.
struct Challenged {
    hello: Hello,
    secrets: Secrets,
}

/// What a connection has sent.
enum Greeting {
    Incomplete,
    Hello(Hello),
    Proof([u8; PROOF_BYTES]),
    /// A hello that every generation refuses.
    Refused(Refusal),
    /// Not a hello, or the connection is closed.
    Invalid,
}

/// The left neighbour's connection, which has proved that it is.
pub(super) struct Caller {
    pub(super) socket: Socket,
    /// What its values are encrypted with.
    pub(super) keys: Option<FrameKeys>,
}

impl Listener {
    /// Over TCP alone.
    pub fn on(socket: TcpListener) -> Result<Self, GroupError> {
        let address = socket.set_nonblocking(true).and_then(|()| socket.local_addr());
        let address = address.map_err(|error| GroupError::system("use a socket", &error))?;
        let door = Door::open(socket.into())?;
        Ok(Self { door, local: None, address, pending: Vec::new(), parked: Vec::new() })
    }

    /// Members on this host come over a Unix socket, if they do the same, and others over TCP.
    #[must_use]
    pub fn also_local(self) -> Self {
        Self { local: local::listen(self.address).and_then(|socket| Door::open(socket).ok()), ..self }
    }

    pub(super) fn is_local_too(&self) -> bool {
        self.local.is_some()
    }

    /// Where members come from.
    fn doors(&self) -> impl Iterator<Item = &Door> {
        std::iter::once(&self.door).chain(&self.local)
    }

    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The sockets that the caller of [`Listener::left_neighbour`] polls.
    pub(super) fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let pending = self.pending.iter().map(|connection| connection.socket.as_fd());
        self.doors().map(Door::arrived).chain(pending).map(|fd| PollFd::new(fd, PollFlags::POLLIN))
    }

    /// When the next hello times out.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.pending.iter().map(|connection| connection.since + HELLO_TIMEOUT).min()
    }

    /// Answers all connections, and returns that of the left neighbour in `ours` if it is among them. The latest that proved
    /// itself wins: a member dials again only after its last connection broke. The returned one may have broken since.
    pub(super) fn left_neighbour(&mut self, ours: &Membership) -> Result<Option<Caller>, GroupError> {
        let arrived: Vec<_> = self.doors().flat_map(Door::take).collect();
        arrived.into_iter().for_each(|socket| self.wait_for(socket, None));
        let mut left = None;
        for (hello, socket) in std::mem::take(&mut self.parked) {
            self.settle(hello, socket, ours)?;
        }
        for mut connection in std::mem::take(&mut self.pending) {
            match connection.read() {
                Greeting::Hello(hello) => self.settle(hello, connection.socket, ours)?,
                Greeting::Proof(proof) => left = connection.judge(&proof, ours).or(left),
                Greeting::Refused(refusal) => _ = answer(&connection.socket, Err(refusal)),
                Greeting::Incomplete if connection.since.elapsed() < HELLO_TIMEOUT => {
                    self.pending.push(connection)
                }
                Greeting::Incomplete | Greeting::Invalid => {}
            }
        }
        Ok(left)
    }

    fn settle(&mut self, hello: Hello, socket: Socket, ours: &Membership) -> Result<(), GroupError> {
        match hello.judge(ours) {
            Verdict::Accept => self.challenge(hello, socket, ours)?,
            Verdict::Park => {
                self.parked.retain(|(_, socket)| !is_closed(socket));
                self.parked.push((hello, socket));
                self.parked.sort_by_key(|(hello, _)| hello.generation);
                // Of a member's connection its dialer notices, and dials again.
                make_room(&mut self.parked, PARKED_MAX, |(_, socket)| host(socket));
            }
            Verdict::Refuse(refusal) => _ = answer(&socket, Err(refusal)),
        }
        Ok(())
    }

    /// Proves that this member knows the key, and asks the dialer for the same.
    fn challenge(&mut self, hello: Hello, mut socket: Socket, ours: &Membership) -> Result<(), GroupError> {
        let nonce = nonce()?;
        let secrets = Secrets::new(&local::key_on(&socket, &ours.key), &hello.nonce, &nonce);
        let bytes = encode_challenge(&nonce, &secrets.prove(End::Listener, &hello.encode()));
        // A few bytes into a fresh connection always fit.
        if socket.write(&bytes).is_ok_and(|count_bytes| count_bytes == bytes.len()) {
            self.wait_for(socket, Some(Box::new(Challenged { hello, secrets })));
        }
        Ok(())
    }

    fn wait_for(&mut self, socket: Socket, challenged: Option<Box<Challenged>>) {
        let (since, bytes) = (Instant::now(), [0; HELLO_BYTES]);
        self.pending.push(PendingConnection { socket, since, bytes, filled_bytes: 0, challenged });
        make_room(&mut self.pending, PENDING_MAX, |connection| host(&connection.socket));
    }
}

impl PendingConnection {
    fn read(&mut self) -> Greeting {
        let whole_bytes = if self.challenged.is_some() { PROOF_BYTES } else { HELLO_BYTES };
        while self.filled_bytes < whole_bytes {
            match moved(self.socket.read(&mut self.bytes[self.filled_bytes..whole_bytes])) {
                Ok(Some(count_bytes)) => self.filled_bytes += count_bytes,
                Ok(None) => return Greeting::Incomplete,
                Err(_) => return Greeting::Invalid,
            }
            if self.challenged.is_none() && !Hello::may_begin_with(&self.bytes[..self.filled_bytes]) {
                return Greeting::Invalid;
            }
        }
        match self.bytes.first_chunk() {
            Some(proof) if self.challenged.is_some() => Greeting::Proof(*proof),
            _ => Hello::decode(&self.bytes).map_or_else(Greeting::Refused, Greeting::Hello),
        }
    }

    /// Answers a dialer that says it knows the key.
    fn judge(self, proof: &[u8; PROOF_BYTES], ours: &Membership) -> Option<Caller> {
        let Challenged { hello, secrets } = *self.challenged.expect("a proof follows a challenge");
        // This member may have gone on to another generation meanwhile.
        let verdict = match hello.judge(ours) {
            Verdict::Refuse(refusal) => Err(refusal),
            Verdict::Accept | Verdict::Park => Ok(()),
        };
        let proved =
            secrets.is_proof(End::Dialer, &hello.encode(), proof).then_some(()).ok_or(Refusal::Unproved);
        let verdict = verdict.and(proved);
        let is_sent = answer(&self.socket, verdict);
        (is_sent && verdict.is_ok()).then(|| Caller { socket: self.socket, keys: secrets.frame_keys() })
    }
}

impl fmt::Debug for Challenged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Challenged({:?})", self.hello)
    }
}

/// Whether the answer was sent. A few bytes into a fresh connection always fit.
fn answer(mut socket: &Socket, answer: Answer) -> bool {
    let bytes = encode_answer(answer);
    socket.write(&bytes).is_ok_and(|count_bytes| count_bytes == bytes.len())
}

/// Whether the peer has closed the connection or it broke. Consumes no bytes.
pub(super) fn is_closed(socket: &Socket) -> bool {
    match socket.peek(&mut [MaybeUninit::new(0)]) {
        Ok(count_bytes) => count_bytes == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}
