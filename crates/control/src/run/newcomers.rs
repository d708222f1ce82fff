//! Members that a state does not reach, time after time: over a link that is too slow, say. The others go on without them.

use lsgan_spec::Incarnation;

use super::attendance::Aside;
use super::effect::{Effect, Entry};
use super::machine::{Phase, Run};

/// So many generations may fail because a state does not reach a member.
const TIMES: u32 = 2;

impl Run {
    /// The generation ends. If it still forms, these are the members that its state has not reached.
    pub(crate) fn note_unreached(&mut self) {
        let Phase::Forming { ready } = &self.phase else { return };
        let holds = |i: &Incarnation| self.workers.get(i).and_then(|w| w.holds);
        let from = self.attempts.from();
        let members = self.members.iter().map(|m| m.incarnation);
        self.unreached = members.filter(|i| !ready.contains(i) && holds(i) != from).collect();
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
        let others =
            || self.workers.iter().filter(|(i, w)| !behind.contains(i) && w.aside.is_none() && !w.leaving);
        let go_on = others().count() >= self.config.min_workers as usize
            && others().any(|(_, w)| w.holds.is_some() && w.holds == self.attempts.from());
        for one in behind.into_iter().filter(|_| go_on) {
            let worker = self.workers.get_mut(&one).expect("as above");
            worker.aside = Some(Aside::LeftBehind);
            let attempts = worker.unreached_in_a_row;
            let why = self.attempts.why().to_owned();
            effects.push(Effect::Journal(Entry::LeftBehind { incarnation: one, attempts, why }));
        }
    }
}
