//! What the worker's shell must do, in the order in which it must happen.

use lsgan_spec::{Incarnation, Step, VirtualRank};
use serde::{Deserialize, Serialize};

use crate::{Form, Outcome, Report, Task};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Open a stream to the coordinator, however often that must be tried.
    Connect,
    /// Send this on the stream at once. What else is to be said is in [`crate::member::Participant::take_mail`].
    Send(Report),
    /// End the stream after what was sent on it.
    HangUp,
    /// The coordinator has admitted this worker: prove to it that its store is seen here, and tell people.
    Admitted {
        /// The incarnation that it has now.
        incarnation: Incarnation,
        /// Whether it goes on in its generation.
        adopted: bool,
        /// It was admitted before.
        again: bool,
    },
    /// The training thread takes up this generation, after what it was told before.
    Form(Form),
    /// End at once what the training thread does in its generation; it parks.
    Abort,
    /// A virtual rank may read its positions of ordinals below `until`.
    Grant {
        /// The virtual rank.
        virtual_rank: VirtualRank,
        /// One past the last ordinal.
        until: u64,
    },
    /// The training thread does this with the state that it holds.
    Task(Task),
    /// The training thread writes a snapshot that the coordinator, which is away, has not asked for.
    KeepAlone {
        /// Steps done in the state that is held.
        step: Step,
    },
    /// Tell people that the held state is lost: this worker ends in the middle of a step.
    CannotKeep {
        /// The step that is half done.
        step: Step,
    },
    /// Connect to these workers and report which were not reached.
    Try {
        /// The number of the round.
        round: u64,
        /// The workers, each with its address.
        peers: Vec<(Incarnation, String)>,
    },
    /// Wait for the training thread to park, and apply [`crate::member::Event::ParkOverdue`] if it takes too long.
    AwaitParking {
        /// Why the incarnation is over, for people.
        why: String,
    },
    /// End the process.
    End(Ending),
}

/// How a worker ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// It was asked to.
    Left,
    /// It cannot take part.
    Refused {
        /// Why, and what to do.
        why: String,
    },
    /// The run has ended.
    RunEnded(Outcome),
    /// The coordinator is lost, and the held state is kept if that was possible.
    CoordinatorLost,
    /// The training thread hangs. A new process has to take its place.
    Hangs,
}
