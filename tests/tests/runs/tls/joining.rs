//! Workers without a certificate, that have a join token.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lsgan_tests::binaries::binary;
use lsgan_tests::disturb::{assert_undisturbed_weights, finish};
use lsgan_tests::lab::JOIN_TOKEN;
use lsgan_tests::{Coordinator, Lab, Process};
use rusqlite::Connection;

use super::{certificates, coordinator, text, worker};

/// Long enough for a coordinator to be killed and started again meanwhile.
const LONGER: [&str; 2] = ["--fault-slowness", "5"];

/// Makes a token as an operator does.
fn create(lab: &Lab, coordinator: &Coordinator, certs: &Path, more: &[&str]) -> String {
    let tls = text(certs);
    let create = ["token", "create", "--coordinator", &coordinator.address, "--tls", &tls];
    lab.lsgan([&create[..], more].concat()).succeeds().out.trim().to_owned()
}

fn file(lab: &Lab, name: &str, token: &str) -> PathBuf {
    let path = lab.path(name);
    fs::write(&path, format!("{token}\n")).expect("a file can be written");
    path
}

/// An hour passes for the tokens in a journal that no coordinator has.
fn expire_all(lab: &Lab) {
    let db = Connection::open(lab.run_dir().join("journal.sqlite")).expect("there is a journal");
    let expires = "json_extract(value, '$[0].expires_ms') - 3600000";
    let earlier = format!(
        "update meta set value = json_set(value, '$[0].expires_ms', {expires}) where key = 'join_tokens'"
    );
    assert_eq!(db.execute(&earlier, []).expect("it has facts"), 1);
}

/// A worker that has the token in its environment.
fn holder(lab: &Lab, address: &str, token: &str, more: &[&str]) -> Process {
    let mut command = Command::new(binary("worker"));
    command.args(["--coordinator", address, "--peer-listen", "127.0.0.1:0", "--name", "holder"]).args(more);
    command.env(JOIN_TOKEN, token);
    lab.start_command("holder", command)
}

fn id_and_secret(token: &str) -> (&str, &str) {
    let (id, rest) = token.split_once('.').expect("it has three parts");
    (id, rest.split_once('.').expect("it has three parts").0)
}

/// One worker has a certificate and one a token. The coordinator is killed and started again meanwhile, and knows the token from
/// its journal, which has no secret. The token has expired by then, which is nothing to a worker that is in.
#[test]
fn a_node_with_a_join_token_trains_without_a_certificate() {
    let lab = Lab::new();
    let certs = certificates(&lab, "certs");
    let tls = text(&certs);
    let mut first = coordinator(&lab, &tls, &certs.join("operator"), 2);
    let token = create(&lab, &first, &certs, &["--ttl", "1h"]);
    let path = text(&file(&lab, "token", &token));
    let mut workers = vec![worker(&lab, "a", &first, &tls, &LONGER)];
    let node =
        ["node", "--coordinator", &first.address, "--join-token", &path, "--workers", "1", "--name", "b"];
    workers.push(lab.lsgan(node));
    first.client.wait_for_step(1);
    let listen = first.kill().replace("https://", "");
    expire_all(&lab);
    let mut again = lab.start_coordinator(&["--quiet", "--listen", &listen, "--tls", &tls]);
    finish(&mut again, workers);
    assert_undisturbed_weights(&lab);
    assert!(lab.journal().generations().iter().any(|generation| generation.members == 2));
    let (_, secret) = id_and_secret(&token);
    for name in ["journal.sqlite", "journal.sqlite-wal"] {
        let journal = fs::read(lab.run_dir().join(name)).unwrap_or_default();
        let has = journal.windows(secret.len()).any(|bytes| bytes == secret.as_bytes());
        assert!(!has, "{name} has the secret of a token");
    }
}

#[test]
fn a_join_token_that_is_wrong_revoked_or_expired_lets_nobody_in_and_says_so() {
    let lab = Lab::new();
    let certs = certificates(&lab, "certs");
    let tls = text(&certs);
    let mut coordinator = coordinator(&lab, &tls, &certs.join("operator"), 1);
    let address = coordinator.address.clone();
    // Nothing is said to who has no certificate while the run has no token.
    let soon = ["--give-up-after", "1s"];
    let made_elsewhere = {
        let other = Lab::new();
        let elsewhere = super::coordinator(&other, &tls, &certs.join("operator"), 1);
        create(&other, &elsewhere, &certs, &[])
    };
    holder(&lab, &address, &made_elsewhere, &soon)
        .fails(1, &["takes nobody without a certificate", "A join token"]);

    let token = create(&lab, &coordinator, &certs, &[]);
    let (id, secret) = id_and_secret(&token);
    let refused = |token: &str, words: &[&str]| {
        let ended = holder(&lab, &address, token, &[]).fails(2, words);
        assert!(!ended.err.contains(id_and_secret(token).1), "a secret is on standard error: {ended}");
    };
    refused(&made_elsewhere, &["is none of this run's", "lsgan token create"]);
    refused(&token.replace(secret, &"0".repeat(secret.len())), &["none of this run's", id]);
    let expired = create(&lab, &coordinator, &certs, &["--ttl", "1ms"]);
    refused(&expired, &["has expired", id_and_secret(&expired).0]);

    let of = |command: &[&str]| {
        lab.lsgan([&["token"], command, &["--coordinator", &address, "--tls", &tls]].concat())
    };
    of(&["list"]).succeeds().expect_out(&[id, "valid until it is revoked", "expired"]);
    of(&["revoke", id]).succeeds().expect_out(&[id, "lets nobody in any more"]);
    refused(&token, &["was revoked", id]);
    of(&["revoke", "00000000"]).fails(1, &["no join token of that ID", id]);

    let viewer = text(&certs.join("viewer"));
    lab.lsgan(["token", "create", "--coordinator", &address, "--tls", &viewer])
        .fails(1, &["`CreateToken` takes an operator's certificate", "a viewer's"]);
    let only = worker(&lab, "a", &coordinator, &tls, &[]);
    finish(&mut coordinator.process, vec![only]);
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_join_token_is_shown_to_its_own_coordinator_alone() {
    let lab = Lab::new();
    let (certs, others) = (certificates(&lab, "certs"), certificates(&lab, "others"));
    let ours = coordinator(&lab, &text(&certs), &certs.join("operator"), 1);
    let token = create(&lab, &ours, &certs, &[]);
    let other = Lab::new();
    let theirs = coordinator(&other, &text(&others), &others.join("operator"), 1);
    let soon = ["--give-up-after", "1s"];
    holder(&lab, &theirs.address, &token, &soon)
        .fails(1, &["not of the authority that the join token names", "lsgan token create"]);
    let plain = ours.address.replace("https", "http");
    holder(&lab, &plain, &token, &[]).fails(2, &["no encryption", "a join token is given"]);
    let tls = text(&certs);
    holder(&lab, &ours.address, &token, &["--tls", &tls]).fails(2, &["--tls", JOIN_TOKEN, "one of both"]);
    holder(&lab, &ours.address, "garbage", &[]).fails(2, &[JOIN_TOKEN, "it is no join token"]);
    let path = text(&lab.path("nowhere"));
    let mut absent = lab.worker_with("absent", &ours.address, &["--join-token", &path]);
    absent.fails(2, &["--join-token", "nowhere"]);
    let open = Lab::new();
    let without_tls = open.coordinator(&[]);
    lab.lsgan(["token", "create", "--coordinator", &without_tls.address]).fails(1, &["has no TLS", "--tls"]);
}
