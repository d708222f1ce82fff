//! The coordinator's machine: [`Run`] turns [`Event`]s into [`Effect`]s.
//!
//! Start at [`Run::apply`]; then [`Phase`] for the life of a generation, [`invariants`] for what always holds.
//!
//! - `event`: what can happen: a worker's message, a broken stream, an operator's wish, the clock.
//! - `effect`: what the shell must do about it, in order, the journal first.
//! - `config`: [`Config`], what it knows of the run's file.
//! - `machine`: [`Run`]: its state, and the handling of each event.
//! - `phases`: the transitions that follow from a state.
//! - `forming`: the next generation: its members, its state, and what they are told.
//! - [`gate`]: which messages of workers are acted upon at all.
//! - `attendance`: workers come, are heard, and are lost.
//! - `timers`: when it wants to be woken, and for what.
//! - `ending`: why a run is to end before its last step.
//! - `reports`: what members say about their generation.
//! - `attempts`: a back-off for generations that fail before their first reduction.
//! - `keeping`: which workers can write snapshots, and what is done where none can.
//! - `recover`: [`Recovered`], what the journal of earlier lives tells the next one.
//! - `pause`: a run that an operator pauses, and snapshots that an operator asks for.
//! - [`hashes`]: whether all members hold the same bits.
//! - `reach`: whether workers reach each other: connections are tried before and after they matter.
//! - `severed`: members that the coordinator hears, but that do not reach each other: which of them stands aside.
//! - `faulty`: members that the others cannot train with.
//! - `stalls`: a generation that does no step although its members are heard.
//! - `silences`: how long a silent worker is waited for.
//! - `stragglers`: members that are much slower than the others.
//! - `kinds`: which workers can train together, and whose numerics are the run's.
//! - `membership`: pure decisions: which workers take part, which of them holds the newest state, which computes which
//!   virtual ranks.
//! - [`invariants`]: sentences that hold after every event.

mod attempts;
mod attendance;
mod config;
mod effect;
mod ending;
mod event;
mod faulty;
mod forming;
pub mod gate;
pub mod hashes;
pub mod invariants;
mod keeping;
mod kinds;
mod machine;
mod membership;
mod newcomers;
mod pause;
mod phases;
mod reach;
mod recover;
mod reports;
mod severed;
mod silences;
mod stalls;
mod stragglers;
mod timers;

pub use attendance::{Aside, Keeps, Worker};
pub use config::Config;
pub use effect::{Direction, Effect, Entry, GoneReason};
pub use event::{Event, SessionId};
pub use machine::{Missing, Phase, Recovered, Run, Then};
