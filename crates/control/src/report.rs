//! What a worker says to its coordinator.

use lsgan_spec::{Generation, Incarnation, Reduction, Step, VirtualRank};
use serde::{Deserialize, Serialize};

use crate::{Event, Hello, ParkReason, SessionId};

/// One message of a worker. Rows of metrics are not among them: they decide nothing, and have floats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// The first message on a stream.
    Hello(Hello),
    /// A sign of life.
    Heartbeat {
        /// Reductions applied; none while it holds no state.
        applied: Option<Reduction>,
        /// The time that it lately needed by itself for one virtual rank in a step, in µs; none while it does not step.
        pace_us: Option<u64>,
    },
    /// A part of the state that the generation starts from has come, or was sent on.
    Progress {
        /// The generation that it forms.
        generation: Generation,
    },
    /// It is connected to all its peers and holds the state that the generation starts from.
    Ready {
        /// The generation that it formed.
        generation: Generation,
        /// Reductions applied in that state.
        applied: Reduction,
    },
    /// It computes no more in this generation.
    Parked {
        /// The generation that it left.
        generation: Generation,
        /// Reductions applied in the state that it holds; none if it holds no state.
        applied: Option<Reduction>,
        /// Why it parked.
        reason: ParkReason,
    },
    /// It does not reach another member. Said before the `Parked` that follows from it.
    CutOff {
        /// The generation that both are in.
        generation: Generation,
        /// The other member.
        peer: Incarnation,
        /// How that showed, in a few words.
        why: String,
    },
    /// The answer to [`crate::Message::Try`].
    Tried {
        /// The number of the round, as it was told.
        round: u64,
        /// The workers that it did not reach, and how that showed.
        missing: Vec<(Incarnation, String)>,
    },
    /// A virtual rank has wholly consumed its positions of ordinals below `ordinals`.
    Consumed {
        /// The virtual rank.
        virtual_rank: VirtualRank,
        /// The number of positions, counted from the first.
        ordinals: u64,
    },
    /// It was told to end and leaves at the next step boundary.
    WantsLeave,
    /// The hash of the state that it holds after a step.
    StateHash {
        /// Steps done.
        step: Step,
        /// BLAKE3 of the whole state.
        hash: [u8; 32],
    },
    /// Whether it sees the run's store.
    StoreProof(StoreProof),
    /// It has published a snapshot.
    SnapshotWritten(PublishedSnapshot),
    /// It could not write a snapshot.
    SnapshotFailed {
        /// Steps done in it.
        step: Step,
        /// What went wrong, in a sentence.
        why: String,
    },
    /// The task that closes the run is done.
    TaskDone {
        /// The final weights, if it was to write them.
        files: Vec<FinalFile>,
    },
    /// The task that closes the run failed.
    TaskFailed {
        /// What went wrong, in a sentence.
        why: String,
    },
    /// Records of the data set that do not decode.
    CorruptRecords(Vec<CorruptRecord>),
    /// Something at the worker that a person should look at.
    Warning {
        /// A sentence.
        text: String,
    },
    /// A picture of samples.
    Sample {
        /// Steps done.
        step: Step,
        /// The picture.
        png: Vec<u8>,
    },
}

/// The proof that a worker sees the run's store: the coordinator posts a secret there, the worker reads it and answers
/// with an object that the coordinator reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreProof {
    /// The secret; empty if it was not found.
    pub secret: String,
    /// Name of the object that answers it.
    pub answer: String,
    /// What went wrong, in a sentence; empty if nothing did.
    pub why_not: String,
}

/// A snapshot that is in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedSnapshot {
    /// Steps done in it.
    pub step: Step,
    /// Where it is.
    pub url: String,
    /// The size of its parts.
    pub len_bytes: u64,
    /// Hash of its manifest.
    pub blake3: String,
    /// How long the training thread stood still for it, in µs.
    pub blocked_us: u64,
}

/// A file of the final weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalFile {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// Hash of its content.
    pub blake3: String,
}

/// A record that does not decode. The next good one takes its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorruptRecord {
    /// Its index in the data set.
    pub record: u64,
    /// Its name in the data set: its file, its key, or its number.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
    /// The step that it was first met in.
    pub step: Step,
}

impl Report {
    /// The event that this is for [`crate::Run`], when it comes on `session`. None where the coordinator's shell looks into
    /// the store first, or handles it alone.
    #[must_use]
    pub fn into_event(self, session: SessionId) -> Option<Event> {
        Some(match self {
            Self::Hello(hello) => Event::Joined { session, hello },
            Self::Heartbeat { applied, pace_us } => Event::Heard { session, applied, pace_us },
            Self::Progress { generation } => Event::Progress { session, generation },
            Self::Ready { generation, applied } => Event::Ready { session, generation, applied },
            Self::Parked { generation, applied, reason } => {
                Event::Parked { session, generation, applied, reason }
            }
            Self::CutOff { generation, peer, why } => Event::CutOff { session, generation, peer, why },
            Self::Tried { round, missing } => Event::Tried { session, round, missing },
            Self::Consumed { virtual_rank, ordinals } => Event::Consumed { session, virtual_rank, ordinals },
            Self::WantsLeave => Event::WantsLeave { session },
            Self::StateHash { step, hash } => Event::StateHash { session, step, hash },
            Self::SnapshotFailed { .. } => Event::SnapshotFailed { session },
            Self::TaskFailed { why } => Event::TaskFailed { session, why },
            Self::StoreProof(_) | Self::SnapshotWritten(_) | Self::TaskDone { .. } => return None,
            Self::CorruptRecords(_) | Self::Warning { .. } | Self::Sample { .. } => return None,
        })
    }
}
