//! Which crate may depend on which.

use std::collections::BTreeMap;

use crate::rule::{assert_rule, assert_with_exceptions, broken};
use crate::workspace::{lines_with, package, packages};

/// Every arrow of the house: a crate and those of ours that it names. An arrow that is not drawn here is not allowed, and
/// one that is drawn and not used is to be removed.
const ARROWS: &[(&str, &[&str])] = &[
    // Pure: numbers, ordered maps and arguments.
    ("spec", &[]),
    ("plan", &["spec"]),
    ("control", &["spec"]),
    ("sim", &["control", "spec"]),
    // Each knows one thing of the outside.
    ("runfile", &["fuzz", "spec"]),
    ("certs", &[]),
    ("wire", &["certs", "control", "fuzz", "spec"]),
    ("journal", &["control", "plan", "spec"]),
    ("metrics", &["spec"]),
    ("pictures", &["spec"]),
    ("figures", &[]),
    ("objects", &["fuzz", "spec"]),
    ("collective", &["fuzz", "nccl-double", "spec"]),
    ("data", &["fuzz", "objects", "pictures", "plan", "spec"]),
    ("snapshots", &["fuzz", "objects", "spec"]),
    ("train", &["pictures", "spec"]),
    ("evaluate", &["data", "metrics", "spec", "train"]),
    ("console", &["spec", "wire"]),
    ("launch", &["certs", "console", "data", "runfile", "snapshots", "spec"]),
    ("observe", &["journal", "launch", "runfile", "snapshots", "spec"]),
    ("top", &["console", "observe", "pictures", "spec"]),
    // The binaries.
    (
        "coordinator",
        &[
            "certs",
            "console",
            "control",
            "data",
            "journal",
            "launch",
            "observe",
            "outside",
            "plan",
            "runfile",
            "snapshots",
            "spec",
            "wire",
        ],
    ),
    (
        "worker",
        &[
            "certs",
            "collective",
            "console",
            "control",
            "data",
            "launch",
            "plan",
            "runfile",
            "snapshots",
            "spec",
            "train",
            "wire",
        ],
    ),
    (
        "cli",
        &[
            "certs",
            "console",
            "data",
            "evaluate",
            "figures",
            "journal",
            "launch",
            "metrics",
            "observe",
            "pictures",
            "runfile",
            "snapshots",
            "spec",
            "top",
            "train",
            "wire",
        ],
    ),
];

/// Crates that may see libtorch.
const WITH_LIBTORCH: [&str; 4] = ["lsgan-train", "lsgan-evaluate", "lsgan-worker", "lsgan-cli"];

#[test]
fn every_arrow_is_drawn_and_every_drawn_arrow_is_needed() {
    let drawn: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let shipped = packages().iter().filter(|package| package.is_shipped());
    let found: Vec<(String, String)> = shipped
        .flat_map(|package| {
            let name = package.name.trim_start_matches("lsgan-");
            assert!(drawn.contains_key(name), "{name} has no line in this test's table of arrows: draw it");
            package.arrows().into_iter().map(move |to| format!("{name} -> {to}"))
        })
        .map(|arrow| (arrow.clone(), format!("{arrow} is not drawn")))
        .collect();
    let drawn: Vec<String> =
        ARROWS.iter().flat_map(|(from, to)| to.iter().map(move |to| format!("{from} -> {to}"))).collect();
    let drawn: Vec<(&str, &str)> = drawn.iter().map(|arrow| (arrow.as_str(), "drawn")).collect();
    assert_rule(
        "Crates depend on each other as this test draws it (ARCHITECTURE.md, The house). Move what both need down, or \
         what needs more up; a new arrow is a decision about the house.",
        broken(&found, &drawn),
    );
}

#[test]
fn only_train_evaluate_worker_and_cli_see_libtorch() {
    for package in packages().iter().filter(|package| !WITH_LIBTORCH.contains(&package.name.as_str())) {
        let declared = package.declared.iter().map(|(name, _)| name);
        let seen =
            declared.chain(&package.needs).filter(|name| ["tch", "torch-sys"].contains(&name.as_str()));
        let broken = seen.map(|name| format!("{} sees {name}", package.name));
        assert_rule(
            "Only train, evaluate, worker and cli see libtorch; above all the coordinator never does. Say it with \
             slices and types of spec, and let the worker turn them into tensors.",
            broken,
        );
    }
    let worker = package("lsgan-worker");
    assert!(worker.needs.contains("tch"), "this test sees what a package needs: {:?}", worker.needs);
}

/// Crates that print or are printed to by all binaries, so that they must build in no time.
#[test]
fn console_needs_no_store_and_no_decoder() {
    let needs = &package("lsgan-console").needs;
    let broken =
        ["object_store", "image", "zune-jpeg", "rusqlite"].into_iter().filter(|name| needs.contains(*name));
    let broken = broken.map(|name| format!("console needs {name}"));
    assert_rule(
        "console only prints. What opens data sets and stores for all binaries is in launch.",
        broken,
    );
}

/// Everything about connecting (time-outs, keep-alive, TLS) is in `wire::dial` and `wire::connect`.
#[test]
fn the_coordinator_is_dialled_in_one_place() {
    let words = ["coordinator_client", "CoordinatorClient", "transport::Endpoint", "Endpoint::"];
    let mut found = Vec::new();
    for package in packages() {
        found.extend(lines_with(package, |code| {
            words.iter().find(|word| code.contains(**word)).map(|word| (*word).to_owned())
        }));
    }
    assert_with_exceptions(
        "Only wire::dial connects to a coordinator. Call it.",
        &found,
        &[
            ("wire/src/dial.rs", "the place itself"),
            ("coordinator/src/spans/settings.rs", "a collector of spans, which is another program"),
        ],
    );
}
