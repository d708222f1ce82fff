//! Snapshots scored, and training pictures that samples are near to.

#[path = "../common/mod.rs"]
mod common;
mod evaluation;
mod nearest;
