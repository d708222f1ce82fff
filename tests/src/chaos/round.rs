//! Does to a run what a schedule says.

use std::mem::take;
use std::time::Instant;

use nix::sys::signal::Signal;

use super::{Fault, Schedule};
use crate::lab::{Coordinator, Lab, shell};
use crate::leftovers;
use crate::process::Process;
use crate::proxy::{Cut, Proxy};
use crate::wait::until;
use crate::weights::Weights;

/// Faults come fast, so that deaths must be noticed fast. States are compared often, so that a difference is found where it
/// began. There is always a recent snapshot.
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
    /// It sees the run's store, and its peers reach it. A run needs at least one such worker to end.
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
    /// Workers that were told to leave.
    leaving: Vec<Worker>,
    started: u32,
    wanted: u64,
}

/// Runs a schedule, and compares the final weights with those of an undisturbed run. Returns how many faults came too
/// late, because the run was over.
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
        let (listen, coordinator) = (coordinator.listen(), Some(coordinator));
        let (workers, leaving, started) = (Vec::new(), Vec::new(), 0);
        let mut round = Self { lab, coordinator, listen, workers, leaving, started, wanted };
        round.fill_up();
        round
    }

    /// Starts a worker behind a proxy of its own.
    fn join_by(&mut self, whole: bool, start: impl FnOnce(&Lab, &str, &str) -> Process) {
        self.started += 1;
        let name = format!("worker-{}", self.started);
        let proxy = Proxy::before(&self.listen, self.lab.host());
        let process = start(&self.lab, &name, &proxy.url());
        self.workers.push(Worker { name, process, proxy, whole, until: None });
    }

    fn join(&mut self) {
        self.join_by(true, Lab::worker);
    }

    /// Starts a worker whose standard error is redirected.
    fn join_with_log(&mut self, redirection: &str) {
        self.join_by(true, |lab, name, address| lab.worker_under(shell("", redirection), name, address));
    }

    /// Starts a worker that sees another disk where the run's store is. Without root there is no such disk, and the worker
    /// is an ordinary one.
    fn join_blind(&mut self) {
        if Lab::can_mount() { self.join_by(false, Lab::blind_worker) } else { self.join() }
    }

    /// Starts a worker that gives its peers an address where nothing listens.
    fn join_unreachable(&mut self) {
        let unreachable = ["--advertise", "127.0.0.9"];
        self.join_by(false, |lab, name, address| lab.worker_with(name, address, &unreachable));
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
            Fault::KillCoordinator => self.restart(kill),
            Fault::KillAll => {
                for worker in take(&mut self.workers).into_iter().chain(take(&mut self.leaving)) {
                    worker.process.kill();
                }
                self.restart(kill);
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

    /// Ends the coordinator and starts it again where it was. If the run was over by then, the next one says so.
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
        // Workers that are cut or frozen are healed in time.
        until("the run ends", || {
            self.tend();
            let status = self.coordinator().client.status();
            if self.coordinator().process.running().is_err() { Ok(()) } else { Err(format!("{status:?}")) }
        });
        self.coordinator().process.succeeds();
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

fn kill(coordinator: Coordinator) {
    coordinator.process.kill();
}
