//! Drives both machines of `control` through worlds with faults that a seed decides.
//!
//! The coordinator's machine is the real [`lsgan_control::Run`], the worker's the real
//! [`lsgan_control::member::Participant`]; around them everything is a model: their shells, the training threads, the
//! collective, the network, the coordinator's journal and its death between any two effects. Time jumps from one happening
//! to the next. One number, the seed, decides it all, and a failure can be replayed from it.
//!
//! Not here: sockets, tensors, real time (`tests` has whole systems of real processes).
//!
//! Start at [`simulate`]; then:
//! - [`faults`]: what a seed decides before its world begins.
//! - [`world`]: the loop, the striking of faults, the calm in which the run must come to its end.
//! - `shell`: the simulated coordinator; `worker` and `group`: the simulated workers and their collective.
//! - [`history`]: the sentences about a whole life that no single state can show.
//! - [`network`]: simulated time and streams. [`rng`]: chance. [`coverage`]: what was seen.
//!
//! `tests/mutants.md` at the root of the project lists bugs that were put into the machines, and what saw each.

pub mod coverage;
pub mod faults;
mod group;
pub mod history;
pub mod network;
pub mod rng;
mod shell;
mod worker;
pub mod world;

pub use coverage::Coverage;
pub use faults::{Class, Fault, Fixed, Setup};
pub use world::{Failure, Trace, World};

/// Lives through the world of `seed`. A failure carries the last lines of its trace: the world is lived through
/// a second time for them, so that the others need not be written down.
pub fn simulate(seed: u64, fixed: Fixed) -> Result<Coverage, Box<Failure>> {
    World::new(Setup::draw(seed, fixed), Trace::Off).run().map_err(|failure| {
        let again = World::new(failure.setup.clone(), Trace::Last).run();
        again.expect_err("one seed has one history")
    })
}
