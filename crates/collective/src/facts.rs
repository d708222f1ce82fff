//! Parts of errors: members, ends of connections, missing members, refusals.

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
    /// The peer closed it during a call.
    Closed,
    Failed(io::ErrorKind),
    /// It did not prove that it knows the generation's key.
    Unproved,
}

impl fmt::Display for LossCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection was closed"),
            Self::Failed(kind) => write!(f, "{kind}"),
            Self::Unproved => f.write_str("what answers there does not know this generation's key"),
        }
    }
}

/// A member or connection that a group lacked at its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// This member could not be dialed; the last attempt ended with this cause.
    Unreachable(Peer, LossCause),
    /// This member's address accepts connections, but it has not joined the generation.
    NotJoined(Peer),
    /// This member has not dialed us.
    NotCalled(Peer),
    /// This rank's left and right neighbours are connected, but the ring is open beyond them.
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

/// Why a member refused a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The member forms, or is in, a newer generation.
    Superseded {
        by: Generation,
    },
    OtherRun,
    /// The member has other ranks or another size for this generation.
    OtherMembership,
    OtherVersion,
    /// The dialer did not prove that it knows the generation's key.
    Unproved,
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
            Self::Unproved => f.write_str("it knows another key of this generation"),
        }
    }
}
