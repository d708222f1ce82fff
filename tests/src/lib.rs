//! The harness of the whole-system tests: real coordinators and workers in a directory of their own, and ways to
//! wait for what happens to them.
//!
//! Not here: the tests themselves (`tests/tests/`), and anything of libtorch: only the binaries have that.
//! Start at [`Lab`]; a test makes one, starts [`Process`]es in it, waits with [`wait`], and looks at what is left.
//!
//! - [`binaries`]: where the binaries under test are.
//! - [`lab`]: a directory, a run's file, and the processes that work on it.
//! - [`process`]: one process with its output, ended by its id.
//! - [`wait`]: waiting for an event with a deadline.
//! - [`client`]: a coordinator's status by gRPC.
//! - [`journal`]: what a coordinator's journal says.
//! - [`weights`]: the hashes of what a run trained, which is what most tests compare.

pub mod binaries;
pub mod client;
pub mod journal;
pub mod lab;
pub mod process;
pub mod wait;
pub mod weights;

pub use client::Client;
pub use journal::Journal;
pub use lab::{Coordinator, Lab};
pub use process::{Ended, Process};
pub use wait::until;
pub use weights::Weights;
