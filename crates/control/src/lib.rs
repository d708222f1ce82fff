//! The control machine of a run: events in, effects out.
//!
//! Not here: clocks, sockets, files (`coordinator`); the order of samples (`plan`); simulated time and faults
//! (`sim`). No floats, no randomness, ordered collections only, so that one history of events gives one history
//! of effects.
//!
//! Start at [`Run::apply`]; then [`Phase`] for the life of a generation, [`invariants`] for what always holds.
//!
//! - [`event`]: what can happen: a worker's message, a broken stream, an operator's wish, the clock.
//! - [`effect`]: what the shell must do about it, in order, the journal first.
//! - [`machine`]: [`Run`], which turns the one into the other.
//! - `attendance`: who is attached: workers come, are heard, and are lost.
//! - `reports`: what members say about their generation.
//! - `attempts`: a back-off for generations that come to nothing, and what is said of them.
//! - `keeping`: who can write snapshots, and what is done where nobody can.
//! - `recover`: what the journal of earlier lives tells the next one.
//! - `pause`: a run that an operator holds, and snapshots that one asks for.
//! - [`hashes`]: whether all members hold the same bits.
//! - `reach`: whether workers reach each other, tried before it matters and again after it mattered.
//! - `severed`: members that the coordinator hears, but that do not reach each other: who stands aside.
//! - `stalls`: a group that stands although its members are heard.
//! - `silences`: how long living workers are silent, and so for how long a silent one is waited for.
//! - `stragglers`: members that are much slower than the others.
//! - [`membership`]: pure decisions: who takes part, who holds the truth, who computes which virtual ranks.
//! - [`invariants`]: sentences that hold after every event.

mod attempts;
mod attendance;

pub mod effect;
pub mod event;
pub mod hashes;
pub mod invariants;
mod keeping;
pub mod machine;
pub mod membership;
mod pause;
mod phases;
mod reach;
mod recover;
mod reports;
mod severed;
mod silences;
mod stalls;
mod stragglers;

pub use attendance::{Aside, Keeps, Worker};
pub use effect::{Effect, Entry, Form, Member, Message, Outcome, Start, Task, Way, Wish};
pub use event::{Event, Hello, ParkReason, Resume, SessionId};
pub use machine::{Config, Missing, Phase, Recovered, Run};
