//! Members that a state does not reach, time after time: over a link that is too slow, say. The others go on without them.

use lsgan_spec::{Incarnation, Reduction};
use serde::{Deserialize, Serialize};

use super::attendance::Aside;
use super::effect::{Effect, Entry, GoneReason};
use super::machine::{Phase, Run};

/// So many generations may fail because a state does not reach a member.
const TIMES: u32 = 2;
/// So many workers that are gone are remembered.
const REMEMBERED_MAX: usize = 256;

/// A worker that is gone and that states had not reached. A state that fills a slow link delays the heartbeats too, so that
/// its process may only be silent for a while and attach again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Former {
    address: String,
    unreached_in_a_row: u32,
    why: String,
}

impl Run {
    /// The generation ends. If it still forms, these are the members that its state has not reached.
    pub(crate) fn note_unreached(&mut self) {
        let members = self.members.iter().map(|m| m.incarnation);
        let unreached: Vec<_> = members.filter(|i| self.waits_for_state(*i)).collect();
        if matches!(self.phase, Phase::Forming { .. }) {
            self.unreached = unreached;
        }
    }

    /// A generation forms, and its state has not reached this member.
    fn waits_for_state(&self, member: Incarnation) -> bool {
        let Phase::Forming { ready } = &self.phase else { return false };
        let holds = self.workers.get(&member).and_then(|w| w.holds);
        self.is_member(member) && !ready.contains(&member) && holds != self.attempts.from()
    }

    /// All members have parked. If none of them is gone, those that the state has not reached are why the generation did not
    /// form. The second time they stand aside, if the others can go on without them.
    pub(crate) fn leave_unreached_behind(&mut self, effects: &mut Vec<Effect>) {
        let unreached = std::mem::take(&mut self.unreached);
        if self.members.iter().any(|m| !self.workers.contains_key(&m.incarnation)) {
            return;
        }
        for one in &unreached {
            let worker = self.workers.get_mut(one).expect("all members are attached");
            worker.unreached_in_a_row = worker.unreached_in_a_row.saturating_add(1);
        }
        let often = |i: &Incarnation| self.workers[i].unreached_in_a_row >= TIMES;
        let behind: Vec<_> = unreached.into_iter().filter(often).collect();
        if self.can_go_on_without(&behind) {
            let why = self.attempts.why().to_owned();
            behind.into_iter().for_each(|one| self.leave_behind(one, why.clone(), effects));
        }
    }

    /// There are enough other workers, and one of them holds the state.
    pub(crate) fn can_go_on_without(&self, behind: &[Incarnation]) -> bool {
        let from: Option<Reduction> = self.attempts.from();
        let others =
            || self.workers.iter().filter(|(i, w)| !behind.contains(i) && w.aside.is_none() && !w.leaving);
        others().count() >= self.config.min_workers as usize
            && others().any(|(_, w)| w.holds.is_some() && w.holds >= from)
    }

    fn leave_behind(&mut self, one: Incarnation, why: String, effects: &mut Vec<Effect>) {
        let worker = self.workers.get_mut(&one).expect("it is attached");
        worker.aside = Some(Aside::LeftBehind);
        let attempts = worker.unreached_in_a_row;
        effects.push(Effect::Journal(Entry::LeftBehind { incarnation: one, attempts, why }));
    }

    /// A worker is about to be lost: whether states had not reached it must not be forgotten if its process attaches again.
    pub(crate) fn remember_unreached(&mut self, one: Incarnation, reason: &GoneReason) {
        let now = self.waits_for_state(one) || self.unreached.contains(&one);
        let Some(worker) = self.workers.get(&one) else { return };
        let unreached_in_a_row = worker.unreached_in_a_row.saturating_add(now.into());
        if unreached_in_a_row > 0 {
            let (address, why) = (worker.address.clone(), reason.to_string());
            self.former.insert(one, Former { address, unreached_in_a_row, why });
            if self.former.len() > REMEMBERED_MAX {
                self.former.pop_first();
            }
        }
    }

    /// The process that was `former` is admitted as `one`. Where its old incarnation was left behind, so is this one. A process that
    /// was told that its incarnation is over does not name it, and is known by its address. One that is started again has
    /// another port, unless that is fixed.
    pub(crate) fn recall_unreached(
        &mut self,
        former: Option<Incarnation>,
        one: Incarnation,
        effects: &mut Vec<Effect>,
    ) {
        let address = &self.workers[&one].address;
        let newest_there = || self.former.iter().rev().find(|(_, f)| f.address == *address).map(|(i, _)| *i);
        let Some(key) = former.or_else(newest_there) else { return };
        let Some(Former { unreached_in_a_row, why, .. }) = self.former.remove(&key) else { return };
        let worker = self.workers.get_mut(&one).expect("it was just admitted");
        worker.unreached_in_a_row = unreached_in_a_row;
        if unreached_in_a_row >= TIMES && self.can_go_on_without(&[one]) {
            self.leave_behind(one, why, effects);
        }
    }
}
