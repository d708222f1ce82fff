//! Members that the others cannot train with, though they reach each other and are heard. Each is named and stands by, and the
//! others go on.
//!
//! - Steps of one member fail, and those of the others do not. Numbers that are wrong are seen by all members at once, and
//!   end the run; what one member alone says does not.
//! - Generations stand still although all members are heard and all park when they are told to. Members wait for each
//!   other, so that it does not show who holds up the rest: the run goes on without one after the other, the youngest
//!   first, until a generation steps.
//! - A member reports no hash of its state, while the others do.

use std::collections::{BTreeMap, BTreeSet};

use lsgan_spec::{Incarnation, Millis, Step};
use serde::{Deserialize, Serialize};

use super::attendance::Aside;
use super::effect::{Effect, Entry};
use super::ending::Ending;
use super::machine::{Phase, Run};

/// So many times in a row: a device, a disk or a network may fail once.
const TIMES: u32 = 2;

/// What is held against members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Suspicions {
    /// The generation that ends has stood still.
    stands: bool,
    /// So many in a row have.
    stood: u32,
    /// The worker without which the run tries to go on.
    without: Option<Incarnation>,
    /// Workers without which the run stood still too.
    cleared: BTreeSet<Incarnation>,
    /// Members that report no hashes, each with the time since when that is known.
    silent: BTreeMap<Incarnation, Millis>,
}

impl Suspicions {
    /// The generation is ended because it stands still.
    pub fn stands(&mut self) {
        self.stands = true;
    }

    /// A generation is formed.
    pub fn formed(&mut self) {
        self.silent.clear();
    }
}

impl Run {
    /// All members have parked.
    pub(crate) fn judge_members(&mut self, effects: &mut Vec<Effect>) {
        self.judge_failures(effects);
        self.judge_standstill(effects);
    }

    /// A step failed on all members, and so the run fails; or on some, and so it does not.
    fn judge_failures(&mut self, effects: &mut Vec<Effect>) {
        let members: Vec<_> = self.members.iter().map(|m| m.incarnation).collect();
        let mut failed = Vec::new();
        let mut attached = 0;
        for one in members {
            let Some(worker) = self.workers.get_mut(&one) else { continue };
            attached += 1;
            failed.extend(worker.failed.take().map(|why| (one, why)));
        }
        let all = failed.len() == attached;
        for (one, why) in failed {
            let worker = self.workers.get_mut(&one).expect("it is attached");
            worker.failed_in_a_row = worker.failed_in_a_row.saturating_add(1);
            let often = worker.failed_in_a_row >= TIMES;
            if all || often && !self.can_go_on_without(&[one]) {
                self.end_for(Ending::Failed(why), effects);
            } else if often {
                let why = format!("its steps fail, and those of the others do not: {why}");
                self.stand_by_as_faulty(one, why, effects);
            }
        }
    }

    /// The generation stood still. One that did not park is retired already, and was the reason.
    fn judge_standstill(&mut self, effects: &mut Vec<Effect>) {
        let all_parked = self.members.iter().all(|m| self.workers.contains_key(&m.incarnation));
        if !std::mem::take(&mut self.suspicions.stands) || !all_parked {
            self.suspicions.stood = 0;
            self.suspicions.without = None;
            self.suspicions.cleared.clear();
            return;
        }
        self.suspicions.stood = self.suspicions.stood.saturating_add(1);
        if self.suspicions.stood < TIMES {
            return;
        }
        if let Some(before) = self.suspicions.without.take() {
            self.suspicions.cleared.insert(before);
            if let Some(worker) = self.workers.get_mut(&before) {
                worker.aside = worker.aside.filter(|aside| *aside != Aside::Faulty);
            }
        }
        let suspect = |i: &Incarnation| !self.suspicions.cleared.contains(i) && self.can_go_on_without(&[*i]);
        match self.members.iter().map(|m| m.incarnation).filter(suspect).max() {
            Some(one) => {
                self.suspicions.without = Some(one);
                let why = format!("{} generations with it did no step", self.suspicions.stood);
                self.stand_by_as_faulty(one, why, effects);
            }
            None => self.suspicions.cleared.clear(),
        }
    }

    /// A hash was reported. Those who report none while another member reports all are silent.
    pub(crate) fn judge_silence(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let from = self.attempts.from().map_or(Step(0), |from| from.step());
        let members = self.members.iter().map(|m| m.incarnation);
        let silent = self.hashes.silent(from, members);
        self.suspicions.silent.retain(|one, _| silent.contains(one));
        if self.phase != Phase::Stepping {
            return;
        }
        for one in silent {
            let since = *self.suspicions.silent.entry(one).or_insert(now);
            // Reports are late where a network is, and then heartbeats are too.
            let due = now >= since.plus(self.config.forming_timeout_ms);
            if due && self.workers.get(&one).is_some_and(|w| w.aside.is_none()) {
                let why = "it reports no hash of its state, and the others do".to_owned();
                self.stand_by_as_faulty(one, why, effects);
            }
        }
    }

    fn stand_by_as_faulty(&mut self, one: Incarnation, why: String, effects: &mut Vec<Effect>) {
        if let Some(worker) = self.workers.get_mut(&one) {
            worker.aside = Some(Aside::Faulty);
            effects.push(Effect::Journal(Entry::Faulty { incarnation: one, why }));
        }
    }
}
