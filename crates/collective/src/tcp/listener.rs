//! Takes the other members' connections, over all generations of a worker's life.
//!
//! Between two generations nobody works here: connections wait in the kernel's queue, and their dialers for an
//! answer. A member that is ahead of us is parked until we form its generation as well.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use super::Membership;
use super::hello::{Answer, HELLO_BYTES, Hello, Verdict, encode_answer};
use crate::{GroupError, Refusal};

/// A dialer sends its hello in one piece, right after it has connected; this is for slow networks.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections that have not said hello. Each rank is dialed by one other; the rest of the room is for strays.
const STRANGERS_MAX: usize = 64;

/// Connections for later generations. One is the rule, each generation given up in haste leaves one more.
const PARKED_MAX: usize = 16;

/// Where the other members reach this worker. One for the life of a worker; each generation is formed over it.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    strangers: Vec<Stranger>,
    parked: Vec<(Hello, TcpStream)>,
}

/// A connection that has not said hello.
#[derive(Debug)]
struct Stranger {
    socket: TcpStream,
    since: Instant,
    bytes: [u8; HELLO_BYTES],
    filled_bytes: usize,
}

enum Heard {
    Nothing,
    Hello(Hello),
    /// A hello that must be refused whoever is formed.
    Unwelcome(Refusal),
    /// It has hung up, or is none of ours.
    Noise,
}

impl Listener {
    /// Listens on `address`; port 0 picks a free one.
    pub fn bind(address: SocketAddr) -> Result<Self, GroupError> {
        let socket = TcpListener::bind(address);
        Self::on(socket.map_err(|error| GroupError::Bind { address, kind: error.kind() })?)
    }

    /// Takes over a socket that listens.
    pub fn on(socket: TcpListener) -> Result<Self, GroupError> {
        let address = socket.set_nonblocking(true).and_then(|()| socket.local_addr());
        let address = address.map_err(|error| GroupError::system("use a socket", &error))?;
        Ok(Self { socket, address, strangers: Vec::new(), parked: Vec::new() })
    }

    /// Where it listens, with the port that was picked.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What wakes [`Listener::left_neighbour`]'s caller.
    pub(super) fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let strangers = self.strangers.iter().map(|stranger| stranger.socket.as_fd());
        std::iter::once(self.socket.as_fd()).chain(strangers).map(|fd| PollFd::new(fd, PollFlags::POLLIN))
    }

    /// When the next stranger has had its time.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.strangers.iter().map(|stranger| stranger.since + HELLO_TIMEOUT).min()
    }

    /// Hears everybody who has come, and gives the connection of `ours`' left neighbour if it is among them. The
    /// latest wins: a member dials again only after its last connection broke. It may have broken since.
    pub(super) fn left_neighbour(&mut self, ours: &Membership) -> Result<Option<TcpStream>, GroupError> {
        self.accept_all()?;
        let mut left = None;
        let parked = std::mem::take(&mut self.parked);
        for (hello, socket) in parked {
            self.settle(hello, socket, ours, &mut left);
        }
        for mut stranger in std::mem::take(&mut self.strangers) {
            match stranger.listen() {
                Heard::Hello(hello) => self.settle(hello, stranger.socket, ours, &mut left),
                Heard::Unwelcome(refusal) => _ = answer(&stranger.socket, Err(refusal)),
                Heard::Nothing if stranger.since.elapsed() < HELLO_TIMEOUT => self.strangers.push(stranger),
                Heard::Nothing | Heard::Noise => {}
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
                // Drops the oldest generations; their dialers see it and dial again.
                self.parked.drain(..self.parked.len().saturating_sub(PARKED_MAX));
            }
            Verdict::Refuse(refusal) => _ = answer(&socket, Err(refusal)),
        }
    }

    fn accept_all(&mut self) -> Result<(), GroupError> {
        loop {
            match self.socket.accept() {
                Ok((socket, _)) => {
                    // A connection that breaks here is heard to have hung up.
                    _ = socket.set_nonblocking(true).and_then(|()| socket.set_nodelay(true));
                    let stranger =
                        Stranger { socket, since: Instant::now(), bytes: [0; HELLO_BYTES], filled_bytes: 0 };
                    self.strangers.push(stranger);
                    self.strangers.drain(..self.strangers.len().saturating_sub(STRANGERS_MAX));
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

impl Stranger {
    fn listen(&mut self) -> Heard {
        loop {
            match self.socket.read(&mut self.bytes[self.filled_bytes..]) {
                Ok(0) => return Heard::Noise,
                Ok(count_bytes) => self.filled_bytes += count_bytes,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Heard::Nothing,
                    ErrorKind::Interrupted => {}
                    _ => return Heard::Noise,
                },
            }
            if !Hello::may_begin_with(&self.bytes[..self.filled_bytes]) {
                return Heard::Noise;
            }
            if self.filled_bytes == HELLO_BYTES {
                return Hello::decode(&self.bytes).map_or_else(Heard::Unwelcome, Heard::Hello);
            }
        }
    }
}

/// Whether it went out. A few bytes into a fresh connection always fit.
fn answer(mut socket: &TcpStream, answer: Answer) -> bool {
    let bytes = encode_answer(answer);
    socket.write(&bytes).is_ok_and(|count_bytes| count_bytes == bytes.len())
}

/// Whether the other end has closed, or the connection broke. Takes nothing of what it may have sent.
pub(super) fn has_hung_up(socket: &TcpStream) -> bool {
    match socket.peek(&mut [0]) {
        Ok(count_bytes) => count_bytes == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}
