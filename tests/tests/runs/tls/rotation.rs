//! Certificates that take each other's place while a run goes on.

use std::fs;
use std::path::Path;

use lsgan_tests::Lab;
use lsgan_tests::disturb::{assert_undisturbed_weights, finish, wait_for_members};

use super::{SLOWLY, certificates, coordinator, folder, text, worker};

/// Exchanges what a process was given, file by file, as an operator does.
fn give(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for name in ["ca.crt", "tls.key", "tls.crt"] {
        let beside = to.join(format!("{name}.new"));
        fs::copy(from.join(name), &beside).expect("a file can be copied");
        fs::rename(&beside, to.join(name)).expect("a file can be renamed");
    }
}

/// The coordinator's certificate and the authority itself are exchanged: it is not started again, its workers stay, a worker
/// with a certificate of the new authority joins, and one of the old is not believed any more.
#[test]
fn a_coordinator_takes_another_authority_without_a_restart() {
    let lab = Lab::new();
    let (old, new) = (certificates(&lab, "old"), certificates(&lab, "new"));
    let (mine, operators) = (lab.path("coordinator"), lab.path("operator"));
    give(&old.join("coordinator"), &mine);
    give(&old.join("operator"), &operators);
    let mut coordinator = coordinator(&lab, &text(&mine), &operators, 1);
    let first = worker(&lab, "a", &coordinator, &folder(&old, "worker"), &SLOWLY);
    coordinator.client.wait_for_step(1);

    give(&new.join("coordinator"), &mine);
    give(&new.join("operator"), &operators);
    let status = ["status", "--coordinator", &coordinator.address, "--tls"];
    lab.lsgan([&status[..], &[&folder(&old, "operator")]].concat()).fails(1, &["of another authority"]);
    lab.lsgan([&status[..], &[&folder(&new, "operator")]].concat()).succeeds();
    let second = worker(&lab, "b", &coordinator, &folder(&new, "worker"), &SLOWLY);
    wait_for_members(&lab, 2);

    finish(&mut coordinator.process, vec![first, second]);
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_renewed_certificate_is_read_by_who_has_it() {
    let lab = Lab::new();
    let certs = certificates(&lab, "certs");
    let tls = text(&certs);
    let mut coordinator = coordinator(&lab, &tls, &certs.join("operator"), 1);
    let only = worker(&lab, "a", &coordinator, &tls, &SLOWLY);
    coordinator.client.wait_for_step(1);
    let files = ["coordinator", "worker"].map(|role| format!("{}/tls.crt", folder(&certs, role)));
    lab.lsgan([&["certs", "renew", "--days", "700"][..], &[&files[0], &files[1]]].concat()).succeeds();
    lab.lsgan(["status", "--coordinator", &coordinator.address, "--tls", &tls]).succeeds();
    coordinator.process.wait_for_words("the certificate was read again");
    finish(&mut coordinator.process, vec![only]);
    assert_undisturbed_weights(&lab);
}
