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

use std::path::PathBuf;

use rule::assert_rule;
use workspace::{packages, read, sources};

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

/// A file that no program names is not compiled, and its tests never run.
#[test]
fn every_file_of_tests_is_in_a_program() {
    let folders = packages().iter().map(|package| package.dir.join("tests")).filter(|tests| tests.is_dir());
    let (mut found, mut broken) = (0, Vec::new());
    for tests in folders {
        for file in sources(&tests) {
            let is_folder = file.ends_with("mod.rs");
            let module =
                if is_folder { file.parent().expect("a file is in a folder") } else { file.as_path() };
            let folder = module.parent().expect("it is below the tests' folder");
            // Right in that folder are programs, and modules that several of them have.
            if folder == tests || file.ends_with("main.rs") {
                continue;
            }
            let name = module.file_stem().and_then(|name| name.to_str()).expect("files have names");
            let owners = ["main.rs", "mod.rs"].map(|owner| folder.join(owner));
            let names = |owner: &PathBuf| read(owner).contains(&format!("mod {name};"));
            found += 1;
            if !owners.iter().filter(|owner| owner.is_file()).any(names) {
                broken.push(file.display().to_string());
            }
        }
    }
    assert_rule(
        "No main.rs beside these has `mod NAME;` for them, so that their tests never run. Add it.",
        broken,
    );
    assert!(found > 30, "the files are found: {found}");
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
