//! Who is refused.

use lsgan_certs::Role;
use lsgan_certs::authority::{Authority, Wanted};
use lsgan_tests::Lab;
use lsgan_tests::disturb::{assert_undisturbed_weights, finish};

use super::{SLOWLY, certificates, coordinator, folder, text, worker};

/// A run goes on while processes with all kinds of wrong certificates want something of it.
#[test]
fn who_has_no_right_certificate_is_refused_in_a_sentence_and_disturbs_nothing() {
    let lab = Lab::new();
    let (certs, others) = (certificates(&lab, "certs"), certificates(&lab, "others"));
    let expired = lab.path("expired");
    let past = Wanted { names: Vec::new(), days: -1 };
    Authority::open(&certs)
        .and_then(|ca| ca.issue(Role::Operator, &past, Some(&expired)))
        .expect("a new folder");

    let tls = text(&certs);
    let mut coordinator = coordinator(&lab, &tls, &certs.join("operator"), 2);
    let workers = ["a", "b"].map(|name| worker(&lab, name, &coordinator, &tls, &SLOWLY));
    coordinator.client.wait_for_step(1);

    let (address, plain) = (coordinator.address.clone(), coordinator.address.replace("https", "http"));
    let viewer = folder(&certs, "viewer");
    let refused = |command: &str, address: &str, tls: Option<&str>, code: i32, words: &[&str]| {
        let tls = tls.map_or(vec![], |tls| vec!["--tls", tls]);
        lab.lsgan([&[command, "--coordinator", address], &tls[..]].concat()).fails(code, words);
    };
    refused(
        "stop",
        &address,
        Some(&text(&others)),
        1,
        &["of another authority than this process knows", "ca.crt"],
    );
    refused(
        "stop",
        &address,
        Some(&text(&expired)),
        2,
        &["expired/tls.crt", "it has expired", "lsgan certs renew"],
    );
    refused("stop", &address, None, 2, &["speaks TLS", "needs a certificate", "--tls"]);
    refused("stop", &plain, None, 1, &["what listens there speaks TLS", "https://"]);
    refused("stop", &plain, Some(&tls), 2, &["no encryption", "https://"]);
    refused("pause", &address, Some(&viewer), 1, &["`Pause` takes an operator's certificate", "a viewer's"]);
    refused("pause", &address, Some(&folder(&certs, "worker")), 1, &["and this process has a worker's"]);
    refused("profile", &address, Some(&folder(&certs, "worker")), 1, &["and this process has a worker's"]);
    lab.lsgan(["status", "--coordinator", &address, "--tls", &viewer]).succeeds();
    lab.lsgan(["profile", "--coordinator", &address, "--tls", &viewer, "--steps", "2"]).succeeds();
    lab.lsgan(["metrics", "--run", &address, "--tls", &viewer, "--names", "loss_d"]).succeeds();
    // Who may look may not write scores.
    coordinator.client.wait_until("there is a snapshot", |status| status.snapshot_step.is_some());
    let eval = |tls: &str| {
        let few = ["--metrics", "kid", "--samples", "150", "--real", "300"];
        lab.lsgan([&["eval", "--coordinator", &address, "--tls", tls], &few[..]].concat())
    };
    eval(&viewer).fails(1, &["`KeepScore` takes an operator's certificate", "a viewer's"]);
    assert!(!lab.run_dir().join("scores.jsonl").exists());
    eval(&tls).succeeds();
    assert!(lab.run_dir().join("scores.jsonl").exists());

    // It knows this coordinator's authority, and is known by none.
    let mixed = [certs.join("ca.crt"), others.join("operator/tls.crt"), others.join("operator/tls.key")];
    let mixed = mixed.map(|path| text(&path)).join(",");
    refused("stop", &address, Some(&mixed), 1, &["the coordinator refuses the certificate of this process"]);

    let intrude = |name: &str, tls: &str, more: &[&str]| worker(&lab, name, &coordinator, tls, more);
    let words = ["`DescribeRun` takes a worker's certificate", "an operator's"];
    intrude("operator", &folder(&certs, "operator"), &[]).fails(2, &words);
    let soon = ["--give-up-after", "1s"];
    intrude("stranger", &text(&others), &soon).fails(1, &["of another authority than this process knows"]);

    finish(&mut coordinator.process, workers.into());
    assert_undisturbed_weights(&lab);
    assert_eq!(lab.journal().newest().generation, 1, "nobody disturbed the first generation");
}

#[test]
fn a_client_with_a_certificate_is_told_that_a_coordinator_speaks_no_tls() {
    let lab = Lab::new();
    let tls = text(&certificates(&lab, "certs"));
    let coordinator = lab.coordinator(&[]);
    let address = coordinator.address.replace("http", "https");
    let status = ["status", "--coordinator", &address, "--tls", &tls];
    lab.lsgan(status).fails(1, &["what listens there speaks no TLS", "start the coordinator with --tls"]);
}
