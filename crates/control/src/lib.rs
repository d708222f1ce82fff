//! The protocol of a run as pure machines: events in, effects out.
//!
//! Not here: clocks, sockets, files (`coordinator`, `worker`); the order of samples (`plan`); simulated time and faults
//! (`sim`). No floats, no randomness, ordered collections only, so that one history of events gives one history
//! of effects.
//!
//! - [`run`]: the coordinator's machine. Start at [`Run::apply`].
//! - [`protocol`]: what a worker says of itself when it attaches, and what workers are told.
//! - [`report`]: all that a worker says.
//! - [`pass`]: what makes a coordinator believe what a worker says of itself.
//! - [`ring`]: what makes members of a generation believe each other.
//! - [`member`]: the worker's machine. Start at [`member::Participant::apply`].

#![forbid(unsafe_code)]

pub mod member;
pub mod pass;
pub mod protocol;
pub mod report;
pub mod ring;
pub mod run;

pub use pass::{Pass, PassKey, Rights};
pub use protocol::{
    Form, Hello, Member, Message, Outcome, OutcomeKind, ParkReason, Resume, Start, Task, Wish,
};
pub use report::Report;
pub use ring::{RingKey, RingKeys};
pub use run::{
    Aside, Config, Direction, Effect, Entry, Event, GoneReason, Keeps, Missing, Phase, Recovered, Run,
    SessionId, Then, Worker, gate, hashes, invariants,
};
