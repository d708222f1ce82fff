//! Pure decisions about a generation: which workers take part, and which virtual ranks each of them computes.

use lsgan_spec::{Incarnation, Reduction, VirtualRank};

/// The virtual ranks of each of `members` workers: contiguous, and their numbers differ by at most one.
///
/// Returns `(first, count)` by rank. `members` is at least 1 and at most `virtual_ranks`.
#[must_use]
pub fn split(virtual_ranks: u32, members: u32) -> Vec<(VirtualRank, u32)> {
    assert!((1..=virtual_ranks).contains(&members), "{members} members for {virtual_ranks} virtual ranks");
    let (each, more) = (virtual_ranks / members, virtual_ranks % members);
    let mut first = 0;
    (0..members)
        .map(|rank| {
            let count = each + u32::from(rank < more);
            let share = (VirtualRank(first), count);
            first += count;
            share
        })
        .collect()
}

/// A worker that could take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub incarnation: Incarnation,
    /// The state it holds.
    pub holds: Option<Reduction>,
    /// Whether it was a member of the generation before.
    pub was_member: bool,
    /// Whether it can keep snapshots.
    pub keeps: bool,
}

/// Chooses at most `limit` members. A holder of the newest state is always among them; then come members of the
/// generation before, so that a standby does not replace a worker that is warm; then the oldest. A worker that can keep
/// snapshots is among them if there is one and the limit leaves a place beside the state's holder.
#[must_use]
pub fn choose(mut candidates: Vec<Candidate>, limit: usize) -> Vec<Candidate> {
    let truth = candidates.iter().filter_map(|c| c.holds).max();
    let rank_of = |c: &Candidate| {
        let leads = truth.is_some() && c.holds == truth;
        (!leads, !c.was_member, c.incarnation)
    };
    candidates.sort_by_key(rank_of);
    let chosen = candidates.len().min(limit);
    let last_place = chosen.saturating_sub(1);
    if !candidates[..chosen].iter().any(|c| c.keeps)
        && (truth.is_none() || last_place > 0)
        && let Some(keeper) = candidates.iter().position(|c| c.keeps)
    {
        candidates.swap(last_place, keeper);
    }
    candidates.truncate(limit);
    candidates.sort_by_key(|c| c.incarnation);
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_virtual_rank_is_computed_by_exactly_one_member() {
        for v in 1..=40 {
            for n in 1..=v {
                let shares = split(v, n);
                let ranks: Vec<u32> = shares.iter().flat_map(|(f, c)| f.0..f.0 + c).collect();
                assert_eq!(ranks, (0..v).collect::<Vec<_>>(), "{n} members of {v}");
                let (low, high) = (shares.iter().map(|s| s.1).min(), shares.iter().map(|s| s.1).max());
                assert!(high.unwrap() - low.unwrap() <= 1);
            }
        }
    }

    #[test]
    fn the_most_advanced_is_always_chosen() {
        let candidate = |i, holds: Option<u64>, was_member| Candidate {
            incarnation: Incarnation(i),
            holds: holds.map(Reduction),
            was_member,
            keeps: i != 2,
        };
        let all = vec![candidate(1, Some(4), true), candidate(2, None, true), candidate(9, Some(5), false)];
        let chosen = choose(all, 2);
        assert_eq!(chosen.iter().map(|c| c.incarnation.0).collect::<Vec<_>>(), [1, 9]);
    }

    #[test]
    fn one_that_can_keep_snapshots_takes_the_last_place_beside_the_holder() {
        let candidate = |i, holds: Option<u64>, keeps| Candidate {
            incarnation: Incarnation(i),
            holds: holds.map(Reduction),
            was_member: i < 3,
            keeps,
        };
        let all = vec![candidate(1, Some(4), false), candidate(2, Some(4), false), candidate(3, None, true)];
        let who = |limit| {
            let chosen = choose(all.clone(), limit);
            chosen.iter().map(|c| c.incarnation.0).collect::<Vec<_>>()
        };
        assert_eq!((who(3), who(2), who(1)), (vec![1, 2, 3], vec![1, 3], vec![1]));
        let fresh = vec![candidate(1, None, false), candidate(2, None, true)];
        assert_eq!(choose(fresh, 1)[0].incarnation, Incarnation(2));
    }
}
