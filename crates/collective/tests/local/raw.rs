//! A peer made of bytes, which can send what no member sends, and dies at any point.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use lsgan_collective::tcp::RunToken;

use super::PATIENCE;

/// A hello, see `tcp/hello.rs`.
pub fn hello(token: RunToken, generation: u64, from: u32, to: u32, size: u32) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[..8].copy_from_slice(b"lsganHi\n");
    bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
    bytes[12..16].copy_from_slice(&from.to_le_bytes());
    bytes[16..20].copy_from_slice(&to.to_le_bytes());
    bytes[20..24].copy_from_slice(&size.to_le_bytes());
    bytes[24..32].copy_from_slice(&generation.to_le_bytes());
    bytes[32..].copy_from_slice(&token.0);
    bytes
}

/// An answer; verdict 0 accepts, all others refuse.
pub fn answer(verdict: u32, generation: u64) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(b"lsganOk\n");
    bytes[8..12].copy_from_slice(&verdict.to_le_bytes());
    bytes[12..].copy_from_slice(&generation.to_le_bytes());
    bytes
}

/// Dials a listener and sends `bytes`.
pub fn dial(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address).expect("the listener is there");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    socket.write_all(bytes).expect("a hello fits");
    socket
}

/// Reads the listener's answer; panics if it closes without one.
pub fn await_answer(socket: &mut TcpStream) -> [u8; 20] {
    let mut bytes = [0; 20];
    socket.read_exact(&mut bytes).expect("the listener answers");
    bytes
}

/// Waits until the peer has closed without an answer.
pub fn await_close(socket: &mut TcpStream) {
    match socket.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("awaited the end of the connection, got {other:?}"),
    }
}

/// A listening socket of a member made of bytes.
pub fn listener() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = socket.local_addr().expect("a bound socket has an address");
    (socket, address)
}

/// Both connections of a member that its neighbours have accepted.
pub struct RawPeer {
    pub from_left: TcpStream,
    pub to_right: TcpStream,
}

impl RawPeer {
    /// Joins as rank `from` of `size`: dials `right` and accepts the left neighbour's dial. Both must be forming the group.
    pub fn join(socket: &TcpListener, generation: u64, from: u32, size: u32, right: SocketAddr) -> Self {
        let mut to_right = dial(right, &hello(super::TOKEN, generation, from, (from + 1) % size, size));
        let (mut from_left, _) = socket.accept().expect("the left neighbour dials");
        from_left.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let mut theirs = [0; 64];
        from_left.read_exact(&mut theirs).expect("the left neighbour says hello");
        from_left.write_all(&answer(0, 0)).expect("an answer fits");
        assert_eq!(await_answer(&mut to_right), answer(0, 0));
        Self { from_left, to_right }
    }

    /// Takes part in the barrier that closes a ring of two: sends the header and the zero of rank 0 back.
    pub fn close_ring_of_two(&mut self) {
        let mut barrier = [0; 32];
        self.from_left.read_exact(&mut barrier).expect("rank 0 is at the barrier");
        self.to_right.write_all(&barrier).expect("a barrier fits");
    }

    /// Resets both connections.
    pub fn reset(self) {
        for socket in [self.from_left, self.to_right] {
            let socket = socket2::Socket::from(socket);
            socket.set_linger(Some(std::time::Duration::ZERO)).expect("linger can be set");
        }
    }
}
