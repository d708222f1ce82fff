//! Alerts of real runs: shown, posted to a webhook, and followed by the command that they advise.

use std::path::{Path, PathBuf};
use std::process::Command;

use lsgan_outside::Posted;
use lsgan_tests::binaries::{binary, root};
use lsgan_tests::disturb::Cluster;
use lsgan_tests::leftovers::files_that_say;
use lsgan_tests::process::children_of;
use lsgan_tests::{Hook, Journal, Lab, Process, until};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Stands in a URL, and is to be seen nowhere.
const SECRET: &str = "hunter2";
/// What is said of a worker that computes many times as slowly as the others.
const STRAGGLES: &str = "alert (straggler): worker slow needs ";
const SLOWLY: [&str; 2] = ["--fault-slowness", "40"];

fn shows(text: &str) -> bool {
    text.contains(SECRET)
}

#[track_caller]
fn nothing_shows_the_secret_below(dir: &Path) {
    assert_eq!(files_that_say(dir, &shows), [""; 0].map(PathBuf::from));
}

fn is_straggler(state: &str) -> impl Fn(&Value) -> bool {
    move |posted| posted["kind"] == "straggler" && posted["state"] == state
}

/// What a person adds to the advised command: the learning rate of the ring's file.
const TAKEN_BACK: &str = "--set optimizer.generator.adam.learning_rate=0.001";

/// The paper's ring with −1/1/0 labels, a G that is narrow and deep, and its learning rate times 50: sooner or later a layer of its
/// tanh units saturates, whatever z is, and then no gradient brings them back, so that all samples are one point. All rules have
/// their defaults.
fn that_collapses(lab: &Lab, webhook: &str) -> Process {
    let config = root().join("configs/gaussian-ring-lsgan.yaml").display().to_string();
    let (to, webhook) =
        (format!("checkpoint.to={}", lab.run_dir().display()), format!("alerts.webhook={webhook}"));
    let sets = [
        "steps=100000000",
        "objective={ least_squares: { a: -1, b: 1, c: 0 } }",
        "model.generator={ mlp: { latent: { normal: 32 }, width: 4, depth: 8, gain: 1.4 } }",
        "optimizer.generator.adam.learning_rate=0.05",
        "report.every=1",
        "samples.every=0",
        // So that the best one stays, whichever it is.
        "checkpoint={ every: 500, keep_last: 1000 }",
        "evaluate={ every: 500, samples: 200, weights: raw }",
        &to,
        &webhook,
    ];
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    lab.lsgan(["up", "--workers", "1", "--config", &config].into_iter().chain(sets))
}

/// What an alert of `lsgan status` advises, once it says where the best snapshot is.
fn command_of_the_best(lab: &Lab, run: &str) -> String {
    until("the alert's command begins with the best snapshot", || {
        let status = lab.lsgan(["status", "--run", run, "--json"]).succeeds().json();
        let alerts = status["alerts"].as_array().cloned().unwrap_or_default();
        let collapse = alerts.iter().find(|alert| alert["kind"] == "collapse");
        let command = collapse.and_then(|alert| alert["command"].as_str());
        command.filter(|command| command.contains("--from best")).map(str::to_owned).ok_or(alerts)
    })
}

#[test]
fn a_run_that_collapses_is_told_at_once_and_the_advised_command_takes_it_back() {
    let lab = Lab::new();
    let mut hook = Hook::http();
    let mut up = that_collapses(&lab, &hook.url(&format!("/hook?token={SECRET}")));
    let collapsed = |posted: &Value| posted["kind"] == "collapse" && posted["state"] == "began";
    let Posted { what, body: alert, .. } = hook.wait_for("the samples have collapsed", collapsed);
    assert_eq!(what, format!("POST /hook?token={SECRET}"));
    assert_eq!((&alert["run"], &alert["dropped"]), (&"gaussian-ring-lsgan".into(), &0.into()));
    assert!(alert["step"].as_u64() > Some(300) && alert["time_ms"].is_u64(), "{alert}");
    up.wait_for_words("alert (collapse): the samples have collapsed: ");
    let arguments: Vec<_> = children_of(up.id()).into_iter().flat_map(|child| child.arguments).collect();
    assert!(!arguments.iter().any(|argument| shows(argument)), "{arguments:?}");

    let run = lab.run_dir().display().to_string();
    let command = command_of_the_best(&lab, &run);
    lab.lsgan(["status", "--run", &run]).succeeds().expect_out(&["alert (collapse): ", "lsgan up --config "]);
    lab.lsgan(["stop", "--run", &run]).succeeds();
    up.wait().expect_code(130);
    nothing_shows_the_secret_below(&lab.run_dir());

    let name = command.split(" --fork ").nth(1).and_then(|rest| rest.split(' ').next());
    let name = name.expect("it names a branch");
    let from = name.rsplit('-').next().and_then(|step| step.parse().ok()).expect("after its step");
    let mut shell = Command::new("sh");
    let programs = binary("lsgan").parent().expect("a file is in a folder").display().to_string();
    let path = [programs, std::env::var("PATH").unwrap_or_default()].join(":");
    shell.args(["-c", &format!("exec {command} {TAKEN_BACK}")]).env("PATH", path);
    let mut branch = lab.start_command("the advised command", shell);
    lab.client_of(&lab.path(name), &mut branch).wait_for_step(from + 1);
    let first = Journal::open(&lab.path(name)).generations().remove(0);
    assert_eq!((first.from_step, first.start.as_str()), (from, "snapshot"));
    branch.kill();
}

/// Over HTTPS, to a server whose authority is in the file that SSL_CERT_FILE names.
#[test]
fn a_straggler_is_told_when_it_begins_and_when_it_ends() {
    let lab = Lab::new();
    let mut hook = Hook::https();
    let listen = format!("{}:0", lab.host());
    let more = ["--listen", &listen, "--quiet", "--expect-workers", "3", "--set", "steps=1000000"];
    let mut command = Command::new(binary("coordinator"));
    command.args(lab.run_arguments(&more));
    command.env("SSL_CERT_FILE", hook.authority_file());
    command.env("RUST_LOG", "info,reqwest=debug,hyper_util=debug");
    let url = format!("https://user:{SECRET}@{}/{SECRET}?token={SECRET}", hook.authority());
    command.env("LSGAN_WEBHOOK", url);
    let mut coordinator = Lab::listening(lab.start_command("coordinator", command));
    let mut slow = lab.worker_with("slow", &coordinator.address, &SLOWLY);
    let others = ["worker-1", "worker-2"].map(|name| lab.worker(name, &coordinator.address));

    let Posted { authorization, body: alert, .. } = hook.wait_for("the straggler", is_straggler("began"));
    assert!(authorization.starts_with("Basic "), "{authorization}");
    assert!(alert["text"].as_str().is_some_and(|text| text.starts_with("worker slow needs ")), "{alert}");
    coordinator.process.wait_for_words(STRAGGLES);
    let run = lab.run_dir().display().to_string();
    let status = lab.lsgan(["status", "--run", &run]).succeeds().expect_out(&[STRAGGLES]);
    assert_eq!(status.out.matches("alert (straggler)").count(), 1, "it is told once: {status}");

    slow.signal(Signal::SIGTERM);
    slow.wait().expect_code(143);
    hook.wait_for("its end", is_straggler("ended"));
    coordinator.process.wait_for_words("alert (straggler) has ended: worker slow");
    let mut told =
        |word: &str| hook.posted().iter().filter(|posted| is_straggler(word)(&posted.body)).count();
    assert_eq!((told("began"), told("ended")), (1, 1));
    lab.lsgan(["stop", "--run", &run]).succeeds();
    let ended = coordinator.process.wait();
    assert!(!shows(&ended.out) && !shows(&ended.err), "{ended}");
    others.into_iter().for_each(|mut other| drop(other.wait()));
    nothing_shows_the_secret_below(&lab.path(""));
}

#[test]
fn a_webhook_that_never_answers_holds_up_no_step_and_changes_no_bit() {
    let mut hook = Hook::silent();
    let set = format!("alerts.webhook={}", hook.url("/hook"));
    let workers = [("slow", &SLOWLY[..]), ("worker-1", &[]), ("worker-2", &[])];
    let mut cluster = Cluster::of(&workers, &["--set", &set]);
    cluster.coordinator.process.wait_for_words(STRAGGLES);
    hook.wait_for("a connection", |_| true);
    // Its slowness is of no further use.
    cluster.leaves(0);
    cluster.finish();
}

#[test]
fn a_run_that_nobody_wants_watched_is_not() {
    let lab = Lab::new();
    let mut hook = Hook::http();
    let webhook = format!("alerts={{ enabled: false, stall_s: 1, webhook: '{}' }}", hook.url("/hook"));
    lab.up(1, &["--set", &webhook]).succeeds();
    assert_eq!(hook.posted(), []);
}
