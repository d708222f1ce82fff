//! What could be turned against a user.

use lsgan_tests::binaries::root;

use crate::rule::{Exception, assert_rule, assert_with_exceptions};
use crate::workspace::{Package, lines_with, packages, place, read, sources};

/// The files that the compiler begins with: a crate's library and its programs.
fn roots(package: &Package) -> Vec<std::path::PathBuf> {
    let src = package.dir.join("src");
    let is_root = |file: &std::path::PathBuf| {
        [src.join("lib.rs"), src.join("main.rs")].contains(file) || file.parent() == Some(&src.join("bin"))
    };
    sources(&src).into_iter().filter(is_root).collect()
}

const MAY_BE_UNSAFE: &[Exception] = &[
    ("cli/src/lib.rs", "asks the system to end a child with its parent"),
    ("collective/src/lib.rs", "NCCL and CUDA"),
    ("console/src/lib.rs", "_exit and sigaction"),
    ("train/src/lib.rs", "libtorch beyond its bindings"),
    ("worker/src/lib.rs", "sums in a GPU's memory"),
    ("worker/src/main.rs", "sets variables before there are threads"),
    ("tests/src/lib.rs", "asks the system to end a child with its parent"),
    ("tests/cuda-double/src/lib.rs", "is called as C"),
    ("tests/nccl-double/src/lib.rs", "is called as C"),
];

#[test]
fn a_crate_without_unsafe_code_forbids_it() {
    let forbids = |text: &str| {
        // The tests of `pictures` choose instructions of the CPU.
        let words = ["#![forbid(unsafe_code)]", "#![cfg_attr(not(test), forbid(unsafe_code))]"];
        text.lines().any(|line| words.contains(&line))
    };
    let open = packages().iter().flat_map(roots).filter(|root| !forbids(&read(root)));
    let open: Vec<_> = open.map(|root| (place(&root), place(&root))).collect();
    assert!(packages().iter().flat_map(roots).count() > open.len() + 10, "the roots are found: {open:?}");
    assert_with_exceptions(
        "lib.rs and main.rs say `#![forbid(unsafe_code)]`: what is read from others is read by code that cannot touch other \
         memory. Leave unsafe code to the crates that call C.",
        &open,
        MAY_BE_UNSAFE,
    );
}

const MAY_DELETE: &[Exception] = &[
    ("snapshots/src/links.rs", "a snapshot's folder, after it has looked for links on the way to it"),
    ("snapshots/src/keep.rs", "temporary files right in a snapshot's folder that no link leads to"),
    ("snapshots/src/lock.rs", "an empty directory that it has just made"),
    (
        "coordinator/src/copy/restore.rs",
        "what an earlier start has brought back of a journal and not finished, by its own name",
    ),
    ("coordinator/src/grids.rs", "old grids of samples by their names, right in a folder that is no link"),
    ("coordinator/src/copy/compact.rs", "the file that it has made of the journal, by its own name"),
    ("data/src/fresh.rs", "a file by its own name: of a link, the link"),
    ("data/src/tools/shard.rs", "the file that this process has made and not finished"),
    ("cli/src/picture.rs", "the empty file with which it tries whether it may write"),
];

/// Retention once emptied a folder that a link led to.
#[test]
fn only_few_files_delete_and_they_follow_no_link() {
    let words = ["remove_dir_all", "remove_dir(", "remove_file", "unlink("];
    let deletes = |code: &str| words.iter().any(|word| code.contains(word)).then(|| code.trim().to_owned());
    let shipped = packages().iter().filter(|package| package.is_shipped());
    let found: Vec<_> = shipped.flat_map(|package| lines_with(package, deletes)).collect();
    assert_with_exceptions(
        "Files and folders are deleted in few places, which do not follow links: people link what they archive on another \
         disk. Use `lsgan_snapshots::Store` for snapshots, `lsgan_data`'s `fresh` for a file that takes another's place.",
        &found,
        MAY_DELETE,
    );
}

/// What SECURITY.md says holds is held by tests, which docs/attacks.md names: a file, then tests in it.
#[test]
fn every_test_that_the_table_of_attacks_names_is_there() {
    let page = read(&root().join("docs/attacks.md"));
    let (mut missing, mut named) = (Vec::new(), 0);
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let last = row.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap_or_default();
        let (mut file, mut text) = (String::new(), String::new());
        // Every second piece stands between backticks.
        for word in last.split('`').skip(1).step_by(2) {
            if word.contains('/') {
                file = word.to_owned();
                text = read(&root().join(word));
            } else if text.contains(&format!("fn {word}(")) {
                named += 1;
            } else {
                missing.push(format!("{file}: there is no test `{word}`"));
            }
        }
    }
    assert_rule("A test that docs/attacks.md names is there. Name the one that took its place.", missing);
    assert!(named > 80, "{named} tests are named: the table is read");
}
