//! What the sources of some crates do not contain.

use crate::rule::{Exception, assert_rule, assert_with_exceptions};
use crate::workspace::{lines_with, package, packages};

/// Crates without clock, file, runtime or randomness: code that needs time gets `now: Millis`.
const PURE: [&str; 4] = ["lsgan-spec", "lsgan-plan", "lsgan-control", "lsgan-sim"];

#[test]
fn pure_crates_have_no_runtime() {
    for package in packages().iter().filter(|package| PURE.contains(&package.name.as_str())) {
        let broken = ["tokio", "mio", "tonic", "rusqlite", "object_store", "serde-saphyr", "miette"];
        let broken = broken.iter().filter(|name| package.needs.contains(**name));
        let broken = broken.map(|name| format!("{} needs {name}", package.name));
        assert_rule(
            "spec, plan, control and sim are pure: no runtime, no sockets, no database, no YAML. Push an effect and let the \
             coordinator's shell perform it.",
            broken,
        );
    }
}

/// What a pure crate does not say, and what it does instead.
const IMPURE: [(&str, &str); 10] = [
    ("Instant::now", "take `now: Millis` as an argument"),
    ("SystemTime", "take `now: Millis` as an argument"),
    ("thread::sleep", "say in `next_deadline` when to be woken"),
    ("rand::rng", "draw from a seed"),
    ("RandomState", "draw from a seed, and use ordered collections"),
    ("HashMap", "use BTreeMap: one history gives one history"),
    ("HashSet", "use BTreeSet: one history gives one history"),
    ("std::fs", "let the coordinator or the worker read and write"),
    ("std::net", "let the coordinator or the worker connect"),
    ("std::env", "take it as an argument"),
];

const MAY_BE_IMPURE: &[Exception] =
    &[("sim/src/bin/simulate.rs", "the simulator's program is a shell around it")];

#[test]
fn pure_crates_have_no_clock_no_file_and_no_randomness_of_their_own() {
    let pure = packages().iter().filter(|package| PURE.contains(&package.name.as_str()));
    let words = |code: &str| {
        let found = IMPURE.iter().find(|(word, _)| code.contains(word));
        found.map(|(word, instead)| format!("{word}; {instead}"))
    };
    let found: Vec<_> = pure.flat_map(|package| lines_with(package, words)).collect();
    assert_with_exceptions("spec, plan, control and sim are pure.", &found, MAY_BE_IMPURE);
}

const MAY_PRINT: &[Exception] = &[
    ("collective/src/contract.rs", "what the contract took, for the person who runs it"),
    ("data/src/decode/jpeg/matrix.rs", "makes a table, in a test that a person runs"),
    ("sim/src/world.rs", "a life line by line, for the person who replays a seed"),
    ("sim/src/bin/simulate.rs", "the simulator's program"),
];

#[test]
fn nothing_prints_but_the_console() {
    let macros = ["println!", "print!", "eprintln!", "eprint!", "dbg!"];
    let prints = |code: &str| {
        let mut words = code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '!'));
        words.any(|word| macros.contains(&word)).then(|| code.trim().to_owned())
    };
    let shipped = packages().iter().filter(|package| package.is_shipped());
    let found: Vec<_> = shipped.flat_map(|package| lines_with(package, prints)).collect();
    assert_with_exceptions(
        "A line that cannot be printed (a reader that is gone, a full disk) must not end anything: `println!` and its \
         siblings panic. Use say! for people, announce! for a process that follows this one, product! for what a command was \
         asked for (lsgan_console::print).",
        &found,
        MAY_PRINT,
    );
}

#[test]
fn control_has_no_floats() {
    let is_float = |word: &str| word == "f32" || word == "f64";
    let floats =
        |code: &str| code.split(|c: char| !c.is_alphanumeric()).any(is_float).then(|| code.trim().to_owned());
    let found = lines_with(package("lsgan-control"), floats);
    assert_with_exceptions(
        "The control machine decides with whole numbers. Count, or carry milliseconds.",
        &found,
        &[],
    );
}
