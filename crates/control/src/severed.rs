//! Members that the coordinator hears, but that do not reach each other: one of them stands by.

use lsgan_spec::{Generation, Incarnation};

use crate::attendance::Aside;
use crate::effect::{Effect, Entry};
use crate::event::SessionId;
use crate::machine::Run;

impl Run {
    /// A member says that nothing comes through between it and `peer`. Who of them stands by is decided when both
    /// have parked: the one who has died meanwhile was the reason.
    pub(crate) fn cut_off(&mut self, session: SessionId, generation: Generation, peer: Incarnation) {
        let current = self.generation;
        let Some((incarnation, _)) = self.by_session(session) else { return };
        if generation == current && incarnation != peer && self.is_member(incarnation) && self.is_member(peer)
        {
            self.severed.insert((incarnation.min(peer), incarnation.max(peer)));
        }
    }

    /// Of two between whom nothing comes through, the one that holds less stands by; of equals the younger.
    pub(crate) fn part_severed(&mut self, effects: &mut Vec<Effect>) {
        for (older, younger) in std::mem::take(&mut self.severed) {
            let (Some(one), Some(other)) = (self.workers.get(&older), self.workers.get(&younger)) else {
                continue;
            };
            if one.aside.is_some() || other.aside.is_some() {
                continue;
            }
            let (stays, goes) = if one.holds >= other.holds { (older, younger) } else { (younger, older) };
            self.workers.get_mut(&goes).expect("both were just found").aside = Some(Aside::CutOff);
            effects.push(Effect::Journal(Entry::CutOff { incarnation: goes, peer: stays }));
        }
    }
}
