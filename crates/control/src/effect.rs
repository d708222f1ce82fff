//! What the shell must do, in the order in which it must happen.

use lsgan_spec::{Generation, Incarnation, Reduction, Step, VirtualRank};
use serde::{Deserialize, Serialize};

use crate::event::SessionId;
use crate::hashes::Difference;

/// One thing to do. The shell does them in order, and a send only after the journal entries before it last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Write this to the journal; it must outlive the process before the next effect.
    Journal(Entry),
    /// Send this to a worker. A stream that is gone is no error: its `Closed` event is on the way.
    Send {
        /// To whom.
        session: SessionId,
        /// What.
        message: Message,
    },
    /// End a stream after what was sent on it.
    Close {
        /// Which.
        session: SessionId,
    },
}

/// What the journal keeps of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// A worker was admitted.
    Admitted {
        /// Its new incarnation.
        incarnation: Incarnation,
        /// Its label.
        name: String,
        /// Where its peers reach it.
        address: String,
    },
    /// An incarnation is over.
    Gone {
        /// Whose.
        incarnation: Incarnation,
        /// Its label; empty if it is not known.
        name: String,
        /// Why, in a sentence.
        why: String,
    },
    /// The first admitted worker's numerics are the run's.
    Numerics(String),
    /// A worker with other numerics is admitted all the same: from here on the run does not promise bits.
    OtherNumerics {
        /// Whose.
        incarnation: Incarnation,
        /// Which.
        numerics: String,
    },
    /// A member is much slower than the others.
    Straggles {
        /// Who.
        incarnation: Incarnation,
        /// What it needs for one virtual rank in a step, in µs.
        pace_us: u64,
        /// The median of what the others need.
        median_us: u64,
        /// Whether it stands by from now on.
        evicted: bool,
    },
    /// A worker does not see the run's store: it computes, and never writes snapshots.
    CannotKeep {
        /// Who.
        incarnation: Incarnation,
        /// Why, in a sentence.
        why: String,
    },
    /// No attached worker can write what the run holds, so that the run waits for one that can.
    NoKeeper {
        /// Steps done in the state that waits to be written.
        step: Step,
    },
    /// The generation has done no step for a while, though its members are heard.
    Stands {
        /// Which.
        generation: Generation,
        /// For how long, in ms.
        stood_ms: u64,
        /// After how long it is ended, in ms.
        limit_ms: u64,
        /// Who is behind the others; empty where all wait at the same place.
        behind: Vec<Incarnation>,
    },
    /// A worker and another one cannot reach each other.
    CutOff {
        /// The one of them who stands aside from now on.
        incarnation: Incarnation,
        /// The other one.
        peer: Incarnation,
        /// Which way nothing comes through.
        way: Way,
        /// How that showed, in a few words.
        why: String,
    },
    /// A worker that stood aside because it was cut off was reached again, and takes part.
    ReachedAgain {
        /// Who.
        incarnation: Incarnation,
    },
    /// Generation after generation ends before it has applied a reduction.
    NoProgress {
        /// So many in a row.
        attempts: u32,
        /// The reduction that all of them started from.
        from: Reduction,
        /// How long the next one waits, if no worker joins or goes.
        wait_ms: u64,
        /// What ended the last one, in the words of the member that said so.
        why: String,
    },
    /// Members hold different states after a step: the run fails, and snapshots that are newer than its `equal` may be
    /// wrong.
    Differs(Difference),
    /// A generation is formed of these members.
    Generation {
        /// Its number, greater than all before.
        generation: Generation,
        /// The members by rank.
        members: Vec<Member>,
        /// Reductions applied in the state that it starts from.
        from: Reduction,
        /// Where that state comes from.
        start: Start,
    },
    /// All members of the generation are ready: it steps.
    Stepping(Generation),
    /// The generation ends.
    Halting {
        /// Which.
        generation: Generation,
        /// Why, in a sentence.
        why: String,
    },
    /// A virtual rank's positions of ordinals `from..until` are wholly consumed.
    Consumed {
        /// Whose.
        virtual_rank: VirtualRank,
        /// First ordinal.
        from: u64,
        /// One past the last.
        until: u64,
        /// Who read them.
        incarnation: Incarnation,
        /// In which generation.
        generation: Generation,
    },
    /// An operator asked the run to stop.
    StopRequested,
    /// An operator holds the run: it rests at the next step boundary.
    Paused {
        /// Who.
        by: String,
    },
    /// An operator goes on with it.
    Resumed {
        /// Who.
        by: String,
    },
    /// The data set turned out too bad to train on; with a sentence.
    DataUnfit(String),
    /// The run has come to its end.
    Ended(Outcome),
}

/// Which connections between a worker that stands aside and its peers cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// Those from a peer to the worker.
    ToIt,
    /// Those from the worker to a peer.
    FromIt,
    /// Both.
    Both,
}

/// How a run ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// All steps are done and the final weights are written.
    Complete,
    /// Stopped at a step boundary with a snapshot; the same command goes on.
    Stopped {
        /// Steps done.
        step: Step,
    },
    /// The run cannot go on by itself.
    Failed {
        /// Why, in a sentence.
        why: String,
    },
    /// The run does not start as it is; another try does not change that.
    Refused {
        /// Why and what to do, in a sentence.
        why: String,
    },
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
    /// How many.
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
    /// Everybody makes the initial weights, a pure function of the seed.
    Fresh,
    /// The root reads the snapshot at this step and broadcasts it.
    Snapshot(Step),
    /// The root holds it. It broadcasts unless everybody holds the same.
    Held,
}

/// An order to one worker to join a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Form {
    /// The generation.
    pub generation: Generation,
    /// The receiver's rank in it.
    pub rank: u32,
    /// All members by rank.
    pub members: Vec<Member>,
    /// Reductions applied in the state that it starts from.
    pub from: Reduction,
    /// Where that state comes from.
    pub start: Start,
    /// The rank that broadcasts the state; none if nobody needs it.
    pub root: Option<u32>,
    /// The rank that writes snapshots; none if no member sees the store.
    pub writer: Option<u32>,
    /// The members park when so many steps are done.
    pub last_step: Step,
    /// For each virtual rank of the receiver, how many of its positions (counted from the first) it may read.
    pub leases: Vec<(VirtualRank, u64)>,
}

/// What a worker is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// It is admitted under this incarnation; if it thought it had another one, that one is over.
    Welcome {
        /// Its incarnation.
        incarnation: Incarnation,
        /// Whether it goes on stepping in its generation, with a coordinator that was started again.
        adopted: bool,
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
    Lease {
        /// Whose.
        virtual_rank: VirtualRank,
        /// One past the last ordinal.
        until: u64,
    },
    /// Put this wish into the header of the coming reductions of this generation.
    Wish {
        /// Only in this generation.
        generation: Generation,
        /// Which control word.
        wish: Wish,
    },
    /// Connect to these, hang up at once, and say whom it did not reach. Whatever it trains goes on.
    Try {
        /// For the answer.
        round: u64,
        /// Whom, and at which address.
        peers: Vec<(Incarnation, String)>,
    },
    /// Do this with the state that is held.
    Task(Task),
    /// This incarnation is over; come back as a new one, or end if you asked to leave.
    Retired {
        /// Why, in a sentence.
        why: String,
    },
    /// The run has ended; end too.
    Shutdown(Outcome),
}

/// A wish that all ranks must obey after the same step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wish {
    /// Park, so that the group can be formed anew.
    Reform,
    /// Park, so that the run can be closed, or held.
    Finish,
    /// Whoever writes snapshots writes one.
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
