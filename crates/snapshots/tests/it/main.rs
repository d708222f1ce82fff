//! What the crate promises, one file for each promise; `common` has the states and the stores that fail.

mod common;

mod crash;
mod damage;
mod full_disk;
mod links;
mod opening;
mod race;
mod retention;
mod round_trip;
mod run_lock;
mod sixteen_bits;
