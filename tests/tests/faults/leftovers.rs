//! Of dead incarnations nothing remains: no process, no socket, no temporary file, no shared memory.

use std::net::TcpStream;

use lsgan_tests::disturb::{assert_undisturbed_weights, cluster, finish};
use lsgan_tests::leftovers::{self, Held};
use lsgan_tests::{Lab, Process, until};
use lsgan_wire::v1::{Phase, Role};
use nix::sys::signal::Signal;

/// What a process holds, once it is no more than `bound`.
#[track_caller]
fn no_more_than(bound: &Held, process: &Process) {
    until("it holds no more than in its first generation", || {
        let held = leftovers::held_by(process.id()).expect("it runs");
        let ok =
            held.sockets <= bound.sockets && held.threads <= bound.threads && held.others <= bound.others;
        if ok { Ok(()) } else { Err((held, bound.clone())) }
    });
}

/// One worker lives through several generations, in which others die and freeze, and through a death of the
/// coordinator; what it held of them is given back.
#[test]
fn a_worker_that_outlives_many_generations_holds_no_more_than_at_first() {
    let lab = Lab::new();
    let more = ["--set", "cluster.failure_timeout=500ms"];
    let (mut coordinator, mut workers) = cluster(&lab, 2, &more);
    coordinator.client.wait_for_step(5);
    let before = leftovers::held_by(workers[0].id()).expect("it runs");
    for n in 0..2 {
        workers.pop().expect("there are two").kill();
        workers.push(lab.worker(&format!("next-{n}"), &coordinator.address));
        coordinator.client.wait_until("two compute", |status| {
            status.phase() == Phase::Stepping
                && status.workers.iter().filter(|w| w.role() == Role::Member).count() == 2
        });
    }
    let listen = coordinator.address.trim_start_matches("http://").to_owned();
    let ports: Vec<String> = {
        let status = coordinator.client.status().expect("it listens");
        status.workers.iter().map(|worker| worker.address.clone()).chain([listen.clone()]).collect()
    };
    coordinator.process.kill();
    coordinator = lab.coordinator_at(&listen, &more);
    let step =
        coordinator.client.wait_until("it is adopted", |status| status.phase() == Phase::Stepping).step;
    coordinator.client.wait_for_step(step + 2);
    no_more_than(&before, &workers[0]);

    let shared = leftovers::held_by(workers[0].id()).expect("it runs").shared;
    let mut leaver = workers.pop().expect("there are two");
    leaver.signal(Signal::SIGTERM);
    // On a slow machine the run may have been finished before that.
    let ended = leaver.wait();
    assert!(matches!(ended.code, Some(0 | 143)), "{ended}");
    finish(&mut coordinator.process, workers);
    assert_undisturbed_weights(&lab);
    for port in ports {
        assert!(TcpStream::connect(&port).is_err(), "somebody listens on {port}");
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
    up.kill();
    until("no process of the lab lives", || {
        let left = leftovers::processes(&lab);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
    lab.up(1, &[]).wait().expect_code(0);
    leftovers::expect_none(&lab);
}
