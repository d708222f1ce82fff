//! Calls that succeed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Implementation;
use super::support::{floats, narrow, run, sums, up_to, value, values};
use crate::Group;

/// Empty, fewer than the ranks, not divisible by the ranks, more than one read.
const LENGTHS: [usize; 11] = [0, 1, 2, 3, 7, 8, 9, 64, 1000, 4097, 70_001];

/// 16 MB, more than the kernel buffers.
const LARGE_LENGTH: usize = 2_000_003;

pub(super) fn ranks_size_and_generation_are_told(implementation: &Implementation) {
    let groups = up_to(implementation, 4);
    for (rank, group) in groups.iter().enumerate() {
        assert_eq!((group.rank(), group.size()), (rank, groups.len()));
        assert_eq!(group.generation(), groups[0].generation());
    }
}

pub(super) fn integer_sums_are_exact(implementation: &Implementation) {
    for size in 1..=implementation.size_max.min(8) {
        run((implementation.make)(size), |mut group| sum_each_length(&mut *group));
    }
}

/// A rank's part of [`integer_sums_are_exact`].
pub(super) fn sum_each_length(group: &mut dyn Group) {
    for (call, length) in LENGTHS.into_iter().enumerate() {
        let mut values = values(group.rank(), call, length);
        group.all_reduce_i64(&mut values).expect("a healthy group sums");
        assert!(values == sums(group.size(), call, length), "{length} values over {} ranks", group.size());
    }
}

/// The values stay, and the sums come where garbage was.
pub(super) fn sums_of_32_bits_are_exact_and_the_values_stay(implementation: &Implementation) {
    for size in 1..=implementation.size_max.min(8) {
        run((implementation.make)(size), |mut group| {
            for (call, length) in LENGTHS.into_iter().enumerate() {
                let own = narrow(values(group.rank(), call, length));
                let (before, mut found) = (own.clone(), vec![0x5555_5555; length]);
                group.all_reduce_i32(&own, &mut found).expect("a healthy group sums");
                assert!(found == narrow(sums(group.size(), call, length)), "{length} over {}", group.size());
                assert!(own == before, "{length} values over {} ranks", group.size());
            }
        });
    }
}

pub(super) fn float_sums_have_the_same_bits_on_every_rank(implementation: &Implementation) {
    for size in 1..=implementation.size_max.min(8) {
        run((implementation.make)(size), |mut group| compare_float_sums(&mut *group));
    }
}

/// Asserts that these are the sums of all ranks' floats, except for rounding.
fn assert_rounded(found: &[f32], size: usize, call: usize) {
    let checked = found.len().min(1000);
    let inputs: Vec<_> = (0..size).map(|rank| floats(rank, call, checked)).collect();
    for (index, sum) in found.iter().take(checked).enumerate() {
        let exact: f64 = inputs.iter().map(|values| f64::from(values[index])).sum();
        // Each of size − 1 additions rounds by at most half a unit in the last place of a partial sum below size.
        let bound = (size * size) as f64 * f64::from(f32::EPSILON);
        assert!((f64::from(*sum) - exact).abs() <= bound, "{sum} for {exact}, {size} ranks");
    }
}

/// A rank's part of [`float_sums_have_the_same_bits_on_every_rank`]; rank 0 broadcasts its bits for comparison.
pub(super) fn compare_float_sums(group: &mut dyn Group) {
    for (call, length) in LENGTHS.into_iter().enumerate() {
        let mut values = floats(group.rank(), call, length);
        group.all_reduce_f32(&mut values).expect("a healthy group sums");
        assert_rounded(&values, group.size(), call);
        let ours: Vec<_> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let mut first = ours.clone();
        group.broadcast(0, &mut first).expect("a healthy group broadcasts");
        assert!(ours == first, "rank {} of {}, {length} values", group.rank(), group.size());
    }
}

pub(super) fn a_large_sum_is_exact(implementation: &Implementation) {
    for size in [2, 3] {
        run(up_to(implementation, size), |mut group| sum_many_values(&mut *group));
    }
}

/// A rank's part of [`a_large_sum_is_exact`].
pub(super) fn sum_many_values(group: &mut dyn Group) {
    let mut values = values(group.rank(), 0, LARGE_LENGTH);
    group.all_reduce_i64(&mut values).expect("a healthy group sums");
    assert!(values == sums(group.size(), 0, LARGE_LENGTH), "over {} ranks", group.size());
}

pub(super) fn many_calls_of_changing_length_follow_each_other(implementation: &Implementation) {
    run(up_to(implementation, 3), |mut group| call_with_changing_lengths(&mut *group));
}

/// A rank's part of [`many_calls_of_changing_length_follow_each_other`].
pub(super) fn call_with_changing_lengths(group: &mut dyn Group) {
    let (rank, size) = (group.rank(), group.size());
    for call in 0..300 {
        let length = (value(0, call, 0) as usize % 3000) * (call % 3);
        let mut integers = values(rank, call, length);
        group.all_reduce_i64(&mut integers).expect("a healthy group sums");
        assert!(integers == sums(size, call, length), "call {call}");
        if call % 7 == 0 {
            let mut bytes = vec![rank as u8; length];
            group.broadcast(call % size, &mut bytes).expect("a healthy group broadcasts");
            assert!(bytes == vec![(call % size) as u8; length], "call {call}");
            group.all_reduce_f32(&mut floats(rank, call, length)).expect("a healthy group sums");
        }
    }
}

pub(super) fn every_rank_gets_the_bytes_of_any_root(implementation: &Implementation) {
    for size in [1, 2, 3, 5] {
        run(up_to(implementation, size), |mut group| broadcast_from_each(&mut *group));
    }
}

/// A rank's part of [`every_rank_gets_the_bytes_of_any_root`].
pub(super) fn broadcast_from_each(group: &mut dyn Group) {
    for root in 0..group.size() {
        for length in [0, 1, 1000, 3_000_001] {
            let bytes =
                |rank: usize| (0..length).map(|index| value(rank, root, index) as u8).collect::<Vec<_>>();
            let mut ours = bytes(group.rank());
            group.broadcast(root, &mut ours).expect("a healthy group broadcasts");
            assert!(ours == bytes(root), "{length} bytes from {root} of {}", group.size());
        }
    }
}

/// A rank that has finished drops its group while others are still in the same call.
pub(super) fn a_rank_may_leave_after_its_last_call(implementation: &Implementation) {
    for round in 0..20 {
        let length = 1 << round.min(17);
        run(up_to(implementation, 4), move |mut group| {
            let mut values = values(group.rank(), round, length);
            group.all_reduce_i64(&mut values).expect("the others leave only when they are done");
            assert!(values == sums(group.size(), round, length));
        });
    }
}

pub(super) fn a_group_of_one_keeps_its_values(implementation: &Implementation) {
    run((implementation.make)(1), |mut group| {
        let (mut integers, mut floats) = ([1, i64::MAX, i64::MIN], [0.5, f32::MIN_POSITIVE]);
        group.all_reduce_i64(&mut integers).expect("one rank sums");
        group.all_reduce_f32(&mut floats).expect("one rank sums");
        group.broadcast(0, &mut [7]).expect("one rank broadcasts");
        assert_eq!((integers, floats), ([1, i64::MAX, i64::MIN], [0.5, f32::MIN_POSITIVE]));
    });
}

/// Every rank counts up before the barrier and must see the full count after it.
pub(super) fn a_barrier_waits_for_the_last_rank(implementation: &Implementation) {
    for _round in 0..20 {
        let arrived = Arc::new(AtomicUsize::new(0));
        run(up_to(implementation, 5), move |mut group| {
            arrived.fetch_add(1, Ordering::SeqCst);
            group.barrier().expect("a healthy group meets");
            assert_eq!(arrived.load(Ordering::SeqCst), group.size());
        });
    }
}
