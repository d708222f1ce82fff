//! The coordinator's log in the run's directory: it is there after the run, and whatever is wrong with it holds up no run.

use std::fs;

use lsgan_tests::disturb::{assert_undisturbed_weights, finish};
use lsgan_tests::{Lab, until};
use nix::sys::stat::Mode;

/// What the log has; nothing before it is there.
fn log(lab: &Lab) -> String {
    fs::read_to_string(lab.run_dir().join("coordinator.log")).unwrap_or_default()
}

#[test]
fn a_finished_run_has_its_coordinators_log_and_lsgan_logs_prints_it() {
    let lab = Lab::finished();
    let text = log(&lab);
    // The first of these was said before the directory was held.
    for words in ["starting: reading the data set", "generation 1 of 2 workers starts", "all steps are done"]
    {
        assert!(text.contains(words), "`{words}` is not in {text}");
    }
    let dir = lab.run_dir().display().to_string();
    let printed = lab.lsgan(["logs", "coordinator", "--run", &dir]).succeeds().out;
    let lines: Vec<_> = text.lines().map(|line| format!("coordinator  {line}")).collect();
    assert_eq!(printed.lines().collect::<Vec<_>>(), lines);
    let words = ["is not live", "lsgan logs coordinator --run"];
    lab.lsgan(["logs", "up:1", "--run", &dir]).fails(1, &words);
}

/// The log of a directory that is held is the holder's.
#[test]
fn a_coordinator_that_is_started_again_goes_on_in_the_log_and_a_refused_one_adds_nothing() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&[]);
    let starts = || log(&lab).matches("starting: reading the data set").count();
    until("the log has the first start", || if starts() == 1 { Ok(()) } else { Err(log(&lab)) });
    lab.start_coordinator(&[]).wait().expect_code(1).expect_one_error();
    assert_eq!(starts(), 1, "{}", log(&lab));
    let listen = coordinator.kill();
    let mut coordinator = lab.coordinator_at(&listen, &[]);
    let worker = lab.worker("worker", &coordinator.address);
    finish(&mut coordinator.process, vec![worker]);
    assert_eq!(starts(), 2, "{}", log(&lab));
}

#[test]
fn a_log_that_cannot_be_written_is_told_once_and_the_run_goes_on() {
    let lab = Lab::new();
    fs::create_dir_all(lab.run_dir().join("coordinator.log")).expect("a folder can be made");
    let mut coordinator = lab.coordinator(&[]);
    let mut worker = lab.worker("worker", &coordinator.address);
    let said = coordinator.process.succeeds().err;
    worker.succeeds();
    assert_eq!(said.matches("the log cannot be written there").count(), 1, "{said}");
    assert_undisturbed_weights(&lab);
}

/// A pipe that nobody reads, in the place of a disk that stands still: opening it does not end.
#[test]
fn a_log_that_stands_still_holds_up_nothing() {
    let lab = Lab::new();
    fs::create_dir_all(lab.run_dir()).expect("a folder can be made");
    nix::unistd::mkfifo(&lab.run_dir().join("coordinator.log"), Mode::S_IRWXU).expect("a pipe can be made");
    let mut coordinator = lab.coordinator(&[]);
    let worker = lab.worker("worker", &coordinator.address);
    finish(&mut coordinator.process, vec![worker]);
    assert_undisturbed_weights(&lab);
}
