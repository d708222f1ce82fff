//! Members that the coordinator hears, but that do not reach each other: the odd one of them stands aside.
//!
//! What is known is a set of connections that could not be made, each in its direction. A worker whose address is wrong,
//! or behind a firewall, is named by those that connect to it; one that is not let out names several others; a cut
//! cable is seen from both ends. Who has died meanwhile was itself the reason and counts for nothing: all this is
//! decided when everybody has parked, which a dead worker does not, and all other connections of those who are named
//! have been tried (`reach`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use lsgan_spec::{Generation, Incarnation, Millis};

use super::attendance::Aside;
use super::effect::{Direction, Effect, Entry};
use super::event::SessionId;
use super::machine::Run;

/// Connections that could not be made, from the first to the second, and how that showed.
pub(crate) type Links = BTreeMap<(Incarnation, Incarnation), String>;

impl Run {
    /// A member says that it did not reach `peer`.
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

    /// Lets workers stand aside until all that are left reach each other, as far as is known.
    pub(crate) fn part_severed(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let mut links = std::mem::take(&mut self.severed);
        self.bring_back_the_newest(&links);
        loop {
            let here = |i: &Incarnation| self.workers.get(i).is_some_and(|w| w.aside.is_none());
            links.retain(|(from, to), _| here(from) && here(to));
            let Some(odd) = self.odd_one(&links) else { return };
            let others = self.workers.iter().filter(|(i, w)| **i != odd && w.aside.is_none());
            // The newest state stays: those that do not reach it go.
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

    /// Who stood aside and was asked again, because nobody else holds the newest state, does not stand aside any more:
    /// now those go that do not reach it.
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

    /// Of all that miss a connection: the one that misses most peers; of two, the one that cannot be reached; if it is
    /// so both ways, the one that holds less; of equals the younger.
    fn odd_one(&self, links: &Links) -> Option<Incarnation> {
        let named: BTreeSet<_> = links.keys().flat_map(|(from, to)| [*from, *to]).collect();
        named.into_iter().max_by_key(|one| {
            let unreached = links.keys().filter(|(_, to)| to == one).count();
            (partners(*one, links).len(), unreached, Reverse(self.workers[one].holds), *one)
        })
    }

    /// From now on the worker stands aside, or goes on doing so, since these connections of it are missing.
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

    /// All members are ready, so that nothing is cut between them any more.
    pub(crate) fn members_reach_each_other(&mut self) {
        for member in &self.members {
            let Some(worker) = self.workers.get_mut(&member.incarnation) else { continue };
            worker.reach.proven = true;
            worker.aside = worker.aside.filter(|aside| *aside != Aside::CutOff);
        }
    }
}

/// Those with whom a connection of `one` is missing, in either direction.
fn partners(one: Incarnation, links: &Links) -> BTreeSet<Incarnation> {
    let other = |(from, to): &(Incarnation, Incarnation)| match (*from == one, *to == one) {
        (true, _) => Some(*to),
        (_, true) => Some(*from),
        (false, false) => None,
    };
    links.keys().filter_map(other).collect()
}
