//! Runs whose processes have certificates: they end with the weights of those that have none, and who has no right
//! certificate is refused in a sentence and disturbs nothing.

mod joining;
mod listening;
mod page;
mod refused;
mod rotation;
mod sweep;

use std::path::{Path, PathBuf};

use lsgan_certs::authority::{Authority, Wanted};
use lsgan_certs::{Files, Identity, Role};
use lsgan_tests::disturb::{assert_undisturbed_weights, finish};
use lsgan_tests::{Coordinator, Lab, Process};

/// Long enough for all that happens to it meanwhile, and short enough to end in time on a machine that does much else: what else
/// runs there is multiplied too.
const SLOWLY: [&str; 2] = ["--fault-slowness", "8"];

/// An authority in a lab, with a folder for each role.
fn certificates(lab: &Lab, name: &str) -> PathBuf {
    let dir = lab.path(name);
    lab.lsgan(["certs", "init", &text(&dir)]).succeeds();
    dir
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// What `--tls` takes for a folder of a role.
fn folder(certificates: &Path, role: &str) -> String {
    text(&certificates.join(role))
}

/// A coordinator with TLS that waits for so many workers.
fn coordinator(lab: &Lab, tls: &str, operator: &Path, workers: u32) -> Coordinator {
    let listen = format!("{}:0", lab.host());
    let more = ["--quiet", "--listen", &listen, "--tls", tls, "--expect-workers", &workers.to_string()];
    let operator = Identity::open(Files::in_folder(operator)).expect("it was made");
    let coordinator = Lab::listening_as(lab.start_coordinator(&more), Some(operator));
    assert!(coordinator.address.starts_with("https://"), "{}", coordinator.address);
    coordinator
}

fn worker(lab: &Lab, name: &str, coordinator: &Coordinator, tls: &str, more: &[&str]) -> Process {
    lab.worker_with(name, &coordinator.address, &[&["--tls", tls], more].concat())
}

#[test]
fn a_run_with_tls_ends_with_the_weights_of_one_without() {
    let lab = Lab::new();
    let certs = certificates(&lab, "certs");
    let tls = text(&certs);
    let mut coordinator = coordinator(&lab, &tls, &certs.join("operator"), 2);
    let workers = ["a", "b"].map(|name| worker(&lab, name, &coordinator, &tls, &[]));
    coordinator.client.wait_for_step(1);
    let run = text(&lab.run_dir());
    let status = lab.lsgan(["status", "--json", "--run", &run, "--tls", &tls]).succeeds().json();
    assert_eq!(status["live"], true, "{status:#}");
    finish(&mut coordinator.process, workers.into());
    assert_undisturbed_weights(&lab);
}

#[test]
fn one_command_with_tls_ends_with_the_weights_of_one_without() {
    let lab = Lab::new();
    let tls = text(&certificates(&lab, "certs"));
    lab.up(2, &["--tls", &tls]).succeeds().expect_err(&["the coordinator listens on https://127.0.0.1:"]);
    assert_undisturbed_weights(&lab);
}

#[test]
fn certificates_are_made_once_and_their_mistakes_are_told() {
    let lab = Lab::new();
    let certs = certificates(&lab, "certs");
    let dir = text(&certs);
    lab.lsgan(["certs", "init", &dir]).fails(2, &["ca.crt is there, and is not overwritten"]);
    lab.lsgan(["certs", "issue", "viewer", "--ca", &dir]).fails(2, &["viewer/ca.crt is there", "--out"]);
    let out = text(&lab.path("anna"));
    let issue = ["certs", "issue", "operator", "--ca", &dir, "--out", &out, "--days", "7"];
    lab.lsgan(issue).succeeds().expect_out(&["the certificate of a new operator is in", "anna"]);
    lab.lsgan(["certs", "issue", "root", "--ca", &dir])
        .fails(2, &["coordinator, worker, operator or viewer"]);
    lab.lsgan(["certs", "issue", "viewer", "--ca", "nowhere"]).fails(1, &["nowhere/ca.crt"]);
    lab.lsgan(["certs", "renew", &format!("{out}/tls.crt"), "--ca", &dir])
        .succeeds()
        .expect_out(&["is valid for 7 days"]);
    let named = certs.join("named");
    Authority::open(&certs)
        .and_then(|ca| {
            let names = vec!["elsewhere".parse().expect("a name")];
            ca.issue(Role::Coordinator, &Wanted { names, days: 1 }, Some(&named))
        })
        .expect("a new folder");
    let coordinator = coordinator(&lab, &text(&named), &certs.join("operator"), 1);
    let status = ["status", "--coordinator", &coordinator.address, "--tls", &dir];
    lab.lsgan(status).fails(1, &["names hosts, and the one in the address is none of them"]);
}
