//! The release binaries and the real libtorch_cuda.so on a null GPU (tests/null-gpu): what a step launches, copies and
//! waits for, what is captured, and what happens where memory or a capture fails. Nothing is computed.
//!
//! They need the complete libtorch, which `make test-gpu` installs. Without it they are counted as skipped, by name.
//!
//! - `double`: builds the null GPU and starts our binaries on it. `log`: what it counted.
//! - `budgets`: launches, copies and waits of a half. `rules`: what CUDA forbids. `memory`: what grows.
//! - `faults`: memory that is refused, captures that fail. `ranks`: several workers.

mod budgets;
mod double;
mod faults;
mod log;
mod memory;
mod ranks;
mod rules;

use std::process::ExitCode;

use lsgan_tests::trials::{run, trials};

fn main() -> ExitCode {
    let possible = double::possible();
    let tests = [rules::TESTS, budgets::TESTS, memory::TESTS, faults::TESTS, ranks::TESTS];
    run(tests.into_iter().flat_map(|tests| trials(&possible, tests)).collect())
}
