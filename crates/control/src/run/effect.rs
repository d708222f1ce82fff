//! What the shell must do, in the order in which it must happen.

use std::fmt;

use lsgan_spec::{Generation, Incarnation, Numerics, Reduction, Step, VirtualRank};
use serde::{Deserialize, Serialize};

use super::event::SessionId;
use super::hashes::Difference;
use super::machine::Recovered;
use crate::protocol::{Member, Message, Outcome, Start};

/// One thing to do. The shell does them in order, and a send only after the journal entries before it last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Write this to the journal; it must outlive the process before the next effect.
    Journal(Entry),
    /// Send this to a worker. A stream that is gone is no error: its `Closed` event is on the way.
    Send { session: SessionId, message: Message },
    /// End a stream after what was sent on it.
    Close { session: SessionId },
}

/// What the journal keeps of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// All that the entries before this one say, so that a replay may start here. The journal's writer adds it.
    Base(Box<Recovered>),
    /// A worker was admitted.
    Admitted {
        incarnation: Incarnation,
        name: String,
        /// Where its peers reach it.
        address: String,
    },
    /// An incarnation is over.
    Gone {
        incarnation: Incarnation,
        /// Its label; empty if it is not known.
        name: String,
        reason: GoneReason,
    },
    /// The members of the first generation that applied a reduction have these numerics: they are the run's.
    Numerics(Numerics),
    /// A worker with other numerics is admitted all the same: from here on the run does not promise bits.
    OtherNumerics { incarnation: Incarnation, numerics: Numerics },
    /// A member is much slower than the others.
    Straggles {
        incarnation: Incarnation,
        /// What it needs for one virtual rank in a step, in µs.
        pace_us: u64,
        /// The median of what the others need.
        median_us: u64,
        /// Whether it stands by from now on.
        evicted: bool,
    },
    /// A worker does not see the run's store: it computes, and never writes snapshots.
    CannotKeep { incarnation: Incarnation, why: String },
    /// No attached worker can write what the run holds, so that the run waits for one that can.
    NoKeeper {
        /// Steps done in the state that waits to be written.
        step: Step,
    },
    /// The generation has done no step for a while, though its members are heard.
    Stands {
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
        peer: Incarnation,
        /// In which direction no connection can be made.
        direction: Direction,
        /// How that showed, in a few words.
        why: String,
    },
    /// A worker that stood aside because it was cut off was reached again, and takes part.
    ReachedAgain { incarnation: Incarnation },
    /// Generation after generation did not form because its state did not reach a worker: it stands aside.
    LeftBehind {
        incarnation: Incarnation,
        /// So many generations.
        attempts: u32,
        /// What ended the last one.
        why: String,
    },
    /// The others cannot train with a worker: it stands by while there are enough of them.
    Faulty {
        incarnation: Incarnation,
        /// What it does or does not, for people.
        why: String,
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
    Halting { generation: Generation, why: String },
    /// A virtual rank's positions of ordinals `from..until` are wholly consumed.
    Consumed {
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
    Paused { by: String },
    /// An operator goes on with it.
    Resumed { by: String },
    /// The data set turned out too bad to train on; with a sentence.
    DataUnfit(String),
    /// The run has come to its end.
    Ended(Outcome),
}

/// Why an incarnation is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GoneReason {
    /// The worker asked to leave.
    Left,
    /// Its stream broke.
    StreamBroke,
    /// It attached again, as another incarnation.
    AttachedAgain,
    /// Nothing was heard of it for longer than this.
    Silent { timeout_ms: u64 },
    /// It did not come back to a restarted coordinator in time.
    NotBack,
    /// It did not park in time.
    NotParked,
    /// It was admitted before it was known that it would compute other bits.
    Refused,
}

/// For people, after `worker 3 is gone: `.
impl fmt::Display for GoneReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("left as it asked"),
            Self::StreamBroke => f.write_str("its stream broke"),
            Self::AttachedAgain => f.write_str("it attached again"),
            Self::Silent { timeout_ms } => write!(f, "silent for more than {timeout_ms} ms"),
            Self::NotBack => f.write_str("it did not come back to the restarted coordinator"),
            Self::NotParked => f.write_str("it did not park in time"),
            Self::Refused => f.write_str("it would compute other bits than the run"),
        }
    }
}

/// Which connections between a worker that stands aside and its peers cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// Those from a peer to the worker.
    Inbound,
    /// Those from the worker to a peer.
    Outbound,
    /// Both.
    Both,
}
