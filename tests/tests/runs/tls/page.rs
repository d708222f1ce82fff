//! The page of a run with TLS: it is plain HTTP, so that who acts there shows a key that operators alone are told.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use lsgan_certs::{Files, Identity};
use lsgan_tests::{Lab, until};

use super::{certificates, folder, text, worker};

/// What the page at this address answers, with its status line.
fn ask(address: &str, what: &str, lines: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the page is served");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("sockets have it");
    let request = format!(
        "{what} HTTP/1.1\r\nHost: localhost\r\n{lines}Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("it is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it is answered");
    answer
}

#[test]
fn who_acts_on_the_page_is_an_operator() {
    let lab = Lab::new();
    let certs = certificates(&lab, "certs");
    let tls = text(&certs);
    let listen = format!("{}:0", lab.host());
    let more = ["--quiet", "--listen", &listen, "--tls", &tls, "--http", "127.0.0.1:0", "--http-actions"];
    let more = [&more[..], &["--set", "steps=1000000"]].concat();
    let operator = Identity::open(Files::in_folder(&certs.join("operator"))).expect("it was made");
    let coordinator = Lab::listening_as(lab.start_coordinator(&more), Some(operator));
    let worker = worker(&lab, "a", &coordinator, &tls, &[]);
    coordinator.client.wait_for_step(1);

    let page = |role: &str| {
        lab.lsgan(["page", "--coordinator", &coordinator.address, "--tls", &folder(&certs, role)])
    };
    page("viewer").fails(1, &["`Page` takes an operator's certificate"]);
    let shown = page("operator").succeeds().out;
    let (url, key) = shown.trim().split_once("#key=").expect("it has a key");
    assert_eq!(key.len(), 32, "{shown}");
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let runs = ask(address, "GET /api/runs", "");
    assert!(!runs.contains(key), "readers are not told the key");
    let begin = runs.find("\"id\":\"").expect("a run has an id") + 6;
    let id = runs[begin..].split('"').next().expect("it ends");
    let pause = |key: &str| {
        let lines = format!("Origin: http://localhost\r\nX-Lsgan-Action: {key}\r\n");
        ask(address, &format!("POST /api/runs/{id}/actions/pause"), &lines)
    };
    let refused = pause("1");
    assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("`lsgan page`"), "{refused}");
    assert!(pause(key).starts_with("HTTP/1.1 200"));
    until("it is paused", || match coordinator.client.status() {
        Ok(status) if status.paused.is_some() => Ok(()),
        other => Err(format!("{other:?}")),
    });
    drop(worker);
}

/// As in deploy/kubernetes with the components `tls` and `monitoring`.
#[test]
fn metrics_are_read_from_other_hosts_in_plain_while_calls_take_tls() {
    const PAGE: &str = "the page is at ";
    let lab = Lab::new();
    let certs = certificates(&lab, "certs");
    let (tls, listen) = (text(&certs), format!("{}:0", lab.host()));
    let closed = ["--quiet", "--listen", &listen, "--tls", &tls, "--http", "0.0.0.0:0"];
    lab.start_coordinator(&closed).fails(2, &["the page would be served on 0.0.0.0", "--insecure"]);
    let open = [&closed[..], &["--insecure"]].concat();
    let mut coordinator = Lab::listening_as(lab.start_coordinator(&open), None);
    assert!(coordinator.address.starts_with("https://"), "{}", coordinator.address);
    let line = coordinator.process.wait_for_words(PAGE);
    let (_, url) = line.split_once(PAGE).expect("it was waited for");
    let address = url.trim().trim_start_matches("http://").trim_end_matches('/');
    until("the run is among the metrics", || {
        let answer = ask(address, "GET /metrics", "");
        if answer.contains("lsgan_run_info{") { Ok(()) } else { Err(answer) }
    });
    let refused = ask(address, "POST /api/runs/any/actions/stop", "");
    assert!(refused.starts_with("HTTP/1.1 405"), "{refused}");
    let said = coordinator.process.output().err();
    assert!(said.contains("the page has no TLS") && !said.contains("listens without TLS"), "{said}");
}
