//! A generation that does no step although all of its members are heard. It is reported after a while and then ended, so
//! that the run goes on without a worker whose training thread hangs.
//!
//! Members wait for each other at every all-reduce, so all of them hold the same reduction, and that does not tell which
//! of them hangs. After an abort those that waited park at once. A training thread that hangs does not, and its worker is
//! retired when the time for parking is over.

use lsgan_spec::{Generation, Incarnation, Millis, Reduction};
use serde::{Deserialize, Serialize};

use super::effect::{Effect, Entry};
use super::machine::{Phase, Run};

/// A step may take so many times as long as those before it in its generation.
const TIMES_THE_MEAN: u64 = 20;
/// A generation's first step may take so many times [`Config::stall_ms`](crate::Config): its data may come from a store that
/// is away for minutes, and devices choose their kernels.
const TIMES_AT_FIRST: u64 = 10;
/// Reductions in a step.
const HALVES: u64 = 2;

/// How far the stepping generation has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    generation: Generation,
    since: Millis,
    from: Option<Reduction>,
    newest: Option<Reduction>,
    /// When `newest` was first reported.
    moved: Millis,
    told: bool,
}

impl Progress {
    /// How long it may do no step, in ms.
    fn limit_ms(&self, stall_ms: u64) -> u64 {
        let count = |reduction: Option<Reduction>| reduction.map_or(0, |r| r.0);
        let done = count(self.newest).saturating_sub(count(self.from));
        let took_ms = self.moved.0.saturating_sub(self.since.0);
        match (took_ms * HALVES * TIMES_THE_MEAN).checked_div(done) {
            None => stall_ms.saturating_mul(TIMES_AT_FIRST),
            Some(usual_ms) => usual_ms.max(stall_ms),
        }
    }
}

impl Run {
    /// Ends a generation that does no step for too long. At half of that time the journal names the members that are behind.
    pub(crate) fn watch_progress(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        if self.phase != Phase::Stepping {
            self.progress = None;
            return;
        }
        let newest = self.held_by_members().map(|(_, holds)| holds).max().flatten();
        let generation = self.generation;
        let progress = match &mut self.progress {
            Some(progress) if progress.generation == generation => progress,
            progress => progress.insert(Progress {
                generation,
                since: now,
                from: newest,
                newest,
                moved: now,
                told: false,
            }),
        };
        if newest > progress.newest {
            (progress.newest, progress.moved, progress.told) = (newest, now, false);
            return;
        }
        let stood_ms = now.0.saturating_sub(progress.moved.0);
        let limit_ms = progress.limit_ms(self.config.stall_ms);
        if stood_ms >= limit_ms {
            let why = format!("no step was done in {} s, though all members are heard", stood_ms / 1000);
            self.suspicions.stands();
            self.halt(&why, effects);
        } else if stood_ms >= limit_ms / 2 && !progress.told {
            progress.told = true;
            let behind =
                self.held_by_members().filter(|(_, holds)| *holds < newest).map(|(i, _)| i).collect();
            effects.push(Effect::Journal(Entry::Stands { generation, stood_ms, limit_ms, behind }));
        }
    }

    /// Restarts the clock of the stepping generation: the coordinator itself holds back what the members wait for.
    pub fn hold_still(&mut self, now: Millis) {
        if let Some(progress) = &mut self.progress {
            progress.moved = now;
        }
    }

    fn held_by_members(&self) -> impl Iterator<Item = (Incarnation, Option<Reduction>)> {
        let members = self.members.iter().map(|m| m.incarnation);
        members.filter_map(|i| self.workers.get(&i).map(|worker| (i, worker.holds)))
    }
}
