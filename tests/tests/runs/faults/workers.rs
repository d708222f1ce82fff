//! Workers that fail, freeze, are cut off or are slow; and those that come and go.

use std::time::Duration;

use lsgan_tests::disturb::{Cluster, assert_disturbed, assert_undisturbed_weights, wait_for_members};
use lsgan_tests::lab::STEPS;
use lsgan_tests::process::children_named;
use lsgan_tests::{Cut, Lab, Process, Proxy, until};
use lsgan_wire::v1::{Role, RunStatus};
use nix::sys::signal::Signal;

const SHORT_TIMEOUT: [&str; 2] = ["--set", "cluster.failure_timeout=500ms"];

#[test]
fn a_worker_that_ends_by_an_error_is_done_without() {
    // Without any grace the wish to leave ends it where it is.
    let workers = [("fails", &["--grace", "0s"][..]), ("worker-1", &[]), ("worker-2", &[])];
    let mut cluster = Cluster::of(&workers, &[]);
    cluster.wait_for_random_step();
    cluster.leaves(0).expect_err(&["no step boundary was reached within 0s, ends now"]);
    wait_for_members(&cluster.lab, 2);
    assert_disturbed(&cluster.finish(), "held");
}

/// They look at an update only when the next half is computed, as on a GPU, and record halves with a stand-in. One is killed,
/// one leaves, one joins: the weights are those of a run on CPUs.
#[test]
fn workers_that_run_ahead_as_on_a_gpu_train_the_same_weights() {
    let rehearsing = &["--rehearse-gpu"][..];
    let workers = ["killed", "leaves", "stays"].map(|name| (name, rehearsing));
    let mut cluster = Cluster::of(&workers, &[]);
    let step = cluster.wait_for_random_step();
    cluster.workers.remove(0).kill();
    cluster.join("new", rehearsing);
    cluster.wait_for_step(2 * step);
    cluster.leaves(0);
    assert_disturbed(&cluster.finish(), "held");
}

/// Pictures are made beside the training, by the member that is first. Both that were first leave.
#[test]
fn no_picture_is_lost_when_the_worker_that_makes_them_leaves() {
    let every_step = ["--set", "samples.every=1"];
    let mut cluster = Cluster::of(&[("anna", &[]), ("ben", &[])], &every_step);
    let step = cluster.wait_for_random_step();
    cluster.leaves(0);
    cluster.join("carl", &[]);
    cluster.wait_for_step(2 * step);
    cluster.leaves(0);
    let lab = cluster.finish();
    for step in 1..=STEPS {
        let picture = lab.run_dir().join(format!("samples/step-{step:010}.png"));
        assert!(picture.exists(), "{}", picture.display());
    }
    assert_disturbed(&lab, "held");
}

/// Its heartbeats go on, and the others wait for its sum.
#[test]
fn a_training_thread_that_hangs_is_noticed_and_done_without() {
    let workers = [("hangs", &["--fault-stall-at", "20"][..]), ("worker-1", &[]), ("worker-2", &[])];
    let mut cluster = Cluster::of(&workers, &["--fault-patience", "2s"]);
    let mut hangs = cluster.workers.remove(0);
    wait_for_members(&cluster.lab, 2);
    let lab = cluster.finish();
    let told = lab.journal().texts("select text from events where warning = 1");
    for words in ["has done no step for", "it did not park in time"] {
        assert!(told.iter().any(|text| text.contains(words)), "{words}: {told:?}");
    }
    hangs.wait().expect_code(1).expect_err(&["this incarnation is over", "error: the training thread hangs"]);
    assert_disturbed(&lab, "held");
}

/// No boundary can come, because a peer is frozen for longer than the grace.
#[test]
fn a_leaver_whose_grace_is_over_ends_without_a_boundary() {
    let workers = [("leaver", &["--grace", "300ms"][..]), ("stays", &[])];
    let mut cluster = Cluster::of(&workers, &["--set", "cluster.failure_timeout=1h"]);
    cluster.wait_for_random_step();
    cluster.workers[1].signal(Signal::SIGSTOP);
    cluster.leaves(0).expect_err(&["leaving at the next step boundary", "within 300ms, ends now"]);
    cluster.workers[0].signal(Signal::SIGCONT);
    assert_disturbed(&cluster.finish(), "held");
}

/// With `min_workers` at three the others wait for the one that comes back, so that it surely takes part again.
#[test]
fn a_frozen_worker_is_told_that_its_incarnation_is_over_and_comes_back_as_a_new_one() {
    let mut cluster = Cluster::start(3, &[&SHORT_TIMEOUT[..], &["--set", "cluster.min_workers=3"]].concat());
    cluster.wait_for_random_step();
    cluster.workers[0].signal(Signal::SIGSTOP);
    let frozen = |status: &RunStatus| status.workers.len() == 2;
    cluster.coordinator.client.wait_until("the frozen worker counts as dead", frozen);
    cluster.workers[0].signal(Signal::SIGCONT);
    cluster.workers[0].wait_for_words("this incarnation is over: silent for more than 500 ms");
    let lab = cluster.finish();
    assert_eq!(wait_for_members(&lab, 3).start, "held");
    let lives = "select incarnation from workers where name = 'worker-1'";
    assert_eq!(lab.journal().number(&format!("select count(*) from ({lives})")), 2);
    assert_eq!(lab.journal().number(&format!("{lives} order by 1 desc limit 1")), 4);
}

/// A run of three workers, of which the last one reaches the coordinator through a proxy. At a step in the middle.
fn one_behind_a_proxy() -> (Cluster, Proxy, u64) {
    let mut cluster = Cluster::of(&[], &[&SHORT_TIMEOUT[..], &["--expect-workers", "3"]].concat());
    let proxy = Proxy::before(&cluster.coordinator.listen(), cluster.lab.host());
    cluster.join("worker-1", &[]);
    cluster.join("worker-2", &[]);
    cluster.workers.push(cluster.lab.worker("behind", &proxy.url()));
    let step = cluster.wait_for_random_step();
    (cluster, proxy, step)
}

/// One worker is cut from the coordinator but not from its peers: off, or so that it hears and is not heard.
#[test]
fn a_worker_that_the_coordinator_does_not_hear_is_done_without_until_it_is_back() {
    for cut in [Cut::Both, Cut::Forth] {
        let (cluster, proxy, _) = one_behind_a_proxy();
        proxy.cut(cut);
        assert_eq!(wait_for_members(&cluster.lab, 2).start, "held");
        proxy.cut(Cut::Whole);
        assert_disturbed(&cluster.finish(), "held");
    }
}

/// A member that steps needs no message of the coordinator: it goes on with the others.
#[test]
fn a_worker_that_is_heard_but_does_not_hear_steps_on() {
    let (cluster, proxy, step) = one_behind_a_proxy();
    proxy.cut(Cut::Back);
    cluster.wait_for_step(step + 20);
    proxy.cut(Cut::Whole);
    cluster.finish();
}

#[test]
fn a_worker_whose_connection_is_reset_comes_back_at_once() {
    let (mut cluster, proxy, _) = one_behind_a_proxy();
    proxy.reset();
    cluster.workers[2].wait_for_words("the coordinator is away, going on without it");
    assert_disturbed(&cluster.finish(), "held");
}

/// Connections to it are tried before any member parks for it.
#[test]
fn a_worker_that_cannot_be_reached_costs_a_stepping_run_no_step() {
    let slowly = &["--fault-slowness", "12"][..];
    let mut cluster = Cluster::of(&[("worker-1", slowly), ("worker-2", slowly)], &[]);
    cluster.wait_for_step(5);
    cluster.join("worker-3", &["--advertise", "127.0.0.99"]);
    let warned = cluster.coordinator.process.wait_for_words("though the coordinator hears both");
    let named = ["(worker-3) at 127.0.0.99:", "(connection refused)", "--advertise IP"];
    assert!(named.iter().all(|words| warned.contains(words)), "{warned}");
    let status = cluster.coordinator.client.status().expect("the run goes on");
    assert_eq!(status.workers.iter().filter(|worker| worker.role() == Role::CutOff).count(), 1, "{status:?}");
    assert_eq!(cluster.finish().journal().generations().len(), 1);
}

/// Three workers of which the first computes many times as slowly.
fn one_is_slow(more: &[&str]) -> Cluster {
    let workers = [("slow", &["--fault-slowness", "25"][..]), ("worker-1", &[]), ("worker-2", &[])];
    Cluster::of(&workers, more)
}

/// The notice that names the straggler, once there is one.
fn wait_for_straggler(cluster: &Cluster) -> String {
    let named = |status: &RunStatus| {
        let mut notices = status.notices.iter();
        let found = notices.find(|notice| notice.warning && notice.text.contains("(slow) is a straggler"));
        found.map(|notice| notice.text.clone())
    };
    let client = &cluster.coordinator.client;
    let status = client.wait_until("the straggler is named", |status| named(status).is_some());
    named(&status).expect("it was waited for")
}

/// The two times in a straggler's notice, in milliseconds.
fn times_of(notice: &str) -> (f64, f64) {
    let words: Vec<_> = notice.split_whitespace().collect();
    let before_ms = |at: usize| words[at - 1].parse().expect("a time stands before its unit");
    let at: Vec<_> =
        (0..words.len()).filter(|&at| words[at].trim_matches(|c| ",;.".contains(c)) == "ms").collect();
    (before_ms(at[0]), before_ms(at[1]))
}

#[test]
fn a_slow_worker_is_named_with_its_time_and_the_others_wait_for_it() {
    let mut cluster = one_is_slow(&[]);
    let notice = wait_for_straggler(&cluster);
    let (own_ms, median_ms) = times_of(&notice);
    assert!(own_ms > 2.0 * median_ms, "{notice}");
    let status = cluster.coordinator.client.status().expect("the run goes on");
    let worker = |name: &str| status.workers.iter().find(|w| w.name == name).expect("all are attached");
    assert_eq!((worker("slow").role(), worker("slow").straggles), (Role::Member, true));
    assert!(!worker("worker-1").straggles && !worker("worker-2").straggles, "{:?}", status.workers);
    assert_eq!(status.generation, 1, "no worker was evicted");
    // Its slowness is of no further use.
    cluster.leaves(0);
    cluster.finish();
}

#[test]
fn a_slow_worker_is_evicted_where_the_spec_says_so() {
    let cluster = one_is_slow(&["--set", "cluster.stragglers=evict"]);
    let notice = wait_for_straggler(&cluster);
    assert!(notice.contains("it stands by while there are enough others"), "{notice}");
    assert_eq!(wait_for_members(&cluster.lab, 2).start, "held");
    assert_disturbed(&cluster.finish(), "held");
}

/// Asks a run of `lsgan up` for another number of workers.
fn scale(lab: &Lab, workers: &str, address: &str) -> Process {
    lab.lsgan(["scale", "--workers", workers, "--coordinator", address])
}

/// The address that `lsgan up` printed.
fn address_of(up: &mut Process) -> String {
    let line = up.wait_for_words("the coordinator listens on http://");
    let address = line.split("listens on ").nth(1).and_then(|rest| rest.split(';').next());
    address.expect("the line says where").to_owned()
}

/// It cannot begin before it is scaled up, however slow the machine is.
#[test]
fn a_run_of_lsgan_up_is_scaled_up_and_down() {
    let lab = Lab::new();
    let mut up = lab.up(1, &["--set", "cluster.min_workers=2"]);
    let address = address_of(&mut up);
    let client = lab.client(&mut up);
    client.wait_until("one worker waits", |status| status.workers.len() == 1);
    scale(&lab, "3", &address).succeeds().expect_out(&["the run will have 3 workers"]);
    let status = client.wait_until("three compute", |status| {
        status.workers.iter().filter(|w| w.role() == Role::Member).count() == 3 && status.step > 2
    });
    assert_eq!(status.workers_wanted, Some(3));
    scale(&lab, "2", &address).succeeds();
    until("the third worker has left", || match children_named(up.id(), "worker").len() {
        2 => Ok(()),
        others => Err(others),
    });
    up.succeeds().expect_err(&["from 1 to 3 workers", "from 3 to 2 workers"]);
    let members: Vec<_> = lab.journal().generations().iter().map(|g| g.members).collect();
    assert_eq!(members.last(), Some(&2), "{members:?}");
    assert!(members.contains(&3), "{members:?}");
    let left = "select count(*) from workers where name = 'up:3' and why = 'left as it asked'";
    assert_eq!(lab.journal().number(left), 1);
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_run_whose_workers_nobody_supervises_cannot_be_scaled() {
    let lab = Lab::new();
    let coordinator = lab.coordinator(&[]);
    scale(&lab, "2", &coordinator.address).fails(1, &["nobody supervises this run's workers"]);
}

/// The others go on while the joiner starts: a join costs them one change of generation.
#[test]
fn workers_join_and_leave_again_and_again_while_it_steps() {
    let mut cluster = Cluster::start(1, &[]);
    cluster.wait_for_step(5);
    for name in ["second", "third"] {
        cluster.join(name, &[]);
        let status = cluster.coordinator.client.wait_until(&format!("{name} computes"), |status| {
            status
                .workers
                .iter()
                .any(|w| w.name == name && w.role() == Role::Member && !w.virtual_ranks.is_empty())
        });
        cluster.wait_for_step(status.step + 2);
        cluster.leaves(1);
    }
    cluster.join("last", &[]);
    let lab = cluster.finish();
    let journal = lab.journal();
    // A leave that is announced repeats nothing: every generation starts where the one before ended.
    assert!(journal.generations().iter().skip(1).all(|g| g.start == "held"), "{:?}", journal.generations());
    assert_eq!(journal.number("select count(*) from workers where why = 'left as it asked'"), 2);
}

/// No time-out is waited for: a failure timeout of minutes makes it no slower.
#[test]
fn survivors_of_a_death_go_on_at_once() {
    let mut cluster = Cluster::start(3, &["--set", "cluster.failure_timeout=5m"]);
    cluster.wait_for_random_step();
    cluster.workers.remove(0).kill();
    let gap_ms = cluster.finish().journal().number(
        "select b.stepping_ms - a.halted_ms from generations a join generations b on b.generation = a.generation + 1
         where (select count(*) from members m where m.generation = b.generation) = 2",
    );
    let gap = Duration::from_millis(gap_ms);
    println!("{gap:?} from the notice of the death to the next step");
    assert!(gap < Duration::from_secs(5), "{gap:?}, on however slow a machine");
}
