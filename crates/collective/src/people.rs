//! Why a group ended, for users: which worker, what happened, what to check. The `Display` text of [`GroupError`] also has
//! calls and ranks, for debugging.

use crate::{GroupError, Missing, Peer};

impl GroupError {
    /// A sentence without ranks, calls and generations.
    #[must_use]
    pub fn for_people(&self) -> String {
        match self {
            Self::Aborted { .. } => "it was ended by the coordinator".to_owned(),
            Self::PeerLost { peer, cause, .. } => {
                format!("the connection to {} broke: {cause}", worker(peer))
            }
            Self::Stalled { peer, after, .. } => {
                format!("nothing came from {} for {} s", worker(peer), after.as_secs_f64())
            }
            Self::CallMismatch { peer, .. } => format!(
                "this worker and {} do not do the same work at the same time. This is a bug in the program: report it \
                 with the logs of both at RUST_LOG=debug",
                worker(peer)
            ),
            Self::Garbled { peer, .. } => format!(
                "{} sent what is no message of this program. Run the same build on all workers, and let nothing else use \
                 their ports",
                worker(peer)
            ),
            Self::NotFormed { missing, waited, .. } => {
                let missing: Vec<_> = missing.iter().map(lacking).collect();
                format!(
                    "the workers were not connected after {} s: {}. Check that these workers run and that their addresses \
                     can be reached from each other",
                    waited.as_secs(),
                    missing.join("; ")
                )
            }
            Self::Refused { peer, refusal, .. } => {
                format!("{} refused the connection: {refusal}", worker(peer))
            }
            Self::NcclVersions { ours, peer, theirs, .. } => format!(
                "this worker has NCCL {ours}, {} has NCCL {theirs}, and different versions do not talk to each other. \
                 Install the same libtorch on all workers",
                worker(peer)
            ),
            Self::NcclNotReady { waited, .. } => format!(
                "NCCL did not connect the workers within {} s, though they reach each other. It makes connections of its \
                 own: check NCCL_SOCKET_IFNAME and that all ports between the hosts are open, and run the workers with \
                 NCCL_DEBUG=INFO",
                waited.as_secs()
            ),
            Self::Nccl { doing, said, .. } => {
                format!(
                    "NCCL could not {doing}: {said}. NCCL_DEBUG=INFO in the worker's environment says more"
                )
            }
            Self::NotDrained { after, .. } => format!(
                "the device was still at work {} s after the others had stopped. Restart this worker",
                after.as_secs_f64()
            ),
            Self::NoSuchRank { .. }
            | Self::NoSuchRoot { .. }
            | Self::System { .. }
            | Self::NcclMissing { .. }
            | Self::NcclTooOld { .. }
            | Self::OneDevice { .. }
            | Self::Device { .. } => self.to_string().trim_end_matches('.').to_owned(),
        }
    }
}

fn worker(peer: &Peer) -> String {
    format!("the worker at {}", peer.address)
}

fn lacking(missing: &Missing) -> String {
    match missing {
        Missing::Unreachable(peer, cause) => format!("{} cannot be reached ({cause})", worker(peer)),
        Missing::NotJoined(peer) => format!("{} was reached but has not joined", worker(peer)),
        Missing::NotCalled(peer) => format!("{} has not connected", worker(peer)),
        Missing::Beyond(left, right) => {
            format!("a worker is missing between {} and {}, which are connected", worker(left), worker(right))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use lsgan_spec::Generation;

    use super::*;
    use crate::LossCause;

    #[test]
    fn a_lost_worker_is_told_by_its_address_and_an_open_ring_by_who_is_missing() {
        let peer = Peer { rank: 1, address: "10.0.0.7:4021".parse().unwrap() };
        let error = GroupError::NotFormed {
            generation: Generation(3),
            rank: 0,
            missing: vec![Missing::Unreachable(peer, LossCause::Failed(ErrorKind::ConnectionRefused))],
            waited: Duration::from_secs(6),
        };
        assert_eq!(
            error.for_people(),
            "the workers were not connected after 6 s: the worker at 10.0.0.7:4021 cannot be reached (connection \
             refused). Check that these workers run and that their addresses can be reached from each other"
        );
    }
}
