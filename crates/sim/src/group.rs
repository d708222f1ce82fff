//! A model of the collective: the members connect, one broadcasts its state, and each that is left receives the sums.

use std::collections::BTreeMap;

use lsgan_control::member::{Boundary, Duty, Event, Wishes};
use lsgan_control::{Form, Member, ParkReason, Report, Start};
use lsgan_spec::{Generation, Half, Incarnation, Reduction};

use crate::history::{Part, State};
use crate::network::{Inner, ProcessIndex};
use crate::process::{Membership, Stage};
use crate::world::World;

/// The collective of one generation.
#[derive(Debug)]
pub struct Group {
    members: Vec<Member>,
    /// By rank: the process, once it was told to form.
    present: Vec<Option<ProcessIndex>>,
    /// By rank.
    left: Vec<bool>,
    connected: usize,
    /// What is broadcast; none if all members go on with what they hold.
    given: Option<State>,
    rounds: BTreeMap<Reduction, Round>,
}

#[derive(Debug, Default)]
struct Round {
    parts: Vec<Part>,
    sum: u64,
    /// The wishes of all members.
    wishes: Wishes,
}

impl Group {
    fn new(members: Vec<Member>) -> Self {
        let (present, left) = (vec![None; members.len()], vec![false; members.len()]);
        Self { members, present, left, connected: 0, given: None, rounds: BTreeMap::new() }
    }

    fn remaining(&self) -> Vec<ProcessIndex> {
        self.present.iter().zip(&self.left).filter(|(_, left)| !**left).filter_map(|(p, _)| *p).collect()
    }
}

impl World {
    /// The group of a generation that a worker is or was a member of.
    fn group(&mut self, generation: Generation) -> &mut Group {
        self.groups.get_mut(&generation).expect("a member's group exists")
    }

    /// A worker is told to form a generation.
    pub(crate) fn join_group(&mut self, p: ProcessIndex, form: Form) {
        let process = &mut self.processes[p];
        let (generation, rank) = (form.generation, form.rank as usize);
        if let Some(membership) = &process.membership {
            let old = membership.form.generation;
            return self.violated(format!("a worker that computes in {old} is told to form {generation}"));
        }
        if process.member.incarnation() != Some(form.members[rank].incarnation) {
            let name = process.name.clone();
            return self.violated(format!("{name} is told to form as another incarnation"));
        }
        let leases = form.leases.iter().copied().collect();
        let members = form.members.clone();
        process.membership = Some(Membership { form, stage: Stage::Connecting, leases, boundary: None });
        let group = self.groups.entry(generation).or_insert_with(|| Group::new(members.clone()));
        if group.members != members {
            return self.violated(format!("generation {generation} has two memberships"));
        }
        group.present[rank] = Some(p);
        if group.left.contains(&true) {
            self.soon(p, self.setup.net_ms_max, Inner::PeerLost(generation));
        } else if group.present.iter().all(Option::is_some) {
            let mut peers = group.remaining();
            if self.hides(generation, &peers) || self.cut(generation, &mut peers) {
                return;
            }
            for peer in peers {
                self.soon(peer, 2 * self.setup.net_ms_max, Inner::Connected(generation));
            }
        }
    }

    /// A worker is connected to all its peers. The last one of the generation starts the broadcast of the state.
    pub(crate) fn connected(&mut self, p: ProcessIndex, generation: Generation) {
        let Some(membership) = self.processes[p].active(generation) else { return };
        membership.stage = Stage::Taking;
        let form = membership.form.clone();
        let group = self.group(generation);
        group.connected += 1;
        if group.connected < group.members.len() || group.left.contains(&true) {
            return;
        }
        let root = form.root.map(|rank| group.present[rank as usize].expect("all are connected"));
        if matches!(form.start, Start::Snapshot(_)) && self.processes[root.unwrap_or(p)].blind {
            return self.violated("a worker that does not see the store is to read a snapshot".to_owned());
        }
        let given = match (form.start, root) {
            (Start::Fresh, _) => Some(State::fresh()),
            (Start::Snapshot(step), _) => {
                if form.root.is_none() && form.members.len() > 1 {
                    return self.violated("one member reads a snapshot and does not broadcast it".to_owned());
                }
                let Some(state) = self.store.get(&step) else {
                    return self.violated(format!("there is no snapshot at step {step} to start from"));
                };
                Some(*state)
            }
            (Start::Held, Some(root)) => {
                let Some(state) = self.processes[root].state else {
                    return self.violated("the root holds nothing to broadcast".to_owned());
                };
                Some(state)
            }
            (Start::Held, None) => None,
        };
        let reached = |p: &ProcessIndex| !self.processes[*p].far;
        if form.start == Start::Held
            && root.is_some()
            && !self.groups[&generation].remaining().iter().all(reached)
        {
            return; // until the coordinator gives the generation up
        }
        let group = self.group(generation);
        group.given = given;
        for peer in group.remaining() {
            self.soon(peer, 4 * self.setup.net_ms_max, Inner::Taken(generation));
        }
    }

    /// A worker has the state that the generation starts from.
    pub(crate) fn taken(&mut self, p: ProcessIndex, generation: Generation) {
        let Some(membership) = self.processes[p].active(generation) else { return };
        let from = membership.form.from;
        membership.stage = Stage::Computing;
        let given = self.groups[&generation].given;
        let process = &mut self.processes[p];
        process.state = given.or(process.state);
        let Some(state) = process.state.filter(|s| s.applied == from) else {
            let found = process.state.map(|s| s.applied);
            return self
                .violated(format!("generation {generation} starts from {from}, a member has {found:?}"));
        };
        self.check(|w| w.history.state("a new member", state));
        self.say(p, Report::Ready { generation, applied: state.applied });
        // Earlier members may have consumed more than they could report. Small leases would run out without this.
        self.report_consumed(p);
        self.begin(p);
    }

    /// A worker enters the all-reduce. The last one completes the sum.
    pub(crate) fn enter(&mut self, p: ProcessIndex, generation: Generation, reduction: Reduction) {
        let process = &mut self.processes[p];
        let state = process.held();
        // Only the header of G's half carries wishes: it is the last one before a step boundary.
        let wishes = match state.applied.half() {
            Half::Discriminator => Wishes::default(),
            Half::Generator => process.member.wishes(generation),
        };
        let Some(membership) = process.active(generation) else { return };
        membership.stage = Stage::Reducing;
        let rank = membership.form.rank as usize;
        let virtual_ranks = membership.form.members[rank].virtual_ranks().collect();
        let group = self.group(generation);
        let round = group.rounds.entry(reduction).or_default();
        round.parts.push(Part { state, virtual_ranks });
        round.wishes = either(round.wishes, wishes);
        if round.parts.len() < group.members.len() {
            return;
        }
        let mut peers = group.remaining();
        // Where the cut came late, all members receive the sum except the one that notices the cut.
        let cut = self.cut(generation, &mut peers);
        if cut && self.rng.one_in(2) {
            return;
        }
        let group = self.groups.get_mut(&generation).expect("a member's group exists");
        let round = group.rounds.get_mut(&reduction).expect("the parts are in it");
        match self.history.reduction(generation, &round.parts) {
            Ok(sum) => round.sum = sum,
            Err(sentence) => return self.violated(sentence),
        }
        self.coverage.reductions += 1;
        let last = peers.len() - usize::from(cut);
        for peer in peers[..last].iter().copied() {
            let reduce_ms = 1 + self.rng.delay_ms(2 * self.setup.net_ms_max);
            self.after(peer, reduce_ms, Inner::Reduced(generation, reduction));
        }
    }

    /// Whether two of these members do not reach each other. One of them will notice, and is moved to the end of `peers`.
    fn cut(&mut self, generation: Generation, peers: &mut [ProcessIndex]) -> bool {
        let both = |(a, b): &&(ProcessIndex, ProcessIndex)| peers.contains(a) && peers.contains(b);
        let Some(&(a, b)) = self.severed.iter().find(both) else { return false };
        let (notices, peer) = if self.rng.one_in(2) { (a, b) } else { (b, a) };
        let at = peers.iter().position(|p| *p == notices).expect("it is one of them");
        let last = peers.len() - 1;
        peers.swap(at, last);
        let incarnation = self.processes[peer].member.incarnation().expect("a member has one");
        let notice_ms = 2 * self.setup.config.failure_timeout_ms + self.rng.delay_ms(500);
        self.after(notices, notice_ms, Inner::Unreachable(generation, incarnation));
        true
    }

    /// Whether one of these members cannot be connected to. Its left neighbour will notice.
    fn hides(&mut self, generation: Generation, peers: &[ProcessIndex]) -> bool {
        let Some(at) = peers.iter().position(|p| self.processes[*p].hidden).filter(|_| peers.len() > 1)
        else {
            return false;
        };
        let notices = peers[(at + peers.len() - 1) % peers.len()];
        let incarnation = self.processes[peers[at]].member.incarnation().expect("a member has one");
        // Before the coordinator gives the generation up.
        let third_ms = self.setup.config.forming_timeout_ms / 3;
        let notice_ms = third_ms + self.rng.delay_ms(third_ms);
        self.after(notices, notice_ms, Inner::Unreachable(generation, incarnation));
        // It waits for its neighbour's call, and may give up first.
        if self.rng.one_in(2) {
            self.after(peers[at], notice_ms - 1, Inner::PeerLost(generation));
        }
        true
    }

    /// A worker sees that a peer's host does not answer.
    pub(crate) fn unreachable(&mut self, p: ProcessIndex, generation: Generation, peer: Incarnation) {
        if self.processes[p].active(generation).is_none() {
            return;
        }
        self.say(p, Report::CutOff { generation, peer, why: "timed out".to_owned() });
        self.park(p, ParkReason::Broken("a peer's host does not answer".to_owned()));
    }

    /// A worker receives the sum, applies it, and obeys the wishes after a whole step.
    pub(crate) fn reduced(&mut self, p: ProcessIndex, generation: Generation, reduction: Reduction) {
        if self.processes[p].active(generation).is_none() {
            return;
        }
        if self.setup.poison == Some(reduction) {
            let process = &mut self.processes[p];
            let boundary = process.membership.as_ref().and_then(|m| m.boundary);
            process.state = boundary.or(process.state);
            return self.park(p, ParkReason::Failed("virtual rank 0 is not finite".to_owned()));
        }
        let group = self.group(generation);
        group.rounds = group.rounds.split_off(&Reduction(reduction.0.saturating_sub(1)));
        let Round { sum, wishes, .. } = group.rounds[&reduction];
        let process = &mut self.processes[p];
        let state = process.held().apply(sum);
        process.state = Some(state);
        self.check(|w| w.history.state("a member", state));
        self.apply_at_worker(p, Event::Applied(state.applied));
        if state.applied.half() == Half::Discriminator && self.step_done(p, generation, state, wishes) {
            return self.park(p, ParkReason::Boundary);
        }
        self.begin(p);
    }

    /// Does what is due at a step boundary. Returns whether the member parks.
    fn step_done(&mut self, p: ProcessIndex, generation: Generation, state: State, wishes: Wishes) -> bool {
        let step = state.applied.step();
        if step.0.is_multiple_of(self.setup.steps_per_ordinal) {
            self.report_consumed(p);
        }
        if let Some(every) = self.setup.hash_every {
            self.apply_at_worker(p, Event::Pace(Some(if self.processes[p].slow { 5_000 } else { 1_000 })));
            if step.0.is_multiple_of(every) {
                let mut hash = [0; 32];
                hash[..8].copy_from_slice(&state.hash.to_le_bytes());
                self.say(p, Report::StateHash { step, hash });
            }
        }
        if wishes.snapshot {
            self.apply_at_worker(p, Event::SnapshotHeard(generation));
        }
        let duty = Duty::of(&self.processes[p].membership.as_ref().expect("it is active").form);
        if duty.writes && self.processes[p].blind {
            self.violated("a worker that does not see the store is the writer".to_owned());
        }
        let due = self.setup.snapshot_every.is_some_and(|n| step.0.is_multiple_of(n));
        let Boundary { parks, snapshot } = duty.step_done(step, wishes, due);
        if snapshot {
            self.when_written(p, 500, Inner::Published(state));
        }
        parks
    }

    /// A worker leaves its collective. If `abrupt`, its peers see that connections break.
    pub(crate) fn leave_group(&mut self, p: ProcessIndex, abrupt: bool) {
        let Some(membership) = &self.processes[p].membership else { return };
        let (generation, rank) = (membership.form.generation, membership.form.rank as usize);
        let group = self.group(generation);
        if std::mem::replace(&mut group.left[rank], true) || !abrupt {
            return;
        }
        for peer in group.remaining() {
            self.soon(peer, 3 * self.setup.net_ms_max, Inner::PeerLost(generation));
        }
    }
}

/// The union of two members' wishes.
fn either(a: Wishes, b: Wishes) -> Wishes {
    Wishes {
        snapshot: a.snapshot || b.snapshot,
        reform: a.reform || b.reform,
        finish: a.finish || b.finish,
        leave: a.leave || b.leave,
    }
}
