//! Whether workers reach each other, found out before it matters. In a round some workers connect to the addresses of
//! others, the others to theirs, and all hang up at once. The workers' sessions do that while training goes on.
//!
//! - A worker that waits for a place beside a stepping generation is tried first, so that one that cannot be reached costs
//!   the members no step.
//! - A worker that stands aside because it was cut off is tried again with growing pauses, and takes part again when it
//!   is reached.
//! - When a generation broke because a member was not reached, all connections of the workers involved are tried, so that
//!   the machine knows which of them must stand aside ([`crate::Run::part_severed`]).

use std::collections::BTreeSet;

use lsgan_spec::{Generation, Incarnation, Millis};
use serde::{Deserialize, Serialize};

use super::attendance::{Aside, Worker};
use super::effect::{Effect, Entry};
use super::event::SessionId;
use super::machine::{Phase, Run};
use super::severed::Links;
use crate::protocol::Message;

/// A worker gives a connection up after 2 s. An answer that has not come after twice as long is not waited for.
const ANSWER_WITHIN_MS: u64 = 4_000;
/// How long after its first failure a worker is tried once more: the reason may be a member that has
/// just died, which the coordinator does not know yet.
const CONFIRM_AFTER_MS: u64 = 1_000;
/// How long after it was cut off a worker is tried again; doubles each further time.
const RETRY_FIRST_MS: u64 = 10_000;
/// The longest of that.
const RETRY_LONGEST_MS: u64 = 600_000;
/// How long after it last stood aside a worker starts again with the shortest time.
const RETRY_FORGOTTEN_MS: u64 = 300_000;

/// All connections between so many members are tried where none is named: each with each of the others.
const UNNAMED_MAX: usize = 64;

/// Whether a worker is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// It was reached in the last try, or in the last generation that it was in.
    pub(crate) proven: bool,
    /// The last try did not reach it.
    doubtful: bool,
    /// Then: when it is tried again.
    retry_at: Millis,
    retry_ms: u64,
}

/// A round of trying.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Round {
    number: u64,
    until: Millis,
    why: Why,
    /// The workers whose connections are tried, in both directions.
    tried: BTreeSet<Incarnation>,
    /// The workers that were asked and have not answered.
    open: BTreeSet<Incarnation>,
    missing: Links,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Why {
    /// Workers wait for a place in the stepping generation.
    Join,
    /// This generation broke.
    Severed(Generation),
}

impl Reach {
    /// The worker is cut off from `now` on.
    pub(crate) fn cut(&mut self, now: Millis) {
        let again = self.retry_ms > 0 && now.0 < self.retry_at.0 + RETRY_FORGOTTEN_MS;
        self.retry_ms = if again { (2 * self.retry_ms).min(RETRY_LONGEST_MS) } else { RETRY_FIRST_MS };
        self.retry_at = now.plus(self.retry_ms);
        self.proven = false;
    }
}

impl Run {
    /// Tries the workers that wait for a place in the stepping generation, as many as there are places.
    pub(crate) fn try_waiting(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let due = self.waiting().filter(|(_, at)| *at <= now).map(|(i, _)| i);
        let tried: BTreeSet<_> = due.take(self.places().saturating_sub(self.members.len())).collect();
        if !tried.is_empty() {
            let members = self.members.iter().map(|m| m.incarnation).collect();
            self.begin_round(now, Why::Join, tried, members, effects);
        }
    }

    /// The workers that wait for a place in the stepping generation and are to be tried, each with the time.
    fn waiting(&self) -> impl Iterator<Item = (Incarnation, Millis)> {
        let possible =
            self.phase == Phase::Stepping && self.round.is_none() && self.members.len() < self.places();
        let when = |w: &Worker| match w.aside {
            Some(Aside::CutOff) => Some(w.reach.retry_at),
            Some(Aside::Slow | Aside::LeftBehind | Aside::Faulty) => None,
            None => (!w.reach.proven).then_some(w.reach.retry_at),
        };
        let idle = self.workers.iter().filter(move |(_, w)| possible && !w.computing && !w.leaving);
        idle.filter_map(move |(i, w)| Some((*i, when(w)?)))
    }

    /// When the next round begins or ends.
    pub(crate) fn reach_due(&self) -> Option<Millis> {
        let round = self.round.as_ref().map(|round| round.until);
        round.into_iter().chain(self.waiting().map(|(_, at)| at)).min()
    }

    /// Tries all connections of the workers at either end of a missing connection of the broken generation. Returns whether
    /// the answers are there.
    pub(crate) fn severed_are_tried(&mut self, now: Millis, effects: &mut Vec<Effect>) -> bool {
        let why = Why::Severed(self.generation);
        if self.round.as_ref().is_some_and(|round| round.why == why) {
            return false;
        }
        let unnamed = self.severed.is_empty();
        if unnamed && !self.broke_unnamed() || self.tried_of == Some(self.generation) {
            return true;
        }
        self.tried_of = Some(self.generation);
        let here = |i: &Incarnation| self.workers.get(i).is_some_and(|w| w.aside.is_none());
        let members: BTreeSet<_> = self.members.iter().map(|m| m.incarnation).filter(here).collect();
        let named = match unnamed {
            true => members.clone(),
            false => self.severed.keys().flat_map(|(from, to)| [*from, *to]).filter(here).collect(),
        };
        self.begin_round(now, why, named, members, effects);
        self.round.is_none()
    }

    /// The generation broke before it was formed, all of its members live, and none of them says whom it does not reach. A
    /// member that nobody reaches waits for them as they do for it. Where it gives up first, the others are told to abort
    /// before they could name it.
    fn broke_unnamed(&self) -> bool {
        let all = self.members.iter().all(|m| self.workers.contains_key(&m.incarnation));
        self.unformed == Some(self.generation) && all && self.members.len() <= UNNAMED_MAX
    }

    fn begin_round(
        &mut self,
        now: Millis,
        why: Why,
        tried: BTreeSet<Incarnation>,
        others: BTreeSet<Incarnation>,
        effects: &mut Vec<Effect>,
    ) {
        self.rounds += 1;
        let number = self.rounds;
        let mut open = BTreeSet::new();
        for one in tried.union(&others) {
            // Workers that wait for a place are not tried with each other: few of them may get one.
            let to = if tried.contains(one) { &others } else { &tried };
            let peers = to.iter().filter(|peer| *peer != one);
            let peers: Vec<_> = peers.map(|peer| (*peer, self.workers[peer].address.clone())).collect();
            if !peers.is_empty() {
                open.insert(*one);
                let message = Message::Try { round: number, peers };
                effects.push(Effect::Send { session: self.workers[one].session, message });
            }
        }
        let until = now.plus(ANSWER_WITHIN_MS);
        self.round = Some(Round { number, until, why, tried, open, missing: Links::new() });
        self.end_round(now, effects);
    }

    /// A worker has tried the connections that it was asked to, and did not reach these peers.
    pub(crate) fn tried(&mut self, session: SessionId, number: u64, missing: Vec<(Incarnation, String)>) {
        let Some((incarnation, _)) = self.by_session(session) else { return };
        let Some(round) = self.round.as_mut().filter(|round| round.number == number) else { return };
        if round.open.remove(&incarnation) {
            let of_round =
                |peer: &Incarnation| round.tried.contains(&incarnation) || round.tried.contains(peer);
            let missing = missing.into_iter().filter(|(peer, _)| of_round(peer) && *peer != incarnation);
            round.missing.extend(missing.map(|(peer, why)| ((incarnation, peer), why)));
        }
    }

    /// Draws the conclusions from a round once all attached workers have answered, or its time is over.
    pub(crate) fn end_round(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let waits = |round: &Round| {
            now < round.until && round.open.iter().any(|incarnation| self.workers.contains_key(incarnation))
        };
        let Some(round) = self.round.take_if(|round| !waits(round)) else { return };
        match round.why {
            Why::Join => {
                let idle = |i: &Incarnation| self.workers.get(i).is_some_and(|w| !w.computing);
                for one in round.tried.into_iter().filter(idle).collect::<Vec<_>>() {
                    self.conclude(now, one, &round.missing, effects);
                }
            }
            Why::Severed(generation) if generation == self.generation => {
                for (link, why) in round.missing {
                    self.severed.entry(link).or_insert(why);
                }
            }
            Why::Severed(_) => {}
        }
    }

    fn conclude(&mut self, now: Millis, one: Incarnation, missing: &Links, effects: &mut Vec<Effect>) {
        let worker = self.workers.get_mut(&one).expect("it was just found");
        if missing.keys().any(|(from, to)| *from == one || *to == one) {
            if worker.aside.is_some() || std::mem::replace(&mut worker.reach.doubtful, true) {
                return self.stand_aside(now, one, missing, effects);
            }
            worker.reach.retry_at = now.plus(CONFIRM_AFTER_MS);
            return;
        }
        worker.reach.proven = true;
        worker.reach.doubtful = false;
        if worker.aside == Some(Aside::CutOff) {
            worker.aside = None;
            effects.push(Effect::Journal(Entry::ReachedAgain { incarnation: one }));
        }
    }
}
