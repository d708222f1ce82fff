//! The history of a whole run, kept outside the machine and over all lives of the coordinator: what each reduction
//! contained, which incarnations were admitted, which generation had which members.

use std::collections::{BTreeMap, BTreeSet};

use lsgan_control::{Effect, Entry, Event, Form, Member, Message, Outcome, Phase, Run, SessionId};
use lsgan_spec::{Generation, Incarnation, Reduction, Step, VirtualRank};

/// A model state: how many reductions it has applied, and a hash that stands for all its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub applied: Reduction,
    pub hash: u64,
}

impl State {
    /// The initial weights.
    #[must_use]
    pub fn fresh() -> Self {
        Self { applied: Reduction(0), hash: mix(0, 0) }
    }

    /// What `virtual_rank` adds to the next reduction. The sum of all is order-free, like the exact one.
    #[must_use]
    pub fn contribution(self, virtual_rank: VirtualRank) -> u64 {
        mix(mix(self.hash, self.applied.0), u64::from(virtual_rank.0))
    }

    /// The state after the reduction whose sum is `sum`.
    #[must_use]
    pub fn apply(self, sum: u64) -> Self {
        Self { applied: self.applied.next(), hash: mix(self.hash, sum) }
    }
}

/// Mixes two numbers so that any change of either changes the result (Steele, Lea, Flood 2014: SplitMix64).
fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.rotate_left(17) ^ b.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What a rank put into an all-reduce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub state: State,
    pub virtual_ranks: Vec<VirtualRank>,
}

/// The history of a run. A method's error is the invariant that is violated, with the values.
#[derive(Debug, Default)]
pub struct History {
    virtual_ranks: u32,
    /// The hash of an undisturbed run's state, by reductions applied.
    canonical: Vec<u64>,
    generations: BTreeMap<Generation, Vec<Member>>,
    admitted: BTreeSet<Incarnation>,
    welcomed: BTreeSet<Incarnation>,
    gone: BTreeSet<Incarnation>,
    consumed: BTreeMap<VirtualRank, u64>,
    ready: BTreeSet<(Generation, SessionId)>,
    formed: BTreeSet<(Generation, u32)>,
    ended: Option<Outcome>,
    final_weights: Option<State>,
    /// A bit of some state has flipped, so that states may differ from those of an undisturbed run.
    pub tainted: bool,
}

impl History {
    #[must_use]
    pub fn new(virtual_ranks: u32, steps: u64) -> Self {
        let mut state = State::fresh();
        let mut canonical = vec![state.hash];
        for _ in 0..2 * steps {
            let parts = (0..virtual_ranks).map(|v| state.contribution(VirtualRank(v)));
            state = state.apply(parts.fold(0, u64::wrapping_add));
            canonical.push(state.hash);
        }
        Self { virtual_ranks, canonical, ..Self::default() }
    }

    /// A state at reduction r has the bits of an undisturbed run at r.
    pub fn state(&self, who: &str, state: State) -> Result<(), String> {
        let canonical = self.canonical.get(state.applied.0 as usize);
        match canonical {
            Some(hash) if *hash == state.hash || self.tainted => Ok(()),
            Some(_) => {
                Err(format!("{who} holds other bits at reduction {} than an undisturbed run", state.applied))
            }
            None => Err(format!("{who} went beyond the last step, to reduction {}", state.applied)),
        }
    }

    /// A sum contains each virtual rank exactly once, and all of it comes from the same state. Returns the sum.
    pub fn reduction(&self, generation: Generation, parts: &[Part]) -> Result<u64, String> {
        let state = parts[0].state;
        let differs = |p: &&Part| p.state != state && !(self.tainted && p.state.applied == state.applied);
        if let Some(other) = parts.iter().find(differs) {
            return Err(format!(
                "an all-reduce of generation {generation} adds gradients of reductions {} and {}",
                state.applied, other.state.applied
            ));
        }
        let mut ranks: Vec<u32> = parts.iter().flat_map(|p| &p.virtual_ranks).map(|v| v.0).collect();
        ranks.sort_unstable();
        if ranks != (0..self.virtual_ranks).collect::<Vec<_>>() {
            return Err(format!("reduction {} sums the virtual ranks {ranks:?}", state.applied));
        }
        let added = parts.iter().flat_map(|p| p.virtual_ranks.iter().map(|v| p.state.contribution(*v)));
        Ok(added.fold(0, u64::wrapping_add))
    }

    /// What is journaled agrees with what was journaled in all lives of the coordinator.
    pub fn journaled(&mut self, entry: &Entry) -> Result<(), String> {
        match entry {
            Entry::Admitted { incarnation, .. } => {
                if !self.admitted.insert(*incarnation) {
                    return Err(format!("incarnation {incarnation} is given a second time"));
                }
            }
            Entry::Gone { incarnation, .. } => {
                if !self.gone.insert(*incarnation) {
                    return Err(format!("incarnation {incarnation} is over a second time"));
                }
            }
            Entry::Generation { generation, members, .. } => {
                if let Some((last, _)) = self.generations.last_key_value()
                    && last >= generation
                {
                    return Err(format!("generation {generation} is formed after {last}"));
                }
                let over = members.iter().find(|m| self.gone.contains(&m.incarnation));
                if let Some(member) = over {
                    return Err(format!("{} is over and a member of {generation}", member.incarnation));
                }
                self.generations.insert(*generation, members.clone());
            }
            Entry::Consumed { virtual_rank, from, until, .. } => {
                let done = self.consumed.entry(*virtual_rank).or_default();
                if done != from || until <= from {
                    return Err(format!(
                        "virtual rank {virtual_rank} consumed {done} positions, now {from}..{until} are journaled"
                    ));
                }
                *done = *until;
            }
            Entry::Ended(outcome) => self.ended = Some(outcome.clone()),
            Entry::Differs(_) if !self.tainted => {
                return Err("states differ although no bit has flipped".to_owned());
            }
            Entry::Numerics(_)
            | Entry::OtherNumerics { .. }
            | Entry::Straggles { .. }
            | Entry::Stands { .. }
            | Entry::CutOff { .. }
            | Entry::LeftBehind { .. }
            | Entry::Faulty { .. }
            | Entry::NoProgress { .. }
            | Entry::CannotKeep { .. }
            | Entry::NoKeeper { .. }
            | Entry::ReachedAgain { .. }
            | Entry::Differs(_)
            | Entry::Stepping(_)
            | Entry::Halting { .. }
            | Entry::StopRequested
            | Entry::Paused { .. }
            | Entry::Resumed { .. }
            | Entry::DataUnfit(_)
            | Entry::Base(_) => {}
        }
        Ok(())
    }

    /// What is sent rests on what was journaled before. A message that `was_held` until the journal's copy had that may greet an
    /// incarnation whose end is there as well by then; its stream is closed next.
    pub fn sent(&mut self, message: &Message, was_held: bool) -> Result<(), String> {
        match message {
            Message::Form(form) => self.form_sent(form),
            Message::Welcome { incarnation, adopted, .. } => {
                if !self.admitted.contains(incarnation) {
                    return Err(format!("{incarnation} is welcomed before its admission is journaled"));
                }
                if !was_held && self.gone.contains(incarnation) {
                    return Err(format!("{incarnation} is welcomed after it was over"));
                }
                if !adopted && !self.welcomed.insert(*incarnation) {
                    return Err(format!("{incarnation} is welcomed as a new incarnation a second time"));
                }
                Ok(())
            }
            Message::Shutdown(outcome) if self.ended.as_ref() != Some(outcome) => {
                Err(format!("{outcome:?} is told before it is journaled"))
            }
            Message::Shutdown(_)
            | Message::Refused { .. }
            | Message::Abort(_)
            | Message::Lease { .. }
            | Message::Wish { .. }
            | Message::Try { .. }
            | Message::Task(_)
            | Message::Retired { .. } => Ok(()),
        }
    }

    fn form_sent(&mut self, form: &Form) -> Result<(), String> {
        let generation = form.generation;
        if self.generations.get(&generation) != Some(&form.members) {
            return Err(format!("generation {generation} is sent with members that are not journaled"));
        }
        let leased: Vec<_> = form.leases.iter().map(|(v, _)| *v).collect();
        if leased != form.members[form.rank as usize].virtual_ranks().collect::<Vec<_>>() {
            return Err(format!("rank {} of generation {generation} gets leases of {leased:?}", form.rank));
        }
        if !self.formed.insert((generation, form.rank)) {
            return Err(format!("two workers are told to be rank {} of generation {generation}", form.rank));
        }
        Ok(())
    }

    /// Remembers an event before the machine gets it.
    pub fn comes(&mut self, event: &Event) {
        if let Event::Ready { session, generation, .. } = event {
            self.ready.insert((*generation, *session));
        }
    }

    /// Checks what one event did, before any of its effects is performed.
    pub fn applied(
        &self,
        (before, after): (&Run, &Run),
        event: &Event,
        effects: &[Effect],
    ) -> Result<(), String> {
        has_one_stream(event, after)?;
        abort_reaches_all_who_compute(before, after, effects)?;
        leases_go_to_owners((before, after), effects)?;
        endings_are_journaled_first(before, effects)?;
        if !matches!(event, Event::Tick | Event::TaskFailed { .. }) {
            nobody_leaves_with_the_only_copy((before, after), event, effects)?;
        }
        for effect in effects {
            match effect {
                Effect::Journal(Entry::Stepping(generation)) => self.all_are_ready(*generation, after)?,
                Effect::Journal(Entry::Generation { from, .. }) => {
                    starts_from_the_most_advanced(*from, after)?
                }
                Effect::Journal(Entry::Ended(Outcome::Stopped { step })) => stops_with_all(*step, after)?,
                Effect::Journal(_) | Effect::Send { .. } | Effect::Close { .. } => {}
            }
        }
        Ok(())
    }

    /// A generation steps only when each of its members has reported that it is ready in this generation.
    fn all_are_ready(&self, generation: Generation, after: &Run) -> Result<(), String> {
        let said = |m: &&Member| {
            after.workers().get(&m.incarnation).is_some_and(|w| self.ready.contains(&(generation, w.session)))
        };
        let missing = after.members().iter().find(|m| !said(m));
        missing
            .map_or(Ok(()), |m| Err(format!("generation {generation} steps, {} is not ready", m.incarnation)))
    }

    pub fn final_written(&mut self, state: State) {
        self.final_weights = Some(state);
    }

    /// A complete run wrote the final weights of an undisturbed one.
    pub fn complete(&self, steps: u64) -> Result<(), String> {
        match self.final_weights {
            Some(state) if state.applied == Step(steps).first_reduction() => {
                self.state("the final file", state)
            }
            Some(state) => Err(format!("the final weights are those of reduction {}", state.applied)),
            None => Err("the run is complete without final weights".to_owned()),
        }
    }
}

/// When a generation is aborted, an Abort is sent at once to every member that computes.
fn abort_reaches_all_who_compute(before: &Run, after: &Run, effects: &[Effect]) -> Result<(), String> {
    let aborted = Phase::Halting { aborted: true };
    if *after.phase() != aborted || *before.phase() == aborted {
        return Ok(());
    }
    for member in after.members() {
        let Some(worker) = after.workers().get(&member.incarnation).filter(|w| w.computing) else { continue };
        let message = Message::Abort(after.generation());
        if !effects.contains(&Effect::Send { session: worker.session, message }) {
            return Err(format!(
                "{} computes on in aborted generation {}",
                member.incarnation,
                after.generation()
            ));
        }
    }
    Ok(())
}

/// What ends a worker's part is journaled before it is told, in answer to the same event. Where the journal is copied, it is told
/// when the copy has that: a coordinator that has been deposed cannot end what it does not know to be with another one.
fn endings_are_journaled_first(before: &Run, effects: &[Effect]) -> Result<(), String> {
    let mut entries: Vec<&Entry> = Vec::new();
    for effect in effects {
        let (session, message) = match effect {
            Effect::Journal(entry) => {
                entries.push(entry);
                continue;
            }
            Effect::Send { session, message } => (session, message),
            Effect::Close { .. } => continue,
        };
        let has = |is: &dyn Fn(&Entry) -> bool| entries.iter().copied().any(is);
        let is_journaled = match message {
            Message::Abort(aborted) => {
                has(&|entry| matches!(entry, Entry::Halting { generation, .. } if generation == aborted))
            }
            Message::Retired { .. } => {
                let who = before.workers().iter().find(|(_, w)| w.session == *session).map(|(i, _)| *i);
                let is_it = |gone: &Incarnation| who.is_none_or(|who| who == *gone);
                has(&|entry| matches!(entry, Entry::Gone { incarnation, .. } if is_it(incarnation)))
            }
            Message::Shutdown(outcome) => {
                *before.phase() == Phase::Ended(outcome.clone())
                    || has(&|entry| matches!(entry, Entry::Ended(ended) if ended == outcome))
            }
            Message::Welcome { .. }
            | Message::Refused { .. }
            | Message::Form(_)
            | Message::Lease { .. }
            | Message::Wish { .. }
            | Message::Try { .. }
            | Message::Task(_) => true,
        };
        if !is_journaled {
            return Err(format!("{message:?} is told before what it rests on is journaled"));
        }
    }
    Ok(())
}

/// A lease goes to the member that computes the virtual rank.
fn leases_go_to_owners((before, after): (&Run, &Run), effects: &[Effect]) -> Result<(), String> {
    let mut members = before.members();
    for effect in effects {
        if matches!(effect, Effect::Journal(Entry::Generation { .. })) {
            members = after.members();
        }
        let Effect::Send { session, message: Message::Lease { virtual_rank, .. } } = effect else { continue };
        let owner = members.iter().find(|m| m.virtual_ranks().any(|v| v == *virtual_rank));
        let owner = owner.and_then(|m| after.workers().get(&m.incarnation));
        if owner.is_none_or(|w| w.session != *session) {
            return Err(format!(
                "virtual rank {virtual_rank} is leased to a worker that does not compute it"
            ));
        }
    }
    Ok(())
}

/// A generation starts from the most advanced state that an attached worker or a snapshot holds.
fn starts_from_the_most_advanced(from: Reduction, after: &Run) -> Result<(), String> {
    let held = after.workers().iter().filter_map(|(i, w)| w.holds.map(|r| (r, i))).max();
    if let Some((held, who)) = held
        && held > from
    {
        return Err(format!("generation {} starts at {from}, {who} holds {held}", after.generation()));
    }
    match after.snapshot().map(Step::first_reduction) {
        Some(saved) if saved > from => Err(format!("it starts at {from}, a snapshot holds {saved}")),
        _ => Ok(()),
    }
}

/// A run that is stopped has saved all that an attached worker holds.
fn stops_with_all(step: Step, after: &Run) -> Result<(), String> {
    let held = after.workers().values().filter_map(|w| w.holds).max();
    match held {
        Some(held) if held > step.first_reduction() => {
            Err(format!("the run stops at step {step}, a worker holds reduction {held}"))
        }
        _ => Ok(()),
    }
}

/// A worker that attaches again has one stream: its incarnation is on the new one, or it is over.
fn has_one_stream(event: &Event, after: &Run) -> Result<(), String> {
    let Event::Joined { session, hello } = event else { return Ok(()) };
    let Some(resume) = hello.resume.as_ref().filter(|_| after.believes(hello)) else { return Ok(()) };
    match after.workers().get(&resume.incarnation) {
        Some(worker) if worker.session != *session => {
            Err(format!("{} attached again and is still on its old stream", resume.incarnation))
        }
        _ => Ok(()),
    }
}

/// A retired worker does not take the only copy of the most advanced state with it.
fn nobody_leaves_with_the_only_copy(
    (before, after): (&Run, &Run),
    event: &Event,
    effects: &[Effect],
) -> Result<(), String> {
    let others = after.workers().values().filter_map(|w| w.holds).max();
    let kept = others.max(after.snapshot().map(Step::first_reduction));
    for effect in effects {
        let Effect::Send { session, message: Message::Retired { .. } } = effect else { continue };
        let Some((incarnation, worker)) = before.workers().iter().find(|(_, w)| w.session == *session) else {
            continue;
        };
        let holds = match event {
            Event::Parked { session: parked, applied, .. } if parked == session => *applied,
            _ => worker.holds,
        };
        if holds > kept.max(Some(Reduction(0))) {
            return Err(format!("{incarnation} leaves with the only copy of reduction {holds:?}"));
        }
    }
    Ok(())
}
