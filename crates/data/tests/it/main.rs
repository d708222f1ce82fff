//! Data sets opened, read and decoded, and the loader over them.

mod cifar10;
#[path = "../common/mod.rs"]
mod common;
mod contract;
mod errors;
mod left_out;
mod loader;
mod lost;
mod pictures;
