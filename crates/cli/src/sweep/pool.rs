//! Runs on a shared pool of workers: each is a process `lsgan up` with a part of those of this machine, to which those of other
//! hosts come as they are offered.

use std::collections::{BTreeMap, VecDeque};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use lsgan_console::{Counter, Failure, Interrupt, say};
use lsgan_journal::{LastWords, OutcomeKind};
use lsgan_launch::sibling;
use lsgan_snapshots::{Holder, host_name};
use nix::sys::signal::Signal;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Means;
use super::ledger::Ledger;
use super::offers::Offers;
use super::plan::{Job, Left, Sweep};
use crate::children::{Log, Recipe, Running, first_end};
use crate::run_file;

/// Between two looks at how far the runs are.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two looks whether a coordinator listens for which another host's worker waits.
const TELL_EVERY: Duration = Duration::from_millis(200);

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
    /// Those of this machine.
    workers: u32,
    means: &'a mut Means,
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
    left: Left,
    /// Workers of this machine.
    workers: u32,
    since: Instant,
    /// Seconds of the attempts before.
    before: f64,
    /// Steps done when it was looked at last.
    step: u64,
}

impl<'a> Pool<'a> {
    /// A pool of so many workers of this machine, and of those that other hosts offer.
    #[must_use]
    pub fn new(sweep: &'a Sweep, workers: u32, means: &'a mut Means, ledger: Ledger) -> Self {
        Self {
            sweep,
            workers,
            means,
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
            self.lend()?;
            let waits_for_offers = self.means.offers.is_some() && self.ended.stopped.is_none();
            if self.children.is_empty() && (self.waiting.is_empty() || !waits_for_offers) {
                break;
            }
            let has_untold = self.means.offers.as_ref().is_some_and(Offers::has_untold);
            tokio::select! {
                (index, status) = first_end(&mut self.children) => self.one_ended(index, status).await?,
                _ = beat.tick() => self.look()?,
                () = offered(self.means) => {}
                () = sleep(TELL_EVERY), if has_untold => {}
                asked = interrupts.recv() => self.stop(asked.unwrap_or(Interrupt::System)),
            }
        }
        self.counter.end();
        let seconds = self.sweep.jobs.iter().map(|job| (job.name.clone(), self.ledger.of(&job.name)));
        self.ended.seconds = seconds.collect();
        Ok(self.ended)
    }

    /// Starts runs while there are workers of this machine for them.
    fn start_waiting(&mut self) -> Result<(), Failure> {
        while self.ended.stopped.is_none() {
            let busy = self.places.iter().map(|place| place.workers).sum::<u32>();
            let free = self.workers.saturating_sub(busy);
            // Scoring is done here, also where all training is done elsewhere.
            let fits = |left: Left| free > 0 || self.workers == 0 && busy == 0 && left == Left::Score;
            let Some(index) = self.waiting.iter().position(|(_, left)| fits(*left)) else { break };
            let (job, left) = self.waiting.remove(index).expect("it was just found");
            let runs = u32::try_from(self.waiting.len() + self.places.len() + 1).unwrap_or(u32::MAX);
            let ranks = job.file.spec.batch.virtual_ranks;
            self.start((job, left), (self.workers / runs).clamp(1, ranks).min(free.max(1)))?;
        }
        Ok(())
    }

    /// Starts a run with so many workers of this machine.
    fn start(&mut self, (job, left): (&'a Job, Left), workers: u32) -> Result<(), Failure> {
        let (to_lines, _) = mpsc::channel(1);
        let recipe = recipe(job, left, (workers, &self.means.arguments))?;
        self.children.push(Running::start(recipe, to_lines)?);
        let (since, before) = (Instant::now(), self.ledger.of(&job.name));
        self.places.push(Place { job, left, workers, since, before, step: 0 });
        Ok(())
    }

    /// Gives the workers that other hosts offer to runs.
    fn lend(&mut self) -> Result<(), Failure> {
        let Some(mut offers) = self.means.offers.take() else { return Ok(()) };
        let lent = self.lend_all(&mut offers);
        self.means.offers = Some(offers);
        lent
    }

    fn lend_all(&mut self, offers: &mut Offers) -> Result<(), Failure> {
        offers.forget_gone();
        offers.take_back(|run| !self.place_of(run).is_some_and(Place::trains));
        while offers.has_free() && self.ended.stopped.is_none() {
            let Some(job) = self.wants_worker(offers)? else { break };
            offers.give(&job.name);
        }
        let here = host_name();
        offers.tell(|run| Holder::of(&self.place_of(run)?.job.dir).ok()??.reached_at(here.as_deref()));
        Ok(())
    }

    fn place_of(&self, run: &str) -> Option<&Place<'a>> {
        self.places.iter().find(|place| place.job.name == run)
    }

    /// The run that gets the next worker: one that has too few to train, else one that waits, which is started, else the one that
    /// has fewest and can use more.
    fn wants_worker(&mut self, offers: &Offers) -> Result<Option<&'a Job>, Failure> {
        let fewest = self.places.iter().filter(|place| place.trains()).min_by_key(|place| place.has(offers));
        let lacks = |place: &&Place<'_>| place.has(offers) < place.job.file.spec.cluster.min_workers;
        if let Some(place) = fewest.filter(lacks) {
            return Ok(Some(place.job));
        }
        if let Some(index) = self.waiting.iter().position(|(_, left)| *left == Left::Train) {
            let (job, left) = self.waiting.remove(index).expect("it was just found");
            self.start((job, left), 0)?;
            return Ok(Some(job));
        }
        let most = |job: &Job| job.file.spec.batch.virtual_ranks.min(job.file.spec.cluster.max_workers);
        Ok(fewest.filter(|place| place.has(offers) < most(place.job)).map(|place| place.job))
    }

    /// A process has ended: its run is finished, stopped or failed. A run that is finished and was not scored to its end is
    /// not begun again.
    async fn one_ended(&mut self, index: usize, status: Option<ExitStatus>) -> Result<(), Failure> {
        self.keep_times()?;
        let (mut child, place) = (self.children.remove(index), self.places.remove(index));
        let (name, seconds) = (&place.job.name, self.ledger.of(&place.job.name));
        if let Some(offers) = &mut self.means.offers {
            offers.run_is_over(name);
        }
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

impl Place<'_> {
    /// Its workers, here and elsewhere.
    fn has(&self, offers: &Offers) -> u32 {
        self.workers + offers.count(&self.job.name)
    }

    /// Whether a worker is of use to it: its run is trained, and not at its end.
    fn trains(&self) -> bool {
        let steps = self.job.file.spec.steps;
        let is_complete = |last: LastWords| last.outcome == Some(OutcomeKind::Complete) && last.step >= steps;
        // A journal that is being made is not complete.
        let is_over = LastWords::of(&self.job.dir).is_ok_and(|last| last.is_some_and(is_complete));
        self.left == Left::Train && !is_over
    }
}

/// Waits until another host offers a worker.
async fn offered(means: &mut Means) {
    match &mut means.offers {
        Some(offers) => offers.next().await,
        None => std::future::pending().await,
    }
}

/// How a run's process is started.
fn recipe(job: &Job, left: Left, (workers, more): (u32, &[String])) -> Result<Recipe, Failure> {
    let log = Log::default();
    log.open(&job.dir.join("logs/up.log"))?;
    let dir = job.dir.display().to_string();
    let arguments = match left {
        Left::Train => {
            let (file, workers) = (job.file.to_string(), format!("--workers={workers}"));
            // The directory by itself: the snapshots may be in a bucket.
            let run = ["up", "--resolved", &file, "--run-dir", &dir, &workers].map(str::to_owned);
            [&run[..], more].concat()
        }
        Left::Score | Left::Nothing => {
            ["eval", "--run", &dir, "--follow", "--beside", "--threads", "1"].map(str::to_owned).to_vec()
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
