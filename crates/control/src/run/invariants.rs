//! Sentences that hold after every event. Some look at one state, others at the states before and after an event.
//! What needs the history of a whole run is checked by the simulator.

use std::collections::BTreeSet;

use lsgan_spec::Half;

use super::machine::{Phase, Run};

/// A sentence that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's name.
    pub invariant: &'static str,
    /// What was found.
    pub found: String,
}

type OfState = fn(&Run) -> Result<(), String>;
type OfChange = fn(&Run, &Run) -> Result<(), String>;

/// Invariants of one state.
pub const OF_STATE: &[(&str, OfState)] = &[
    ("one_owner", one_owner),
    ("stepping_members_are_attached", stepping_members_are_attached),
    ("leases_cover_what_is_consumed", leases_cover_what_is_consumed),
    ("no_more_members_than_allowed", no_more_members_than_allowed),
    ("sessions_are_distinct", sessions_are_distinct),
    ("incarnations_are_counted", incarnations_are_counted),
];

/// Invariants of a change.
pub const OF_CHANGE: &[(&str, OfChange)] = &[
    ("generations_never_go_back", generations_never_go_back),
    ("an_ended_run_stays_ended", an_ended_run_stays_ended),
    ("consumption_never_goes_back", consumption_never_goes_back),
    ("members_change_only_with_the_generation", members_change_only_with_the_generation),
    ("a_paused_run_only_finishes_steps", a_paused_run_only_finishes_steps),
];

/// Checks all of them over one event.
pub fn check(before: &Run, after: &Run) -> Result<(), Violation> {
    for (invariant, holds) in OF_STATE {
        holds(after).map_err(|found| Violation { invariant, found })?;
    }
    for (invariant, holds) in OF_CHANGE {
        holds(before, after).map_err(|found| Violation { invariant, found })?;
    }
    Ok(())
}

/// A virtual rank is owned by at most one member of the newest generation, and by exactly one once it was formed.
pub fn one_owner(run: &Run) -> Result<(), String> {
    if run.members.is_empty() {
        return Ok(());
    }
    let owned: Vec<u32> = run.members.iter().flat_map(|m| m.virtual_ranks()).map(|v| v.0).collect();
    let wanted: Vec<u32> = (0..run.config.virtual_ranks).collect();
    if owned == wanted { Ok(()) } else { Err(format!("the members own {owned:?}")) }
}

/// While a generation steps, each of its members is attached and computes.
pub fn stepping_members_are_attached(run: &Run) -> Result<(), String> {
    if run.phase != Phase::Stepping {
        return Ok(());
    }
    let missing = run.members.iter().find(|m| run.workers.get(&m.incarnation).is_none_or(|w| !w.computing));
    missing.map_or(Ok(()), |m| Err(format!("worker {} does not compute", m.incarnation)))
}

/// No virtual rank has consumed a position that was not leased to it.
pub fn leases_cover_what_is_consumed(run: &Run) -> Result<(), String> {
    let ranks = run.consumed.iter().zip(&run.leased).enumerate();
    for (rank, (consumed, leased)) in ranks {
        if consumed > leased {
            return Err(format!("virtual rank {rank} consumed {consumed} ordinals of {leased} leased"));
        }
    }
    Ok(())
}

/// A generation has at most `max_workers` members, and at most one for each virtual rank.
pub fn no_more_members_than_allowed(run: &Run) -> Result<(), String> {
    let limit = run.config.max_workers.min(run.config.virtual_ranks) as usize;
    if run.members.len() <= limit { Ok(()) } else { Err(format!("{} members", run.members.len())) }
}

/// No two workers share a stream.
pub fn sessions_are_distinct(run: &Run) -> Result<(), String> {
    let sessions: BTreeSet<_> = run.workers.values().map(|w| w.session).collect();
    if sessions.len() == run.workers.len() {
        Ok(())
    } else {
        Err("a stream belongs to two workers".to_owned())
    }
}

/// No worker has an incarnation above the last one that was given.
pub fn incarnations_are_counted(run: &Run) -> Result<(), String> {
    let last = run.workers.keys().next_back();
    match last {
        Some(last) if *last > run.incarnation => {
            Err(format!("{last} is attached, {} was given", run.incarnation))
        }
        _ => Ok(()),
    }
}

/// Generations never go back.
pub fn generations_never_go_back(before: &Run, after: &Run) -> Result<(), String> {
    if after.generation >= before.generation && after.incarnation >= before.incarnation {
        return Ok(());
    }
    Err(format!("from {} to {}", before.generation, after.generation))
}

/// A run that has ended stays ended, in the same way.
pub fn an_ended_run_stays_ended(before: &Run, after: &Run) -> Result<(), String> {
    match &before.phase {
        Phase::Ended(_) if before.phase != after.phase => Err(format!("{:?}", after.phase)),
        _ => Ok(()),
    }
}

/// What a virtual rank has consumed, and what it was leased, never shrinks.
pub fn consumption_never_goes_back(before: &Run, after: &Run) -> Result<(), String> {
    let shrinks = |before: &[u64], after: &[u64]| before.iter().zip(after).any(|(b, a)| a < b);
    if shrinks(&before.consumed, &after.consumed) || shrinks(&before.leased, &after.leased) {
        return Err("a count of ordinals became smaller".to_owned());
    }
    Ok(())
}

/// The members and their virtual ranks change only when a new generation is formed.
pub fn members_change_only_with_the_generation(before: &Run, after: &Run) -> Result<(), String> {
    if before.generation == after.generation && before.members != after.members {
        return Err(format!("generation {} got other members", after.generation));
    }
    Ok(())
}

/// A paused run forms a generation only to finish a step that is half done.
pub fn a_paused_run_only_finishes_steps(before: &Run, after: &Run) -> Result<(), String> {
    if !before.is_paused() || !after.is_paused() || before.generation == after.generation {
        return Ok(());
    }
    let held = after.members.iter().filter_map(|m| after.workers.get(&m.incarnation)?.holds).max();
    // What closes a run may have to be handed to a worker that can write it.
    let closes = after.ends_early() || held.is_some_and(|h| h.step().0 >= after.config.steps);
    if closes || held.is_some_and(|held| held.half() == Half::Generator) {
        return Ok(());
    }
    Err(format!("generation {} is formed from {held:?}", after.generation))
}
