//! Faults strike, operators act, and in the end nothing fails any more.

use lsgan_control::member::Event as MemberEvent;
use lsgan_control::{Entry, Event};

use crate::faults::{Class, Fault, WorkerFault};
use crate::network::{Happening, Inner, ProcessIndex};
use crate::process::{Life, Process, Stage};
use crate::world::World;

/// After so long an operator asks again a coordinator that is away.
const ASKS_AGAIN_MS: u64 = 200;

/// What the journal's copy adds to the way to the end: the puts of before the calm, and what a superseded coordinator holds up.
const COPIED_MS: u64 = 60_000;

impl World {
    pub(crate) fn strike(&mut self, fault: Fault) {
        self.note(|_| format!("FAULT {fault:?}"));
        match fault {
            Fault::Join => self.spawn(false),
            Fault::JoinOdd => {
                // The first admitted worker sets the run's numerics, and an odd one must not be the first.
                if self.numerics_last() {
                    self.spawn(true);
                }
            }
            Fault::JoinFar => {
                self.spawn(false);
                self.processes.last_mut().expect("one was just started").far = true;
            }
            Fault::Stranger => self.stranger_comes(),
            Fault::CrashCoordinator { down_ms } => self.shell.dies_ms = Some(down_ms),
            Fault::LoseHost { down_ms } => {
                self.shell.dies_ms = Some(down_ms);
                self.shell.loses_host = true;
            }
            Fault::Supersede { after_ms, silent_ms } => self.supersede(after_ms, silent_ms),
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
            Fault::Worker(fault) => {
                if let Some(p) = self.random_process() {
                    self.strike_worker(p, fault);
                }
            }
        }
    }

    /// The shell tells its machine that too many records do not decode.
    pub(crate) fn data_is_unfit(&mut self) {
        self.apply(Event::DataUnfit { why: "too many records do not decode".to_owned() });
    }

    fn strike_worker(&mut self, p: ProcessIndex, fault: WorkerFault) {
        self.note(|w| format!("  it hits {}", w.processes[p].name));
        let process = &mut self.processes[p];
        match fault {
            WorkerFault::Leave => self.apply_at_worker(p, MemberEvent::Terminate),
            WorkerFault::Kill { restart_ms } => {
                self.kill(p);
                if let Some(restart_ms) = restart_ms {
                    self.queue.push(self.now.plus(restart_ms), Happening::Spawn);
                }
            }
            WorkerFault::Freeze { for_ms } => {
                process.life = Life::Frozen;
                self.queue.push(self.now.plus(for_ms), Happening::Thaw(p));
            }
            WorkerFault::BreakStream => {
                if let Some(session) = process.session {
                    self.hang_up(session);
                    self.push_within(2 * self.setup.net_ms_max, Happening::StreamLost(p, session));
                }
            }
            WorkerFault::BreakLink => {
                if let Some(membership) = &process.membership {
                    let generation = membership.form.generation;
                    self.after(p, 0, Inner::PeerLost(generation));
                }
            }
            WorkerFault::Stick => process.stuck = true,
            WorkerFault::Hang => process.hangs = true,
            WorkerFault::Slow => process.slow = true,
            WorkerFault::Sicken => process.sick = true,
            WorkerFault::Starve => process.starved = true,
            WorkerFault::Hide => process.hidden = true,
            WorkerFault::Sever => {
                if let Some(other) = self.random_process().filter(|other| *other != p) {
                    self.note(|w| format!("  and {}", w.processes[other].name));
                    self.severed.push((p, other));
                }
            }
            WorkerFault::OneWay { up, for_ms } => {
                if let Some(session) = process.session {
                    let until = self.now.plus(for_ms).min(self.setup.calm_from);
                    let link = self.network.link(session);
                    *(if up { &mut link.up_cut_until } else { &mut link.down_cut_until }) = until;
                }
            }
            WorkerFault::Flip => {
                if let Some(state) = &mut process.state {
                    state.hash ^= 1;
                    self.history.tainted = true;
                }
            }
            WorkerFault::Echo => {
                if let Some(last) = process.said.len().checked_sub(1) {
                    let again = process.said[self.rng.between(0, last as u64) as usize].clone();
                    self.send(p, again);
                }
            }
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

    /// SIGCONT to a worker, if it is frozen.
    pub(crate) fn thaw(&mut self, p: ProcessIndex) {
        if self.processes[p].life != Life::Frozen {
            return;
        }
        self.note(|w| format!("{} goes on", w.processes[p].name));
        self.processes[p].life = Life::Running;
        for what in std::mem::take(&mut self.processes[p].deferred) {
            // At once and in order, so that later happenings do not overtake these.
            self.happen(what);
        }
    }

    /// An operator resumes a stopped run.
    pub(crate) fn resume(&mut self) {
        self.note(|_| "the operator resumes the run".to_owned());
        self.stopped = false;
        self.start_coordinator();
        // The command starts workers of its own. Those of before may still be ending.
        self.spawn_within(300, self.setup.workers);
        if self.calm {
            self.set_end();
        }
    }

    /// An operator resumes a paused run, again and again until that is journaled.
    pub(crate) fn unpause(&mut self) {
        self.apply(Event::ResumeRequested { by: "the operator".to_owned() });
        let last =
            self.shell.journal.iter().rev().find(|entry| {
                matches!(entry, Entry::Paused { .. } | Entry::Resumed { .. } | Entry::Ended(_))
            });
        if matches!(last, Some(Entry::Paused { .. })) {
            self.queue.push(self.now.plus(ASKS_AGAIN_MS), Happening::OperatorUnpauses);
        }
    }

    /// Ends all faults. From here on the run must come to its end within a bounded time.
    pub(crate) fn become_calm(&mut self) {
        self.note(|_| "CALM: nothing fails from here on".to_owned());
        self.calm = true;
        self.shell.dies_ms = None;
        self.severed.clear();
        // A wrong address may stay wrong, and the run comes to its end without that worker. But a run that needs several
        // workers could only wait if the newest state is there.
        let hides = self.setup.classes.contains(&Class::Hidden) && self.setup.config.min_workers == 1;
        let stays_hidden = hides && self.rng.one_in(2);
        for p in 0..self.processes.len() {
            self.thaw(p);
            let process = &mut self.processes[p];
            process.hidden &= stays_hidden;
            // A worker that hangs already is retired for it. No other begins to hang.
            process.hangs = false;
            process.far = false;
            process.sick = false;
            process.starved = false;
            let drains = process.membership.as_ref().is_some_and(|m| matches!(m.stage, Stage::Draining(_)));
            process.stuck &= drains;
            if std::mem::take(&mut process.blind) {
                self.prove_store(p);
            }
        }
        self.start_coordinator();
        // As many workers as there were at the beginning.
        let stays = |p: &&Process| p.life != Life::Ended && !p.member.is_leaving() && !p.odd && !p.hidden;
        let there = self.processes.iter().filter(stays).count() as u32;
        self.spawn_within(300, self.setup.workers.saturating_sub(there));
        self.set_end();
    }

    fn set_end(&mut self) {
        let config = &self.setup.config;
        let train_ms = (config.steps + 4) * 2 * self.setup.half_ms_max();
        // The longest wait between two generations that fail before their first reduction is 30 s.
        let settle_ms = self.setup.stall_ms_max()
            + 40_000
            + 6 * config.forming_timeout_ms
            + 6 * config.failure_timeout_ms_max
            + if self.is_copied() { COPIED_MS } else { 0 };
        self.end_by = Some(self.now.plus(train_ms + settle_ms));
    }

    /// A process that is alive.
    fn random_process(&mut self) -> Option<ProcessIndex> {
        let alive: Vec<_> =
            (0..self.processes.len()).filter(|p| self.processes[*p].life != Life::Ended).collect();
        let last = alive.len().checked_sub(1)?;
        Some(alive[self.rng.between(0, last as u64) as usize])
    }
}
