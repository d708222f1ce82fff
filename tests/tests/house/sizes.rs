//! How long files and functions may be.

use std::fs;

use crate::rule::assert_rule;
use crate::workspace::{packages, place, read, sources};

/// The most lines of a file. A function has at most 60 (clippy's `too_many_lines`, clippy.toml), but for flat matches and
/// tables, which say so with `#[expect]`.
const LINES_MAX: usize = 450;

#[test]
fn no_file_is_longer_than_450_lines() {
    let mut broken = Vec::new();
    for package in packages() {
        for folder in ["src", "tests", "examples", "benches"].map(|name| package.dir.join(name)) {
            if !fs::exists(&folder).expect("a folder can be looked for") {
                continue;
            }
            for file in sources(&folder) {
                let lines = read(&file).lines().count();
                if lines > LINES_MAX {
                    broken.push(format!("{}: {lines} lines", place(&file)));
                }
            }
        }
    }
    assert_rule(
        "A file has at most 450 lines, better 300. Ask which thing in it deserves a name, and give it a file.",
        broken,
    );
}
