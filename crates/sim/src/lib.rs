//! Drives both machines of `control` through simulated worlds with faults. A seed decides everything.
//!
//! The coordinator's machine is the real [`lsgan_control::Run`], the worker's the real
//! [`lsgan_control::member::Participant`]. Everything around them is a model: their shells, the training threads, the
//! collective, the network, the coordinator's journal, and its death between any two effects. Time jumps from one happening
//! to the next. A failure can be replayed from its seed.
//!
//! Not here: sockets, tensors, real time (`tests` has whole systems of real processes).
//!
//! Start at [`simulate`]; then:
//! - [`setup`] and [`faults`]: what a seed decides before its world begins.
//! - [`world`]: the loop. `strike`: what each fault does, and the calm in which the run must come to its end.
//! - `shell`: the simulated coordinator. `fence`: two of them, of which one leads. `stranger`: programs that are no workers.
//! - `process`, `worker`, `training`, `group`: a worker's state, its shell, its training thread, and the collective.
//! - [`history`]: invariants of a whole life, which no single state can show.
//! - [`network`]: simulated time and streams. [`rng`]: random numbers. [`coverage`]: counts.
//!
//! `tests/mutants.md` at the root of the project lists bugs that were put into the machines, and the check that caught each.

#![forbid(unsafe_code)]

pub mod coverage;
pub mod faults;
mod fence;
mod group;
pub mod history;
pub mod network;
mod process;
pub mod rng;
pub mod setup;
mod shell;
mod stranger;
mod strike;
mod training;
mod worker;
pub mod world;

pub use coverage::Coverage;
pub use faults::{Class, Fault};
pub use setup::{Fixed, Setup};
pub use world::{Failure, Trace, World};

/// Simulates the world of `seed`. A failure carries the last lines of its trace: only a world that failed is simulated a
/// second time to record them.
pub fn simulate(seed: u64, fixed: Fixed) -> Result<Coverage, Box<Failure>> {
    World::new(Setup::draw(seed, fixed), Trace::Off).run().map_err(|failure| {
        let again = World::new(failure.setup.clone(), Trace::Last).run();
        again.expect_err("one seed has one history")
    })
}
