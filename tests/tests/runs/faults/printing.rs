//! Output that cannot be printed fails nothing and holds up nothing: readers that are gone or stand still, full disks, closed
//! descriptors. A run that is told to end while its output breaks still writes its snapshot.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use lsgan_tests::binaries::binary;
use lsgan_tests::disturb::{Cluster, assert_undisturbed_weights, finish, random_step, wait_for_members};
use lsgan_tests::lab::shell;
use lsgan_tests::process::{children_of, lives, send};
use lsgan_tests::{Coordinator, Lab, Process};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

const ENDLESS: [&str; 4] = ["--set", "steps=1000000", "--set", "checkpoint.every=0"];

/// `lsgan up` with two workers and its output redirected.
fn up(lab: &Lab, more: &[&str], redirection: &str) -> Process {
    let mut command = shell("", redirection);
    command.arg(binary("lsgan")).args(["up", "--workers", "2"]).args(lab.run_arguments(more));
    lab.start_command("lsgan up", command)
}

/// A worker whose log goes into a pipe.
fn worker_with_log(lab: &Lab, pipe: &Path, coordinator: &Coordinator) -> Process {
    let redirection = format!("2>'{}'", pipe.display());
    lab.worker_under(shell("", &redirection), "first", &coordinator.address)
}

/// A pipe with a name, and its reading end.
fn pipe(lab: &Lab, name: &str) -> (PathBuf, File) {
    let path = lab.path(name);
    nix::unistd::mkfifo(&path, Mode::S_IRWXU).expect("a pipe can be made");
    // Open for both, so that opening waits for no writer.
    let reader = OpenOptions::new().read(true).write(true).open(&path).expect("it can be opened");
    (path, reader)
}

/// Closes the reading end of a pipe that a process writes into.
fn close(path: &Path, both: File) {
    // The end that is open for both would keep the writer from noticing.
    let reader = File::open(path).expect("it can be opened");
    drop(both);
    drop(reader);
}

/// Asserts that the store has a snapshot of all steps that were done.
#[track_caller]
fn assert_saved(lab: &Lab, at_least: u64) {
    let done = lab.journal().number("select max(step) + 1 from metrics");
    let snapshots =
        std::fs::read_dir(lab.run_dir().join("snapshots")).expect("there are snapshots").flatten();
    let whole = snapshots.filter(|entry| entry.path().join("manifest.json").is_file());
    let steps =
        whole.filter_map(|entry| entry.file_name().to_str()?.strip_prefix("step-")?.parse::<u64>().ok());
    let saved = steps.max().unwrap_or(0);
    assert!(saved >= at_least.max(done), "step {saved} is saved, {done} are done, {at_least} were then");
}

/// Its training thread logs at the next generation, which the second worker's coming brings.
#[test]
fn a_worker_whose_log_reader_is_gone_goes_on() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&["--set", "steps=400"]);
    let (path, both) = pipe(&lab, "log");
    let first = worker_with_log(&lab, &path, &coordinator);
    coordinator.client.wait_for_step(3);
    close(&path, both);
    let second = lab.worker("second", &coordinator.address);
    wait_for_members(&lab, 2);
    finish(&mut coordinator.process, vec![first, second]);
}

/// A full pipe takes nothing more, and nobody reads it.
#[test]
fn a_worker_whose_log_reader_stands_still_goes_on() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&[]);
    let (path, mut both) = pipe(&lab, "log");
    fill(&mut both);
    let first = worker_with_log(&lab, &path, &coordinator);
    finish(&mut coordinator.process, vec![first]);
    assert_undisturbed_weights(&lab);
}

fn fill(pipe: &mut File) {
    // For this end alone: a process that opens the pipe by its name waits until there is room.
    fcntl(&*pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a pipe can be made non-blocking");
    while pipe.write(&[b'x'; 4096]).is_ok() {}
}

#[test]
fn a_run_whose_output_goes_to_a_full_disk_trains_to_its_end() {
    let lab = Lab::new();
    up(&lab, &[], ">/dev/full 2>/dev/full").succeeds();
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_run_that_is_started_without_output_trains_to_its_end() {
    let lab = Lab::new();
    up(&lab, &[], ">&- 2>&-").succeeds();
    assert_undisturbed_weights(&lab);
}

/// `lsgan up … 2>&1 | tee log` and Ctrl-C: tee is gone first.
#[test]
fn an_interrupt_after_the_reader_is_gone_still_stops_with_a_snapshot() {
    let lab = Lab::new();
    let (path, both) = pipe(&lab, "output");
    let redirection = format!(">'{0}' 2>'{0}'", path.display());
    let mut up = up(&lab, &ENDLESS, &redirection);
    let step = lab.client(&mut up).wait_for_step(random_step()).step;
    close(&path, both);
    up.signal(Signal::SIGINT);
    up.wait();
    assert_saved(&lab, step);
}

#[test]
fn a_closed_terminal_and_a_schedulers_signal_stop_a_run_with_a_snapshot() {
    for signal in [Signal::SIGHUP, Signal::SIGUSR1] {
        let lab = Lab::new();
        let mut up = lab.up(2, &ENDLESS);
        let step = lab.client(&mut up).wait_for_step(3).step;
        let children = children_of(up.id());
        up.signal(signal);
        up.wait().expect_out(&["stopped after step"]);
        assert_saved(&lab, step);
        assert!(!children.iter().any(lives), "none is left: {children:?}");
    }
}

#[test]
fn a_run_under_nohup_outlives_its_terminal() {
    let lab = Lab::new();
    let mut command = Command::new("nohup");
    command.arg(binary("lsgan")).args(["up", "--workers", "2"]).args(lab.run_arguments(&[]));
    let mut up = lab.start_command("lsgan up", command);
    lab.client(&mut up).wait_for_step(3);
    up.signal(Signal::SIGHUP);
    up.succeeds();
    assert_undisturbed_weights(&lab);
}

/// As systemd and SLURM do it, and a terminal where the processes share a group.
#[test]
fn a_signal_to_all_processes_at_once_loses_nothing() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let lab = Lab::new();
        let mut up = lab.up(2, &ENDLESS);
        let step = lab.client(&mut up).wait_for_step(3).step;
        let children = children_of(up.id());
        send(up.id(), signal);
        children.iter().for_each(|child| send(child.id, signal));
        up.wait();
        assert_saved(&lab, step);
    }
}

/// A coordinator with its progress bar and its log on one terminal, which `script` makes.
#[test]
fn lines_never_stick_to_the_progress_bar_and_events_appear_once() {
    let lab = Lab::new();
    let run = lab.run_arguments(&["--set", "steps=60", "--listen", &format!("{}:0", lab.host())]);
    let command = [&[binary("coordinator").display().to_string()], &run[..]].concat().join(" ");
    let mut script = Command::new("script");
    script.args(["-qefc", &command, "/dev/null"]).env("TERM", "xterm");
    let coordinator = lab.start_command("coordinator", script);
    let mut coordinator = Lab::listening(coordinator);
    lab.worker("worker", &coordinator.address).succeeds();
    let shown = coordinator.process.succeeds().out;
    assert!(shown.contains("images/s") && shown.contains("━"), "there is a bar: {shown:?}");
    // A log line begins with its time, in a faint colour.
    let begins: Vec<_> = shown.match_indices("\u{1b}[2m20").map(|(at, _)| &shown[..at]).collect();
    assert!(begins.len() > 3, "there are lines: {shown:?}");
    // Behind what clears the bar.
    let ends = ["\u{1b}[2K", "\u{1b}[1A", "\u{1b}[1B"];
    for before in begins {
        let clear = before.is_empty()
            || before.ends_with(['\n', '\r'])
            || ends.iter().any(|end| before.ends_with(end));
        assert!(clear, "a line begins behind {:?}", before.chars().rev().take(40).collect::<String>());
    }
    let starts = shown.matches("generation 1 of 1 worker starts").count();
    assert_eq!(starts, 1, "what happens is said once: {shown:?}");
    let kept = std::fs::read_to_string(lab.run_dir().join("coordinator.log")).expect("it is there");
    assert!(kept.contains("generation 1 of 1 worker starts") && !kept.contains('\u{1b}'), "{kept:?}");
}

#[test]
fn a_training_thread_that_panics_ends_its_process() {
    let mut cluster = Cluster::of(&[("panics", &["--fault-panic-at", "20"]), ("other", &[])], &[]);
    let said = ["thread trainer panicked", "error: the trainer panicked, and this process ends"];
    cluster.workers.remove(0).wait().expect_code(101).expect_err(&said);
    cluster.finish();
}
