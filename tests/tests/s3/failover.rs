//! The coordinator's host is lost with its disk: another one goes on with nothing but the run's file and the bucket.

use std::process::Command;
use std::time::Instant;

use lsgan_tests::buckets::Who;
use lsgan_tests::trials::Test;
use lsgan_tests::{Coordinator, Journal, Lab, Process, Trouble, tests};
use nix::sys::signal::Signal;

use crate::run::{command, config, direct, from_disk, shards, weights_in};
use crate::{fill, kind, url, world};

pub const TESTS: &[Test] = tests![
    a_coordinator_on_another_host_adopts_the_workers,
    a_run_of_which_only_the_bucket_is_left_goes_on,
    of_two_coordinators_the_later_one_leads_and_the_first_one_ends,
];

const STEPS: &str = "steps=400";

/// A run in a bucket, with hosts that share nothing but that.
struct Hosts {
    lab: Lab,
    config: String,
}

impl Hosts {
    fn new(bucket: &str) -> Self {
        let lab = Lab::new();
        fill(bucket, &[]);
        let config = config(&lab, &shards(), &url(&format!("{bucket}/run")));
        Self { lab, config }
    }

    /// Starts a coordinator on a host of this name.
    fn coordinator(&self, host: &str, listen: &str) -> Coordinator {
        let run_dir = self.lab.path(host).display().to_string();
        let arguments = ["--quiet", "--config", &self.config, "--run-dir", &run_dir, "--listen", listen];
        let arguments = [&arguments[..], &["--set", STEPS, "--expect-workers", "2"]].concat();
        let label = format!("coordinator on {host}");
        Lab::listening(
            self.lab.start_command(
                &label,
                command("coordinator", &world().weather.url(), Who::Writer, &arguments),
            ),
        )
    }

    fn first(&self) -> (Coordinator, Vec<Process>) {
        let coordinator = self.coordinator("one", &format!("{}:0", self.lab.host()));
        let workers = self.workers(&coordinator.address);
        (coordinator, workers)
    }

    fn workers(&self, coordinator: &str) -> Vec<Process> {
        let worker = |name: &str| {
            let mut wrapper = Command::new("env");
            wrapper.envs(kind().environment(&direct(), Who::Writer));
            self.lab.worker_under(wrapper, name, coordinator)
        };
        ["a", "b"].map(worker).into()
    }

    /// Nothing of a host is left.
    fn lose(&self, host: &str) {
        std::fs::rename(self.lab.path(host), self.lab.path(&format!("lost-{host}"))).expect("it was there");
    }

    fn journal(&self, host: &str) -> Journal {
        Journal::open(&self.lab.path(host))
    }

    fn ends_well(&self, bucket: &str, mut coordinator: Coordinator, workers: Vec<Process>) {
        coordinator.process.succeeds();
        for mut worker in workers {
            worker.succeeds();
        }
        assert_eq!(weights_in(bucket, "run"), from_disk(&["--set", STEPS]));
    }
}

fn a_coordinator_on_another_host_adopts_the_workers() {
    let hosts = Hosts::new("lost");
    // The pieces are there, and their creator is told of a failure: it must know them for its own.
    world().weather.make(Trouble::LoseAnswer, 2, "PUT", "lost/run/journal/pieces/");
    let (mut one, workers) = hosts.first();
    one.client.wait_for_step(40);
    let listen = one.listen();
    one.kill();
    hosts.lose("one");
    let begin = Instant::now();
    let two = hosts.coordinator("two", &listen);
    println!("led after {:.2} s", begin.elapsed().as_secs_f64());
    let status = two.client.wait_for_step(60);
    let told = status
        .notices
        .iter()
        .any(|notice| notice.text.contains(&format!("is brought back from {}", url("lost/run/journal"))));
    assert!(told, "{:#?}", status.notices);
    hosts.ends_well("lost", two, workers);
    assert_eq!(world().weather.troubled("lost/run/journal/pieces/"), 2);
    let journal = hosts.journal("two");
    assert_eq!(journal.number("select count(*) from generations"), 1, "the workers never halted");
    // Not one row of metrics is missing, although the first host's last ones were never copied.
    let rows = journal.number("select count(*) from metrics");
    let every =
        journal.number("select min(m.step - n.step) from metrics m join metrics n on m.step > n.step");
    assert_eq!(rows, 400 / every);
}

fn a_run_of_which_only_the_bucket_is_left_goes_on() {
    let hosts = Hosts::new("bucket-only");
    let (mut one, workers) = hosts.first();
    one.client.wait_until("a snapshot", |status| status.snapshot_step.is_some_and(|step| step >= 20));
    for worker in workers {
        worker.kill();
    }
    one.kill();
    hosts.lose("one");
    let two = hosts.coordinator("two", &format!("{}:0", hosts.lab.host()));
    let workers = hosts.workers(&two.address);
    hosts.ends_well("bucket-only", two, workers);
    let starts: Vec<_> = hosts.journal("two").generations().into_iter().map(|g| g.start).collect();
    assert_eq!(starts.last().map(String::as_str), Some("snapshot"), "{starts:?}");
    assert!(starts.len() >= 2, "the first host's generations are in its journal: {starts:?}");
}

fn of_two_coordinators_the_later_one_leads_and_the_first_one_ends() {
    let hosts = Hosts::new("two-lead");
    let (mut one, workers) = hosts.first();
    one.client.wait_for_step(30);
    let listen = one.listen();
    // It stands still, as on a host that is suspended, and comes back when another one leads.
    one.process.signal(Signal::SIGSTOP);
    // Nobody reaches it, and yet it leads.
    let mut two = hosts.coordinator("two", &format!("{}:0", hosts.lab.host()));
    one.process.signal(Signal::SIGCONT);
    one.process.wait().expect_code(2).expect_err(&["taken over this run", "Start only one coordinator"]);
    two.kill();
    // The first host again: its journal is no longer the newest.
    let one = hosts.coordinator("one", &listen);
    hosts.ends_well("two-lead", one, workers);
    assert!(hosts.lab.path("one").join("journal.old-1.sqlite").exists());
    assert_eq!(
        hosts.journal("one").number("select count(*) from generations"),
        1,
        "the workers never halted"
    );
}
