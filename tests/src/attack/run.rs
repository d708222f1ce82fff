//! A run that is attacked while it trains: [`run`].
//!
//! A worker is killed and started again from time to time, so that generations are formed under attack. At the end the run is
//! stopped by its operator, finished in peace, and compared with a run of one worker that nobody attacked.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use lsgan_certs::authority::{Authority, Wanted};
use lsgan_certs::{Files, Identity, Role};
use lsgan_wire::v1;

use super::{Attack, Certificates, Tally, Target};
use crate::disturb::finish;
use crate::lab::{Coordinator, Lab};
use crate::process::Process;
use crate::weights::Weights;

/// Between two deaths of a worker.
const KILL_EVERY: Duration = Duration::from_secs(10);
/// Between two questions for the status.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Ports of the coordinator: a lab has a host of its own, whose ports nobody has. The system gives none of these.
const PAGE_PORT: u16 = 17_071;
const HEALTH_PORT: u16 = 17_072;
/// More steps than an attack lasts.
const STEPS: &str = "steps=10000000";
const SETS: [&str; 6] = ["--set", STEPS, "--set", "checkpoint.every=200", "--set", "samples.every=0"];
/// Steps of the undisturbed run that are waited for together.
const PIECE: u64 = 200;
/// Steps that are done in peace.
const STEPS_AFTER: u64 = 10;
/// What a coordinator may take, whoever says what.
const COORDINATOR_BYTES_MAX: u64 = 1 << 30;
/// The exit code of a process that a person stopped, and of one that panicked.
const STOPPED: i32 = 130;
const PANICKED: i32 = 101;

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub attacked_for: Duration,
    pub tls: bool,
    pub workers: usize,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Report {
    plan: Plan,
    pub tally: Tally,
    pub hears: bool,
    /// Steps that were done under attack.
    steps: u64,
    deaths: u64,
    generations: u64,
    /// The longest time until all workers trained again, from a death.
    back: Duration,
    /// The longest time that a status took.
    status: Duration,
    /// The longest time from the end of a step to the end of the next, over a death or not.
    step_ms: u64,
    coordinator_peak_bytes: u64,
    weights: Weights,
}

/// A coordinator and its workers.
struct Attacked {
    plan: Plan,
    coordinator: Coordinator,
    workers: Vec<Process>,
    started: u32,
    tls: Option<String>,
    lab: Lab,
}

/// Attacks a run, and asserts that its weights are those of a run that nobody attacked.
///
/// # Panics
/// An attacker achieved something, or the weights are others.
#[track_caller]
pub fn run(plan: Plan) -> Report {
    let lab = Lab::new();
    let (tls, certificates) = match plan.tls {
        true => {
            let (dir, certificates) = certificates(&lab);
            (Some(dir), Some(certificates))
        }
        false => (None, None),
    };
    let mut attacked = Attacked::start(lab, plan, tls);
    attacked.coordinator.client.wait_for_step(1);
    let target = Target {
        coordinator: attacked.coordinator.address.clone(),
        page: port(&attacked.lab, PAGE_PORT).parse().expect("a lab has an address"),
        health: port(&attacked.lab, HEALTH_PORT).parse().expect("a lab has an address"),
        run_dir: attacked.lab.run_dir(),
        certificates,
    };
    let attack = Attack::start(target);
    let mut report = attacked.bear(&attack);
    let step = attacked.stop();
    let Tally { done, achieved } = attack.tally();
    report.tally.done = done;
    report.tally.achieved.extend(achieved);
    drop(attack);
    let journal = attacked.lab.journal();
    report.generations = journal.newest().generation;
    report.step_ms = journal.number(
        "select max(wall_ms - before) from (select wall_ms, lag(wall_ms) over (order by step) before from metrics)",
    );
    report.steps = step;
    report.weights = attacked.finish(step + STEPS_AFTER);
    report.check();
    let undisturbed = Lab::new();
    let steps = format!("steps={}", step + STEPS_AFTER);
    let mut up = undisturbed.up(1, &[&SETS[..], &["--set", &steps]].concat());
    let client = undisturbed.client(&mut up);
    // Each piece has a deadline of its own: all steps together may take many minutes.
    for piece in (PIECE..step.saturating_sub(PIECE)).step_by(PIECE as usize) {
        client.wait_for_step(piece);
    }
    up.succeeds();
    assert_eq!(report.weights, undisturbed.weights(), "{report}");
    report
}

/// An authority with a folder for each role, and what attackers have of it.
fn certificates(lab: &Lab) -> (String, Certificates) {
    let [ours, others] = ["certs", "others"].map(|name| lab.path(name));
    let wanted = Wanted { names: Vec::new(), days: 1 };
    for dir in [&ours, &others] {
        Authority::init(dir, &wanted).expect("an empty directory");
    }
    let open = |files: Files| Identity::open(files).expect("it was made");
    let of = |role: Role| open(Files::in_folder(&ours.join(role.word())));
    let stranger = Files { authority: ours.join("ca.crt"), ..Files::in_folder(&others.join("worker")) };
    let certificates =
        Certificates { worker: of(Role::Worker), viewer: of(Role::Viewer), stranger: open(stranger) };
    (ours.display().to_string(), certificates)
}

impl Attacked {
    fn start(lab: Lab, plan: Plan, tls: Option<String>) -> Self {
        let expect = plan.workers.to_string();
        let (page, health) = (port(&lab, PAGE_PORT), port(&lab, HEALTH_PORT));
        let more = ["--expect-workers", &expect, "--http", &page, "--health-listen", &health];
        let coordinator = coordinator(&lab, tls.as_deref(), &more);
        let mut attacked = Self { plan, coordinator, workers: Vec::new(), started: 0, tls, lab };
        attacked.fill_up();
        attacked
    }

    /// Starts workers until there are as many as planned.
    fn fill_up(&mut self) {
        while self.workers.len() < self.plan.workers {
            self.started += 1;
            let tls: Vec<_> = self.tls.iter().flat_map(|tls| ["--tls", tls]).collect();
            let name = format!("worker-{}", self.started);
            self.workers.push(self.lab.worker_with(&name, &self.coordinator.address, &tls));
        }
    }

    /// Trains under attack for as long as planned.
    fn bear(&mut self, attack: &Attack) -> Report {
        let begin = Instant::now();
        let every = KILL_EVERY.min(self.plan.attacked_for / 2);
        let mut report = Report::new(self.plan, attack.hears());
        while begin.elapsed() < self.plan.attacked_for {
            if begin.elapsed() >= every * (report.deaths as u32 + 1) {
                report.back = report.back.max(self.replace_a_worker());
                report.deaths += 1;
            }
            let asked = Instant::now();
            match self.coordinator.client.status() {
                Ok(_) => report.status = report.status.max(asked.elapsed()),
                Err(why) => report.tally.achieved.push(format!("the coordinator does not answer: {why}")),
            }
            std::thread::sleep(ASK_EVERY);
        }
        report.coordinator_peak_bytes = peak_bytes(self.coordinator.process.id());
        report
    }

    /// Kills a worker and starts another one. Returns how long it took until all trained together.
    fn replace_a_worker(&mut self) -> Duration {
        let (begin, workers) = (Instant::now(), self.plan.workers);
        let generation = self.coordinator.client.wait_until("a status", |_| true).generation;
        let ended = self.workers.remove(0).kill();
        assert_ne!(ended.code, Some(PANICKED), "{ended}");
        self.fill_up();
        self.coordinator.client.wait_until("all workers train together again", |status| {
            let members = status.workers.iter().filter(|worker| worker.role() == v1::Role::Member).count();
            status.generation > generation && status.phase() == v1::Phase::Stepping && members == workers
        });
        begin.elapsed()
    }

    /// Stops the run as its operator does, under attack. Returns the step of its last snapshot.
    fn stop(&mut self) -> u64 {
        let mut stop = vec!["stop", "--coordinator", &self.coordinator.address];
        stop.extend(self.tls.iter().flat_map(|tls| ["--tls", tls]));
        self.lab.lsgan(stop).succeeds();
        self.coordinator.process.wait().expect_code(STOPPED);
        for mut worker in std::mem::take(&mut self.workers) {
            let ended = worker.wait();
            assert_ne!(ended.code, Some(PANICKED), "{ended}");
        }
        self.lab.journal().number("select max(step) from checkpoints where deleted_ms is null")
    }

    /// Goes on up to this step without an attack.
    fn finish(&mut self, steps: u64) -> Weights {
        let set = format!("steps={steps}");
        let expect = self.plan.workers.to_string();
        let more = ["--expect-workers", &expect, "--set", &set];
        self.coordinator = coordinator(&self.lab, self.tls.as_deref(), &more);
        self.fill_up();
        finish(&mut self.coordinator.process, std::mem::take(&mut self.workers));
        self.lab.weights()
    }
}

/// An address of the host that the lab has for itself.
fn port(lab: &Lab, port: u16) -> String {
    format!("{}:{port}", lab.host())
}

fn coordinator(lab: &Lab, tls: Option<&str>, more: &[&str]) -> Coordinator {
    let listen = format!("{}:0", lab.host());
    let tls_words: Vec<_> = tls.iter().flat_map(|tls| ["--tls", tls]).collect();
    let process =
        lab.start_coordinator(&[&["--quiet", "--listen", &listen], &SETS[..], &tls_words, more].concat());
    let operator = tls.map(|tls| {
        let files = Files::in_folder(&Path::new(tls).join(Role::Operator.word()));
        Identity::open(files).expect("it was made")
    });
    Lab::listening_as(process, operator)
}

/// The most memory that a process has had.
fn peak_bytes(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.expect("Linux says it of a process that runs") << 10
}

impl Report {
    fn new(plan: Plan, hears: bool) -> Self {
        Self {
            plan,
            tally: Tally::default(),
            hears,
            steps: 0,
            deaths: 0,
            generations: 0,
            back: Duration::ZERO,
            status: Duration::ZERO,
            step_ms: 0,
            coordinator_peak_bytes: 0,
            weights: Weights { generator: String::new(), discriminator: String::new() },
        }
    }

    /// What must hold beside the weights.
    #[track_caller]
    fn check(&self) {
        assert!(self.tally.achieved.is_empty(), "{self}");
        // A death is a reason for a generation without that worker, and its successor for one more.
        assert!(self.generations <= 1 + 2 * self.deaths, "attackers were a reason for generations: {self}");
        assert!(self.coordinator_peak_bytes < COORDINATOR_BYTES_MAX, "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { attacked_for, tls, workers } = self.plan;
        let how = if tls { "with TLS" } else { "without TLS" };
        writeln!(f, "{workers} workers {how}, attacked for {} s:", attacked_for.as_secs())?;
        for (what, count) in &self.tally.done {
            writeln!(f, "{count:>10}  {what}")?;
        }
        if !self.hears {
            writeln!(f, "         -  replayed connections: only root hears what travels on a host")?;
        }
        writeln!(
            f,
            "  {} steps; {} workers killed and replaced, the longest in {:.1} s; {} generations",
            self.steps,
            self.deaths,
            self.back.as_secs_f64(),
            self.generations
        )?;
        writeln!(
            f,
            "  the longest step {:.1} s, the longest status {:.2} s, at most {} MiB of the coordinator",
            self.step_ms as f64 / 1e3,
            self.status.as_secs_f64(),
            self.coordinator_peak_bytes >> 20
        )?;
        for what in &self.tally.achieved {
            writeln!(f, "  ACHIEVED: {what}")?;
        }
        write!(f, "  weights {} {}", &self.weights.generator, &self.weights.discriminator)
    }
}
