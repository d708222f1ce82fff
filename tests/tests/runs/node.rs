//! `lsgan node` on its terminal: what its workers meet, and when another try is worth it.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

use lsgan_tests::disturb::assert_undisturbed_weights;
use lsgan_tests::lab::pictures;
use lsgan_tests::{Lab, Process};
use lsgan_wire::v1::Role;

fn node(lab: &Lab, coordinator: &str, more: &[&str]) -> Process {
    lab.lsgan([&["node", "--coordinator", coordinator], more].concat())
}

#[test]
fn an_address_where_nothing_listens_is_said_at_once_with_what_to_check() {
    let lab = Lab::new();
    // Bound, but nobody listens: no other process can have this port.
    let socket = TcpListener::bind((lab.host(), 0)).expect("a port is free");
    let address = format!("http://{}", socket.local_addr().expect("it is bound"));
    drop(socket);
    let mut node = node(&lab, &address, &["--workers", "2", "--give-up-after", "2s"]);
    let line = node.wait_for_words("cannot be reached");
    assert!(line.contains(&address) && line.contains("Nothing listens there"), "{line}");
    let ended = node.fails(1, &["cannot be reached for 2s"]);
    let said = ended.err.lines().filter(|line| line.contains("trying again")).count();
    assert_eq!(said, 1, "two workers say it once; {ended}");
}

#[test]
fn a_name_that_is_not_known_and_an_address_that_is_none_are_said_at_once() {
    let lab = Lab::new();
    let mut unknown = node(&lab, "http://no-such-host.invalid:7070", &["--workers", "1", "--insecure"]);
    let line = unknown.wait_for_words("cannot be reached");
    assert!(line.contains("check its spelling"), "{line}");
    unknown.kill();
    node(&lab, "no-such-host:7070", &["--workers", "1"]).fails(2, &["is no address of a coordinator"]);
}

/// The data set as a file of the lab's own, for a coordinator that opens it there.
fn own_data(lab: &Lab) -> (PathBuf, String) {
    let path = lab.path("images-idx3-ubyte.gz");
    fs::copy(pictures(), &path).expect("the data can be copied");
    let set = format!("data.source.idx.images={}", path.display());
    (path, set)
}

#[test]
fn data_that_is_missing_on_a_host_ends_its_node_and_is_seen_at_the_coordinator_until_it_is_there() {
    let lab = Lab::new();
    let (data, set) = own_data(&lab);
    let mut coordinator = lab.coordinator(&["--set", &set]);
    let hidden = data.with_extension("hidden");
    fs::rename(&data, &hidden).expect("it can be renamed");
    let arguments = ["--workers", "2", "--name", "host-3"];
    let ended = node(&lab, &coordinator.address, &arguments).wait().expect_code(2).expect_one_error();
    let path = data.display().to_string();
    ended.expect_err(&["worker 1 cannot take part, and another try would not change that", &path]);

    let status = coordinator.client.wait_until("both workers' troubles are shown", |status| {
        let told =
            |name: &str| status.notices.iter().any(|n| n.warning && n.worker == name && n.over_ms.is_none());
        told("host-3:1") && told("host-3:2")
    });
    let notice = status.notices.iter().find(|notice| notice.worker == "host-3:1").expect("it was there");
    assert!(notice.text.starts_with("host-3:1 cannot start: ") && notice.text.contains(&path), "{notice:?}");
    // Tried again and again it is one warning.
    for _ in 0..2 {
        node(&lab, &coordinator.address, &arguments).wait().expect_code(2);
    }
    coordinator.client.wait_until("it is counted", |status| {
        let mut its = status.notices.iter().filter(|notice| notice.worker == "host-3:1");
        its.next().is_some_and(|notice| notice.count == 3) && its.next().is_none()
    });
    let shown = lab.lsgan(["status", "--coordinator", &coordinator.address]).wait();
    shown.expect_code(0).expect_out(&["warning, ", " UTC, 3 times, last ", "host-3:1 cannot start: "]);

    fs::rename(&hidden, &data).expect("it can be renamed");
    let mut healed = node(&lab, &coordinator.address, &arguments);
    coordinator.client.wait_until("the warnings are over", |status| {
        let mut its = status.notices.iter().filter(|notice| notice.worker.starts_with("host-3:"));
        its.all(|notice| notice.over_ms.is_some())
    });
    coordinator.process.succeeds();
    healed.succeeds().expect_err(&["the run is finished"]);
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_coordinator_takes_no_offers() {
    let lab = Lab::new();
    let coordinator = lab.coordinator(&[]);
    lab.lsgan(["node", "--sweep", &coordinator.address, "--workers", "1"])
        .fails(2, &["is no sweep", "--coordinator"]);
    lab.lsgan(["node", "--workers", "1"]).wait().expect_code(2).expect_err(&["--coordinator"]);
}

#[test]
fn a_worker_that_cannot_listen_is_tried_again_and_does_not_end_its_sibling() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&["--set", "steps=1000000"]);
    // Two neighbouring ports, of which the second is taken: only the pair matters, so another pair is as good.
    let (first, taken) = (0..100)
        .find_map(|_| {
            let first = TcpListener::bind((lab.host(), 0)).ok()?.local_addr().ok()?.port();
            Some((first, TcpListener::bind((lab.host(), first.checked_add(1)?)).ok()?))
        })
        .expect("there are two neighbouring ports");
    let ports = format!("{}:{first}-{}", lab.host(), first + 1);
    let arguments = ["--workers", "2", "--name", "host-4", "--peer-listen", &ports];
    let mut node_process = node(&lab, &coordinator.address, &arguments);
    node_process.wait_for_words("worker 2 died");
    coordinator.client.wait_until("the first one steps, the second one's trouble is shown", |status| {
        let first = status.workers.iter().any(|w| w.name == "host-4:1" && w.role() == Role::Member);
        let second =
            status.notices.iter().any(|n| n.warning && n.worker == "host-4:2" && n.over_ms.is_none());
        first && second && status.step > 0
    });
    drop(taken);
    coordinator.client.wait_until("the second one takes part and its trouble is over", |status| {
        let member = status.workers.iter().any(|w| w.name == "host-4:2" && w.role() == Role::Member);
        let over = status.notices.iter().filter(|n| n.worker == "host-4:2").all(|n| n.over_ms.is_some());
        member && over
    });
    lab.lsgan(["stop", "--coordinator", &coordinator.address]).succeeds();
    coordinator.process.wait();
    node_process.wait().expect_err(&["the run was stopped"]);

    let too_few = format!("{}:{first}-{first}", lab.host());
    let arguments = ["--workers", "2", "--peer-listen", &too_few];
    node(&lab, &coordinator.address, &arguments).fails(2, &["--peer-listen has no port for worker 2"]);
}

#[test]
fn a_coordinator_that_goes_and_comes_back_is_said() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&[]);
    let mut node = node(&lab, &coordinator.address, &["--workers", "1", "--name", "host-5"]);
    node.wait_for_words("worker 1 takes part in the run `small`, as worker 1");
    coordinator.client.wait_for_step(3);
    let listen = coordinator.kill();
    node.wait_for_words("worker 1 is cut off from the coordinator and goes on without it");
    let mut coordinator = lab.coordinator_at(&listen, &[]);
    node.wait_for_words("worker 1 takes part again in the run `small`");
    coordinator.process.succeeds();
    node.succeeds().expect_err(&["the run is finished"]);
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_nodes_logs_are_json_where_that_is_asked_for() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&["--set", "steps=30"]);
    let arguments = ["--workers", "1", "--log", "json", "--logs", "logs"];
    let ended = node(&lab, &coordinator.address, &arguments).succeeds();
    coordinator.process.succeeds();
    let worker = fs::read_to_string(lab.path("logs/worker-1.log")).expect("it has a log");
    for line in ended.err.lines().chain(worker.lines()) {
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(value["message"].is_string(), "{line}");
    }
}
