//! The world of one seed: it jumps from one happening to the next until the run ends or an invariant is violated.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use lsgan_control::{Event, Outcome};
use lsgan_spec::{Generation, Millis, Step};

use crate::coverage::Coverage;
use crate::faults::Class;
use crate::fence::Copied;
use crate::group::Group;
use crate::history::{History, State};
use crate::network::{Happening, Inner, Network, ProcessIndex, Queue};
use crate::process::{Life, Process};
use crate::rng::{Rng, Stream};
use crate::setup::Setup;
use crate::shell::{SHOWN, Shell, phase};

/// Happenings, for each hundred workers, after which a world is taken for one that makes no progress.
const HAPPENINGS_MAX: u64 = 3_000_000;
/// Lines that a failure shows.
const LAST_LINES: usize = 40;

/// What is recorded of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Nothing; the fastest.
    Off,
    /// The last lines, for a report of a failure.
    Last,
    /// Everything, to standard output at once.
    Print,
}

/// The whole state of a simulation.
#[derive(Debug)]
pub struct World {
    pub(crate) setup: Setup,
    pub(crate) now: Millis,
    pub(crate) rng: Rng,
    /// What strangers say: it draws nothing from the world.
    pub(crate) strangers: Rng,
    pub(crate) queue: Queue,
    pub(crate) network: Network,
    pub(crate) shell: Shell,
    /// Coordinators that were taken for dead and live on.
    pub(crate) olds: Vec<Shell>,
    /// How many coordinators of a copied world have started.
    pub(crate) coordinators: u64,
    /// The copy of the journal, in a copied world.
    pub(crate) copy: Copied,
    pub(crate) processes: Vec<Process>,
    pub(crate) groups: BTreeMap<Generation, Group>,
    /// The snapshots.
    pub(crate) store: BTreeMap<Step, State>,
    pub(crate) history: History,
    pub(crate) coverage: Coverage,
    /// An operator wants the run to stop, and resumes it so long after that.
    pub(crate) operator_stops: Option<u64>,
    /// The data set is known to be too bad, also to a coordinator that starts again.
    pub(crate) data_unfit: bool,
    /// The run is stopped and not yet resumed.
    pub(crate) stopped: bool,
    pub(crate) failing_tasks: u32,
    pub(crate) failing_writes: u32,
    pub(crate) finished: Option<Outcome>,
    /// Pairs of processes between which the network carries nothing.
    pub(crate) severed: Vec<(ProcessIndex, ProcessIndex)>,
    /// Nothing fails any more.
    pub(crate) calm: bool,
    /// By then the run must have ended.
    pub(crate) end_by: Option<Millis>,
    violation: Option<String>,
    pub(crate) trace: Trace,
    lines: VecDeque<String>,
}

/// An invariant that was violated in the world of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the seed drew.
    pub setup: Setup,
    pub at: Millis,
    /// What was violated.
    pub violation: String,
    /// The state of the coordinator and of each worker.
    pub situation: String,
    /// The last lines of the trace.
    pub last: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seed = self.setup.seed;
        writeln!(f, "seed {seed}: {}", self.violation)?;
        writeln!(f, "\nThe seed drew:\n{}", self.setup)?;
        writeln!(f, "The last lines before {} ms:", self.at)?;
        for line in &self.last {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "\nThe situation:\n  {}", self.situation)?;
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
            strangers: Rng::new(setup.seed, Stream::Strangers),
            queue: Queue::default(),
            network: Network::default(),
            shell: Shell::default(),
            olds: Vec::new(),
            coordinators: 0,
            copy: Copied::default(),
            processes: Vec::new(),
            groups: BTreeMap::new(),
            store: BTreeMap::new(),
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

    /// Simulates the run to its end. Returns the counts, or the first invariant that was violated.
    pub fn run(mut self) -> Result<Coverage, Box<Failure>> {
        self.queue.push(Millis(0), Happening::CoordinatorStarts);
        self.spawn_within(300, self.setup.workers);
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
        if let Some(violation) = self.violation.take() {
            let situation = self.situation();
            let last = self.lines.into();
            return Err(Box::new(Failure { setup: self.setup, at: self.now, violation, situation, last }));
        }
        self.coverage.simulated_ms = self.now.0;
        self.coverage.failed += u64::from(matches!(self.finished, Some(Outcome::Failed { .. })));
        Ok(self.coverage)
    }

    pub(crate) fn happen(&mut self, what: Happening) {
        if let Happening::AtWorker(p, ..) | Happening::StreamLost(p, _) | Happening::Worker(p, _) = &what {
            let process = &mut self.processes[*p];
            match process.life {
                Life::Running => {}
                Life::Frozen => return process.deferred.push(what),
                Life::Ended => return,
            }
        }
        match what {
            Happening::CoordinatorStarts => self.start_coordinator(),
            Happening::Deadline => self.deadlines(),
            Happening::AtCoordinator(session, report) => {
                let coordinator = self.network.link(session).coordinator;
                self.as_coordinator(coordinator, |w| w.arrived(session, report));
            }
            Happening::StreamClosed(session) => {
                let coordinator = self.network.link(session).coordinator;
                self.as_coordinator(coordinator, |w| w.closed(session));
            }
            Happening::PieceArrives { number, piece } => self.piece_arrives(number, *piece),
            Happening::PieceAnswered { by, number, theirs } => {
                self.as_coordinator(by, |w| w.piece_answered(number, theirs.map(|theirs| *theirs)));
            }
            Happening::PieceAskedAgain(by, number) => self.as_coordinator(by, |w| w.asked_again(number)),
            Happening::LooksWhoLeads(by) => self.as_coordinator(by, Self::looks_who_leads),
            Happening::PieceDue(by) => self.as_coordinator(by, Self::piece_due),
            Happening::AtWorker(p, session, message) => self.received(p, session, message),
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

    /// A machine's deadline has come; which one's, each of them knows.
    fn deadlines(&mut self) {
        let all: Vec<_> = std::iter::once(&self.shell).chain(&self.olds).map(|shell| shell.id).collect();
        all.into_iter().for_each(|id| self.as_coordinator(id, Self::deadline));
    }

    pub(crate) fn spawn(&mut self, odd: bool) {
        let drifts = self.setup.classes.contains(&Class::Drift);
        let clock_percent = if drifts { self.rng.between(80, 120) } else { 100 };
        let blind = self.setup.classes.contains(&Class::Blind) && !self.calm && self.rng.one_in(3);
        self.processes.push(Process { clock_percent, blind, ..Process::new(self.processes.len() + 1, odd) });
        self.inner(self.processes.len() - 1, Inner::Connect);
    }

    /// Starts `count` workers, each at most `most_ms` from now.
    pub(crate) fn spawn_within(&mut self, most_ms: u64, count: u32) {
        for _ in 0..count {
            self.push_within(most_ms, Happening::Spawn);
        }
    }

    /// A random time at most `most_ms` from now.
    pub(crate) fn later(&mut self, most_ms: u64) -> Millis {
        let delay_ms = self.rng.delay_ms(most_ms);
        self.now.plus(delay_ms)
    }

    /// Schedules `what` at most `most_ms` from now.
    pub(crate) fn push_within(&mut self, most_ms: u64, what: Happening) {
        let at = self.later(most_ms);
        self.queue.push(at, what);
    }

    /// Schedules something inside a worker at most `most_ms` from now.
    pub(crate) fn soon(&mut self, p: ProcessIndex, most_ms: u64, inner: Inner) {
        self.push_within(most_ms, Happening::Worker(p, inner));
    }

    /// Schedules something inside a worker exactly `after_ms` from now.
    pub(crate) fn after(&mut self, p: ProcessIndex, after_ms: u64, inner: Inner) {
        self.queue.push(self.now.plus(after_ms), Happening::Worker(p, inner));
    }

    /// The state of the coordinator and of each worker, for a report.
    pub(crate) fn situation(&self) -> String {
        let coordinator = |shell: &Shell| match &shell.run {
            Some(run) => format!("coordinator: {}", phase(run)),
            None => "coordinator: away".to_owned(),
        };
        let mut lines: Vec<_> = std::iter::once(&self.shell).chain(&self.olds).map(coordinator).collect();
        for process in self.processes.iter().filter(|process| process.life != Life::Ended).take(SHOWN) {
            lines.push(format!(
                "{}: {:?}, session {:?}, incarnation {:?}, holds {:?}, {:?}{}",
                process.name,
                process.life,
                process.session.map(|s| s.0),
                process.member.incarnation().map(|i| i.0),
                process.state.map(|s| s.applied.0),
                process.membership.as_ref().map(|m| (m.form.generation.0, &m.stage)),
                if process.member.is_leaving() { ", leaving" } else { "" }
            ));
        }
        lines.join("\n  ")
    }

    /// Records a violated invariant. The first one counts.
    pub(crate) fn violated(&mut self, violation: String) {
        self.note(|_| format!("VIOLATED {violation}"));
        self.violation.get_or_insert(violation);
    }

    /// Checks an invariant.
    pub(crate) fn check(&mut self, holds: impl FnOnce(&mut Self) -> Result<(), String>) {
        if let Err(violation) = holds(self) {
            self.violated(violation);
        }
    }

    /// Adds a line to the trace, if there is one.
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
