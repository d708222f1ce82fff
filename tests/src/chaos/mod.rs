//! Runs with faults drawn from a seed, on real processes: whatever happens, the weights are those of a run that
//! nothing happened to.
//!
//! The seed decides which faults come, to whom, and at which steps. The processes' own timing is the machine's: a
//! seed that failed may have to be run more than once to fail again.
//!
//! - [`schedule`]: draws what happens.
//! - [`round`]: does it.

pub mod round;
pub mod schedule;

pub use round::run;
pub use schedule::{Fault, Schedule};
