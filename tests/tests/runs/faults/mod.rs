//! Kill anything: every row of the table of faults on real processes. Each test disturbs a run in one way, shows by
//! journal and logs that it did and what a user was told, and where the run can finish compares the hashes of the
//! final weights with an undisturbed run's. `bits.rs` has the plain deaths, joins and leaves; `network.rs` what
//! needs namespaces.

mod coordinator;
mod everything;
mod journal;
mod leftovers;
mod numbers;
mod numerics;
mod printing;
mod workers;
