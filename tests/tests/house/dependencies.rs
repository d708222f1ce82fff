//! Dependencies that are not ours.

use std::collections::BTreeSet;

use lsgan_tests::binaries::root;

use crate::rule::assert_rule;
use crate::workspace::{packages, read, workspace_dependencies};

#[test]
fn every_dependency_is_pinned() {
    let unpinned = packages().iter().flat_map(|package| {
        let loose =
            package.declared.iter().filter(|(_, req)| req.as_ref().is_some_and(|req| !req.starts_with('=')));
        loose.map(|(name, req)| {
            format!("{} wants {name} {}", package.name, req.as_deref().unwrap_or_default())
        })
    });
    let in_table = workspace_dependencies()
        .into_iter()
        .filter(|(_, what)| !what.contains("path =") && !what.contains("\"="));
    let broken = unpinned.chain(in_table.map(|(name, what)| format!("Cargo.toml: {name} = {what}")));
    assert_rule(
        "Dependencies are pinned with `=` in [workspace.dependencies], and crates say `name.workspace = true`: other \
         versions may compute other bits.",
        broken,
    );
}

#[test]
fn every_dependency_is_used_and_explained() {
    let used: BTreeSet<&str> = packages()
        .iter()
        .flat_map(|package| package.declared.iter().map(|(name, _)| name.as_str()))
        .collect();
    let architecture = read(&root().join("ARCHITECTURE.md"));
    let (_, section) =
        architecture.split_once("## Dependencies").expect("ARCHITECTURE.md has `## Dependencies`");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let explained: BTreeSet<&str> = rows
        .flat_map(|cell| cell.split(" (").next().unwrap_or_default().split(", "))
        .map(str::trim)
        .collect();

    let theirs: Vec<_> =
        workspace_dependencies().into_iter().filter(|(_, what)| !what.contains("path =")).collect();
    assert!(theirs.len() > 30, "the table is read: {theirs:?}");
    let unused = theirs.iter().filter(|(name, _)| !used.contains(name.as_str()));
    let broken = unused.map(|(name, _)| name.clone());
    assert_rule("Nobody uses these. Take them out of [workspace.dependencies].", broken);
    let silent = theirs.iter().filter(|(name, _)| !explained.contains(name.as_str()));
    let broken = silent.map(|(name, _)| name.clone());
    assert_rule(
        "ARCHITECTURE.md's table of dependencies has a row for each: what for, why this one. Add these.",
        broken,
    );
    let known: BTreeSet<&str> = theirs.iter().map(|(name, _)| name.as_str()).collect();
    let titles = ["crate", "---"];
    let gone = explained.iter().filter(|name| !known.contains(**name) && !titles.contains(*name));
    let broken = gone.map(|name| (*name).to_owned());
    assert_rule("ARCHITECTURE.md explains what is no dependency any more. Take these out.", broken);
}
