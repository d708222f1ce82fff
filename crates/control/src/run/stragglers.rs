//! Members that are much slower than the others. They are named, and stand by where the run's file says so.

use lsgan_spec::{Incarnation, Millis};

use super::attendance::Aside;
use super::effect::{Effect, Entry};
use super::machine::{Phase, Run};

/// So many comparisons in a row must find a member slow: one short pause is no reason.
pub(crate) const IN_A_ROW: u32 = 3;

impl Run {
    /// Compares the members' paces, at most every `pace_every_ms`.
    pub(crate) fn watch_paces(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        if self.phase != Phase::Stepping || now < self.paces_due {
            return;
        }
        self.paces_due = now.plus(self.config.pace_every_ms);
        let pace = |incarnation: &Incarnation| self.workers.get(incarnation).and_then(|w| w.pace_us);
        let members: Vec<_> = self.members.iter().map(|m| m.incarnation).collect();
        let mut paces: Vec<_> = members.iter().filter_map(|i| pace(i).map(|pace_us| (pace_us, *i))).collect();
        if paces.len() < members.len() || paces.len() < 2 {
            return; // a member has not reported its pace in this generation yet
        }
        paces.sort_unstable();
        for index in 0..paces.len() {
            let (pace_us, incarnation) = paces[index];
            // The median of the others, the lower one of two.
            let middle = (paces.len() - 2) / 2;
            let median_us = paces[if index <= middle { middle + 1 } else { middle }].0;
            self.judge_pace(incarnation, pace_us, median_us, effects);
        }
    }

    fn judge_pace(
        &mut self,
        incarnation: Incarnation,
        pace_us: u64,
        median_us: u64,
        effects: &mut Vec<Effect>,
    ) {
        let slow = pace_us.saturating_mul(100) > median_us.saturating_mul(self.config.straggler_percent);
        let evicts = self.config.evict_stragglers;
        let worker = self.workers.get_mut(&incarnation).expect("a stepping member is attached");
        if !slow {
            worker.slow_in_a_row = 0;
            return;
        }
        worker.slow_in_a_row = worker.slow_in_a_row.saturating_add(1);
        if worker.slow_in_a_row == IN_A_ROW {
            worker.aside = worker.aside.or(evicts.then_some(Aside::Slow));
            effects.push(Effect::Journal(Entry::Straggles {
                incarnation,
                pace_us,
                median_us,
                evicted: evicts,
            }));
        }
    }

    /// Whether the workers that do not stand aside are enough to train.
    pub(crate) fn enough_without_aside(&self) -> bool {
        let stay = self.workers.values().filter(|w| w.aside.is_none() && !w.leaving).count();
        stay >= self.config.min_workers as usize
    }
}
