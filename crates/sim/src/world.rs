//! The world of one seed: it jumps from one happening to the next, strikes with faults, heals, and demands an end.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use lsgan_control::{Entry, Event, Outcome};
use lsgan_spec::{Generation, Millis};

use crate::coverage::Coverage;
use crate::faults::{Class, Fault, Setup};
use crate::group::Group;
use crate::history::History;
use crate::network::{Happening, Inner, Network, ProcessIndex, Queue, Store};
use crate::rng::{Rng, Stream};
use crate::shell::Shell;
use crate::worker::{Life, Process};

/// Happenings, for each of a hundred workers, after which a world is taken for one that goes round in circles.
const HAPPENINGS_MAX: u64 = 3_000_000;
/// An operator whose coordinator is away asks again after so long.
const ASKS_AGAIN_MS: u64 = 200;
/// Lines that a failure shows.
const LAST_LINES: usize = 40;

/// What is written down of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Nothing; the fastest.
    Off,
    /// The last lines, for a report of a failure.
    Last,
    /// Everything, to standard output at once.
    Print,
}

/// Everything there is.
#[derive(Debug)]
pub struct World {
    pub(crate) setup: Setup,
    pub(crate) now: Millis,
    pub(crate) rng: Rng,
    pub(crate) queue: Queue,
    pub(crate) network: Network,
    pub(crate) shell: Shell,
    pub(crate) processes: Vec<Process>,
    pub(crate) groups: BTreeMap<Generation, Group>,
    pub(crate) store: Store,
    pub(crate) history: History,
    pub(crate) coverage: Coverage,
    /// The operator wants the run to stop, and goes on so long after that.
    pub(crate) operator_stops: Option<u64>,
    /// The data set is known to be too bad, also to a coordinator that starts again.
    pub(crate) data_unfit: bool,
    /// The run is stopped and not yet resumed.
    pub(crate) stopped: bool,
    pub(crate) failing_tasks: u32,
    pub(crate) failing_writes: u32,
    pub(crate) finished: Option<Outcome>,
    /// Between whom the network carries nothing.
    pub(crate) severed: Vec<(ProcessIndex, ProcessIndex)>,
    calm: bool,
    /// By then the run must have ended.
    end_by: Option<Millis>,
    violation: Option<String>,
    pub(crate) trace: Trace,
    lines: VecDeque<String>,
}

/// A sentence that did not hold in the world of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the seed had drawn.
    pub setup: Setup,
    /// When.
    pub at: Millis,
    /// The sentence.
    pub sentence: String,
    /// Where everybody was.
    pub situation: String,
    /// The last lines of the trace.
    pub last: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seed = self.setup.seed;
        writeln!(f, "seed {seed}: {}", self.sentence)?;
        writeln!(f, "\nThe seed drew:\n{}", self.setup)?;
        writeln!(f, "The last lines before {} ms:", self.at)?;
        for line in &self.last {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "\nWhere everybody was:\n  {}", self.situation)?;
        writeln!(f, "\nReplay: cargo run --release -p lsgan-sim --bin simulate -- --seed {seed} --trace")
    }
}

impl World {
    /// The world as it begins.
    #[must_use]
    pub fn new(setup: Setup, trace: Trace) -> Self {
        Self {
            now: Millis(0),
            rng: Rng::new(setup.seed, Stream::World),
            queue: Queue::default(),
            network: Network::default(),
            shell: Shell::default(),
            processes: Vec::new(),
            groups: BTreeMap::new(),
            store: Store::new(),
            history: History::new(setup.config.virtual_ranks, setup.config.steps),
            coverage: Coverage { worlds: 1, ..Coverage::default() },
            operator_stops: None,
            data_unfit: false,
            stopped: false,
            failing_tasks: setup.failing_tasks,
            failing_writes: if setup.classes.contains(&Class::Blind) { 2 } else { 0 },
            finished: None,
            severed: Vec::new(),
            calm: false,
            end_by: None,
            violation: None,
            trace,
            lines: VecDeque::new(),
            setup,
        }
    }

    /// Lives through it all. Returns what was seen, or the sentence that did not hold.
    pub fn run(mut self) -> Result<Coverage, Box<Failure>> {
        self.queue.push(Millis(0), Happening::CoordinatorStarts);
        for _ in 0..self.setup.workers {
            let at = self.later(300);
            self.queue.push(at, Happening::Spawn);
        }
        for (at, fault) in self.setup.faults.clone() {
            self.queue.push(at, Happening::Fault(fault));
        }
        self.queue.push(self.setup.calm_from, Happening::Calm);
        let mut count = 0;
        let most = HAPPENINGS_MAX * u64::from(self.setup.workers.div_ceil(100));
        while self.finished.is_none() && self.violation.is_none() {
            let Some((at, what)) = self.queue.pop() else {
                self.violated("nothing will ever happen again, and the run has not ended".to_owned());
                break;
            };
            count += 1;
            self.now = at;
            if self.end_by.is_some_and(|end_by| at > end_by) || count > most {
                self.violated("nothing fails any more, and the run does not come to its end".to_owned());
                break;
            }
            self.happen(what);
        }
        if let Some(sentence) = self.violation.take() {
            let situation = self.situation();
            let last = self.lines.into();
            return Err(Box::new(Failure { setup: self.setup, at: self.now, sentence, situation, last }));
        }
        self.coverage.simulated_ms = self.now.0;
        self.coverage.failed += u64::from(matches!(self.finished, Some(Outcome::Failed { .. })));
        Ok(self.coverage)
    }

    fn happen(&mut self, what: Happening) {
        if let Happening::AtWorker(p, ..) | Happening::StreamLost(p, _) | Happening::Worker(p, _) = &what {
            let process = &mut self.processes[*p];
            match process.life {
                Life::Running => {}
                Life::Frozen => return process.deferred.push(what),
                Life::Ended => return,
            }
        }
        match what {
            Happening::CoordinatorStarts => {
                if !self.stopped {
                    self.start_coordinator();
                }
            }
            Happening::Deadline => self.deadline(),
            Happening::AtCoordinator(session, event) => self.arrived(session, event),
            Happening::AtWorker(p, session, message) => self.told(p, session, message),
            Happening::StreamLost(p, session) => self.stream_lost(p, session),
            Happening::Worker(p, inner) => self.inner(p, inner),
            Happening::Fault(fault) => self.strike(fault),
            Happening::Spawn => self.spawn(false),
            Happening::Thaw(p) => self.thaw(p),
            Happening::OperatorStops => {
                if self.operator_stops.is_some() {
                    self.apply(Event::StopRequested);
                }
            }
            Happening::OperatorResumes => self.resume(),
            Happening::OperatorUnpauses => self.unpause(),
            Happening::Calm => self.become_calm(),
        }
    }

    fn strike(&mut self, fault: Fault) {
        self.note(|_| format!("FAULT {fault:?}"));
        match fault {
            Fault::Join => self.spawn(false),
            Fault::JoinOdd => {
                // Whoever comes first sets the run's numerics; the odd one is odd against that.
                if self.shell.journal.iter().any(|entry| matches!(entry, Entry::Numerics(_))) {
                    self.spawn(true);
                }
            }
            Fault::CrashCoordinator { down_ms } => self.shell.dies_ms = Some(down_ms),
            Fault::Stop { resume_ms } => {
                if !self.stopped {
                    self.operator_stops = Some(resume_ms);
                    self.apply(Event::StopRequested);
                }
            }
            Fault::Pause { for_ms } => {
                self.apply(Event::PauseRequested { by: "the operator".to_owned() });
                self.queue.push(self.now.plus(for_ms), Happening::OperatorUnpauses);
            }
            Fault::Snapshot => self.apply(Event::SnapshotRequested),
            Fault::KillAll { down_ms } => self.kill_all(down_ms),
            Fault::Heal => {
                self.severed.clear();
                self.processes.iter_mut().for_each(|process| process.hidden = false);
            }
            Fault::DataUnfit => {
                self.data_unfit = true;
                self.data_is_unfit();
            }
            Fault::Leave
            | Fault::Kill { .. }
            | Fault::Freeze { .. }
            | Fault::BreakStream
            | Fault::BreakLink
            | Fault::Stick
            | Fault::Hang
            | Fault::Flip
            | Fault::Slow
            | Fault::Sever
            | Fault::Hide
            | Fault::OneWay { .. }
            | Fault::Echo => {
                if let Some(p) = self.somebody() {
                    self.strike_worker(p, fault);
                }
            }
        }
    }

    /// What a shell tells its machine once it knows of too many records that do not decode.
    pub(crate) fn data_is_unfit(&mut self) {
        self.apply(Event::DataUnfit { why: "too many records do not decode".to_owned() });
    }

    #[expect(clippy::too_many_lines, reason = "a flat match: what each fault does")]
    fn strike_worker(&mut self, p: ProcessIndex, fault: Fault) {
        self.note(|w| format!("  it hits {}", w.processes[p].name));
        match fault {
            Fault::Leave => self.happens(p, lsgan_control::member::Event::Terminate),
            Fault::Kill { restart_ms } => {
                self.kill(p);
                if let Some(restart_ms) = restart_ms {
                    self.queue.push(self.now.plus(restart_ms), Happening::Spawn);
                }
            }
            Fault::Freeze { for_ms } => {
                self.processes[p].life = Life::Frozen;
                self.queue.push(self.now.plus(for_ms), Happening::Thaw(p));
            }
            Fault::BreakStream => {
                if let Some(session) = self.processes[p].session {
                    self.hang_up(session);
                    let at = self.later(2 * self.setup.net_ms_max);
                    self.queue.push(at, Happening::StreamLost(p, session));
                }
            }
            Fault::BreakLink => {
                if let Some(membership) = &self.processes[p].membership {
                    let generation = membership.form.generation;
                    self.soon(p, 0, Inner::PeerLost(generation));
                }
            }
            Fault::Stick => self.processes[p].stuck = true,
            Fault::Hang => self.processes[p].hangs = true,
            Fault::Slow => self.processes[p].slow = true,
            Fault::Hide => self.processes[p].hidden = true,
            Fault::Sever => {
                if let Some(other) = self.somebody().filter(|other| *other != p) {
                    self.note(|w| format!("  and {}", w.processes[other].name));
                    self.severed.push((p, other));
                }
            }
            Fault::OneWay { up, for_ms } => {
                if let Some(session) = self.processes[p].session {
                    let until = self.now.plus(for_ms).min(self.setup.calm_from);
                    let link = self.network.link(session);
                    let cut = if up { &mut link.up_cut_until } else { &mut link.down_cut_until };
                    *cut = until;
                }
            }
            Fault::Flip => {
                if let Some(state) = &mut self.processes[p].state {
                    state.hash ^= 1;
                    self.history.tainted = true;
                }
            }
            Fault::Echo => {
                let said = &self.processes[p].said;
                if !said.is_empty() {
                    let again = said[self.rng.between(0, said.len() as u64 - 1) as usize].clone();
                    self.send(p, again);
                }
            }
            Fault::Join
            | Fault::JoinOdd
            | Fault::CrashCoordinator { .. }
            | Fault::Stop { .. }
            | Fault::Pause { .. }
            | Fault::Snapshot
            | Fault::DataUnfit
            | Fault::Heal
            | Fault::KillAll { .. } => unreachable!("it hits no single worker"),
        }
    }

    fn kill_all(&mut self, down_ms: u64) {
        for p in 0..self.processes.len() {
            if self.processes[p].life != Life::Ended {
                self.kill(p);
            }
        }
        self.crash_coordinator(down_ms);
        for _ in 0..self.setup.workers {
            let up_ms = down_ms + self.rng.delay_ms(500);
            self.queue.push(self.now.plus(up_ms), Happening::Spawn);
        }
    }

    fn spawn(&mut self, odd: bool) {
        let name = format!("w{}", self.processes.len() + 1);
        let drifts = self.setup.classes.contains(&Class::Drift);
        let clock_percent = if drifts { self.rng.between(80, 120) } else { 100 };
        let blind = self.setup.classes.contains(&Class::Blind) && !self.calm && self.rng.one_in(3);
        self.processes.push(Process { clock_percent, blind, ..Process::new(name, odd) });
        self.inner(self.processes.len() - 1, Inner::Connect);
    }

    fn thaw(&mut self, p: ProcessIndex) {
        if self.processes[p].life != Life::Frozen {
            return;
        }
        self.note(|w| format!("{} goes on", w.processes[p].name));
        self.processes[p].life = Life::Running;
        for what in std::mem::take(&mut self.processes[p].deferred) {
            // At once and in order: what arrives right now must not overtake it.
            self.happen(what);
        }
    }

    fn resume(&mut self) {
        self.note(|_| "the operator goes on with the run".to_owned());
        self.stopped = false;
        self.start_coordinator();
        // The command brings its own workers; those of before may still be on their way out.
        for _ in 0..self.setup.workers {
            let at = self.later(300);
            self.queue.push(at, Happening::Spawn);
        }
        if self.calm {
            self.set_end();
        }
    }

    /// The operator goes on with the run, again until that is journaled.
    fn unpause(&mut self) {
        self.apply(Event::ResumeRequested { by: "the operator".to_owned() });
        let last =
            self.shell.journal.iter().rev().find(|entry| {
                matches!(entry, Entry::Paused { .. } | Entry::Resumed { .. } | Entry::Ended(_))
            });
        if matches!(last, Some(Entry::Paused { .. })) {
            self.queue.push(self.now.plus(ASKS_AGAIN_MS), Happening::OperatorUnpauses);
        }
    }

    fn become_calm(&mut self) {
        self.note(|_| "CALM: nothing fails from here on".to_owned());
        self.calm = true;
        self.shell.dies_ms = None;
        self.severed.clear();
        // A wrong address stays wrong, and the run comes to its end without that worker; but where it needs several and
        // the newest state lies there, it can only wait.
        let hides = self.setup.classes.contains(&Class::Hidden) && self.setup.config.min_workers == 1;
        let stays_hidden = hides && self.rng.one_in(2);
        for p in 0..self.processes.len() {
            self.thaw(p);
            self.processes[p].hidden &= stays_hidden;
            // One that hangs already is retired for it; the others do not begin to.
            let process = &mut self.processes[p];
            process.hangs = false;
            let hangs = process
                .membership
                .as_ref()
                .is_some_and(|m| matches!(m.stage, crate::worker::Stage::Draining(_)));
            process.stuck &= hangs;
            if std::mem::take(&mut process.blind) {
                self.prove_store(p);
            }
        }
        if !self.stopped {
            self.start_coordinator();
        }
        self.fill_up();
        self.set_end();
    }

    /// Starts as many workers as there were at the beginning.
    fn fill_up(&mut self) {
        let stays = |p: &&Process| p.life != Life::Ended && !p.member.is_leaving() && !p.odd && !p.hidden;
        let there = self.processes.iter().filter(stays).count();
        for _ in there..self.setup.workers as usize {
            let at = self.later(300);
            self.queue.push(at, Happening::Spawn);
        }
    }

    fn set_end(&mut self) {
        let config = &self.setup.config;
        let train_ms = (config.steps + 4) * 2 * self.setup.half_ms_max();
        // The longest wait between two generations that come to nothing is 30 s.
        let settle_ms = self.setup.stall_ms_max()
            + 40_000
            + 6 * config.forming_timeout_ms
            + 6 * config.failure_timeout_ms_max;
        self.end_by = Some(self.now.plus(train_ms + settle_ms));
    }

    /// Somebody who is there.
    fn somebody(&mut self) -> Option<ProcessIndex> {
        let alive: Vec<_> =
            (0..self.processes.len()).filter(|p| self.processes[*p].life != Life::Ended).collect();
        let last = alive.len().checked_sub(1)?;
        Some(alive[self.rng.between(0, last as u64) as usize])
    }

    /// At most `most_ms` from now.
    pub(crate) fn later(&mut self, most_ms: u64) -> Millis {
        let delay_ms = self.rng.delay_ms(most_ms);
        self.now.plus(delay_ms)
    }

    /// Something will happen inside a worker after so long.
    pub(crate) fn soon(&mut self, p: ProcessIndex, after_ms: u64, inner: Inner) {
        self.queue.push(self.now.plus(after_ms), Happening::Worker(p, inner));
    }

    /// A sentence did not hold. The first one counts.
    pub(crate) fn violated(&mut self, sentence: String) {
        self.note(|_| format!("VIOLATED {sentence}"));
        self.violation.get_or_insert(sentence);
    }

    /// Checks a sentence.
    pub(crate) fn check(&mut self, holds: impl FnOnce(&mut Self) -> Result<(), String>) {
        if let Err(sentence) = holds(self) {
            self.violated(sentence);
        }
    }

    /// Writes a line down, if somebody wants to read it.
    pub(crate) fn note(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.trace == Trace::Off {
            return;
        }
        let line = format!("{:>7} {}", self.now.0, line(self));
        if self.trace == Trace::Print {
            println!("{line}");
        }
        if self.lines.len() == LAST_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}
