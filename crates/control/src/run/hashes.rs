//! Whether all members hold the same bits: the hashes of their states, compared step by step.

use std::collections::BTreeMap;

use lsgan_spec::{Incarnation, Step};
use serde::{Deserialize, Serialize};

/// At most so many steps that some member has not reported yet are kept: a worker that lags further behind is lost.
const STEPS_KEPT: usize = 16;

/// A BLAKE3 hash of a whole state.
pub type StateHash = [u8; 32];

/// What was reported and not yet found equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateHashes {
    by_step: BTreeMap<Step, BTreeMap<Incarnation, StateHash>>,
    equal: Step,
}

/// Members hold different states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The workers whose hash is not the most frequent one; all of them where two are equally frequent.
    pub odd: Vec<Incarnation>,
    pub step: Step,
    /// After so many steps all held the same.
    pub equal: Step,
}

impl StateHashes {
    /// Nothing is reported yet; at step `equal` all members start from the same state.
    #[must_use]
    pub fn from(equal: Step) -> Self {
        Self { by_step: BTreeMap::new(), equal }
    }

    /// After so many steps all held the same.
    #[must_use]
    pub fn equal(&self) -> Step {
        self.equal
    }

    /// A member reports its state after `step`.
    pub fn report(&mut self, incarnation: Incarnation, step: Step, hash: StateHash) {
        if step > self.equal {
            self.by_step.entry(step).or_default().insert(incarnation, hash);
            if self.by_step.len() > STEPS_KEPT {
                self.by_step.pop_first();
            }
        }
    }

    /// Forgets the steps for which all of `members` report the same; returns a difference if there is one and all
    /// have reported, so that the odd one can be told.
    pub fn compare(&mut self, members: impl Iterator<Item = Incarnation> + Clone) -> Option<Difference> {
        let all_in =
            |hashes: &BTreeMap<Incarnation, StateHash>| members.clone().all(|m| hashes.contains_key(&m));
        let complete: Vec<Step> =
            self.by_step.iter().filter(|(_, h)| all_in(h)).map(|(step, _)| *step).collect();
        for step in complete {
            if let Some(odd) = odd_ones(&self.by_step[&step]) {
                return Some(Difference { odd, step, equal: self.equal });
            }
            // What a stream lost of an earlier step is not waited for: a difference stays one.
            self.by_step.retain(|later, _| *later > step);
            self.equal = step;
        }
        None
    }

    /// The members that have reported none of all the steps that are kept, while another one has reported all of them. None
    /// while some of these steps are older than the generation, which began at `from`.
    #[must_use]
    pub fn silent(&self, from: Step, members: impl Iterator<Item = Incarnation> + Clone) -> Vec<Incarnation> {
        let full = self.by_step.len() == STEPS_KEPT && self.by_step.keys().all(|step| *step > from);
        let said = |member: &Incarnation| self.by_step.values().filter(|h| h.contains_key(member)).count();
        if !full || !members.clone().any(|member| said(&member) == STEPS_KEPT) {
            return Vec::new();
        }
        members.filter(|member| said(member) == 0).collect()
    }

    /// A difference between the members that have reported, for when no more reports are to come.
    #[must_use]
    pub fn known_difference(&self) -> Option<Difference> {
        let mut steps = self.by_step.iter();
        steps.find_map(|(&step, hashes)| {
            odd_ones(hashes).map(|odd| Difference { odd, step, equal: self.equal })
        })
    }
}

fn odd_ones(hashes: &BTreeMap<Incarnation, StateHash>) -> Option<Vec<Incarnation>> {
    let mut counts: BTreeMap<&StateHash, usize> = BTreeMap::new();
    for hash in hashes.values() {
        *counts.entry(hash).or_default() += 1;
    }
    if counts.len() < 2 {
        return None;
    }
    let most = counts.values().max().expect("there are two");
    let mut frequent = counts.iter().filter(|(_, count)| *count == most).map(|(hash, _)| **hash);
    let right = frequent.next().filter(|_| frequent.next().is_none());
    Some(hashes.iter().filter(|(_, hash)| Some(**hash) != right).map(|(member, _)| *member).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERS: [Incarnation; 3] = [Incarnation(1), Incarnation(2), Incarnation(5)];

    fn reported(step: u64, hashes: [Option<u8>; 3]) -> StateHashes {
        let mut all = StateHashes::from(Step(0));
        report(&mut all, step, hashes);
        all
    }

    fn report(all: &mut StateHashes, step: u64, hashes: [Option<u8>; 3]) {
        for (member, hash) in MEMBERS.into_iter().zip(hashes) {
            if let Some(byte) = hash {
                all.report(member, Step(step), [byte; 32]);
            }
        }
    }

    fn compare(all: &mut StateHashes) -> Option<Difference> {
        all.compare(MEMBERS.into_iter())
    }

    #[test]
    fn the_odd_one_of_three_is_named_once_all_have_reported() {
        let mut all = reported(10, [Some(7), Some(8), None]);
        assert_eq!(compare(&mut all), None);
        report(&mut all, 10, [None, None, Some(7)]);
        let difference = Difference { odd: vec![Incarnation(2)], step: Step(10), equal: Step(0) };
        assert_eq!(compare(&mut all), Some(difference));
    }

    #[test]
    fn equal_states_are_forgotten_and_remembered_as_equal() {
        let mut all = reported(10, [Some(7); 3]);
        assert_eq!(compare(&mut all), None);
        report(&mut all, 20, [Some(1), Some(2), Some(3)]);
        let difference = compare(&mut all).expect("they differ");
        assert_eq!((difference.equal, difference.odd), (Step(10), MEMBERS.to_vec()));
    }

    #[test]
    fn a_difference_is_known_before_all_have_reported_and_of_two_none_is_the_odd_one() {
        let all = reported(10, [Some(7), Some(8), None]);
        assert_eq!(all.known_difference().expect("they differ").odd, MEMBERS[..2]);
        assert_eq!(reported(10, [Some(7), None, Some(7)]).known_difference(), None);
    }

    #[test]
    fn a_lagging_member_does_not_make_memory_grow() {
        let mut all = StateHashes::from(Step(0));
        for step in 1..1000 {
            report(&mut all, step, [Some(1), Some(1), None]);
        }
        assert_eq!(all.by_step.len(), STEPS_KEPT);
    }
}
