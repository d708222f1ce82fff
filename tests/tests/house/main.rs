//! The rules of the house, over `cargo metadata` and the sources. ARCHITECTURE.md says what they are for; a failure
//! names the rule and what to do instead.
//!
//! - `arrows`: which crate may depend on which. `sources`: what a crate's code does not contain. `sizes`: how long files
//!   may be. `dependencies`: what is not ours.
//! - `security`: who may have unsafe code, and who may delete.
//! - `rule`: exceptions, each of which must be needed. `workspace`: what cargo and the sources show.

mod arrows;
mod dependencies;
mod rule;
mod security;
mod sizes;
mod sources;
mod workspace;

use rule::assert_rule;
use workspace::{packages, read};

#[test]
fn a_package_is_named_after_its_folder() {
    let broken = packages().iter().filter(|package| {
        let folder = package.dir.file_name().and_then(|name| name.to_str()).expect("folders have names");
        package.name != format!("lsgan-{folder}")
    });
    let broken = broken.map(|package| format!("{} in {}", package.name, package.dir.display()));
    assert_rule("A crate is called lsgan-<folder>. Rename it.", broken);
    assert!(packages().len() >= 13, "all of the house is there: {}", packages().len());
}

#[test]
fn what_is_built_without_tests_has_none() {
    let untested = packages().iter().flat_map(|package| &package.untested);
    let broken = untested
        .clone()
        .filter(|file| ["#[test]", "#[cfg(test)]", "::test]"].iter().any(|it| read(file).contains(it)));
    let broken = broken.map(|file| file.display().to_string());
    assert_rule(
        "Cargo.toml says `test = false` of these, so that their tests never run. Remove that line there.",
        broken,
    );
    assert!(untested.count() > 5, "the binaries are found");
}

#[test]
fn every_crate_opens_with_its_map() {
    let broken = packages().iter().map(|package| package.dir.join("src/lib.rs"));
    let broken = broken.filter(|file| !read(file).starts_with("//! "));
    let broken = broken.map(|file| file.display().to_string());
    assert_rule(
        "lib.rs begins with the map of its crate: `//! What is here, what is not, where to start.`",
        broken,
    );
}
