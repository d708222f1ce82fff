//! Runs on a shared pool of workers: each is a process `lsgan up` with a part of them.

use std::collections::{BTreeMap, VecDeque};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use lsgan_console::{Counter, Failure, Interrupt, say};
use lsgan_journal::LastWords;
use lsgan_launch::sibling;
use nix::sys::signal::Signal;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::ledger::Ledger;
use super::plan::{Job, Left, Sweep};
use crate::children::{Log, Recipe, Running, first_end};
use crate::run_file;

/// Between two looks at how far the runs are.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How a sweep ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// How long each run took, over all attempts.
    pub seconds: BTreeMap<String, f64>,
    /// Why runs failed.
    pub failed: BTreeMap<String, String>,
    /// Which signal stopped it.
    pub stopped: Option<Interrupt>,
}

/// Runs the runs of a sweep.
pub struct Pool<'a> {
    sweep: &'a Sweep,
    workers: u32,
    ledger: Ledger,
    waiting: VecDeque<(&'a Job, Left)>,
    /// The processes, and beside each what it does.
    children: Vec<Running>,
    places: Vec<Place<'a>>,
    ended: Ended,
    counter: Counter,
}

/// What a process of the pool does.
struct Place<'a> {
    job: &'a Job,
    workers: u32,
    since: Instant,
    /// Seconds of the attempts before.
    before: f64,
    /// Steps done when it was looked at last.
    step: u64,
}

impl<'a> Pool<'a> {
    /// A pool of so many workers.
    #[must_use]
    pub fn new(sweep: &'a Sweep, workers: u32, ledger: Ledger) -> Self {
        Self {
            sweep,
            workers,
            ledger,
            waiting: VecDeque::new(),
            children: vec![],
            places: vec![],
            ended: Ended::default(),
            counter: Counter::new("sweep"),
        }
    }

    /// Runs all that is not finished. The first signal stops all runs with a snapshot, the second at once.
    ///
    /// # Errors
    /// A process that cannot be started, a ledger that cannot be written.
    pub async fn run(mut self, interrupts: &mut mpsc::Receiver<Interrupt>) -> Result<Ended, Failure> {
        for job in &self.sweep.jobs {
            match job.left()? {
                Left::Nothing => {}
                left => self.waiting.push_back((job, left)),
            }
        }
        let mut beat = interval(LOOK_EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.start_waiting()?;
            if self.children.is_empty() {
                break;
            }
            tokio::select! {
                (index, status) = first_end(&mut self.children) => self.one_ended(index, status).await?,
                _ = beat.tick() => self.look()?,
                asked = interrupts.recv() => self.stop(asked.unwrap_or(Interrupt::System)),
            }
        }
        self.counter.end();
        let seconds = self.sweep.jobs.iter().map(|job| (job.name.clone(), self.ledger.of(&job.name)));
        self.ended.seconds = seconds.collect();
        Ok(self.ended)
    }

    /// Starts runs while there are workers for them.
    fn start_waiting(&mut self) -> Result<(), Failure> {
        while self.ended.stopped.is_none() {
            let free = self.workers - self.places.iter().map(|place| place.workers).sum::<u32>();
            let runs = u32::try_from(self.waiting.len() + self.places.len()).unwrap_or(u32::MAX);
            if free == 0 {
                break;
            }
            let Some((job, left)) = self.waiting.pop_front() else { break };
            let ranks = job.file.spec.batch.virtual_ranks;
            let workers = (self.workers / runs).clamp(1, ranks).min(free);
            let (to_lines, _) = mpsc::channel(1);
            self.children.push(Running::start(recipe(job, left, workers)?, to_lines)?);
            let (since, before) = (Instant::now(), self.ledger.of(&job.name));
            self.places.push(Place { job, workers, since, before, step: 0 });
        }
        Ok(())
    }

    /// A process has ended: its run is finished, stopped or failed. A run that is finished and was not scored to its end is
    /// not begun again.
    async fn one_ended(&mut self, index: usize, status: Option<ExitStatus>) -> Result<(), Failure> {
        self.keep_times()?;
        let (mut child, place) = (self.children.remove(index), self.places.remove(index));
        let (name, seconds) = (&place.job.name, self.ledger.of(&place.job.name));
        if status.is_some_and(|status| status.success()) {
            say!("{name}: finished in {seconds:.0} s");
        } else if self.ended.stopped.is_none() {
            let why =
                child.last_error().await.unwrap_or_else(|| "its log, logs/up.log, says no more".to_owned());
            say!("warning: {name} failed: {why}");
            self.ended.failed.insert(name.clone(), why);
        }
        Ok(())
    }

    /// Shows how far the runs are.
    fn look(&mut self) -> Result<(), Failure> {
        for place in &mut self.places {
            // A journal that is being made, or is locked at the moment, is read at the next look.
            if let Ok(Some(last)) = LastWords::of(&place.job.dir) {
                place.step = last.step;
            }
        }
        let steps = |job: &Job| job.file.spec.steps;
        let running =
            |job: &Job| self.places.iter().find(|place| place.job.name == job.name).map(|place| place.step);
        let waits = |job: &Job| self.waiting.iter().any(|(waiting, _)| waiting.name == job.name);
        let done = |job: &Job| if waits(job) { 0 } else { running(job).unwrap_or(steps(job)) };
        let jobs = &self.sweep.jobs;
        self.counter.show("steps", jobs.iter().map(done).sum(), Some(jobs.iter().map(steps).sum()));
        self.keep_times()
    }

    /// Writes how long the runs have taken, so that a sweep that is killed knows it.
    fn keep_times(&mut self) -> Result<(), Failure> {
        let time =
            |place: &Place<'_>| (place.job.name.clone(), place.before + place.since.elapsed().as_secs_f64());
        let times: Vec<_> = self.places.iter().map(time).collect();
        self.ledger.put(times)
    }

    fn stop(&mut self, asked: Interrupt) {
        if self.ended.stopped.is_none() {
            say!("stopping all runs with a snapshot; once more ends at once");
        }
        self.ended.stopped.get_or_insert(asked);
        // Each of them stops with a snapshot at the first signal, and at once at the second.
        for child in &self.children {
            child.signal(Signal::SIGINT);
        }
    }
}

/// How a run's process is started.
fn recipe(job: &Job, left: Left, workers: u32) -> Result<Recipe, Failure> {
    let log = Log::default();
    log.open(&job.dir.join("logs/up.log"))?;
    let arguments = match left {
        Left::Train => vec![
            "up".to_owned(),
            "--resolved".to_owned(),
            job.file.to_string(),
            format!("--workers={workers}"),
        ],
        Left::Score | Left::Nothing => {
            let run = job.dir.display().to_string();
            ["eval", "--run", &run, "--follow", "--beside", "--threads", "1"].map(str::to_owned).to_vec()
        }
    };
    let secrets = run_file::secrets(&job.file.spec);
    Ok(Recipe { label: job.name.clone(), program: sibling("lsgan")?, arguments, secrets, log })
}

impl Ended {
    /// What a later round has come to as well.
    pub fn add(&mut self, later: Self) {
        self.seconds.extend(later.seconds);
        self.failed.extend(later.failed);
        self.stopped = self.stopped.or(later.stopped);
    }

    /// What the command ends with.
    ///
    /// # Errors
    /// Runs that failed, a sweep that was stopped.
    pub fn result(&self) -> Result<(), Failure> {
        if let Some(asked) = self.stopped {
            say!("stopped; the same command goes on from there");
            return Err(Failure::stopped(asked.exit_code()));
        }
        match self.failed.len() {
            0 => Ok(()),
            count => {
                Err(Failure::failed(format!("{count} of the runs failed; the same command tries them again")))
            }
        }
    }
}
