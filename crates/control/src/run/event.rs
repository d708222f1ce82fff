//! What can happen to a run.

use lsgan_spec::{Generation, Incarnation, Reduction, Step, VirtualRank};
use serde::{Deserialize, Serialize};

use crate::protocol::{Hello, ParkReason};

/// One attached stream. The shell numbers them; a number is never used twice in the life of a coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub u64);

/// One thing that happened. A plain value, so that a trace of them is a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A worker attached and introduced itself.
    Joined {
        session: SessionId,
        /// What it said.
        hello: Hello,
    },
    /// A heartbeat.
    Heard {
        session: SessionId,
        /// Reductions the worker has applied; none while it holds no state.
        applied: Option<Reduction>,
        /// What it lately needed by itself for one virtual rank in a step, in µs; none while it does not step.
        pace_us: Option<u64>,
    },
    /// A heartbeat of the worker has come and waits behind other messages: it is not silent. What it says comes later.
    Alive { session: SessionId },
    /// What a member holds after a step.
    StateHash { session: SessionId, step: Step, hash: [u8; 32] },
    /// A part of the state that the generation starts from has come to the worker, or was sent on by it.
    Progress { session: SessionId, generation: Generation },
    /// The worker is connected to all its peers and holds the state that the generation starts from.
    Ready {
        session: SessionId,
        generation: Generation,
        /// Reductions applied in the state that it holds.
        applied: Reduction,
    },
    /// The worker computes no more in this generation; its state is whole.
    Parked {
        session: SessionId,
        generation: Generation,
        /// Reductions applied in the state that it holds; none if it holds no state.
        applied: Option<Reduction>,
        /// Why it parked.
        reason: ParkReason,
    },
    /// The worker cannot reach another member, which may be alive; it parks for that.
    CutOff {
        session: SessionId,
        /// The generation that both are in.
        generation: Generation,
        peer: Incarnation,
        /// The error in a few words, such as `connection refused`.
        why: String,
    },
    /// The worker has tried to connect to those that it was told to.
    Tried {
        session: SessionId,
        /// The number that it was told.
        round: u64,
        /// The peers that it did not reach, each with the error in a few words.
        missing: Vec<(Incarnation, String)>,
    },
    /// A virtual rank has wholly consumed its positions of ordinals below `ordinals`.
    Consumed { session: SessionId, virtual_rank: VirtualRank, ordinals: u64 },
    /// The worker wants to leave at the next step boundary (it was told to end).
    WantsLeave { session: SessionId },
    /// Whether the worker has proved that it sees the run's store: it read there what the coordinator wrote, and the
    /// coordinator read what it wrote.
    StoreProved {
        session: SessionId,
        /// Why it cannot keep snapshots; none if it can.
        why_not: Option<String>,
    },
    /// A snapshot is published, and the coordinator has read its manifest.
    SnapshotWritten {
        /// The stream of the worker that wrote it.
        session: SessionId,
        /// Steps done in it.
        step: Step,
    },
    /// A worker could not write a snapshot, or the coordinator does not find what it wrote.
    SnapshotFailed { session: SessionId },
    /// The task that closes the run is done.
    TaskDone { session: SessionId },
    /// The task that closes the run failed.
    TaskFailed {
        session: SessionId,
        /// What went wrong, in a sentence.
        why: String,
    },
    /// A stream broke or ended.
    Closed { session: SessionId },
    /// An operator asks the run to stop at the next step boundary, with a snapshot.
    StopRequested,
    /// An operator pauses the run at the next step boundary.
    PauseRequested { by: String },
    /// An operator resumes a paused run.
    ResumeRequested { by: String },
    /// An operator wants a snapshot of the next step boundary.
    SnapshotRequested,
    /// The data set is too bad to train on: the run fails at the next step boundary, with a snapshot.
    DataUnfit {
        /// What is wrong with it and what to do, in a sentence.
        why: String,
    },
    /// The time that [`crate::Run::next_deadline`] named has come.
    Tick,
}
