//! Does to a run what a schedule says.

use std::mem::take;
use std::process::Command;
use std::time::Instant;

use nix::sys::signal::Signal;

use super::{Fault, Schedule};
use crate::binaries::binary;
use crate::lab::{Coordinator, Lab};
use crate::leftovers;
use crate::process::Process;
use crate::proxy::{Cut, Proxy};
use crate::wait::until;
use crate::weights::Weights;

/// Faults come fast, so that deaths must be noticed fast; states are compared often, so that a difference is found
/// where it began; and there is always a snapshot not far back.
const MORE: [&str; 6] = [
    "--set",
    "cluster.failure_timeout=500ms",
    "--set",
    "report.state_hash_every=20",
    "--set",
    "checkpoint.every=10",
];

/// The exit code of a process that a panic ended.
const PANICKED: i32 = 101;

/// A worker behind its own proxy.
struct Worker {
    name: String,
    process: Process,
    proxy: Proxy,
    /// It sees the run's store, and its peers reach it: a run with such workers alone cannot end.
    whole: bool,
    /// Frozen or cut until then.
    until: Option<Instant>,
}

impl Worker {
    fn heal(&mut self) {
        self.until = None;
        self.proxy.cut(Cut::Whole);
        if self.process.running().is_ok() {
            self.process.signal(Signal::SIGCONT);
        }
    }
}

struct Round {
    lab: Lab,
    coordinator: Option<Coordinator>,
    listen: String,
    workers: Vec<Worker>,
    /// Who was told to leave.
    leaving: Vec<Worker>,
    started: u32,
    wanted: u64,
}

/// Runs a schedule, and compares the final weights with those of an undisturbed run. Returns the faults that came
/// too late: the run was over.
///
/// # Panics
/// If the weights differ, something panicked, hung or was left over.
#[track_caller]
pub fn run(schedule: &Schedule) -> usize {
    let undisturbed = Weights::undisturbed();
    let mut round = Round::start(schedule.workers);
    let mut late = 0;
    for &(step, fault) in &schedule.faults {
        if round.reaches(step) {
            round.inflict(fault);
        } else {
            late += 1;
        }
    }
    round.finish(undisturbed);
    late
}

impl Round {
    fn start(workers: u64) -> Self {
        let lab = Lab::new();
        let (coordinator, wanted) = (lab.coordinator(&MORE), workers);
        let listen = coordinator.address.trim_start_matches("http://").to_owned();
        let (workers, leaving, started) = (Vec::new(), Vec::new(), 0);
        let mut round =
            Self { lab, coordinator: Some(coordinator), listen, workers, leaving, started, wanted };
        round.fill_up();
        round
    }

    fn join(&mut self) {
        self.join_with_log("");
    }

    /// Starts a worker whose standard error goes where a shell's redirection says; nowhere else if it is empty.
    fn join_with_log(&mut self, redirection: &str) {
        self.started += 1;
        let name = format!("worker-{}", self.started);
        let proxy = Proxy::before(&self.listen, self.lab.host());
        let process = match redirection {
            "" => self.lab.worker(&name, &proxy.url()),
            redirection => {
                let mut command = Command::new("bash");
                let script = format!("exec \"$0\" \"$@\" {redirection}");
                command.args(["-c", &script]).arg(binary("worker"));
                command.args(["--coordinator", &proxy.url(), "--name", &name]);
                command.args(["--peer-listen", "127.0.0.1:0"]);
                self.lab.start_command(&name, command)
            }
        };
        self.workers.push(Worker { name, process, proxy, whole: true, until: None });
    }

    /// Starts a worker that sees another disk where the run's store is. Without root there are no such disks, and it is
    /// one like all others.
    fn join_blind(&mut self) {
        if !Lab::can_mount() {
            return self.join();
        }
        self.started += 1;
        let name = format!("worker-{}", self.started);
        let proxy = Proxy::before(&self.listen, self.lab.host());
        let process = self.lab.blind_worker(&name, &proxy.url());
        self.workers.push(Worker { name, process, proxy, whole: false, until: None });
    }

    /// Starts a worker that tells its peers an address at which nobody listens.
    fn join_unreachable(&mut self) {
        self.started += 1;
        let name = format!("worker-{}", self.started);
        let proxy = Proxy::before(&self.listen, self.lab.host());
        let process = self.lab.worker_with(&name, &proxy.url(), &["--advertise", "127.0.0.9"], &[]);
        self.workers.push(Worker { name, process, proxy, whole: false, until: None });
    }

    /// Starts workers until there are as many as at first.
    fn fill_up(&mut self) {
        while (self.workers.len() as u64) < self.wanted {
            self.join();
        }
    }

    fn coordinator(&mut self) -> &mut Coordinator {
        self.coordinator.as_mut().expect("it is there between two faults")
    }

    /// Ends what has lasted long enough, and forgets workers that have ended.
    fn tend(&mut self) {
        for worker in &mut self.workers {
            if worker.until.is_some_and(|until| until <= Instant::now()) {
                worker.heal();
            }
        }
        self.workers.retain_mut(|worker| match worker.process.running() {
            Ok(()) => true,
            Err(status) => {
                assert_ne!(status.code(), Some(PANICKED), "{} panicked", worker.name);
                false
            }
        });
        if !self.workers.iter().any(|worker| worker.whole) {
            self.join();
        }
    }

    /// Waits until a step is done; false if the run is over before.
    #[track_caller]
    fn reaches(&mut self, step: u64) -> bool {
        until(&format!("step {step} is done"), || {
            if self.coordinator().process.running().is_err() {
                return Ok(false);
            }
            self.tend();
            match self.coordinator().client.status() {
                Ok(status) if status.outcome.is_some() => Ok(false),
                Ok(status) if status.step >= step && status.generation > 0 => Ok(true),
                seen => Err(format!("{seen:?}")),
            }
        })
    }

    fn inflict(&mut self, fault: Fault) {
        let there = self.workers.len();
        match fault {
            Fault::Kill(whom) => drop(self.workers.remove(whom % there).process.kill()),
            Fault::Replace(whom) => {
                self.workers.remove(whom % there).process.kill();
                self.join();
            }
            Fault::Freeze(whom, lasts) => {
                let worker = &mut self.workers[whom % there];
                worker.until = Some(Instant::now() + lasts);
                if worker.process.running().is_ok() {
                    worker.process.signal(Signal::SIGSTOP);
                }
            }
            Fault::Leave(whom) => self.leave(whom % there, Signal::SIGTERM),
            Fault::HangUp(whom) => self.leave(whom % there, Signal::SIGHUP),
            Fault::Join => self.join(),
            Fault::JoinUnread => self.join_with_log("2> >(head -n 3 >/dev/null)"),
            Fault::JoinBlind => self.join_blind(),
            Fault::JoinUnreachable => self.join_unreachable(),
            Fault::JoinFull => self.join_with_log("2>/dev/full"),
            Fault::Cut(whom, cut, lasts) => {
                let worker = &mut self.workers[whom % there];
                worker.until = Some(Instant::now() + lasts);
                worker.proxy.cut(cut);
            }
            Fault::Reset(whom) => self.workers[whom % there].proxy.reset(),
            Fault::KillCoordinator => self.restart(|coordinator| drop(coordinator.process.kill())),
            Fault::KillAll => {
                for worker in take(&mut self.workers).into_iter().chain(take(&mut self.leaving)) {
                    worker.process.kill();
                }
                self.restart(|coordinator| drop(coordinator.process.kill()));
            }
            Fault::Stop => self.restart(|mut coordinator| {
                if coordinator.process.running().is_ok() {
                    coordinator.process.signal(Signal::SIGINT);
                }
                // It may have been finished by then.
                let ended = coordinator.process.wait();
                assert!(matches!(ended.code, Some(0 | 130)), "{ended}");
            }),
        }
        self.tend();
    }

    fn leave(&mut self, whom: usize, signal: Signal) {
        let mut worker = self.workers.remove(whom);
        worker.heal();
        if worker.process.running().is_ok() {
            worker.process.signal(signal);
        }
        self.leaving.push(worker);
    }

    /// Ends the coordinator and starts it again where it was. It may have been over by then; the next one says so.
    #[track_caller]
    fn restart(&mut self, end: impl FnOnce(Coordinator)) {
        self.workers.iter_mut().for_each(Worker::heal);
        end(self.coordinator.take().expect("it is there between two faults"));
        let mut process =
            self.lab.start_coordinator(&[&["--quiet", "--listen", &self.listen], &MORE[..]].concat());
        until("the coordinator listens again, or says that the run is finished", || {
            let out = process.output().out();
            let listens = out.contains("listening on ") || out.contains("is finished:");
            if listens || process.running().is_err() { Ok(()) } else { Err(out) }
        });
        let address = format!("http://{}", self.listen);
        let client = crate::client::Client::new(address.clone());
        self.coordinator = Some(Coordinator { process, address, client });
        self.workers.retain_mut(|worker| worker.process.running().is_ok());
        self.fill_up();
    }

    #[track_caller]
    fn finish(mut self, undisturbed: &Weights) {
        // Who is cut or frozen is healed in time.
        until("the run ends", || {
            self.tend();
            let status = self.coordinator().client.status();
            if self.coordinator().process.running().is_err() { Ok(()) } else { Err(format!("{status:?}")) }
        });
        self.coordinator().process.wait().expect_code(0);
        assert_eq!(self.lab.weights(), *undisturbed, "the weights are those of an undisturbed run");
        for worker in self.workers.drain(..).chain(self.leaving.drain(..)) {
            let err = worker.process.output().err();
            assert!(!err.contains("panicked"), "{} panicked: {err}", worker.name);
            // It may have missed the end, and look for the coordinator for minutes.
            worker.process.kill_if_it_runs();
        }
        leftovers::expect_none(&self.lab);
    }
}
