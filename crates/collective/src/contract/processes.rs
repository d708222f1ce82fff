//! The contract from the side of one rank, for ranks that are separate processes.
//!
//! Ranks that share a GPU must be: NCCL refuses a GPU that it sees twice on one host, and a process has one host name
//! (`NCCL_HOSTID`). Each rank runs [`contract`] with a function that forms its group; all ranks run the same cases in the
//! same order, each case in a new group. `examples/contract_rank.rs` is such a process.

use std::thread;
use std::time::{Duration, Instant};

use super::failures::{expect_aborted, is_an_end, refuse_a_missing_root};
use super::sums;
use super::support::sum_until_error;
use crate::{Group, GroupError};

/// An abort must end a call within this time. It is longer than where every rank has a GPU to itself: on a shared GPU the
/// ranks' kernels, which check for the abort, take turns.
const ABORT_WITHIN: Duration = Duration::from_secs(2);
/// When the abort comes that must find the other ranks in a call. A complete sum takes less.
const ABORT_AFTER: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    pub ranks_min: usize,
    /// One rank's part; panics where the implementation is wrong.
    body: fn(&mut dyn Group),
    /// Whether the group is kept until the next one is formed, because other ranks may still be in theirs.
    keeps_group: bool,
}

const fn case(name: &'static str, ranks_min: usize, body: fn(&mut dyn Group)) -> Case {
    Case { name, ranks_min, body, keeps_group: false }
}

pub const CASES: &[Case] = &[
    case("integer_sums_are_exact", 1, sums::sum_each_length),
    case("a_large_sum_is_exact", 1, sums::sum_many_values),
    case("float_sums_have_the_same_bits_on_every_rank", 1, sums::compare_float_sums),
    case("many_calls_of_changing_length_follow_each_other", 1, sums::call_with_changing_lengths),
    case("every_rank_gets_the_bytes_of_any_root", 1, sums::broadcast_from_each),
    case("a_root_that_does_not_exist_is_refused", 1, refuse_a_missing_root),
    case("an_abort_before_a_call_ends_it", 1, an_abort_before_a_call_ends_it),
    case("an_abort_racing_with_completion_leaves_exact_sums", 1, an_abort_racing_with_completion),
    Case {
        keeps_group: true,
        ..case("an_abort_in_the_middle_of_a_call_ends_it", 2, an_abort_in_the_middle_of_a_call)
    },
    case("all_ranks_may_abort_at_once", 2, all_ranks_may_abort_at_once),
    case("a_peer_that_leaves_ends_the_call_of_every_other", 2, a_peer_that_leaves),
];

/// Runs the cases that this number of ranks allows, each in a group that `form` makes; calls `done` after each. Panics at
/// the first that fails.
pub fn contract(
    size: usize,
    mut form: impl FnMut() -> Box<dyn Group>,
    mut done: impl FnMut(&Case, Duration),
) {
    let mut kept = None;
    for case in CASES.iter().filter(|case| case.ranks_min <= size) {
        let mut group = form();
        // The new group shows that all ranks have finished the case before.
        drop(kept.take());
        let started = Instant::now();
        (case.body)(&mut *group);
        kept = case.keeps_group.then_some(group);
        done(case, started.elapsed());
    }
}

/// Sums until a rank dies, and returns this rank's error. Calls `ready` when all ranks have begun.
pub fn sum_until_a_death(mut group: Box<dyn Group>, ready: impl FnOnce()) -> GroupError {
    group.barrier().expect("all are alive");
    ready();
    let error = sum_until_error(&mut *group, 100_000, |_| ());
    assert!(is_an_end(&error), "{error}");
    error
}

/// Waits until all ranks have formed the group. The first ranks out of the barrier may have aborted it already.
fn meet_before_an_abort(group: &mut dyn Group) {
    if let Err(error) = group.barrier() {
        assert!(is_an_end(&error), "{error}");
    }
}

fn an_abort_before_a_call_ends_it(group: &mut dyn Group) {
    meet_before_an_abort(group);
    group.aborter().abort();
    expect_aborted(group);
}

/// Rank 0 aborts after some calls; every call that has completed on any rank is exact.
fn an_abort_racing_with_completion(group: &mut dyn Group) {
    let (rank, aborter) = (group.rank(), group.aborter());
    let error = sum_until_error(group, 10_000, |count| {
        if rank == 0 && count == 20 {
            let aborter = aborter.clone();
            thread::spawn(move || aborter.abort());
        }
    });
    assert!(is_an_end(&error), "{error}");
    let again = group.all_reduce_i64(&mut [1]).expect_err("a group that failed stays failed");
    assert!(is_an_end(&again), "{again}");
}

/// The last rank never makes the call, so that the others are in it until they abort.
fn an_abort_in_the_middle_of_a_call(group: &mut dyn Group) {
    group.barrier().expect("no rank aborts so early");
    if group.rank() == group.size() - 1 {
        return;
    }
    let aborter = group.aborter();
    let aborting = thread::spawn(move || {
        thread::sleep(ABORT_AFTER);
        aborter.abort();
        Instant::now()
    });
    let error = group.all_reduce_i64(&mut vec![1; 1 << 20]).expect_err("one rank is absent");
    let ended = Instant::now();
    assert!(is_an_end(&error), "{error}");
    let took = ended.saturating_duration_since(aborting.join().expect("an abort does not panic"));
    assert!(took < ABORT_WITHIN, "the abort took {took:?}; accepted is less than {ABORT_WITHIN:?}");
}

pub(super) fn all_ranks_may_abort_at_once(group: &mut dyn Group) {
    let aborter = group.aborter();
    meet_before_an_abort(group);
    let aborting = thread::spawn(move || aborter.abort());
    let error = sum_until_error(group, 10_000, |_| ());
    assert!(is_an_end(&error), "{error}");
    aborting.join().expect("an abort does not panic");
}

/// The last rank leaves between two calls, without an abort.
pub(super) fn a_peer_that_leaves(group: &mut dyn Group) {
    group.barrier().expect("all are alive");
    if group.rank() < group.size() - 1 {
        let error = sum_until_error(group, 100_000, |_| ());
        assert!(is_an_end(&error), "{error}");
    }
}
