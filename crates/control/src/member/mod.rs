//! The worker's machine: [`Participant`] turns [`Event`]s into [`Effect`]s, and keeps what is to be said ([`Mail`]).
//!
//! Start at [`Participant::apply`]; then [`Duty`] for what a member does after a step.
//!
//! - `event`: what can happen to a worker: its stream, the coordinator's messages, SIGTERM, its training thread.
//! - `effect`: what the worker's shell must do about it, in order.
//! - `participant`: [`Participant`]: its state, and the handling of each event.
//! - `mail`: [`Mail`]: the words of the training thread, kept until they are sent, and those that are told again.
//! - `boundary`: what a member does at a step boundary.

mod boundary;
mod effect;
mod event;
mod mail;
mod participant;

pub use boundary::{Boundary, Duty, Wishes};
pub use effect::{Effect, Ending};
pub use event::Event;
pub use mail::Mail;
pub use participant::{Identity, Participant};
