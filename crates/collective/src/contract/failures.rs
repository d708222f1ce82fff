//! Calls that fail: aborts, dead peers, different calls.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use super::support::{await_events, narrow, run, start, sum_until_error, sums, up_to, values};
use super::{Implementation, Mismatch, processes};
use crate::{Aborter, Group, GroupError};

/// The bound on the median time, over [`ABORT_ROUNDS`], in which an abort ends a call, on a loaded machine.
const ABORT_WITHIN: Duration = Duration::from_millis(50);
const ABORT_ROUNDS: usize = 9;
/// A call has filled its buffers and sleeps after a few of these.
const ABORT_LATER_EACH_ROUND: Duration = Duration::from_millis(3);

fn aborters(groups: &[Box<dyn Group>]) -> Vec<Aborter> {
    groups.iter().map(|group| group.aborter()).collect()
}

/// Whether this rank was aborted, or lost a neighbour that was.
pub(super) fn is_an_end(error: &GroupError) -> bool {
    matches!(error, GroupError::Aborted { .. } | GroupError::PeerLost { .. })
}

pub(super) fn a_root_that_does_not_exist_is_refused(implementation: &Implementation) {
    run(up_to(implementation, 2), |mut group| refuse_a_missing_root(&mut *group));
}

/// A rank's part of [`a_root_that_does_not_exist_is_refused`].
pub(super) fn refuse_a_missing_root(group: &mut dyn Group) {
    let (ranks, generation) = (group.size(), group.generation());
    let error = group.broadcast(ranks, &mut [0]).expect_err("there is no such rank");
    assert_eq!(error, GroupError::NoSuchRoot { generation, root: ranks, size: ranks });
    group.barrier().expect("nothing was sent, so the group works");
}

pub(super) fn an_abort_before_a_call_ends_it(implementation: &Implementation) {
    for size in [1, 2] {
        let mut groups = (implementation.make)(size);
        groups[0].aborter().abort();
        expect_aborted(&mut *groups[0]);
    }
}

/// Every call of this group returns [`GroupError::Aborted`].
pub(super) fn expect_aborted(group: &mut dyn Group) {
    let aborted = Err(GroupError::Aborted { generation: group.generation() });
    assert_eq!(group.all_reduce_i64(&mut [1]), aborted);
    assert_eq!(group.all_reduce_f32(&mut [1.0]), aborted);
    assert_eq!(group.broadcast(0, &mut [1]), aborted);
}

/// One rank never makes the call, so that the others are in it until the abort, which comes a little later in each round.
/// The first may come before the call has begun; at the later ones the call sleeps with full buffers.
pub(super) fn an_abort_in_the_middle_of_a_call_ends_it_at_once(implementation: &Implementation) {
    let mut latencies = Vec::new();
    for round in 0..ABORT_ROUNDS {
        let mut groups = up_to(implementation, 3);
        let absent = groups.pop().expect("there are at least two");
        let all = aborters(&groups);
        let (about_to_call, calls) = channel();
        let about_to_call = Mutex::new(about_to_call);
        let count = groups.len();
        let ranks = start(groups, move |mut group| {
            let mut values = vec![1; 1 << 20];
            about_to_call.lock().expect("no rank panics here").send(()).expect("the case waits");
            let error = group.all_reduce_i64(&mut values).expect_err("one rank is absent");
            (Instant::now(), error, group.all_reduce_i64(&mut [1]))
        });
        await_events(&calls, count, "a rank is about to call");
        let early = Instant::now() + ABORT_LATER_EACH_ROUND * u32::try_from(round).expect("rounds are few");
        while Instant::now() < early {
            thread::yield_now();
        }
        let aborted_at = Instant::now();
        all.iter().for_each(Aborter::abort);
        for (rank, (ended_at, error, later)) in ranks.finish().into_iter().enumerate() {
            // Rank 0 is aborted first; the others may lose it before their own abort.
            assert!(matches!(error, GroupError::Aborted { .. }) || rank > 0 && is_an_end(&error), "{error}");
            assert!(later.as_ref().is_err_and(is_an_end), "{later:?}");
            latencies.push(ended_at.saturating_duration_since(aborted_at));
        }
        drop(absent);
    }
    latencies.sort();
    let median = latencies[latencies.len() / 2];
    assert!(median < ABORT_WITHIN, "aborts took {latencies:?}; accepted is a median below {ABORT_WITHIN:?}");
}

/// After the abort the other ranks make the call, which would overwrite the aborted rank's values.
pub(super) fn nothing_is_written_after_an_abort(implementation: &Implementation) {
    let mut groups = up_to(implementation, 3);
    let aborter = groups[0].aborter();
    let late = groups.split_off(1);
    let (about_to_call, calls) = channel();
    let about_to_call = Mutex::new(about_to_call);
    let first = start(groups, move |mut group| {
        let mut values = values(0, 0, 1 << 18);
        about_to_call.lock().expect("no rank panics here").send(()).expect("the case waits");
        let outcome = group.all_reduce_i64(&mut values);
        (outcome, values.clone(), values, group)
    });
    await_events(&calls, 1, "rank 0 is about to call");
    aborter.abort();
    let (outcome, at_the_abort, values_kept, group) = first.finish().pop().expect("one rank was started");
    assert!(matches!(outcome, Err(GroupError::Aborted { .. })), "{outcome:?}");
    let late = run(late, |mut group| group.all_reduce_i64(&mut values(group.rank(), 0, 1 << 18)));
    assert!(late.iter().all(Result::is_err));
    assert!(at_the_abort == values_kept, "the values changed after the call had ended");
    drop(group);
}

/// Ranks sum until the abort, which comes after another number of calls in each round; every completed sum is exact.
pub(super) fn an_abort_racing_with_completion_leaves_exact_sums(implementation: &Implementation) {
    for round in 0..24 {
        let groups = up_to(implementation, 2);
        let all = aborters(&groups);
        let errors = run(groups, move |mut group| {
            let mine = group.aborter();
            let rank = group.rank();
            let error = sum_until_error(&mut *group, 1 << (round % 12), |count| {
                if rank == 0 && count == round + 1 {
                    let all = all.clone();
                    thread::spawn(move || all.iter().for_each(Aborter::abort));
                }
            });
            // The other rank's abort may be seen first, as a lost peer; this rank's own follows.
            while !mine.is_aborted() {
                thread::yield_now();
            }
            assert!(matches!(group.all_reduce_i64(&mut [1]), Err(GroupError::Aborted { .. })));
            error
        });
        assert!(errors.iter().all(is_an_end), "{errors:?}");
    }
}

/// A sum is several buckets of 32 bits and a last part of 64. An abort comes while one of them travels, another one in each
/// round: what was summed before is exact, each rank's own values stay, and nothing follows.
pub(super) fn an_abort_among_the_buckets_of_a_sum_leaves_whole_ones(implementation: &Implementation) {
    const BUCKETS: [usize; 4] = [1 << 17, 1, 1 << 14, 1 << 18];
    for round in 0..16 {
        let groups = up_to(implementation, 3);
        let all = aborters(&groups);
        run(groups, move |mut group| {
            let (rank, size) = (group.rank(), group.size());
            let mine = group.aborter();
            let aborts = || {
                let all = all.clone();
                thread::spawn(move || all.iter().for_each(Aborter::abort));
            };
            let mut summed = 0;
            let ended = (0..).find_map(|call| {
                if rank == 0 && call == round {
                    aborts();
                }
                let length = BUCKETS[call % BUCKETS.len()];
                let own = values(rank, call, length);
                let outcome = if call % BUCKETS.len() == BUCKETS.len() - 1 {
                    let mut values = own;
                    group.all_reduce_i64(&mut values).map(|()| values == sums(size, call, length))
                } else {
                    let (own, mut found) = (narrow(own), vec![0; length]);
                    let outcome = group.all_reduce_i32(&own, &mut found);
                    assert!(
                        own == narrow(values(rank, call, length)),
                        "a rank's own values stay, call {call}"
                    );
                    outcome.map(|()| found == narrow(sums(size, call, length)))
                };
                match outcome {
                    Ok(is_exact) => {
                        assert!(is_exact, "call {call} of rank {rank}");
                        summed = call + 1;
                        None
                    }
                    Err(error) => Some(error),
                }
            });
            let error = ended.expect("calls do not run out");
            assert!(is_an_end(&error), "{error}");
            // Another rank may still have been in the call before.
            assert!(summed + usize::from(rank > 0) >= round, "{summed} calls, round {round}");
            while !mine.is_aborted() {
                thread::yield_now();
            }
            assert!(group.all_reduce_i32(&[1], &mut [0]).is_err(), "nothing follows");
        });
    }
}

pub(super) fn all_ranks_may_abort_at_once(implementation: &Implementation) {
    for _round in 0..10 {
        run(up_to(implementation, 4), |mut group| processes::all_ranks_may_abort_at_once(&mut *group));
    }
}

pub(super) fn a_dead_peer_ends_the_call_of_every_other(implementation: &Implementation) {
    for size in [2, 3, 5] {
        run(up_to(implementation, size), |mut group| processes::a_peer_that_leaves(&mut *group));
    }
}

/// Every rank fails, in this call or, if it is not affected by the difference, in the next; at least one error says why.
fn is_noticed(
    implementation: &Implementation,
    call: impl Fn(&mut dyn Group) -> Result<(), GroupError> + Send + Sync + Copy + 'static,
) {
    if implementation.mismatch == Mismatch::Undefined {
        return;
    }
    for size in [2, 3] {
        let errors = run(up_to(implementation, size), move |mut group| {
            call(&mut *group).and_then(|()| group.barrier()).expect_err("the calls differ")
        });
        let mismatches =
            errors.iter().filter(|error| matches!(error, GroupError::CallMismatch { .. })).count();
        assert!(mismatches > 0, "{errors:?}");
    }
}

pub(super) fn different_lengths_are_noticed(implementation: &Implementation) {
    is_noticed(implementation, |group| group.all_reduce_i64(&mut vec![1; 1000 + group.rank() % 2]));
    is_noticed(implementation, |group| group.broadcast(0, &mut vec![1; 1_000_000 * (1 + group.rank() % 2)]));
}

pub(super) fn different_kinds_are_noticed(implementation: &Implementation) {
    is_noticed(implementation, |group| match group.rank() {
        0 => group.broadcast(0, &mut [0; 80]),
        _ => group.all_reduce_i64(&mut [0; 80]),
    });
    is_noticed(implementation, |group| match group.rank() {
        0 => group.all_reduce_f32(&mut vec![0.0; 100_000]),
        _ => group.all_reduce_i64(&mut vec![0; 100_000]),
    });
}

pub(super) fn different_roots_are_noticed(implementation: &Implementation) {
    is_noticed(implementation, |group| group.broadcast(group.rank(), &mut [0; 80]));
}

pub(super) fn a_group_that_failed_stays_failed(implementation: &Implementation) {
    run(up_to(implementation, 2), |mut group| {
        if group.rank() == 1 {
            return;
        }
        let mut outcome = Ok(());
        while outcome.is_ok() {
            outcome = group.all_reduce_i64(&mut [1]);
        }
        assert_eq!(group.all_reduce_i64(&mut [1]), outcome);
        assert_eq!(group.broadcast(0, &mut [1]), outcome);
    });
}
