//! Updates that are queued before it is known how their sum ends.

use lsgan_spec::{Half, Reduction};
use tch::{Device, Kind, Tensor};

use super::{HALVES, Row, all_runs, in_words, runs, with_idle_halves};
use crate::engine::Finished;
use crate::error::NotApplied;
use crate::native::shared_with;
use crate::rehearsal::runs::{
    ALL, ahead, all_reduce_once, compute_half, overwrite, run_halves, shrink_second_moments, small_dcgan,
    spoil, tensor_of,
};
use crate::replica::{Applied, Metrics, Replica};

pub(super) fn a_queue_is_where_the_row_says(row: &Row) {
    assert_eq!((row.make)(&small_dcgan()).queue().is_some(), row.has_queue, "{}", row.name);
}

/// An abort flag where the replica's device can read it.
fn flag(replica: &Replica, is_set: bool) -> Tensor {
    let mut flag = shared_with(replica.device, 1, Kind::Int);
    let _ = flag.fill_(i64::from(is_set));
    flag
}

/// Queues the update behind a sum that fits, lets `meanwhile` compute, and reads whether the update was made.
fn queued(
    members: &mut [Replica; 1],
    is_aborted: bool,
    meanwhile: impl FnOnce(&mut [Replica; 1]),
) -> Result<Applied, NotApplied> {
    finished(members, is_aborted, meanwhile).map(|finished| match finished {
        Finished::Applied(applied) => applied,
        Finished::TravelsAgain => panic!("the sum fits"),
    })
}

fn finished(
    members: &mut [Replica; 1],
    is_aborted: bool,
    meanwhile: impl FnOnce(&mut [Replica; 1]),
) -> Result<Finished, NotApplied> {
    let flag = flag(&members[0], is_aborted);
    let mut queue = members[0].queue().expect("the row says that there is one");
    // SAFETY: the flag outlives the update, which is finished below.
    unsafe { queue.push(Metrics::Read, Some(flag.data_ptr().cast::<u32>().cast_const())) };
    meanwhile(members);
    if let Device::Cuda(index) = members[0].device {
        tch::Cuda::synchronize(index as i64);
    }
    members[0].queue().expect("it had one").finish()
}

/// What may be computed while a sum travels: after G's half, D on the real samples of the next step.
fn beside_the_sum(replica: &mut Replica) {
    if replica.next_reduction().half() == Half::Generator {
        ahead(replica, ALL);
    }
}

pub(super) fn an_aborted_sum_never_reaches_the_weights(row: &Row) {
    let halves = if row.has_queue { 0..HALVES } else { 0..0 };
    for half in halves {
        let spec = small_dcgan();
        let mut members = [(row.make)(&spec)];
        run_halves(&mut members, &[ALL], half);
        let before = members[0].state_hash();
        compute_half(&mut members, &[ALL]);
        // Marks and guards are good, as they may be when both ends came through and not all between them.
        spoil(&mut members[0], 200);
        let applied = queued(&mut members, true, |_| ());
        assert!(matches!(applied, Err(NotApplied::Aborted { .. })), "{}: {applied:?}", row.name);
        row.assert_state(&members, before, &format!("aborted at {half}"));
        assert_eq!(members[0].reduction(), Reduction(half));

        compute_half(&mut members, &[ALL]);
        all_reduce_once(&mut members, vec![vec![]]);
        let applied = queued(&mut members, false, |_| ());
        assert_eq!(applied.expect("nothing is aborted").reduction, Reduction(half + 1));
        row.assert_state(&members, row.wanted(&spec, half + 1), &format!("aborted at {half}"));
    }
}

/// Each half is computed before it is known whether the update before was made.
pub(super) fn halves_that_run_ahead_of_the_updates_have_the_same_bits(row: &Row) {
    let runs = if row.has_queue { all_runs() } else { vec![] };
    for (spec, beside) in runs.into_iter().flat_map(|spec| [(spec.clone(), false), (spec, true)]) {
        let (mut ahead, mut reference) = ([(row.make)(&spec)], [(row.reference)(&spec)]);
        compute_half(&mut ahead, &[ALL]);
        for half in 0..HALVES {
            if beside {
                beside_the_sum(&mut ahead[0]);
            }
            all_reduce_once(&mut ahead, vec![vec![]]);
            let applied = queued(&mut ahead, false, |ahead| {
                assert_eq!(ahead[0].reduction(), Reduction(half), "the update is not finished");
                assert_eq!(ahead[0].next_reduction(), Reduction(half + 1));
                compute_half(ahead, &[ALL]);
            });
            let applied = applied.expect("good sums are applied");
            compute_half(&mut reference, &[ALL]);
            let wanted = reference[0].apply(Metrics::Read).expect("good sums are applied");
            let what = format!("{}: {}, half {half}", row.name, in_words(&spec));
            assert_eq!((applied.reduction, applied.controls), (wanted.reduction, wanted.controls), "{what}");
            let [means, wanted] = [applied, wanted].map(|a| a.metrics.map(|metrics| metrics.means));
            assert_eq!(means, wanted, "{what}");
            assert_eq!(means.is_none(), spec.optimizer.is_idle(Reduction(half)), "{what}");
            row.assert_state(&ahead, reference[0].state_hash(), &what);
        }
    }
}

/// One update is not made: before, while and after a step is proved, where halves are recorded.
pub(super) fn what_ran_ahead_of_an_update_that_was_not_made_is_void(row: &Row) {
    let halves = if row.has_queue { 0..HALVES - 1 } else { 0..0 };
    let [idle, _] = with_idle_halves();
    for (spec, aborted) in halves.flat_map(|half| [(small_dcgan(), half), (idle.clone(), half)]) {
        let mut ahead = [(row.make)(&spec)];
        compute_half(&mut ahead, &[ALL]);
        for half in 0..HALVES {
            let before = ahead[0].state_hash();
            beside_the_sum(&mut ahead[0]);
            all_reduce_once(&mut ahead, vec![vec![]]);
            let applied = queued(&mut ahead, half == aborted, |ahead| compute_half(ahead, &[ALL]));
            if half == aborted {
                assert!(matches!(applied, Err(NotApplied::Aborted { .. })), "{}: {applied:?}", row.name);
                row.assert_state(&ahead, before, &format!("aborted at {aborted}"));
                compute_half(&mut ahead, &[ALL]);
            } else {
                applied.expect("good sums are applied");
            }
        }
        row.assert_state(&ahead, row.wanted(&spec, HALVES - 1), &format!("aborted at {aborted}"));
    }
}

/// It is known only when the update was to be made that the sum does not fit into 32 bits.
pub(super) fn what_ran_ahead_of_a_sum_that_travels_again_is_void(row: &Row) {
    let shrunk_at = if row.has_queue && row.is_narrow { 2..HALVES - 3 } else { 0..0 };
    let spec = small_dcgan();
    for shrunk_at in shrunk_at {
        let (mut ahead, mut reference) = ([(row.make)(&spec)], [(row.reference)(&spec)]);
        run_halves(&mut ahead, &[ALL], shrunk_at);
        run_halves(&mut reference, &[ALL], shrunk_at);
        ahead.iter_mut().chain(&mut reference).for_each(shrink_second_moments);
        compute_half(&mut ahead, &[ALL]);
        for half in shrunk_at..HALVES {
            let before = ahead[0].state_hash();
            all_reduce_once(&mut ahead, vec![vec![]]);
            let first = finished(&mut ahead, false, |ahead| compute_half(ahead, &[ALL])).expect("it is good");
            // Then each half's second moments are of the gradients' size again.
            assert_eq!(first == Finished::TravelsAgain, half < shrunk_at + 2, "{}: half {half}", row.name);
            if first == Finished::TravelsAgain {
                row.assert_state(&ahead, before, "no worker has applied it");
                assert!(all_reduce_once(&mut ahead, vec![vec![]]), "the words travel again");
                let applied = queued(&mut ahead, false, |_| ()).expect("it is good");
                assert_eq!((applied.reduction, applied.repeated), (Reduction(half + 1), 1));
                compute_half(&mut ahead, &[ALL]);
            }
            run_halves(&mut reference, &[ALL], 1);
            row.assert_state(&ahead, reference[0].state_hash(), &format!("{shrunk_at}, half {half}"));
        }
    }
}

/// An aborted collective may leave a whole sum that lay in its buffers, or a part of it, with good marks.
pub(super) fn a_sum_of_another_reduction_is_not_applied(row: &Row) {
    let runs = if row.has_queue { runs() } else { vec![] };
    for spec in runs {
        let mut members = [(row.make)(&spec)];
        let device = members[0].device;
        run_halves(&mut members, &[ALL], 4);
        compute_half(&mut members, &[ALL]);
        let old = tensor_of(&members[0].take_words()[0], device).copy();
        run_halves(&mut members, &[ALL], 2);
        let (before, half) = (members[0].state_hash(), old.numel() as i64 / 2);
        for (front, back) in [(true, true), (true, false), (false, true)] {
            compute_half(&mut members, &[ALL]);
            let mut taken = members[0].take_words();
            let new = tensor_of(&taken[0], device).copy();
            let [front, back] = [front, back].map(|is_old| if is_old { &old } else { &new });
            let stale =
                Tensor::cat(&[front.narrow(0, 0, half), back.narrow(0, half, new.numel() as i64 - half)], 0);
            overwrite(&mut taken[0], &stale, device);
            members[0].put_words(taken);
            let applied = finished(&mut members, false, |_| ());
            let what = format!("{}: {}", row.name, in_words(&spec));
            assert!(matches!(applied, Err(NotApplied::Aborted { .. })), "{what}: {applied:?}");
            row.assert_state(&members, before, &what);
        }
        run_halves(&mut members, &[ALL], 1);
        row.assert_state(&members, row.wanted(&spec, 7), "after sums that were refused");
    }
}
