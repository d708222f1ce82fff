//! Which workers can train together: those that compute the same bits, or on the same kind of device where the run's file
//! admits other bits.
//!
//! A Hello alone decides nothing about that: until a generation has applied a reduction, workers of any numerics are
//! admitted, and the generation is formed of those that most workers have. Its numerics are then the run's, and the
//! others are sent away.

use std::cmp::Reverse;

use lsgan_spec::{Incarnation, Numerics};

use super::attendance::Worker;
use super::effect::{Effect, Entry, GoneReason};
use super::machine::Run;
use super::membership::Candidate;
use crate::protocol::Message;

impl Run {
    /// Why a worker with these numerics cannot take part, if it cannot.
    pub(crate) fn refusal(&self, numerics: &Numerics) -> Option<String> {
        let run = self.numerics.as_ref()?;
        if !self.config.any_numerics {
            return (run != numerics).then(|| {
                format!(
                    "this worker would compute other bits than the run: it has {numerics}, the run has {run}. Start it on the \
                     same kind of machine with the same libtorch, or set cluster.numerics to any, which gives up equal bits."
                )
            });
        }
        // GPUs sum over NCCL and CPUs over TCP, so that both in one group would wait for each other.
        let device = numerics.device;
        let trains = |worker: &&Worker| worker.rights.trained() && worker.numerics.device != device;
        let other = self.workers.values().find(trains)?;
        Some(format!(
            "this worker computes on {device}, and {} of the same run on {}: they cannot sum together. Set compute.device to \
             cpu or cuda for all of them.",
            other.name, other.numerics.device,
        ))
    }

    /// Those of `candidates` that can train together: with the holder of the newest state, or else most of them; of equals
    /// those with the oldest worker.
    pub(crate) fn of_one_kind(&self, candidates: Vec<Candidate>) -> Vec<Candidate> {
        if self.numerics.is_some() && !self.config.any_numerics {
            return candidates; // all have the run's
        }
        let numerics = |one: &Candidate| &self.workers[&one.incarnation].numerics;
        let alike = |a: &Candidate, b: &Candidate| match self.config.any_numerics {
            true => numerics(a).device == numerics(b).device,
            false => numerics(a) == numerics(b),
        };
        let mut kinds: Vec<Vec<Candidate>> = Vec::new();
        for one in candidates {
            match kinds.iter_mut().find(|kind| alike(&kind[0], &one)) {
                Some(kind) => kind.push(one),
                None => kinds.push(vec![one]),
            }
        }
        let rank = |kind: &Vec<Candidate>| {
            (kind.iter().filter_map(|c| c.holds).max(), kind.len(), Reverse(kind[0].incarnation))
        };
        kinds.into_iter().max_by_key(rank).unwrap_or_default()
    }

    /// A member has applied a reduction of the newest generation: its numerics are the run's, if that has none yet.
    pub(crate) fn adopt_numerics(&mut self, effects: &mut Vec<Effect>) {
        if self.numerics.is_some() {
            return;
        }
        // A coordinator that was started again does not know where the generation began.
        let from = self.attempts.from().unwrap_or_default();
        let mut members = self.members.iter().filter_map(|m| self.workers.get(&m.incarnation));
        // All have added to what one of them has applied. They differ where any numerics are admitted.
        let applied = members.clone().any(|worker| worker.holds > Some(from));
        let Some(first) = members.next().filter(|_| applied) else { return };
        let numerics = first.numerics.clone();
        self.numerics = Some(numerics.clone());
        effects.push(Effect::Journal(Entry::Numerics(numerics.clone())));
        let others: Vec<Incarnation> =
            self.workers.iter().filter(|(_, w)| w.numerics != numerics).map(|(i, _)| *i).collect();
        for incarnation in others {
            let worker = &self.workers[&incarnation];
            let other = worker.numerics.clone();
            match self.refusal(&other) {
                Some(why) => self.send_away(incarnation, why, effects),
                None => {
                    let entry = Entry::OtherNumerics { incarnation, numerics: other };
                    effects.push(Effect::Journal(entry));
                }
            }
        }
    }

    /// Refuses a worker that was admitted before it was known what the run needs. It computes in no generation.
    fn send_away(&mut self, incarnation: Incarnation, why: String, effects: &mut Vec<Effect>) {
        let Some(Worker { session, name, .. }) = self.detach(incarnation) else { return };
        effects.push(Effect::Journal(Entry::Gone { incarnation, name, reason: GoneReason::Refused }));
        effects
            .extend([Effect::Send { session, message: Message::Refused { why } }, Effect::Close { session }]);
    }
}
