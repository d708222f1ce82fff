//! Attackers of the workers' ring. A handshake: a hello (96 bytes), a challenge (72), a proof (32), an answer (20), as
//! `collective/src/tcp/hello.rs` describes them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lsgan_fuzz::Random;
use lsgan_wire::v1;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::{ELSEWHERE, Shared, pause};
use crate::journal::Journal;

const VERSION: u32 = 3;
const HELLO_MAGIC: &[u8; 8] = b"lsganHi\n";
const CHALLENGE_MAGIC: &[u8; 8] = b"lsganCh\n";
const ANSWER_MAGIC: &[u8; 8] = b"lsganOk\n";
const CHALLENGE_BYTES: usize = 72;
const PROOF: std::ops::Range<usize> = 40..CHALLENGE_BYTES;
const ANSWER_BYTES: usize = 20;

/// How long a connection waits for the next generation to be formed: members answer only then.
const WAITS: Duration = Duration::from_secs(3);
/// More than a kernel keeps of a listener's connections that are not accepted.
const QUEUE_MAX: usize = 2_000;
/// Between two looks who the members are.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Who is attacked at the moment.
#[derive(Clone, Debug, Default)]
pub struct Members {
    pub addresses: Vec<SocketAddr>,
    generation: u64,
    /// The run's, which a handshake has. Every worker knows it, and in a run without TLS everybody.
    token: Vec<u8>,
}

/// Looks into the journal for the workers' addresses.
pub async fn follow_the_members(shared: Arc<Shared>, _: Random) {
    let mut token = Vec::new();
    while !shared.is_over() {
        if token.is_empty()
            && let Ok(mut client) = shared.dial(|all| &all.worker).await
            && let Ok(run) = client.describe_run(v1::DescribeRunRequest {}).await
        {
            token = run.into_inner().token;
        }
        shared.heard.expect_of(members(&shared, &token), &shared);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn members(shared: &Shared, token: &[u8]) -> Members {
    let journal = Journal::open(&shared.target.run_dir);
    let addresses = journal.texts("select address from workers where gone_ms is null");
    Members {
        addresses: addresses.iter().filter_map(|address| address.parse().ok()).collect(),
        generation: journal.number("select coalesce(max(generation), 0) from generations"),
        token: token.to_vec(),
    }
}

/// A connection from elsewhere.
async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((ELSEWHERE, 0).into())?;
    socket.connect(to).await
}

/// Says hello for a neighbour in the ring, and proves what it does not know with what it has heard.
pub async fn pretend_to_be_a_neighbour(shared: Arc<Shared>, mut random: Random) {
    while !shared.is_over() {
        let members = shared.heard.members();
        if members.addresses.is_empty() || members.token.len() != 32 {
            pause().await;
            continue;
        }
        let to = *random.of(&members.addresses);
        let hello = hello(&members, &mut random);
        let Ok(mut socket) = connect(to).await else {
            pause().await;
            continue;
        };
        let some = if random.below(8) == 0 { random.below(96) as usize } else { hello.len() };
        _ = socket.write_all(&hello[..some]).await;
        shared.count("hellos to the ring");
        let mut reply = [0; CHALLENGE_BYTES];
        let challenged = timeout(WAITS, socket.read_exact(&mut reply)).await;
        if !matches!(challenged, Ok(Ok(_))) || !reply.starts_with(CHALLENGE_MAGIC) {
            continue;
        }
        // The listener's own proof, said back; or none.
        let proof = if random.below(2) == 0 { reply[PROOF].to_vec() } else { vec![0; PROOF.len()] };
        _ = socket.write_all(&proof).await;
        hear_answer(&shared, &mut socket).await;
        shared.count("challenges of the ring that are answered wrongly");
    }
}

/// A hello of this generation or the next one, of some neighbour.
fn hello(members: &Members, random: &mut Random) -> Vec<u8> {
    let size = members.addresses.len().max(1) as u32;
    let to = random.below(u64::from(size)) as u32;
    let from = (to + size - 1) % size;
    let generation = members.generation + random.below(3);
    let mut token = members.token.clone();
    if random.below(8) == 0 {
        token[0] ^= 1;
    }
    let nonce: Vec<u8> = (0..32).map(|_| random.below(256) as u8).collect();
    let words = [VERSION, from, to, size].map(u32::to_le_bytes).concat();
    [&HELLO_MAGIC[..], &words, &generation.to_le_bytes(), &token, &nonce].concat()
}

async fn hear_answer(shared: &Shared, socket: &mut TcpStream) {
    let mut answer = [0; ANSWER_BYTES];
    if let Ok(Ok(_)) = timeout(WAITS, socket.read_exact(&mut answer)).await
        && answer.starts_with(ANSWER_MAGIC)
        && answer[8..12] == [0; 4]
    {
        shared.achieved("a stranger was taken into the ring");
    }
}

/// Opens connections to a worker until its kernel keeps no more of them, and says nothing.
pub async fn fill_the_queue(shared: Arc<Shared>, mut random: Random) {
    while !shared.is_over() {
        let members = shared.heard.members();
        if members.addresses.is_empty() {
            pause().await;
            continue;
        }
        let to = *random.of(&members.addresses);
        let mut open = Vec::new();
        while let Ok(Ok(socket)) = timeout(LOOK_EVERY, connect(to)).await {
            open.push(socket);
            shared.count("connections that fill a worker's queue");
            if open.len() == QUEUE_MAX || shared.is_over() {
                break;
            }
        }
        tokio::time::sleep(WAITS).await;
    }
}

/// Says again what others have said: to a worker's port, and to the coordinator's where it is encrypted.
pub async fn replay(shared: Arc<Shared>, mut random: Random) {
    while !shared.is_over() {
        let recordings = shared.heard.recordings();
        if recordings.is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        }
        let (to, said) = random.of(&recordings).clone();
        if let Ok(mut socket) = connect(to).await {
            _ = timeout(WAITS, socket.write_all(&said)).await;
            if to == shared.coordinator() {
                _ = timeout(WAITS, socket.read_to_end(&mut Vec::new())).await;
                shared.count("replayed connections to the coordinator");
            } else {
                let mut challenge = [0; CHALLENGE_BYTES];
                _ = timeout(WAITS, socket.read_exact(&mut challenge)).await;
                hear_answer(&shared, &mut socket).await;
                shared.count("replayed connections to the ring");
            }
        }
        pause().await;
    }
}
