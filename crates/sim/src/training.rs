//! A model of a worker's training thread and of its writer: half steps, parking, snapshots, and how long each takes.

use lsgan_control::member::Duty;
use lsgan_control::report::{FinalFile, PublishedSnapshot};
use lsgan_control::{ParkReason, Report, Task};
use lsgan_spec::{Generation, Half, Incarnation, VirtualRank};

use crate::history::State;
use crate::network::{Happening, Inner, ProcessIndex};
use crate::process::{Life, Process, Stage};
use crate::world::World;

impl World {
    /// Reports the positions that each virtual rank of the worker has wholly consumed, counted from the first.
    pub(crate) fn report_consumed(&mut self, p: ProcessIndex) {
        let process = &self.processes[p];
        let (Some(membership), Some(state)) = (&process.membership, process.state) else { return };
        let member = &membership.form.members[membership.form.rank as usize];
        let ordinals = state.applied.step().0 / self.setup.steps_per_ordinal;
        for virtual_rank in member.virtual_ranks() {
            self.say(p, Report::Consumed { virtual_rank, ordinals });
        }
    }

    pub(crate) fn leased(&mut self, p: ProcessIndex, virtual_rank: VirtualRank, until: u64) {
        let Some(membership) = &mut self.processes[p].membership else { return };
        if let Some(lease) = membership.leases.get_mut(&virtual_rank) {
            *lease = (*lease).max(until);
        }
        if membership.stage == Stage::Starved {
            self.begin(p);
        }
    }

    /// Begins the next half step, or parks after the last one.
    pub(crate) fn begin(&mut self, p: ProcessIndex) {
        let process = &mut self.processes[p];
        let state = process.held();
        let membership = process.membership.as_mut().expect("only a member steps");
        let (step, generation) = (state.applied.step(), membership.form.generation);
        if state.applied.half() == Half::Discriminator {
            if Duty::of(&membership.form).is_over(step) {
                return self.park(p, ParkReason::Boundary);
            }
            membership.boundary = Some(state);
            let ordinal = step.0 / self.setup.steps_per_ordinal;
            if membership.leases.values().any(|until| ordinal >= *until) {
                membership.stage = Stage::Starved;
                return;
            }
        }
        if process.sick {
            return self.park(p, ParkReason::Failed("its disk is gone".to_owned()));
        }
        if std::mem::take(&mut process.hangs) {
            membership.stage = Stage::Hanging;
            return;
        }
        membership.stage = Stage::Computing;
        self.soon(p, self.setup.compute_ms_max, Inner::Computed(generation, state.applied));
    }

    /// Stops computing. The report to the coordinator follows when the device is idle.
    pub(crate) fn park(&mut self, p: ProcessIndex, reason: ParkReason) {
        let process = &mut self.processes[p];
        let membership = process.membership.as_mut().expect("only a member parks");
        if membership.stage == Stage::Hanging {
            return;
        }
        let generation = membership.form.generation;
        let receives = membership.form.root.is_some_and(|root| root != membership.form.rank);
        if membership.stage == Stage::Taking && receives && self.setup.broadcast_in_place {
            // The held state is partly overwritten, unless by the same bits.
            process.state = process.state.filter(|s| s.applied == membership.form.from);
        }
        let is_ended = matches!(reason, ParkReason::Aborted | ParkReason::Broken(_));
        if is_ended && membership.stage == Stage::Reducing && std::mem::take(&mut process.starved) {
            process.state = None;
            self.coverage.dropped += 1;
        }
        let process = &mut self.processes[p];
        let membership = process.membership.as_mut().expect("it parks");
        // What all see, all park for by themselves.
        let alone = process.sick && matches!(reason, ParkReason::Failed(_));
        let orderly = matches!(reason, ParkReason::Boundary | ParkReason::Failed(_)) && !alone;
        // A training thread that hangs before it is told to abort is another fault.
        let hangs = process.stuck && reason == ParkReason::Aborted;
        membership.stage = Stage::Draining(reason);
        self.leave_group(p, !orderly);
        if !hangs {
            self.soon(p, 20, Inner::Drained(generation));
        }
    }

    pub(crate) fn drained(&mut self, p: ProcessIndex, generation: Generation) {
        let process = &mut self.processes[p];
        let Some(membership) = process.membership.take_if(|m| m.form.generation == generation) else {
            return;
        };
        let Stage::Draining(reason) = membership.stage else {
            return self.violated(format!("generation {generation} is formed twice in one worker"));
        };
        let applied = process.state.map(|s| s.applied);
        self.say(p, Report::Parked { generation, applied, reason });
    }

    pub(crate) fn tried(&mut self, p: ProcessIndex, round: u64, peers: &[Incarnation]) {
        let missing = peers.iter().filter(|peer| !self.reaches(p, **peer));
        let missing = missing.map(|peer| (*peer, "timed out".to_owned())).collect();
        self.say(p, Report::Tried { round, missing });
    }

    /// Whether a connection to the process with this incarnation can be made. The kernel accepts it for a frozen one.
    fn reaches(&self, p: ProcessIndex, peer: Incarnation) -> bool {
        let is_peer = |other: &Process| other.member.incarnation() == Some(peer) && other.life != Life::Ended;
        self.processes.iter().position(is_peer).is_some_and(|to| {
            let cut = self.severed.contains(&(p, to)) || self.severed.contains(&(to, p));
            !cut && !self.processes[to].hidden
        })
    }

    pub(crate) fn task(&mut self, p: ProcessIndex, task: Task) {
        if self.processes[p].blind {
            return self.violated("a worker that does not see the store is to write".to_owned());
        }
        if self.processes[p].membership.is_some() {
            return self.violated("a worker that computes is given a task".to_owned());
        }
        let fails = self.failing_tasks > 0;
        self.failing_tasks = self.failing_tasks.saturating_sub(1);
        self.write(p, task, fails);
    }

    /// Writes a copy of the state that is held now.
    pub(crate) fn write(&mut self, p: ProcessIndex, task: Task, fails: bool) {
        let Some(state) = self.processes[p].state else {
            return self.violated("a worker without state is to write it".to_owned());
        };
        self.when_written(p, 300, Inner::TaskDone { task, state, fails });
    }

    /// Schedules `written` for the end of a write. The writer writes one thing after another.
    pub(crate) fn when_written(&mut self, p: ProcessIndex, most_ms: u64, written: Inner) {
        let write_ms = self.rng.delay_ms(most_ms);
        let at = self.processes[p].writes_until.max(self.now).plus(write_ms);
        self.processes[p].writes_until = at;
        self.queue.push(at, Happening::Worker(p, written));
    }

    pub(crate) fn task_done(&mut self, p: ProcessIndex, task: Task, state: State, fails: bool) {
        if fails {
            return self.say(p, Report::TaskFailed { why: "the disk is full".to_owned() });
        }
        self.publish(state);
        if task == Task::Final {
            self.history.final_written(state);
        }
        self.say_written(p, state);
        let file =
            |name: &str| FinalFile { name: name.to_owned(), url: String::new(), blake3: String::new() };
        let files = if task == Task::Final { vec![file("generator")] } else { Vec::new() };
        self.say(p, Report::TaskDone { files });
    }

    /// A snapshot that was written during training is published, or could not be written.
    pub(crate) fn published(&mut self, p: ProcessIndex, state: State) {
        if self.failing_writes > 0 {
            self.failing_writes -= 1;
            let (step, why) = (state.applied.step(), "the disk is full".to_owned());
            return self.say(p, Report::SnapshotFailed { step, why });
        }
        self.publish(state);
        self.say_written(p, state);
    }

    fn say_written(&mut self, p: ProcessIndex, state: State) {
        let snapshot = PublishedSnapshot { step: state.applied.step(), ..PublishedSnapshot::default() };
        self.say(p, Report::SnapshotWritten(snapshot));
    }

    /// Puts a snapshot into the store.
    fn publish(&mut self, state: State) {
        if state.applied.half() != Half::Discriminator {
            self.violated(format!("a snapshot is written in the middle of a step, at {}", state.applied));
        }
        self.check(|w| w.history.state("a snapshot", state));
        self.store.insert(state.applied.step(), state);
    }
}
