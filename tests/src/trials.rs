//! Tests that say at run time whether this machine can run them. What it cannot run is counted as ignored, by name.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// A test with its name.
pub type Test = (&'static str, fn());

/// Tests under the names of their functions.
#[macro_export]
macro_rules! tests {
    ($($test:ident),* $(,)?) => { &[$((stringify!($test), $test as fn())),*] };
}

/// The trials of these tests, if they are `possible`.
pub fn trials(possible: &Result<(), String>, tests: &[Test]) -> Vec<Trial> {
    trials_of("", possible, tests)
}

/// The same, with `prefix` before their names: tests that run more than once, in different surroundings.
pub fn trials_of(prefix: &str, possible: &Result<(), String>, tests: &[Test]) -> Vec<Trial> {
    if let Err(why) = possible {
        let names: Vec<_> = tests.iter().map(|(name, _)| format!("{prefix}{name}")).collect();
        eprintln!("skipped {}, {why}", names.join(", "));
    }
    let trial = |&(name, test): &Test| {
        let run = move || {
            test();
            Ok(())
        };
        Trial::test(format!("{prefix}{name}"), run).with_ignored_flag(possible.is_err())
    };
    tests.iter().map(trial).collect()
}

/// The `main` of a test that has these trials.
pub fn run(trials: Vec<Trial>) -> ExitCode {
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
