//! What errors name: members, how connections end, what is missing, why somebody is refused.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use lsgan_spec::Generation;

/// Another member of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub rank: usize,
    /// Where it listens.
    pub address: SocketAddr,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} at {}", self.rank, self.address)
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossCause {
    /// In order, but too early.
    Closed,
    Failed(io::ErrorKind),
}

impl fmt::Display for LossCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection was closed"),
            Self::Failed(kind) => write!(f, "{kind}"),
        }
    }
}

/// What a group still lacked at its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// This member could not be dialed; the last try ended so.
    Unreachable(Peer, LossCause),
    /// This member's address takes connections, but it has not joined the generation.
    NotJoined(Peer),
    /// This member has not dialed us.
    NotCalled(Peer),
    /// This rank's left and right neighbours are connected; somewhere beyond them the ring is open.
    Beyond(Peer, Peer),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(peer, cause) => write!(f, "{peer} cannot be reached ({cause})"),
            Self::NotJoined(peer) => write!(f, "{peer} was reached but has not joined"),
            Self::NotCalled(peer) => write!(f, "{peer} has not called"),
            Self::Beyond(left, right) => {
                write!(f, "{left} and {right} are connected, but beyond them a member is missing")
            }
        }
    }
}

/// Why a member does not want us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is in, or forms, a newer generation.
    Superseded { by: Generation },
    /// It belongs to another run.
    OtherRun,
    /// It knows this generation with other ranks or another size.
    OtherMembership,
    /// It speaks another version of the protocol.
    OtherVersion,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superseded { by } => write!(f, "it is already at generation {by}"),
            Self::OtherRun => f.write_str("it belongs to another run"),
            Self::OtherMembership => f.write_str("it knows this generation with other ranks"),
            Self::OtherVersion => {
                f.write_str("it speaks another version of the protocol; run the same build everywhere")
            }
        }
    }
}
