//! What is different in a container that is replaced as soon as it ends (`--in-pod`), without Kubernetes: deploy/kubernetes/e2e
//! tries the same on a cluster.

use std::fs;
use std::path::PathBuf;

use lsgan_tests::lab::{SHORT, pictures};
use lsgan_tests::{Client, Lab, Process};
use lsgan_wire::v1::Phase;
use nix::sys::signal::Signal;

const SMALL: &str = include_str!("../../small.yaml");
/// Longer than any test waits.
const ENDLESS: (&str, &str) = ("steps: 200", "steps: 100000");

/// A run's file in the lab, with what `small.yaml` has there replaced.
fn write_file(lab: &Lab, replace: &[(&str, &str)]) -> PathBuf {
    let (images, to) = (pictures().display().to_string(), lab.run_dir().display().to_string());
    let places = [("datasets/fashion-mnist/t10k-images-idx3-ubyte.gz", images.as_str()), ("runs/small", &to)];
    let text = places.iter().chain(replace).fold(SMALL.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "small.yaml has `{old}`");
        text.replace(old, new)
    });
    // As the kubelet does it: the new file is there as a whole.
    let (file, new) = (lab.path("run.yaml"), lab.path("run.yaml.new"));
    fs::write(&new, text).expect("it can be written");
    fs::rename(new, &file).expect("it can be moved");
    file
}

fn coordinator(lab: &Lab, listen: &str) -> Process {
    let file = lab.path("run.yaml").display().to_string();
    lab.start("coordinator", ["--config", &file, "--listen", listen, "--in-pod", "--quiet"])
}

#[test]
fn a_changed_file_is_taken_by_the_next_coordinator_and_a_wrong_one_changes_nothing() {
    let lab = Lab::new();
    write_file(&lab, &[ENDLESS]);
    let first = Lab::listening(coordinator(&lab, &format!("{}:0", lab.host())));
    let mut worker = lab.worker_with("a", &first.address, &["--in-pod"]);
    first.client.wait_for_step(10);

    let mut process = first.process;
    for (wrong, words) in [("per_rank: five", "is not taken"), ("per_rank: 5", "has other mathematics")] {
        write_file(&lab, &[ENDLESS, ("per_rank: 4", wrong)]);
        process.wait_for_words(words);
    }
    // Back to what it was, but for a comment: nothing happens, as the steps after it show.
    write_file(&lab, &[ENDLESS, ("# What the whole", "# Again what the whole")]);
    let step = first.client.status().expect("it is there").step;
    first.client.wait_for_step(step + 1);

    write_file(&lab, &[("steps: 200", "steps: 100001")]);
    process.wait().expect_code(143).expect_err(&["the next one reads it"]);
    let second = Lab::listening(coordinator(&lab, first.address.trim_start_matches("http://")));
    let status = second.client.wait_until("the worker is its member", |status| status.workers.len() == 1);
    assert_eq!(status.steps, 100_001);
    second.client.wait_for_step(status.step + 1);
    worker.running().expect("it went on all the time");
}

#[test]
fn a_worker_that_comes_after_the_end_is_told_by_the_coordinator_that_ended_the_run_and_by_the_next_one() {
    let lab = Lab::new();
    let run = lab.run_arguments(&SHORT);
    let listen = format!("{}:0", lab.host());
    let start = |listen: &str| {
        lab.start(
            "coordinator",
            run.iter().map(String::as_str).chain(["--listen", listen, "--in-pod", "--quiet"]),
        )
    };
    let first = Lab::listening(start(&listen));
    lab.worker("a", &first.address).succeeds();
    lab.worker("late", &first.address).succeeds().expect_err(&["the run is finished"]);
    first.process.kill();

    // Its Job does not know yet that the run is finished.
    let address = first.address.trim_start_matches("http://").to_owned();
    let mut second = start(&address);
    second.wait_for_words("is finished: 30 of 30 steps are done");
    lab.worker("later", &first.address).succeeds().expect_err(&["the run is finished"]);
    second.signal(Signal::SIGTERM);
    second.succeeds();
}

#[test]
fn a_coordinator_waits_for_the_run_directory_of_the_one_before() {
    let lab = Lab::new();
    let first = lab.coordinator(&["--set", "steps=100000"]);
    let worker = lab.worker("a", &first.address);
    first.client.wait_for_step(30); // there is a snapshot

    let other = format!("{}:7070", lab.host());
    let run = lab.run_arguments(&["--set", "steps=100000", "--listen", &other, "--in-pod", "--quiet"]);
    let mut second = lab.start("coordinator", run);
    second.wait_for_words("which is held by process");
    let client = Client::new(format!("http://{other}"));
    client.wait_until("it says that it starts", |status| status.phase() == Phase::Starting);

    first.process.kill();
    worker.kill();
    client.wait_until("it has the run", |status| status.phase() != Phase::Starting);
    let step = client.status().expect("it is there").step;
    let _next = lab.worker("b", client.address());
    client.wait_for_step(step + 1);
}

#[test]
fn failing_takes_a_while_and_a_signal_shortens_it() {
    let lab = Lab::new();
    for mut process in [
        lab.start("coordinator", ["--config", "nowhere.yaml", "--in-pod"]),
        lab.start("worker", ["--coordinator", "nowhere", "--in-pod"]),
        lab.lsgan(["node", "--coordinator", "nowhere", "--in-pod"]),
    ] {
        process.wait_for_words("nowhere");
        process.running().expect("it takes its time");
        process.signal(Signal::SIGTERM);
        process.wait().expect_code(2).expect_one_error();
    }
}
