//! The contract from the side of one rank, for ranks that are processes of their own.
//!
//! Ranks that share a GPU must be: NCCL refuses a GPU that it sees twice on one host, and a process is on one host only
//! (`NCCL_HOSTID`). Each rank runs [`contract`] with its own way to form a group; all ranks run the same cases in the
//! same order, each in a group of its own. `examples/contract_rank.rs` is such a process.

use std::thread;
use std::time::{Duration, Instant};

use super::ending::is_an_end;
use super::sums;
use super::support::sum_until_error;
use crate::{Group, GroupError};

/// An abort must end a call within this time. More than where every rank has a GPU to itself: the ranks' kernels, which
/// look for the abort, take turns on theirs.
const ABORT_WITHIN: Duration = Duration::from_secs(2);
/// So late comes an abort that is to find the others in a call; a group sums what the case gives it in less.
const ABORT_AFTER: Duration = Duration::from_millis(100);

/// What one rank does; it panics where the implementation is wrong. A group that it gives back is kept until the next
/// one is formed: the others may still be in theirs.
pub type Body = fn(Box<dyn Group>) -> Option<Box<dyn Group>>;

/// A case.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// As it is reported.
    pub name: &'static str,
    /// How many ranks it takes at least.
    pub ranks_min: usize,
    body: Body,
}

macro_rules! cases {
    ($($ranks_min:literal $case:ident),* $(,)?) => {
        &[$(Case { name: stringify!($case), ranks_min: $ranks_min, body: $case }),*]
    };
}

/// Every case.
pub const CASES: &[Case] = cases![
    1 integer_sums_are_exact,
    1 a_large_sum_is_exact,
    1 float_sums_have_the_same_bits_on_every_rank,
    1 many_calls_of_changing_length_follow_each_other,
    1 everybody_gets_the_bytes_of_any_root,
    1 a_root_that_does_not_exist_is_refused,
    1 an_abort_before_a_call_ends_it,
    1 an_abort_racing_with_completion_leaves_exact_sums,
    2 an_abort_in_the_middle_of_a_call_ends_it,
    2 all_ranks_may_abort_at_once,
    2 a_peer_that_leaves_ends_the_call_of_every_other,
];

/// Runs the cases for which there are ranks enough, each in a group that `form` makes; `done` hears of each that has
/// ended well. Panics at the first that does not.
pub fn contract(
    size: usize,
    mut form: impl FnMut() -> Box<dyn Group>,
    mut done: impl FnMut(&Case, Duration),
) {
    let mut kept = None;
    for case in CASES.iter().filter(|case| case.ranks_min <= size) {
        let group = form();
        // Only now have the others ended the case before.
        drop(kept.take());
        let started = Instant::now();
        kept = (case.body)(group);
        done(case, started.elapsed());
    }
}

/// Sums until a rank has died; `ready` is called when all ranks have begun. The error by which this rank found out.
pub fn sum_until_a_death(mut group: Box<dyn Group>, ready: impl FnOnce()) -> GroupError {
    group.barrier().expect("all are alive");
    ready();
    let error = sum_until_error(&mut *group, 100_000, |_| ());
    assert!(is_an_end(&error), "{error}");
    error
}

/// After this all have formed the group. A rank that comes out of it early may have aborted already.
fn meet_before_an_abort(group: &mut dyn Group) {
    if let Err(error) = group.barrier() {
        assert!(is_an_end(&error), "{error}");
    }
}

fn integer_sums_are_exact(mut group: Box<dyn Group>) -> Option<Box<dyn Group>> {
    sums::sum_each_length(&mut *group);
    None
}

fn a_large_sum_is_exact(mut group: Box<dyn Group>) -> Option<Box<dyn Group>> {
    sums::sum_many_values(&mut *group);
    None
}

fn float_sums_have_the_same_bits_on_every_rank(mut group: Box<dyn Group>) -> Option<Box<dyn Group>> {
    sums::compare_float_sums(&mut *group);
    None
}

fn many_calls_of_changing_length_follow_each_other(mut group: Box<dyn Group>) -> Option<Box<dyn Group>> {
    sums::call_with_changing_lengths(&mut *group);
    None
}

fn everybody_gets_the_bytes_of_any_root(mut group: Box<dyn Group>) -> Option<Box<dyn Group>> {
    sums::broadcast_from_each(&mut *group);
    None
}

fn a_root_that_does_not_exist_is_refused(mut group: Box<dyn Group>) -> Option<Box<dyn Group>> {
    let root = group.size();
    let error = group.broadcast(root, &mut [0]).expect_err("there is no such rank");
    assert!(matches!(error, GroupError::NoSuchRoot { .. }), "{error}");
    group.barrier().expect("nothing was sent, so the group goes on");
    None
}

fn an_abort_before_a_call_ends_it(mut group: Box<dyn Group>) -> Option<Box<dyn Group>> {
    meet_before_an_abort(&mut *group);
    let aborted = Err(GroupError::Aborted { generation: group.generation() });
    group.aborter().abort();
    assert_eq!(group.all_reduce_i64(&mut [1]), aborted);
    assert_eq!(group.all_reduce_f32(&mut [1.0]), aborted);
    assert_eq!(group.broadcast(0, &mut [1]), aborted);
    None
}

/// Rank 0 aborts after some calls; every call that has completed on any rank is exact.
fn an_abort_racing_with_completion_leaves_exact_sums(mut group: Box<dyn Group>) -> Option<Box<dyn Group>> {
    let (rank, aborter) = (group.rank(), group.aborter());
    let error = sum_until_error(&mut *group, 10_000, |count| {
        if rank == 0 && count == 20 {
            let aborter = aborter.clone();
            thread::spawn(move || aborter.abort());
        }
    });
    assert!(is_an_end(&error), "{error}");
    let again = group.all_reduce_i64(&mut [1]).expect_err("a group that failed stays failed");
    assert!(is_an_end(&again), "{again}");
    None
}

/// The last rank never makes the call, so that the others are in it until they abort.
fn an_abort_in_the_middle_of_a_call_ends_it(mut group: Box<dyn Group>) -> Option<Box<dyn Group>> {
    group.barrier().expect("nobody aborts so early");
    if group.rank() == group.size() - 1 {
        return Some(group);
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
    None
}

fn all_ranks_may_abort_at_once(mut group: Box<dyn Group>) -> Option<Box<dyn Group>> {
    let aborter = group.aborter();
    meet_before_an_abort(&mut *group);
    let aborting = thread::spawn(move || aborter.abort());
    let error = sum_until_error(&mut *group, 10_000, |_| ());
    assert!(is_an_end(&error), "{error}");
    aborting.join().expect("an abort does not panic");
    None
}

/// The last rank goes away between two calls; nobody aborts.
fn a_peer_that_leaves_ends_the_call_of_every_other(mut group: Box<dyn Group>) -> Option<Box<dyn Group>> {
    group.barrier().expect("all are alive");
    if group.rank() < group.size() - 1 {
        let error = sum_until_error(&mut *group, 100_000, |_| ());
        assert!(is_an_end(&error), "{error}");
    }
    None
}
