//! The most memory that files of data sets make their readers take, whatever they say of themselves.

#[path = "../common/mod.rs"]
mod common;
mod pictures;
mod sources;

const MIB: usize = 1 << 20;
