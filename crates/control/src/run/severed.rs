//! Members that the coordinator hears, but that do not reach each other: one of them stands aside.
//!
//! The input is a set of connections that could not be made, each with its direction. A worker with a wrong address or
//! behind a firewall is named by the peers that connect to it. A worker whose outgoing connections are blocked names
//! several peers. A cut cable is reported from both ends. The decision is made when all members have parked, which a dead
//! worker does not, and when all other connections of the workers that are named have been tried (`reach`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use lsgan_spec::{Generation, Incarnation, Millis};

use super::attendance::Aside;
use super::effect::{Direction, Effect, Entry};
use super::event::SessionId;
use super::machine::Run;

/// Connections that could not be made, from the first worker to the second, each with its error in a few words.
pub(crate) type Links = BTreeMap<(Incarnation, Incarnation), String>;

impl Run {
    /// A member reports that it did not reach `peer`.
    pub(crate) fn cut_off(
        &mut self,
        session: SessionId,
        generation: Generation,
        (peer, why): (Incarnation, String),
    ) {
        let current = self.generation;
        let Some((incarnation, _)) = self.by_session(session) else { return };
        if generation == current && incarnation != peer && self.is_member(incarnation) && self.is_member(peer)
        {
            self.severed.insert((incarnation, peer), why);
        }
    }

    /// Lets workers stand aside until no missing connection is known between the others.
    pub(crate) fn part_severed(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let mut links = std::mem::take(&mut self.severed);
        self.bring_back_the_newest(&links);
        loop {
            let here = |i: &Incarnation| self.workers.get(i).is_some_and(|w| w.aside.is_none());
            links.retain(|(from, to), _| here(from) && here(to));
            let Some(odd) = self.odd_one(&links) else { return };
            let others = self.workers.iter().filter(|(i, w)| **i != odd && w.aside.is_none());
            // The holder of the newest state stays, and the workers that do not reach it stand aside.
            let go = if self.workers[&odd].holds > others.filter_map(|(_, w)| w.holds).max() {
                partners(odd, &links)
            } else {
                BTreeSet::from([odd])
            };
            for one in go {
                self.stand_aside(now, one, &links, effects);
            }
        }
    }

    /// A worker that stood aside and alone holds the newest state takes part again. The workers that do not reach it stand
    /// aside instead.
    fn bring_back_the_newest(&mut self, links: &Links) {
        let newest = self.workers.values().filter(|w| w.aside.is_none()).filter_map(|w| w.holds).max();
        for one in links.keys().flat_map(|(from, to)| [*from, *to]) {
            if let Some(worker) = self.workers.get_mut(&one)
                && worker.aside == Some(Aside::CutOff)
                && worker.holds > newest
            {
                worker.aside = None;
            }
        }
    }

    /// Which worker stands aside: the one that misses the most peers; of equals the one that fewer peers reach; then the one
    /// with the older state; then the younger worker.
    fn odd_one(&self, links: &Links) -> Option<Incarnation> {
        let named: BTreeSet<_> = links.keys().flat_map(|(from, to)| [*from, *to]).collect();
        named.into_iter().max_by_key(|one| {
            let unreached = links.keys().filter(|(_, to)| to == one).count();
            (partners(*one, links).len(), unreached, Reverse(self.workers[one].holds), *one)
        })
    }

    /// The worker stands aside from now on because these connections of it are missing.
    pub(crate) fn stand_aside(
        &mut self,
        now: Millis,
        one: Incarnation,
        links: &Links,
        effects: &mut Vec<Effect>,
    ) {
        let to_it = links.iter().find(|((_, to), _)| *to == one);
        let from_it = links.iter().find(|((from, _), _)| *from == one);
        let (direction, peer, why) = match (to_it, from_it) {
            (Some(((peer, _), why)), None) => (Direction::Inbound, *peer, why),
            (Some(((peer, _), why)), Some(_)) => (Direction::Both, *peer, why),
            (None, Some(((_, peer), why))) => (Direction::Outbound, *peer, why),
            (None, None) => return,
        };
        let worker = self.workers.get_mut(&one).expect("links are between workers");
        worker.reach.cut(now);
        if worker.aside.replace(Aside::CutOff) != Some(Aside::CutOff) {
            effects.push(Effect::Journal(Entry::CutOff {
                incarnation: one,
                peer,
                direction,
                why: why.clone(),
            }));
        }
    }

    /// All members are ready: each of them has reached all others, and the state has reached each of them.
    pub(crate) fn members_reach_each_other(&mut self) {
        for member in &self.members {
            let Some(worker) = self.workers.get_mut(&member.incarnation) else { continue };
            worker.reach.proven = true;
            worker.aside = worker.aside.filter(|aside| matches!(aside, Aside::Slow | Aside::Faulty));
            worker.unreached_in_a_row = 0;
        }
    }
}

/// The workers to or from which a connection of `one` is missing.
fn partners(one: Incarnation, links: &Links) -> BTreeSet<Incarnation> {
    let other = |(from, to): &(Incarnation, Incarnation)| match (*from == one, *to == one) {
        (true, _) => Some(*to),
        (_, true) => Some(*from),
        (false, false) => None,
    };
    links.keys().filter_map(other).collect()
}
