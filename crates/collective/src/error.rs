//! Why a call fails.

use std::io;
use std::time::Duration;

use lsgan_spec::Generation;
use thiserror::Error;

use crate::nccl::NcclVersion;
use crate::{Call, LossCause, Missing, Peer, Refusal};

/// Why a group could not be formed, or a call on it failed. Either way the group is over.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GroupError {
    /// [`crate::Aborter::abort`] was called. Takes precedence over every other error but [`GroupError::NotDrained`].
    #[error(
        "generation {generation} was aborted. Drop what this call worked on and wait for the next generation."
    )]
    Aborted { generation: Generation },

    /// The connection to a neighbour broke in the middle of a call.
    #[error(
        "generation {generation} lost {peer} in {call}: {cause}. It died, or left because it was aborted or lost a \
         neighbour itself. Drop what this call worked on and wait for the next generation."
    )]
    PeerLost { peer: Peer, generation: Generation, call: Call, cause: LossCause },

    /// No byte moved for longer than the caller's stall timeout.
    #[error(
        "generation {generation} has waited {} s for {peer} in {call}, and nothing came or went. It is frozen, cut \
         off, or never made this call. Drop what this call worked on and wait for the next generation.",
        after.as_secs_f64()
    )]
    Stalled { peer: Peer, generation: Generation, call: Call, after: Duration },

    /// Two ranks made different calls, or the same call with different lengths. `peer` is the left neighbour.
    #[error(
        "generation {generation} is at odds: rank {rank} makes {ours}; {peer} makes {theirs}. All ranks must make \
         the same calls in the same order. This is a bug in the program; report it with both lines."
    )]
    CallMismatch { rank: usize, generation: Generation, ours: Call, peer: Peer, theirs: Call },

    /// A neighbour sent bytes that are not of this protocol.
    #[error(
        "generation {generation} got bytes from {peer} in {call} that are not its protocol's. Something else writes \
         to that connection, or the versions differ. Run the same build on all workers."
    )]
    Garbled { peer: Peer, generation: Generation, call: Call },

    /// The deadline passed before all members were connected. `missing` is never empty.
    #[error(
        "generation {generation} was not complete for rank {rank} after {} s: {}. Check that these workers run and \
         that their addresses can be reached from here.",
        waited.as_secs_f64(),
        missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    NotFormed { generation: Generation, rank: usize, missing: Vec<Missing>, waited: Duration },

    /// A member answered and refused.
    #[error(
        "{peer} refused rank {rank} of generation {generation}: {refusal}. Drop this generation and wait for the \
         coordinator's next one."
    )]
    Refused { rank: usize, generation: Generation, peer: Peer, refusal: Refusal },

    /// A membership that no group can have.
    #[error(
        "generation {generation} has no rank {rank} among its {size} members; ranks are 0..size, and at most 65536. \
         Give every member one rank."
    )]
    NoSuchRank { generation: Generation, rank: usize, size: usize },

    /// A broadcast from a rank that does not exist.
    #[error(
        "generation {generation} has {size} ranks and none is rank {root}; a broadcast's root is in 0..{size}. This \
         is a bug in the program."
    )]
    NoSuchRoot { generation: Generation, root: usize, size: usize },

    /// The operating system refused an operation that involves no peer.
    #[error(
        "the system refused to {doing} for the collective: {kind}. Check the limit of open files (ulimit -n)."
    )]
    System { doing: &'static str, kind: io::ErrorKind },

    /// No NCCL library could be opened. `tried` has each file and the reason.
    #[error(
        "NCCL cannot be used: {}. Install a libtorch with CUDA, which brings NCCL along, or name the file in \
         LSGAN_NCCL_LIB.",
        tried.join("; ")
    )]
    NcclMissing { tried: Vec<String> },

    /// This NCCL lacks functions that are needed.
    #[error(
        "{library} is NCCL {version}; accepted is {oldest} or later. Install a newer libtorch, or name a newer NCCL in \
         LSGAN_NCCL_LIB."
    )]
    NcclTooOld { library: String, version: NcclVersion, oldest: NcclVersion },

    /// Two ranks have different versions of NCCL; `peer` is the first with another than this rank.
    #[error(
        "generation {generation} cannot be formed: rank {rank} has NCCL {ours}, {peer} has NCCL {theirs}, and \
         different versions do not talk to each other. Install the same libtorch on all workers."
    )]
    NcclVersions { generation: Generation, rank: usize, ours: NcclVersion, peer: Peer, theirs: NcclVersion },

    /// Two ranks compute on one device, between which NCCL does not sum.
    #[error(
        "generation {generation} cannot be formed: {} and {} compute on the same GPU, and NCCL sums between GPUs only. Start \
         at most one worker for each GPU, with --local-rank or CUDA_VISIBLE_DEVICES of its own.",
        peers[0], peers[1]
    )]
    OneDevice { generation: Generation, peers: [Peer; 2] },

    /// All members joined, but NCCL did not connect them before the deadline.
    #[error(
        "generation {generation}: NCCL was not ready on rank {rank} after {} s, though the members reach each other. \
         It makes connections of its own: check NCCL_SOCKET_IFNAME and that all ports between the hosts are open, and \
         run the workers with NCCL_DEBUG=INFO.",
        waited.as_secs_f64()
    )]
    NcclNotReady { generation: Generation, rank: usize, waited: Duration },

    /// NCCL failed; `code` is its `ncclResult_t`.
    #[error(
        "NCCL could not {doing} for rank {rank} of generation {generation}: {said} (code {code}). Drop what this call \
         worked on and wait for the next generation; NCCL_DEBUG=INFO says more."
    )]
    Nccl { generation: Generation, rank: usize, doing: &'static str, code: i32, said: String },

    /// The device failed.
    #[error("the device could not {doing}: {said}. Its state is unknown: restart this worker.")]
    Device { doing: &'static str, said: String },

    /// A group ended, and the device still works on its calls. Takes precedence over [`GroupError::Aborted`].
    #[error(
        "generation {generation} has ended, but after {} s the device is still in its calls and may still write to \
         their buffers. Restart this worker.",
        after.as_secs_f64()
    )]
    NotDrained { generation: Generation, after: Duration },
}

impl GroupError {
    /// The member that this rank could not reach and why, if the group failed by that. The member may be alive: from here
    /// a dead member and an unreachable one look the same.
    #[must_use]
    pub fn unreachable(&self) -> Option<(Peer, String)> {
        match self {
            // An established connection that was closed or reset was so by the peer, which died or gave up.
            Self::PeerLost { peer, cause: cause @ LossCause::Failed(kind), .. } => {
                use io::ErrorKind::{HostUnreachable, NetworkUnreachable, TimedOut};
                let cut = matches!(kind, TimedOut | HostUnreachable | NetworkUnreachable);
                cut.then(|| (*peer, cause.to_string()))
            }
            // It was unreachable for the whole time, whatever the last attempt ended with.
            Self::NotFormed { missing, .. } => missing.iter().find_map(|missing| match missing {
                Missing::Unreachable(peer, cause) => Some((*peer, cause.to_string())),
                // A listener that accepts and does not answer. A member that is told of a generation answers at once.
                Missing::NotJoined(peer) => {
                    Some((*peer, "something listens there and does not answer as a worker does".to_owned()))
                }
                Missing::NotCalled(_) | Missing::Beyond(..) => None,
            }),
            Self::Refused { peer, refusal, .. } => match refusal {
                Refusal::OtherMembership => {
                    Some((*peer, "another worker of this run answers there".to_owned()))
                }
                Refusal::OtherRun => Some((*peer, "a worker of another run answers there".to_owned())),
                Refusal::OtherVersion => Some((*peer, "another version answers there".to_owned())),
                Refusal::Unproved => Some((*peer, "a worker with another key answers there".to_owned())),
                Refusal::Superseded { .. } => None,
            },
            Self::PeerLost { cause: LossCause::Closed | LossCause::Unproved, .. }
            | Self::Aborted { .. }
            | Self::Stalled { .. }
            | Self::CallMismatch { .. }
            | Self::Garbled { .. }
            | Self::NoSuchRank { .. }
            | Self::NoSuchRoot { .. }
            | Self::System { .. }
            | Self::NcclMissing { .. }
            | Self::NcclTooOld { .. }
            | Self::NcclVersions { .. }
            | Self::OneDevice { .. }
            | Self::NcclNotReady { .. }
            | Self::Nccl { .. }
            | Self::Device { .. }
            | Self::NotDrained { .. } => None,
        }
    }

    pub(crate) fn system(doing: &'static str, error: &io::Error) -> Self {
        Self::System { doing, kind: error.kind() }
    }
}
