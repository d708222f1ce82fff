//! A peer made of bytes, which can send what no member sends, and dies at any point. It proves what it knows by another library than
//! members do.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use lsgan_collective::tcp::{RingKey, RunToken};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::hmac::{self, HMAC_SHA256};

use super::{KEY, PATIENCE};

pub const HELLO_BYTES: usize = 96;

/// The nonce of every hello here.
const DIALERS: [u8; 32] = [4; 32];
/// And of every challenge.
const LISTENERS: [u8; 32] = [5; 32];

/// A hello, see `tcp/hello.rs`.
pub fn hello(token: RunToken, generation: u64, from: u32, to: u32, size: u32) -> [u8; HELLO_BYTES] {
    let mut bytes = [0; HELLO_BYTES];
    bytes[..8].copy_from_slice(b"lsganHi\n");
    bytes[8..12].copy_from_slice(&3_u32.to_le_bytes());
    bytes[12..16].copy_from_slice(&from.to_le_bytes());
    bytes[16..20].copy_from_slice(&to.to_le_bytes());
    bytes[20..24].copy_from_slice(&size.to_le_bytes());
    bytes[24..32].copy_from_slice(&generation.to_le_bytes());
    bytes[32..64].copy_from_slice(&token.0);
    bytes[64..].copy_from_slice(&DIALERS);
    bytes
}

/// What an end that knows the key says of a hello, once the listener has chosen its nonce: `d` the dialer, `l` the listener.
pub fn proof(key: RingKey, end: u8, hello: &[u8], listeners: &[u8]) -> [u8; 32] {
    let salt = [&hello[64..], listeners].concat();
    let of_connection = Salt::new(HKDF_SHA256, &salt).extract(&key.secret);
    let purpose = [&b"lsgan ring: proofs"[..]];
    let proofs = of_connection.expand(&purpose, HMAC_SHA256).expect("as long as a hash");
    let said = [&[end, key.sealed.into()], hello].concat();
    hmac::sign(&hmac::Key::from(proofs), &said).as_ref().try_into().expect("32 bytes")
}

/// A listener's challenge to a hello.
pub fn challenge(hello: &[u8]) -> Vec<u8> {
    [&b"lsganCh\n"[..], &LISTENERS, &proof(KEY, b'l', hello, &LISTENERS)].concat()
}

/// Reads the listener's challenge to a hello, checks its proof, and answers with one of `key`.
pub fn prove(socket: &mut TcpStream, hello: &[u8], key: RingKey) {
    let mut bytes = [0; 72];
    socket.read_exact(&mut bytes).expect("the listener asks for a proof");
    let (magic, rest) = bytes.split_at(8);
    let (nonce, theirs) = rest.split_at(32);
    assert_eq!(
        (magic, theirs),
        (&b"lsganCh\n"[..], &proof(KEY, b'l', hello, nonce)[..]),
        "the listener has the key"
    );
    socket.write_all(&proof(key, b'd', hello, nonce)).expect("a proof fits");
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
        let ours = hello(super::TOKEN, generation, from, (from + 1) % size, size);
        let mut to_right = dial(right, &ours);
        let (mut from_left, _) = socket.accept().expect("the left neighbour dials");
        from_left.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let mut theirs = [0; HELLO_BYTES];
        from_left.read_exact(&mut theirs).expect("the left neighbour says hello");
        from_left.write_all(&challenge(&theirs)).expect("a challenge fits");
        let mut proved = [0; 32];
        from_left.read_exact(&mut proved).expect("the left neighbour proves that it has the key");
        assert_eq!(proved, proof(KEY, b'd', &theirs, &LISTENERS));
        from_left.write_all(&answer(0, 0)).expect("an answer fits");
        prove(&mut to_right, &ours, KEY);
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
