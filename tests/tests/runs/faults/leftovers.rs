//! Of dead incarnations nothing remains: no process, no socket, no temporary file, no shared memory.

use std::net::TcpStream;

use lsgan_tests::disturb::Cluster;
use lsgan_tests::leftovers::{self, Held};
use lsgan_tests::process::{all_gone, children_of};
use lsgan_tests::{Lab, Process, until};
use lsgan_wire::v1::{Phase, Role};
use nix::sys::signal::Signal;

/// Waits until a process holds no more than `bound`.
#[track_caller]
fn no_more_than(bound: &Held, process: &Process) {
    until("it holds no more than in its first generation", || {
        let held = leftovers::held_by(process.id()).expect("it runs");
        let ok =
            held.sockets <= bound.sockets && held.threads <= bound.threads && held.others <= bound.others;
        if ok { Ok(()) } else { Err((held, bound.clone())) }
    });
}

/// One worker lives through several generations, in which others die, and through a death of the coordinator. It gives back
/// what it held of them.
#[test]
fn a_worker_that_outlives_many_generations_holds_no_more_than_at_first() {
    let more = ["--set", "cluster.failure_timeout=500ms"];
    let mut cluster = Cluster::start(2, &more);
    cluster.wait_for_step(5);
    let before = leftovers::held_by(cluster.workers[0].id()).expect("it runs");
    for n in 0..2 {
        cluster.workers.pop().expect("there are two").kill();
        cluster.join(&format!("next-{n}"), &[]);
        cluster.coordinator.client.wait_until("two compute", |status| {
            status.phase() == Phase::Stepping
                && status.workers.iter().filter(|w| w.role() == Role::Member).count() == 2
        });
    }
    let status = cluster.coordinator.client.status().expect("it listens");
    let ports = status.workers.into_iter().map(|worker| worker.address);
    let ports: Vec<String> = ports.chain([cluster.coordinator.listen()]).collect();
    cluster.restart_coordinator(&more);
    let client = &cluster.coordinator.client;
    let step = client.wait_until("it is adopted", |status| status.phase() == Phase::Stepping).step;
    client.wait_for_step(step + 2);
    no_more_than(&before, &cluster.workers[0]);

    let shared = leftovers::held_by(cluster.workers[0].id()).expect("it runs").shared;
    let mut leaver = cluster.workers.pop().expect("there are two");
    leaver.signal(Signal::SIGTERM);
    // On a slow machine the run may have been finished before that.
    let ended = leaver.wait();
    assert!(matches!(ended.code, Some(0 | 143)), "{ended}");
    let lab = cluster.finish();
    for port in ports {
        assert!(TcpStream::connect(&port).is_err(), "a process listens on {port}");
    }
    let left: Vec<_> =
        shared.into_iter().filter(|path| path.exists() && !path.starts_with(lab.path(""))).collect();
    assert!(left.is_empty(), "{left:?}");
    leftovers::expect_none(&lab);
}

#[test]
fn a_killed_lsgan_up_leaves_no_process() {
    let lab = Lab::new();
    let mut up = lab.up(2, &[]);
    lab.client(&mut up).wait_for_step(3);
    let children = children_of(up.id());
    assert_eq!(children.len(), 3, "a coordinator and two workers: {children:?}");
    up.kill();
    all_gone(&children);
    leftovers::expect_no_process(&lab);
    lab.up(1, &[]).succeeds();
    leftovers::expect_none(&lab);
}
