//! How long files and functions may be.

use std::fs;

use crate::rule::{Exception, assert_with_exceptions};
use crate::workspace::{packages, place, read, sources};

/// The most lines of a file. A function has at most 60 (clippy's `too_many_lines`, clippy.toml), but for flat matches and
/// tables, which say so with `#[expect]`.
const LINES_MAX: usize = 450;

/// Files that are still longer. This list only shrinks.
const LONGER: &[Exception<'_>] = &[
    ("sim/src/faults.rs", "a table of faults"),
    ("sim/src/worker.rs", "the process around a simulated worker"),
    ("sim/src/world.rs", "to be split"),
];

#[test]
fn no_file_is_longer_than_450_lines() {
    let mut found = Vec::new();
    for package in packages() {
        for folder in ["src", "tests", "examples", "benches"].map(|name| package.dir.join(name)) {
            if !fs::exists(&folder).expect("a folder can be looked for") {
                continue;
            }
            for file in sources(&folder) {
                let (lines, place) = (read(&file).lines().count(), place(&file));
                if lines > LINES_MAX {
                    found.push((place.clone(), format!("{place}: {lines} lines")));
                }
            }
        }
    }
    assert_with_exceptions(
        "A file has at most 450 lines, better 300. Ask which thing in it deserves a name, and give it a file.",
        &found,
        LONGER,
    );
}
