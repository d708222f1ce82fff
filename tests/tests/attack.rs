//! A few seconds of an attack on all ports of a run; `make attack` goes on for minutes.

use std::time::Duration;

use lsgan_tests::attack::{Plan, Report, run};

#[track_caller]
fn attacked(tls: bool) -> Report {
    let report = run(Plan { attacked_for: Duration::from_secs(6), tls, workers: 2 });
    println!("{report}");
    let kinds = report.tally.done.len();
    // Some need root, and half handshakes end after 10 s.
    assert!(kinds >= 9, "attackers of other kinds did nothing: {report}");
    let ports = [
        "half requests to the page",
        "half handshakes at the health port",
        "requests to the page with huge headers",
        "hostile requests to the page",
        "readers of the page that do not read",
        "connections that watch the health port without end",
    ];
    for what in ports {
        assert!(report.tally.done.contains_key(what), "no attacker made {what}: {report}");
    }
    report
}

#[test]
fn a_run_that_everybody_attacks_ends_with_the_weights_of_an_undisturbed_one() {
    let report = attacked(false);
    let streams = report.tally.done["streams that say everything"];
    assert!(streams >= 200, "only {streams} streams were opened: {report}");
}

#[test]
fn a_run_with_tls_is_attacked_by_who_has_certificates_and_ends_with_the_weights_of_an_undisturbed_one() {
    let report = attacked(true);
    let told = report.tally.done["calls that a viewer may not make"];
    assert!(told >= 8, "a viewer tried all calls: {report}");
}
