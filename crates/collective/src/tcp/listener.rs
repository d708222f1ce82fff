//! Accepts the other members' connections, over all generations of a worker's life.
//!
//! Between two generations no thread runs here: connections wait in the kernel's queue, and their dialers for an answer.
//! The connection of a member that forms a later generation is parked until this worker forms it too.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use super::hello::{Answer, HELLO_BYTES, Hello, Verdict, encode_answer};
use super::{Membership, moved};
use crate::{GroupError, Refusal};

/// A dialer sends its hello in one piece, right after it has connected; this is long enough for slow networks.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections without a complete hello. One other rank dials this one; the rest of the room is for unrelated programs.
const PENDING_MAX: usize = 64;

/// Connections for later generations. Usually there is one; each generation that is given up early leaves one more.
const PARKED_MAX: usize = 16;

/// Listens for the other members. A worker has one, and forms each generation over it.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    pending: Vec<PendingConnection>,
    parked: Vec<(Hello, TcpStream)>,
}

/// A connection whose hello is not complete.
#[derive(Debug)]
struct PendingConnection {
    socket: TcpStream,
    since: Instant,
    bytes: [u8; HELLO_BYTES],
    filled_bytes: usize,
}

/// What a connection has sent.
enum Greeting {
    Incomplete,
    Hello(Hello),
    /// A hello that every generation refuses.
    Refused(Refusal),
    /// Not a hello, or the connection is closed.
    Invalid,
}

impl Listener {
    pub fn on(socket: TcpListener) -> Result<Self, GroupError> {
        let address = socket.set_nonblocking(true).and_then(|()| socket.local_addr());
        let address = address.map_err(|error| GroupError::system("use a socket", &error))?;
        Ok(Self { socket, address, pending: Vec::new(), parked: Vec::new() })
    }

    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The sockets that the caller of [`Listener::left_neighbour`] polls.
    pub(super) fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let pending = self.pending.iter().map(|connection| connection.socket.as_fd());
        std::iter::once(self.socket.as_fd()).chain(pending).map(|fd| PollFd::new(fd, PollFlags::POLLIN))
    }

    /// When the next hello times out.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.pending.iter().map(|connection| connection.since + HELLO_TIMEOUT).min()
    }

    /// Answers all connections, and returns that of the left neighbour in `ours` if it is among them. The latest wins: a
    /// member dials again only after its last connection broke. The returned one may have broken since.
    pub(super) fn left_neighbour(&mut self, ours: &Membership) -> Result<Option<TcpStream>, GroupError> {
        self.accept_all()?;
        let mut left = None;
        let parked = std::mem::take(&mut self.parked);
        for (hello, socket) in parked {
            self.settle(hello, socket, ours, &mut left);
        }
        for mut connection in std::mem::take(&mut self.pending) {
            match connection.read_hello() {
                Greeting::Hello(hello) => self.settle(hello, connection.socket, ours, &mut left),
                Greeting::Refused(refusal) => _ = answer(&connection.socket, Err(refusal)),
                Greeting::Incomplete if connection.since.elapsed() < HELLO_TIMEOUT => {
                    self.pending.push(connection)
                }
                Greeting::Incomplete | Greeting::Invalid => {}
            }
        }
        Ok(left)
    }

    fn settle(&mut self, hello: Hello, socket: TcpStream, ours: &Membership, left: &mut Option<TcpStream>) {
        match hello.judge(ours) {
            Verdict::Accept => {
                if answer(&socket, Ok(())) {
                    *left = Some(socket);
                }
            }
            Verdict::Park => {
                self.parked
                    .retain(|(other, _)| (other.generation, other.from) != (hello.generation, hello.from));
                self.parked.push((hello, socket));
                self.parked.sort_by_key(|(hello, _)| hello.generation);
                // Drops the oldest generations; their dialers notice and dial again.
                self.parked.drain(..self.parked.len().saturating_sub(PARKED_MAX));
            }
            Verdict::Refuse(refusal) => _ = answer(&socket, Err(refusal)),
        }
    }

    fn accept_all(&mut self) -> Result<(), GroupError> {
        loop {
            match self.socket.accept() {
                Ok((socket, _)) => {
                    // If the connection broke here, reading it finds that out.
                    _ = socket.set_nonblocking(true).and_then(|()| socket.set_nodelay(true));
                    let connection = PendingConnection {
                        socket,
                        since: Instant::now(),
                        bytes: [0; HELLO_BYTES],
                        filled_bytes: 0,
                    };
                    self.pending.push(connection);
                    self.pending.drain(..self.pending.len().saturating_sub(PENDING_MAX));
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(()),
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    _ => return Err(GroupError::system("accept a connection", &error)),
                },
            }
        }
    }
}

impl PendingConnection {
    fn read_hello(&mut self) -> Greeting {
        loop {
            match moved(self.socket.read(&mut self.bytes[self.filled_bytes..])) {
                Ok(Some(count_bytes)) => self.filled_bytes += count_bytes,
                Ok(None) => return Greeting::Incomplete,
                Err(_) => return Greeting::Invalid,
            }
            if !Hello::may_begin_with(&self.bytes[..self.filled_bytes]) {
                return Greeting::Invalid;
            }
            if self.filled_bytes == HELLO_BYTES {
                return Hello::decode(&self.bytes).map_or_else(Greeting::Refused, Greeting::Hello);
            }
        }
    }
}

/// Whether the answer was sent. A few bytes into a fresh connection always fit.
fn answer(mut socket: &TcpStream, answer: Answer) -> bool {
    let bytes = encode_answer(answer);
    socket.write(&bytes).is_ok_and(|count_bytes| count_bytes == bytes.len())
}

/// Whether the peer has closed the connection or it broke. Consumes no bytes.
pub(super) fn is_closed(socket: &TcpStream) -> bool {
    match socket.peek(&mut [0]) {
        Ok(count_bytes) => count_bytes == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}
