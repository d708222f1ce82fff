//! Handshakes and calls with anything in them: what reaches a listener's port, and a left neighbour that sends other values.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use lsgan_fuzz::Fuzz;
use lsgan_spec::Generation;
use socket2::Socket;

use super::exchange::{HEADER_BYTES, Link, Ring, decode, encode};
use super::flow::{Element, Flow, RingAllReduce, RingBroadcast};
use super::gather::RingGather;
use super::hello::{
    ANSWER_BYTES, CHALLENGE_BYTES, HELLO_BYTES, Hello, Reply, Verdict, decode_answer, encode_answer,
    encode_challenge,
};
use super::proof::{End, NONCE_BYTES, PROOF_BYTES, Secrets};
use super::seal::{Opener, Sealer};
use super::{Listener, Membership, RingKey, RunToken, TcpGroup};
use crate::{Aborter, Call, CallKind, Group as _, Refusal};

const KEY: RingKey = RingKey { secret: [9; 32], sealed: true };
const NONCE: [u8; NONCE_BYTES] = [6; NONCE_BYTES];

fn membership(rank: usize, generation: u64) -> Membership {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let generation = Generation(generation);
    Membership { token: RunToken([7; 32]), key: KEY, generation, rank, members: vec![address; 3] }
}

/// Hellos of the left neighbour of rank 1, of an earlier and of a later generation, and of others.
fn hellos() -> Vec<Vec<u8>> {
    let other = Membership { token: RunToken([8; 32]), ..membership(0, 5) };
    let all = [membership(0, 5), membership(0, 4), membership(0, 6), membership(2, 5), other];
    all.iter().map(|membership| Hello::to_right(membership, NONCE).encode().to_vec()).collect()
}

#[test]
fn fuzz_hello() {
    let ours = membership(1, 5);
    Fuzz::new("hello", hellos()).run(|bytes| {
        if !Hello::may_begin_with(&bytes[..bytes.len().min(HELLO_BYTES)]) {
            return "no hello".to_owned();
        }
        let Some(bytes) = bytes.first_chunk::<HELLO_BYTES>() else { return "incomplete".to_owned() };
        let hello = match Hello::decode(bytes) {
            Ok(hello) => hello,
            Err(refusal) => return format!("{refusal:?}"),
        };
        assert_eq!(hello.encode()[8..], bytes[8..], "nothing is lost");
        let verdict = hello.judge(&ours);
        let neighbours = Hello::to_right(&membership(0, 5), hello.nonce);
        assert_eq!(verdict == Verdict::Accept, hello == neighbours, "only the neighbour's");
        format!("{verdict:?}")
    });
}

#[test]
fn fuzz_answer() {
    let by = Generation(9);
    let refusals = [
        Refusal::Superseded { by },
        Refusal::OtherRun,
        Refusal::OtherMembership,
        Refusal::OtherVersion,
        Refusal::Unproved,
    ];
    let answers = refusals.map(Err).into_iter().chain([Ok(())]).map(|answer| encode_answer(answer).to_vec());
    let challenge = encode_challenge(&NONCE, &[3; PROOF_BYTES]).to_vec();
    Fuzz::new("answer", answers.chain([challenge])).run(|bytes| {
        let Some(whole_bytes) = Reply::len_bytes(bytes) else { return "no reply".to_owned() };
        if whole_bytes < ANSWER_BYTES || bytes.len() < whole_bytes {
            return "incomplete".to_owned();
        }
        let bytes = &bytes[..whole_bytes];
        match Reply::decode(bytes) {
            None => "no reply".to_owned(),
            Some(Reply::Answer(answer)) => {
                assert_eq!(encode_answer(answer), *bytes, "one way to write each");
                format!("{answer:?}")
            }
            Some(Reply::Challenge { nonce, proof }) => {
                assert_eq!(encode_challenge(&nonce, &proof), *bytes, "one way to write each");
                "challenge".to_owned()
            }
        }
    });
}

/// Each input is a connection. After it the neighbour is accepted, which knows the key, whatever was there before.
#[test]
fn fuzz_listener() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let mut listener = Listener::on(socket).expect("it listens");
    let (address, ours) = (listener.local_addr(), membership(1, 5));
    let greet = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(bytes).expect("a few bytes fit");
        stream
    };
    let neighbours = Hello::to_right(&membership(0, 5), NONCE).encode();
    let mut next = move || listener.left_neighbour(&ours).expect("a stranger is no error");
    Fuzz::new("listener", hellos()).run(|bytes| {
        let bytes = &bytes[..bytes.len().min(1 << 12)];
        let stranger = greet(bytes);
        stranger.shutdown(Shutdown::Write).expect("it is open");
        assert!(next().is_none(), "nobody guesses a proof: {bytes:?}");
        let mut left = greet(&neighbours);
        left.set_nonblocking(true).expect("it is a socket");
        let mut challenge = [0; CHALLENGE_BYTES];
        while left.peek(&mut challenge).ok() != Some(CHALLENGE_BYTES) {
            assert!(next().is_none(), "it has proved nothing yet");
        }
        left.set_nonblocking(false).expect("it is a socket");
        left.read_exact(&mut challenge).expect("it is there");
        let Some(Reply::Challenge { nonce, .. }) = Reply::decode(&challenge) else { panic!("{challenge:?}") };
        let secrets = Secrets::new(&KEY, &NONCE, &nonce);
        left.write_all(&secrets.prove(End::Dialer, &neighbours)).expect("a proof fits");
        std::iter::repeat_with(&mut next).flatten().next().expect("it has proved that it knows the key");
        let mut answer = [0; ANSWER_BYTES];
        left.read_exact(&mut answer).expect("it is answered");
        assert_eq!(decode_answer(&answer), Some(Ok(())));
        // Without waiting for the port to be free again, of which there are few.
        for stream in [&stranger, &left] {
            _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
        }
        format!("{:?}", Hello::may_begin_with(bytes))
    });
}

fn call(kind: CallKind) -> Call {
    Call { kind, sequence: 0, length: 5 }
}

fn calls() -> [Call; 4] {
    let root = 2;
    [CallKind::AllReduceI64, CallKind::AllReduceI32, CallKind::AllReduceF32, CallKind::Broadcast { root }]
        .map(call)
}

#[test]
fn fuzz_call_header() {
    Fuzz::new("call_header", calls().map(|call| encode(call).to_vec())).run(|bytes| {
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else { return "incomplete".to_owned() };
        let call = decode(bytes);
        assert!(call.is_none_or(|call| encode(call) == *bytes), "one way to write each");
        call.map_or("none".to_owned(), |call| format!("{:?}", call.kind))
    });
}

/// Each input is what the left neighbour sends of a call before it leaves: the call ends, and succeeds only if it is that
/// call and all of its values.
#[test]
fn fuzz_exchange() {
    const VALUES: usize = 5;
    let server = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = server.local_addr().expect("it is bound");
    let pair = || {
        let ours = TcpStream::connect(address).expect("it listens");
        let (theirs, _) = server.accept().expect("it was connected to");
        ours.set_nonblocking(true).expect("it is a socket");
        (Socket::from(ours), Socket::from(theirs))
    };
    let ours = membership(1, 5);
    let values = [7_u8; 2 * VALUES * size_of::<i64>()];
    let examples = calls().map(|call| [&encode(call)[..], &values].concat());
    let whole = examples[0].len();
    let header = encode(call(CallKind::AllReduceI64));
    Fuzz::new("exchange", examples).run(|bytes| {
        let bytes = &bytes[..bytes.len().min(1 << 12)];
        let ((left, mut neighbour), (right, reader)) = (pair(), pair());
        let ring = Ring {
            rank: 1,
            generation: ours.generation,
            left: Link { socket: left, peer: ours.left() },
            right: Link { socket: right, peer: ours.right() },
            opener: None,
            sealer: None,
            aborter: Aborter::new().expect("there is a descriptor left"),
            stall_timeout: None,
            scratch: Vec::new(),
        };
        for socket in [&ring.left.socket, &ring.right.socket, &neighbour, &reader] {
            // Closed without waiting for the port to be free again, of which there are few.
            _ = socket.set_linger(Some(std::time::Duration::ZERO));
        }
        let aborter = ring.aborter.clone();
        let mut group = TcpGroup::new(&ours, &aborter, Some(ring));
        neighbour.write_all(bytes).expect("a few bytes fit");
        neighbour.shutdown(Shutdown::Write).expect("it is open");
        let result = group.all_reduce_i64(&mut [1; VALUES]);
        assert_eq!(result.is_ok(), bytes.starts_with(&header) && bytes.len() >= whole, "{result:?}");
        result.map_or_else(|error| error.to_string(), |()| "ok".to_owned())
    });
}

/// Each input is what comes on an encrypted connection: nothing is read from it but what was sealed.
#[test]
fn fuzz_frame() {
    let server = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = server.local_addr().expect("it is bound");
    let pair = || {
        let ours = TcpStream::connect(address).expect("it listens");
        (Socket::from(ours), Socket::from(server.accept().expect("it was connected to").0))
    };
    let keys = || Secrets::new(&KEY, &NONCE, &NONCE).frame_keys().expect("it is sealed");
    let sealed = |values: &[u8]| {
        let (near, mut far) = pair();
        let mut sealer = Sealer::new(keys());
        sealer.take(&[], values);
        let mut bytes = vec![0; sealer.flush(&near).expect("a frame fits")];
        far.read_exact(&mut bytes).expect("it was sent");
        bytes
    };
    let examples = [vec![1; 5], vec![2; 300]].map(|values: Vec<u8>| (sealed(&values), values));
    Fuzz::new("frame", examples.iter().map(|(frame, _)| frame.clone())).run(|bytes| {
        let bytes = &bytes[..bytes.len().min(1 << 12)];
        let (mut near, far) = pair();
        near.write_all(bytes).expect("a few bytes fit");
        near.shutdown(Shutdown::Write).expect("it is open");
        let mut out = vec![0; 400];
        let read = Opener::new(keys()).read(&far, &mut out);
        for socket in [&near, &far] {
            _ = socket.set_linger(Some(std::time::Duration::ZERO));
        }
        match read {
            Ok(0) => "incomplete".to_owned(),
            Ok(len) => {
                let is_ours = |(frame, values): &(Vec<u8>, Vec<u8>)| {
                    bytes.starts_with(frame) && out[..len] == values[..]
                };
                assert!(examples.iter().any(is_ours), "{bytes:?}");
                "opened".to_owned()
            }
            Err(error) => error.kind().to_string(),
        }
    });
}

/// A rank whose left neighbour sends `bytes`, in pieces of any length.
fn receive(flow: &mut impl Flow, mut bytes: &[u8]) {
    let mut piece = 1;
    while !flow.all_received() || !flow.all_sent() {
        let ready = flow.outgoing().len().min(piece);
        if ready > 0 {
            flow.sent(ready);
        }
        let place = flow.incoming();
        let len = place.len().min(bytes.len()).min(piece);
        place[..len].copy_from_slice(&bytes[..len]);
        if len > 0 {
            flow.received(len);
        } else if ready == 0 {
            return;
        }
        bytes = &bytes[len..];
        piece = piece * 3 % 61 + 1;
    }
}

fn sums<T: Element>(bytes: &[u8], [size, rank, len]: [usize; 3], one: T) {
    let mut values = vec![one; len];
    let mut scratch = Vec::new();
    receive(&mut RingAllReduce::new((rank, size), None, &mut values, &mut scratch), bytes);
    receive(&mut RingBroadcast::new(rank, size, len % size, bytemuck::cast_slice_mut(&mut values)), bytes);
    let mut gather = RingGather::new((rank, size), None, &mut values, &mut scratch);
    receive(&mut gather, bytes);
    if gather.all_received() {
        gather.finish();
    }
}

/// The first three bytes say how large the ring is, which rank this is, and how many values there are.
#[test]
fn fuzz_ring() {
    let examples = [[1, 0, 3], [3, 2, 7], [5, 4, 64], [2, 1, 0]].map(|head: [u8; 3]| {
        let values = (0..600_i64).flat_map(i64::to_le_bytes);
        head.into_iter().chain(values).collect::<Vec<u8>>()
    });
    Fuzz::new("ring", examples).run(|bytes| {
        let Some((&[size, rank, len], bytes)) = bytes.split_first_chunk() else { return "short".to_owned() };
        let size = usize::from(size % 7) + 2;
        let shape = [size, usize::from(rank) % size, usize::from(len)];
        sums(bytes, shape, i64::MAX);
        sums(bytes, shape, i32::MIN);
        sums(bytes, shape, f32::MAX);
        "ok".to_owned()
    });
}
