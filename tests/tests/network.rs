//! Lost hosts and cut networks, on hosts of their own: the silence of a cable that is pulled, which no signal makes.
//!
//! These tests need root for network namespaces. Where it is missing they are counted as skipped, by name.

use std::process::ExitCode;
use std::time::Instant;

use lsgan_tests::disturb::{assert_undisturbed_weights, finish, random_step, wait_for_members};
use lsgan_tests::lab::BUCKETS;
use lsgan_tests::network::address;
use lsgan_tests::trials::{Test, run, trials};
use lsgan_tests::{Lab, Network, Process, tests, until};

/// The coordinator's host; the workers' follow.
const COORDINATOR: usize = 0;

const TESTS: &[Test] = tests![
    a_lost_host_is_done_without,
    a_host_whose_cable_is_pulled_for_a_while_comes_back,
    a_cut_between_a_worker_and_the_coordinator,
    a_worker_that_the_coordinator_does_not_hear,
    a_worker_that_does_not_hear_the_coordinator,
    a_cut_between_two_workers,
    a_one_way_cut_between_two_workers,
    a_cut_between_two_workers_that_heals,
    who_was_cut_off_for_a_while_comes_back_by_itself,
    a_newcomer_that_the_state_does_not_reach_is_done_without,
    a_death_in_the_middle_of_a_bucket_changes_no_bit,
    a_worker_behind_a_firewall_that_rejects_is_done_without,
    a_worker_with_an_address_that_nobody_has_is_done_without,
    a_worker_with_an_address_that_refuses_is_done_without,
    a_worker_with_the_address_of_another_one_is_done_without,
];

fn main() -> ExitCode {
    run(trials(&Network::possible(), TESTS))
}

/// A run whose coordinator and three workers each have a host of their own.
struct Cluster {
    coordinator: Process,
    workers: Vec<Process>,
    network: Network,
    lab: Lab,
}

impl Cluster {
    fn start() -> Self {
        Self::start_with(&[], [&[]; 3])
    }

    /// With more arguments for the coordinator, and for each worker.
    fn start_with(more: &[&str], workers: [&[&str]; 3]) -> Self {
        Self::start_before(more, workers, random_step())
    }

    /// The same; returns when so many steps are done.
    fn start_before(more: &[&str], workers: [&[&str]; 3], step: u64) -> Self {
        let (lab, network) = (Lab::new(), Network::of(5));
        let listen = format!("{}:7070", address(COORDINATOR));
        let mut command = network.command(COORDINATOR, "coordinator");
        command.args(lab.run_arguments(&["--quiet", "--listen", &listen, "--expect-workers", "3"]));
        command.args(["--set", "cluster.failure_timeout=1s"]).args(more);
        let mut coordinator = lab.start_command("coordinator", command);
        coordinator.wait_for_words("listening on http://");
        let mut cluster = Self { lab, network, coordinator, workers: Vec::new() };
        (1..).zip(workers).for_each(|(host, more)| cluster.start_worker(host, more));
        cluster.wait_for_step(step);
        cluster
    }

    fn start_worker(&mut self, host: usize, more: &[&str]) {
        let (coordinator, name) = (format!("http://{}:7070", address(COORDINATOR)), format!("worker-{host}"));
        let mut command = self.network.command(host, "worker");
        command.args(["--coordinator", &coordinator, "--name", &name]).args(more);
        self.workers.push(self.lab.start_command(&name, command));
    }

    #[track_caller]
    fn wait_for_step(&self, step: u64) -> u64 {
        until(&format!("step {step} is done"), || {
            let done = self.lab.journal().number("select coalesce(max(step), 0) from metrics");
            if done >= step { Ok(done) } else { Err(done) }
        })
    }

    #[track_caller]
    fn finish(mut self) {
        finish(&mut self.coordinator, self.workers);
        assert_undisturbed_weights(&self.lab);
    }
}

/// The host is gone for good.
fn a_lost_host_is_done_without() {
    let mut cluster = Cluster::start();
    cluster.network.unplug(2);
    cluster.workers.remove(1).kill();
    assert_eq!(wait_for_members(&cluster.lab, 2).start, "held");
    let why = "select why from workers where name = 'worker-2'";
    assert_eq!(cluster.lab.journal().texts(why), ["silent for more than 1000 ms"]);
    cluster.finish();
}

fn a_host_whose_cable_is_pulled_for_a_while_comes_back() {
    let cluster = Cluster::start();
    cluster.network.unplug(2);
    wait_for_members(&cluster.lab, 2);
    cluster.network.plug(2);
    cluster.finish();
}

/// The first worker is cut from the coordinator until the others went on without it.
#[track_caller]
fn first_is_cut_off(cut: impl FnOnce(&Network)) {
    let cluster = Cluster::start();
    cut(&cluster.network);
    assert_eq!(wait_for_members(&cluster.lab, 2).start, "held");
    cluster.network.heal(COORDINATOR, 1);
    cluster.finish();
}

fn a_cut_between_a_worker_and_the_coordinator() {
    first_is_cut_off(|network| network.cut(COORDINATOR, 1));
}

fn a_worker_that_the_coordinator_does_not_hear() {
    first_is_cut_off(|network| network.cut_one_way(1, COORDINATOR));
}

/// What it sends is not acknowledged, so that it is sent ever more rarely: it counts as dead, or steps on until then.
fn a_worker_that_does_not_hear_the_coordinator() {
    let cluster = Cluster::start();
    cluster.network.cut_one_way(COORDINATOR, 1);
    let done = cluster.wait_for_step(0);
    cluster.wait_for_step(done + 20);
    cluster.network.heal(COORDINATOR, 1);
    cluster.finish();
}

/// The coordinator hears both workers and goes on without one of them, before the network is mended.
#[track_caller]
fn goes_on_without_one(mut cluster: Cluster) {
    let begin = Instant::now();
    assert_eq!(wait_for_members(&cluster.lab, 2).start, "held");
    println!("it goes on after {:.1} s", begin.elapsed().as_secs_f64());
    let warned = cluster.coordinator.wait_for_words("though the coordinator hears both");
    assert!(warned.contains("worker-1") && warned.contains("worker-2"), "{warned}");
    cluster.finish();
}

fn a_cut_between_two_workers() {
    let cluster = Cluster::start();
    cluster.network.cut(1, 2);
    goes_on_without_one(cluster);
}

fn a_one_way_cut_between_two_workers() {
    let cluster = Cluster::start();
    cluster.network.cut_one_way(1, 2);
    goes_on_without_one(cluster);
}

/// A run that needs all three workers waits for the network.
fn a_cut_between_two_workers_that_heals() {
    let cluster = Cluster::start_with(&["--set", "cluster.min_workers=3"], [&[]; 3]);
    cluster.network.cut(1, 2);
    let halted = "select count(*) from generations where halted_ms is not null";
    until("the generation is given up", || match cluster.lab.journal().number(halted) {
        0 => Err(cluster.lab.journal().generations()),
        _ => Ok(()),
    });
    cluster.network.heal(1, 2);
    cluster.finish();
}

/// From its second generation on the run trains without the second worker, and says what to set there.
#[track_caller]
fn trains_without_the_second(first: &[&str], second: &[&str], why: &str) {
    let mut cluster = Cluster::start_with(&[], [first, second, &[]]);
    let warned = cluster.coordinator.wait_for_words("though the coordinator hears both");
    let named = ["(worker-2) at 10.77.0", why, "--advertise IP", "--peer-listen"];
    assert!(named.iter().all(|words| warned.contains(words)), "{warned}");
    let generations = cluster.lab.journal().generations();
    assert_eq!(generations.iter().map(|g| g.members).collect::<Vec<_>>()[..2], [3, 2], "{generations:#?}");
    cluster.finish();
}

fn a_worker_with_an_address_that_nobody_has_is_done_without() {
    trains_without_the_second(&[], &["--advertise", "10.77.0.99"], "10.77.0.99");
}

fn a_worker_with_an_address_that_refuses_is_done_without() {
    trains_without_the_second(&[], &["--advertise", &address(COORDINATOR)], "(connection refused)");
}

/// As behind one address translation: another worker than the one that was called answers.
fn a_worker_with_the_address_of_another_one_is_done_without() {
    let listen = ["--peer-listen", "0.0.0.0:7071"];
    let first = address(1);
    let second = [&listen[..], &["--advertise", &first]].concat();
    // Whether it says that it is another worker depends on who forms first.
    trains_without_the_second(&listen, &second, "answer");
}

fn who_was_cut_off_for_a_while_comes_back_by_itself() {
    let slowly: &[&str] = &["--fault-slowness", "25"];
    let cluster = Cluster::start_with(&[], [slowly; 3]);
    cluster.network.cut(1, 2);
    wait_for_members(&cluster.lab, 2);
    cluster.network.heal(1, 2);
    until("all three are members again", || {
        let generations = cluster.lab.journal().generations();
        let back = generations.len() > 2 && generations.last().is_some_and(|g| g.members == 3);
        if back { Ok(()) } else { Err(generations) }
    });
    cluster.finish();
}

/// 0.4 MB of state take 16 s there, and more than 4 s without progress are too long. Its other messages arrive.
fn a_newcomer_that_the_state_does_not_reach_is_done_without() {
    let slowly: &[&str] = &["--fault-slowness", "25"];
    let mut cluster = Cluster::start_with(&["--fault-patience", "4s"], [slowly; 3]);
    cluster.network.slow_down(4, 200);
    cluster.start_worker(4, &[]);
    let warned = cluster.coordinator.wait_for_words("the run goes on without");
    let named = ["(worker-4)", "in 2 generations", "Look at the network"];
    assert!(named.iter().all(|words| warned.contains(words)), "{warned}");
    let done = cluster.wait_for_step(0);
    cluster.wait_for_step(done + 5);
    let members: Vec<_> = cluster.lab.journal().generations().iter().map(|g| g.members).collect();
    // Between the two the others may go on for a while: its heartbeats can be stuck behind the state for too long.
    assert!(
        matches!(members[..], [3, 4, 4, 3] | [3, 4, 3, 4, 3]),
        "it is not tried a third time: {members:?}"
    );
    cluster.finish();
}

/// 2 MB of sums take 0.6 s of each step on these links, and hardly anything else does.
fn a_death_in_the_middle_of_a_bucket_changes_no_bit() {
    let run = [&BUCKETS[..], &["--set", "steps=14"]].concat();
    let alone = Lab::new();
    alone.up(1, &run).succeeds();
    let mut cluster = Cluster::start_before(&run, [&[]; 3], 0);
    (1..=3).for_each(|host| cluster.network.slow_down(host, 40_000));
    let done = cluster.wait_for_step(1);
    cluster.wait_for_step(done + 3);
    cluster.workers.remove(0).kill();
    assert_eq!(wait_for_members(&cluster.lab, 2).start, "held");
    finish(&mut cluster.coordinator, cluster.workers);
    assert_eq!(cluster.lab.weights(), alone.weights());
}

/// What the other two send to the second worker is rejected as unreachable. So it reaches neither of them.
fn a_worker_behind_a_firewall_that_rejects_is_done_without() {
    let mut cluster = Cluster::start();
    cluster.network.reject(1, 2);
    cluster.network.reject(3, 2);
    let warned = cluster.coordinator.wait_for_words("though the coordinator hears both");
    assert!(warned.contains("worker-2") && warned.contains("cannot reach each other"), "{warned}");
    cluster.finish();
}
