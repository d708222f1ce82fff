//! The words that coordinator and workers exchange: what a worker says of itself, and what it is told.

use lsgan_spec::{Generation, Incarnation, Numerics, Reduction, Step, VirtualRank};
use serde::{Deserialize, Serialize};

use crate::{Pass, RingKey};

/// How a worker introduces itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// A label for people, such as `host-3:1`.
    pub name: String,
    /// Where its peers reach it, `ip:port`.
    pub address: String,
    /// What decides the bits that it computes.
    pub numerics: Numerics,
    /// Reductions applied in the state that it holds; none if it holds none. Any holder of r holds the same bits.
    pub holds: Option<Reduction>,
    /// Set when it knows the run already and lost its coordinator.
    pub resume: Option<Resume>,
    /// Hash of the data set, as it opened it itself.
    pub data_fingerprint: String,
    /// The newest pass that it was given. Without one neither `holds` nor `resume` is believed.
    pub pass: Option<Box<Pass>>,
}

/// What a worker that lost its coordinator was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    pub incarnation: Incarnation,
    /// The generation that it is in or was in last.
    pub generation: Generation,
    /// Whether it still steps in that generation.
    pub stepping: bool,
    /// Whether it writes that generation's snapshots.
    pub writes: bool,
    /// Hash of the run's file under which that generation was formed.
    pub spec: String,
}

/// Why a worker parked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParkReason {
    /// A control word in the reduced header said so, or the last step is done: all ranks stop after the same step.
    Boundary,
    /// Told by an Abort.
    Aborted,
    /// A peer was lost or the group could not be formed; with a sentence for people.
    Broken(String),
    /// The numbers are wrong (a gradient that is not finite or out of range); all ranks see it. With a sentence.
    Failed(String),
}

/// What a worker is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// It is admitted under this incarnation; if it thought it had another one, that one is over.
    Welcome {
        incarnation: Incarnation,
        /// Whether it goes on stepping in its generation, with a coordinator that was started again.
        adopted: bool,
        /// To be shown on the next stream.
        pass: Pass,
    },
    /// It cannot take part.
    Refused {
        /// Why, and what to do, in a sentence.
        why: String,
    },
    /// Join this generation.
    Form(Form),
    /// Stop at once what this generation does, and park.
    Abort(Generation),
    /// A virtual rank may read its positions of ordinals below `until`.
    Lease { virtual_rank: VirtualRank, until: u64 },
    /// Put this wish into the header of the coming reductions of this generation.
    Wish { generation: Generation, wish: Wish },
    /// Connect to these peers, hang up at once, and say which were not reached. Training goes on meanwhile.
    Try {
        round: u64,
        /// Each with its address.
        peers: Vec<(Incarnation, String)>,
    },
    /// Do this with the state that is held.
    Task(Task),
    /// This incarnation is over; come back as a new one, or end if you asked to leave.
    Retired { why: String },
    /// The run has ended; end too.
    Shutdown(Outcome),
}

/// An order to one worker to join a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Form {
    pub generation: Generation,
    /// The receiver's rank in it.
    pub rank: u32,
    /// All members by rank.
    pub members: Vec<Member>,
    /// Reductions applied in the state that it starts from.
    pub from: Reduction,
    /// Where that state comes from.
    pub start: Start,
    /// The rank that broadcasts the state; none if all members hold it.
    pub root: Option<u32>,
    /// The rank that writes snapshots; none if no member sees the store.
    pub writer: Option<u32>,
    /// The members park when so many steps are done.
    pub last_step: Step,
    /// For each virtual rank of the receiver, how many of its positions (counted from the first) it may read.
    pub leases: Vec<(VirtualRank, u64)>,
    /// To be shown on the next stream.
    pub pass: Pass,
    /// What the members prove to each other when they connect.
    pub ring: RingKey,
}

/// A member of a generation. Its rank is its index in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Which life of which worker.
    pub incarnation: Incarnation,
    /// Where its peers reach it.
    pub address: String,
    /// The virtual ranks that it computes, `[first, first + count)`.
    pub first: VirtualRank,
    pub count: u32,
}

impl Member {
    /// The virtual ranks that it computes.
    pub fn virtual_ranks(&self) -> impl Iterator<Item = VirtualRank> + use<> {
        (self.first.0..self.first.0 + self.count).map(VirtualRank)
    }
}

/// Where a generation's state comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// Every member makes the initial weights, a pure function of the seed.
    Fresh,
    /// The root reads the snapshot at this step and broadcasts it.
    Snapshot(Step),
    /// The root holds it. It broadcasts unless all members hold the same.
    Held,
}

/// A wish that all ranks must obey after the same step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wish {
    /// Park, so that the group can be formed anew.
    Reform,
    /// Park, so that the run can be closed, or held.
    Finish,
    /// The member that writes snapshots writes one.
    Snapshot,
}

/// What closes a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// Write a snapshot of the held state.
    Snapshot,
    /// Write a snapshot and the final weights.
    Final,
}

/// How a run ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// All steps are done and the final weights are written.
    Complete,
    /// Stopped at a step boundary with a snapshot; the same command goes on.
    Stopped { step: Step },
    /// The run cannot go on by itself.
    Failed { why: String },
    /// The run does not start as it is; another try does not change that.
    Refused {
        /// Why and what to do, in a sentence.
        why: String,
    },
}

/// How a run ends, without its details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeKind {
    Complete,
    Stopped,
    Failed,
    Refused,
}

impl Outcome {
    #[must_use]
    pub fn kind(&self) -> OutcomeKind {
        match self {
            Self::Complete => OutcomeKind::Complete,
            Self::Stopped { .. } => OutcomeKind::Stopped,
            Self::Failed { .. } => OutcomeKind::Failed,
            Self::Refused { .. } => OutcomeKind::Refused,
        }
    }
}

impl OutcomeKind {
    pub const ALL: [Self; 4] = [Self::Complete, Self::Stopped, Self::Failed, Self::Refused];

    /// The word in the journal and in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}
