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
//! - [`disturb`]: what tests that disturb a run have in common.
//! - [`proxy`]: a TCP proxy that can stall, reset and drop one way.
//! - [`network`]: hosts of their own in network namespaces, where root allows it.
//! - [`buckets`]: servers of buckets, of S3, Azure and Google.
//! - [`collector`]: a collector of spans.
//! - [`http`]: one request to a page. [`terminal`]: a command on a terminal. [`screen`]: what that shows.
//! - [`weather`]: an HTTP proxy before it that makes bad weather.
//! - [`hook`]: a server to which alerts are posted.
//! - [`trials`]: tests that not every machine can run.
//! - [`small_disk`]: a disk that is soon full, where root allows it.
//! - [`leftovers`]: what a run and its processes have left behind.
//! - [`chaos`]: runs with faults drawn from a seed.
//! - [`attack`]: runs that are attacked on all their ports.

pub mod attack;
pub mod binaries;
pub mod buckets;
pub mod chaos;
pub mod client;
pub mod collector;
pub mod disturb;
pub mod hook;
pub mod http;
pub mod journal;
pub mod lab;
pub mod leftovers;
pub mod network;
pub mod process;
pub mod proxy;
pub mod screen;
pub mod small_disk;
pub mod terminal;
pub mod trials;
pub mod wait;
pub mod weather;
pub mod weights;

pub use client::Client;
pub use hook::Hook;
pub use journal::Journal;
pub use lab::{Coordinator, Lab};
pub use network::Network;
pub use process::{Ended, Process};
pub use proxy::{Cut, Proxy};
pub use small_disk::SmallDisk;
pub use terminal::Terminal;
pub use wait::until;
pub use weather::{Trouble, Weather};
pub use weights::Weights;
