//! What is printed fails nothing and holds up nothing: readers that are gone or stand still, full disks, closed
//! descriptors. And what asks for the end while the output breaks still gets its snapshot.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use lsgan_tests::binaries::binary;
use lsgan_tests::disturb::{assert_undisturbed_weights, finish, random_step, wait_for_members};
use lsgan_tests::process::{children_of, lives, send};
use lsgan_tests::{Lab, Process};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

const ENDLESS: [&str; 4] = ["--set", "steps=1000000", "--set", "checkpoint.every=0"];

/// One of the binaries with its output redirected as a shell does it.
fn redirected(lab: &Lab, label: &str, name: &str, arguments: &[&str], redirection: &str) -> Process {
    let mut command = Command::new("sh");
    let script = format!("exec \"$0\" \"$@\" {redirection}");
    command.args(["-c", &script]).arg(binary(name)).args(arguments);
    lab.start_command(label, command)
}

/// `lsgan up` with two workers and its output redirected.
fn up(lab: &Lab, more: &[&str], redirection: &str) -> Process {
    let run = lab.run_arguments(more);
    let mut arguments = vec!["up", "--workers", "2"];
    arguments.extend(run.iter().map(String::as_str));
    redirected(lab, "lsgan up", "lsgan", &arguments, redirection)
}

/// A pipe with a name, and its reading end.
fn pipe(lab: &Lab, name: &str) -> (PathBuf, File) {
    let path = lab.path(name);
    nix::unistd::mkfifo(&path, Mode::S_IRWXU).expect("a pipe can be made");
    // Open for both, so that opening waits for no writer.
    let reader = OpenOptions::new().read(true).write(true).open(&path).expect("it can be opened");
    (path, reader)
}

/// Another reader opens such a pipe without being its writer.
fn only_reader(path: &PathBuf, both: File) -> File {
    let reader = File::open(path).expect("it can be opened");
    drop(both);
    reader
}

/// The store has a snapshot of all steps that were done.
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
    let arguments =
        ["--coordinator", &coordinator.address, "--name", "first", "--peer-listen", "127.0.0.1:0"];
    let redirection = format!("2>'{}'", path.display());
    let first = redirected(&lab, "first", "worker", &arguments, &redirection);
    coordinator.client.wait_for_step(3);
    let reader = only_reader(&path, both);
    drop(reader);
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
    let arguments =
        ["--coordinator", &coordinator.address, "--name", "first", "--peer-listen", "127.0.0.1:0"];
    let redirection = format!("2>'{}'", path.display());
    let first = redirected(&lab, "first", "worker", &arguments, &redirection);
    finish(&mut coordinator.process, vec![first]);
    assert_undisturbed_weights(&lab);
}

fn fill(pipe: &mut File) {
    // For this end alone: who opens the pipe by its name waits until there is room.
    fcntl(&*pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a pipe can be made non-blocking");
    while pipe.write(&[b'x'; 4096]).is_ok() {}
}

#[test]
fn a_run_whose_output_goes_to_a_full_disk_trains_to_its_end() {
    let lab = Lab::new();
    up(&lab, &[], ">/dev/full 2>/dev/full").wait().expect_code(0);
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_run_that_is_started_without_output_trains_to_its_end() {
    let lab = Lab::new();
    up(&lab, &[], ">&- 2>&-").wait().expect_code(0);
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
    drop(only_reader(&path, both));
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
    let run = lab.run_arguments(&[]);
    let mut command = Command::new("nohup");
    command.arg(binary("lsgan")).args(["up", "--workers", "2"]).args(&run);
    let mut up = lab.start_command("lsgan up", command);
    lab.client(&mut up).wait_for_step(3);
    up.signal(Signal::SIGHUP);
    up.wait().expect_code(0);
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
    let mut coordinator = lab.start_command("coordinator", script);
    let line = coordinator.wait_for_words("listening on http://");
    let address = line[line.find("http://").expect("it says where")..].trim().to_owned();
    lab.worker("worker", &address).wait().expect_code(0);
    let shown = coordinator.wait().expect_code(0).out;
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
}

#[test]
fn a_training_thread_that_panics_ends_its_process() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&["--expect-workers", "2"]);
    let mut panics = lab.worker_with("panics", &coordinator.address, &["--fault-panic-at", "20"], &[]);
    let other = lab.worker("other", &coordinator.address);
    let said = ["thread trainer panicked", "error: the trainer panicked, and this process ends"];
    panics.wait().expect_code(101).expect_err(&said);
    finish(&mut coordinator.process, vec![other]);
    assert_undisturbed_weights(&lab);
}
