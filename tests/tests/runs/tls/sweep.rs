//! Workers of other hosts in a sweep with TLS.

use lsgan_tests::Lab;
use lsgan_tests::binaries::root;
use lsgan_tests::lab::{SHORT, pictures};

use super::{certificates, folder, text};

#[test]
fn a_sweep_takes_workers_by_their_certificates() {
    let lab = Lab::new();
    let certs = certificates(&lab, "certs");
    let (tls, listen) = (text(&certs), format!("{}:0", lab.host()));
    let config = root().join("tests/small.yaml").display().to_string();
    let images = format!("data.source.idx.images={}", pictures().display());
    let common = ["sweep", &config, "--set", &images, "--out", "sweep", "--tls", &tls];
    let more = ["--workers", "0", "--listen", &listen, "--json"];
    let mut sweep = lab.lsgan([&common[..], &SHORT, &more].concat());
    let line = sweep.wait_for_words("lsgan node --sweep https://");
    let address = line.trim_end().rsplit(' ').next().expect("it ends with the address").to_owned();
    let node = |tls: &[&str]| lab.lsgan([&["node", "--sweep", &address, "--workers", "1"], tls].concat());
    node(&[]).fails(2, &["speaks TLS, for which this process needs a certificate"]);
    node(&["--tls", &folder(&certs, "viewer")]).fails(2, &["takes a worker's certificate", "a viewer's"]);
    let mut worker = node(&["--tls", &tls]);
    let found = sweep.succeeds().json();
    worker.succeeds().expect_err(&["the sweep is over"]);
    let alone = Lab::new();
    alone.up(1, &SHORT).succeeds();
    assert_eq!(found["runs"][0]["weights"], alone.weights().generator, "{found}");
}
