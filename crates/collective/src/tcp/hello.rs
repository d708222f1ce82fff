//! The first bytes on a connection: the dialer's hello, the listener's challenge, the dialer's proof, the listener's answer.
//! An answer that refuses may take the place of the challenge.
//!
//! All numbers are little-endian. Hello, 96 bytes: magic (8), version (u32), from, to, size (u32 each), generation (u64),
//! token (32), nonce (32). Challenge, 72 bytes: magic (8), nonce (32), the listener's proof (32). Proof, 32 bytes. Answer, 20
//! bytes: magic (8), verdict (u32), generation (u64).

use lsgan_spec::Generation;

use super::proof::{NONCE_BYTES, PROOF_BYTES};
use super::{Membership, RunToken};
use crate::Refusal;

/// Changes with every change of the bytes sent, including the headers of calls.
const VERSION: u32 = 3;

/// Three magics, so that a socket that happens to dial itself does not read its own hello as an answer.
const HELLO_MAGIC: [u8; 8] = *b"lsganHi\n";
const CHALLENGE_MAGIC: [u8; 8] = *b"lsganCh\n";
const ANSWER_MAGIC: [u8; 8] = *b"lsganOk\n";
const MAGIC_BYTES: usize = 8;

pub(super) const HELLO_BYTES: usize = 64 + NONCE_BYTES;
pub(super) const CHALLENGE_BYTES: usize = MAGIC_BYTES + NONCE_BYTES + PROOF_BYTES;
pub(super) const ANSWER_BYTES: usize = 20;

/// The dialer's rank, and the group that it wants to form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) from: u32,
    to: u32,
    size: u32,
    pub(super) generation: Generation,
    token: RunToken,
    pub(super) nonce: [u8; NONCE_BYTES],
}

/// What the listener does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the left neighbour's.
    Accept,
    /// It belongs to a later generation and is kept for it.
    Park,
    Refuse(Refusal),
}

impl Hello {
    /// This member's hello to its right neighbour.
    pub(super) fn to_right(membership: &Membership, nonce: [u8; NONCE_BYTES]) -> Self {
        let narrow = |rank: usize| u32::try_from(rank).expect("ranks are below 65536");
        Self {
            from: narrow(membership.rank),
            to: narrow(membership.right().rank),
            size: narrow(membership.members.len()),
            generation: membership.generation,
            token: membership.token,
            nonce,
        }
    }

    pub(super) fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut bytes = [0; HELLO_BYTES];
        bytes[..8].copy_from_slice(&HELLO_MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.from.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.to.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.size.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.generation.0.to_le_bytes());
        bytes[32..64].copy_from_slice(&self.token.0);
        bytes[64..].copy_from_slice(&self.nonce);
        bytes
    }

    /// Whether a hello can begin with these bytes.
    pub(super) fn may_begin_with(bytes: &[u8]) -> bool {
        let known = bytes.len().min(HELLO_MAGIC.len());
        bytes[..known] == HELLO_MAGIC[..known]
    }

    /// Decodes bytes that begin with the magic.
    pub(super) fn decode(bytes: &[u8; HELLO_BYTES]) -> Result<Self, Refusal> {
        if u32_at(bytes, 8) != VERSION {
            return Err(Refusal::OtherVersion);
        }
        Ok(Self {
            from: u32_at(bytes, 12),
            to: u32_at(bytes, 16),
            size: u32_at(bytes, 20),
            generation: Generation(u64_at(bytes, 24)),
            token: RunToken(bytes[32..64].try_into().expect("32 bytes")),
            nonce: bytes[64..].try_into().expect("32 bytes"),
        })
    }

    /// What a member that forms `ours` does with the connection.
    pub(super) fn judge(&self, ours: &Membership) -> Verdict {
        if self.token != ours.token {
            Verdict::Refuse(Refusal::OtherRun)
        } else if self.generation < ours.generation {
            Verdict::Refuse(Refusal::Superseded { by: ours.generation })
        } else if self.generation > ours.generation {
            Verdict::Park
        } else if (self.from as usize, self.to as usize, self.size as usize)
            != (ours.left().rank, ours.rank, ours.members.len())
        {
            Verdict::Refuse(Refusal::OtherMembership)
        } else {
            Verdict::Accept
        }
    }
}

/// What the listener says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Challenge { nonce: [u8; NONCE_BYTES], proof: [u8; PROOF_BYTES] },
    Answer(Answer),
}

impl Reply {
    /// How many bytes a reply has that begins with these; none if there is no such reply. It needs eight to tell.
    pub(super) fn len_bytes(begin: &[u8]) -> Option<usize> {
        match begin.first_chunk::<MAGIC_BYTES>() {
            None => Some(MAGIC_BYTES),
            Some(&CHALLENGE_MAGIC) => Some(CHALLENGE_BYTES),
            Some(&ANSWER_MAGIC) => Some(ANSWER_BYTES),
            Some(_) => None,
        }
    }

    /// None if these bytes are not a reply.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if let Some(bytes) = bytes.first_chunk::<CHALLENGE_BYTES>()
            && bytes.starts_with(&CHALLENGE_MAGIC)
        {
            let (nonce, proof) = bytes[MAGIC_BYTES..].split_at(NONCE_BYTES);
            let (nonce, proof) = (nonce.try_into().expect("32 bytes"), proof.try_into().expect("32 bytes"));
            return Some(Self::Challenge { nonce, proof });
        }
        bytes.first_chunk().and_then(decode_answer).map(Self::Answer)
    }
}

pub(super) fn encode_challenge(
    nonce: &[u8; NONCE_BYTES],
    proof: &[u8; PROOF_BYTES],
) -> [u8; CHALLENGE_BYTES] {
    let mut bytes = [0; CHALLENGE_BYTES];
    bytes[..MAGIC_BYTES].copy_from_slice(&CHALLENGE_MAGIC);
    bytes[MAGIC_BYTES..MAGIC_BYTES + NONCE_BYTES].copy_from_slice(nonce);
    bytes[MAGIC_BYTES + NONCE_BYTES..].copy_from_slice(proof);
    bytes
}

/// The listener's last word on a hello.
pub(super) type Answer = Result<(), Refusal>;

pub(super) fn encode_answer(answer: Answer) -> [u8; ANSWER_BYTES] {
    let (verdict, generation): (u32, u64) = match answer {
        Ok(()) => (0, 0),
        Err(Refusal::Superseded { by }) => (1, by.0),
        Err(Refusal::OtherRun) => (2, 0),
        Err(Refusal::OtherMembership) => (3, 0),
        Err(Refusal::OtherVersion) => (4, 0),
        Err(Refusal::Unproved) => (5, 0),
    };
    let mut bytes = [0; ANSWER_BYTES];
    bytes[..8].copy_from_slice(&ANSWER_MAGIC);
    bytes[8..12].copy_from_slice(&verdict.to_le_bytes());
    bytes[12..].copy_from_slice(&generation.to_le_bytes());
    bytes
}

/// None if these bytes are not an answer.
pub(super) fn decode_answer(bytes: &[u8; ANSWER_BYTES]) -> Option<Answer> {
    if bytes[..8] != ANSWER_MAGIC {
        return None;
    }
    match (u32_at(bytes, 8), u64_at(bytes, 12)) {
        (0, 0) => Some(Ok(())),
        (1, by) => Some(Err(Refusal::Superseded { by: Generation(by) })),
        (2, 0) => Some(Err(Refusal::OtherRun)),
        (3, 0) => Some(Err(Refusal::OtherMembership)),
        (4, 0) => Some(Err(Refusal::OtherVersion)),
        (5, 0) => Some(Err(Refusal::Unproved)),
        _ => None,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}
