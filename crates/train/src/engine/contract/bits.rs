//! The state is a pure function of the run.

use std::collections::BTreeSet;

use lsgan_spec::{Discriminator, Generator, Latent, Reduction, ReductionMode, RunSpec, scalars};

use super::{HALVES, Row, all_runs, clipped, exact_runs, in_words, runs, with_idle_halves};
use crate::error::{NotApplied, TrainError};
use crate::header::{ControlWord, ControlWords};
use crate::rehearsal::flip_a_bit;
use crate::rehearsal::runs::{
    ALL, ahead, all_reduce, all_reduce_after, compute_early, compute_half, compute_wishing, run_halves,
    shrink_second_moments, small_dcgan,
};
use crate::replica::{HalfMetrics, Metrics, Replica};

pub(super) fn every_half_has_the_bits_of_the_reference(row: &Row) {
    for (spec, kept) in all_runs().iter().chain(&[clipped()]).zip([4, 4, 2, 0, 2, 4].into_iter().cycle()) {
        let (mut engine, mut reference) = ([(row.make)(spec)], [(row.reference)(spec)]);
        engine[0].keep_fakes_at_most(kept);
        let mut notices = vec![];
        for half in 0..HALVES {
            let [applied, wanted] = [&mut engine, &mut reference].map(|members| {
                compute_half(members, &[ALL]);
                members[0].apply(Metrics::Read).expect("good sums are applied")
            });
            let what = format!("{}, {kept} fakes kept, half {half}", in_words(spec));
            row.assert_state(&engine, reference[0].state_hash(), &what);
            assert_eq!((applied.reduction, applied.controls), (wanted.reduction, wanted.controls), "{what}");
            let [means, wanted] = [applied, wanted].map(|a| a.metrics.map(|metrics| metrics.means));
            assert_eq!(means, wanted, "{}: {what}", row.name);
            assert_eq!(means.is_none(), spec.optimizer.is_idle(Reduction(half)), "{}: {what}", row.name);
            notices.extend(engine[0].take_notice());
        }
        assert_eq!(notices.len(), usize::from(row.records), "{}: {notices:?}", row.name);
        let good = |text: &str| text.contains("4 virtual ranks");
        assert!(notices.iter().all(|n| !n.is_warning && good(&n.text)), "{}: {notices:?}", row.name);
    }
}

/// D's gradients of real samples are computed before the update of G's half of the step before.
pub(super) fn what_is_computed_ahead_of_a_step_has_the_same_bits(row: &Row) {
    for spec in all_runs() {
        for threads in [1, 3] {
            let mut spec = spec.clone();
            spec.compute.threads = threads;
            let mut members = row.members(&spec, 1);
            for half in 0..HALVES {
                compute_half(&mut members, &[ALL]);
                if half % 2 == 1 {
                    ahead(&mut members[0], ALL);
                }
                all_reduce(&mut members);
                members[0].apply(Metrics::Read).expect("good sums are applied");
            }
            row.assert_state(&members, row.wanted(&spec, HALVES), &in_words(&spec));
        }
    }
}

/// The gradients of the last layers leave while the first layers' are computed, of as many virtual ranks as there are
/// threads; also where they do not fit into 32 bits.
pub(super) fn words_that_leave_early_have_the_same_bits(row: &Row) {
    for mut spec in exact_runs().into_iter().filter(|spec| spec.data.image.is_some()) {
        // Networks of several pieces.
        spec.model.generator = Generator::Dcgan { latent: Latent::Normal(16), width: 32 };
        spec.model.discriminator = Discriminator::Dcgan { width: 32 };
        let mut alone = [(row.reference)(&spec)];
        run_halves(&mut alone, &[ALL], 4);
        alone.iter_mut().for_each(shrink_second_moments);
        run_halves(&mut alone, &[ALL], 4);
        let owned: [&[u32]; 3] = [&[3, 0, 1], &[], &[2]];
        for threads in 1..4 {
            spec.compute.threads = threads;
            let what = format!("{}, {threads} threads", in_words(&spec));
            let mut members = row.members(&spec, 3);
            for half in 0..8 {
                if half == 4 {
                    members.iter_mut().for_each(shrink_second_moments);
                }
                let pairs = members.iter_mut().zip(owned);
                let early: Vec<_> = pairs.map(|(member, owned)| compute_early(member, owned)).collect();
                let left: Vec<_> = early.iter().map(|words| !words.is_empty()).collect();
                // There are second moments after the first step.
                let in_pieces = !row.has_queue && half >= 2;
                assert_eq!(left, [in_pieces, false, in_pieces], "{}: {what}", row.name);
                all_reduce_after(&mut members, early);
                for member in &mut members {
                    member.apply(Metrics::Read).expect("good sums are applied");
                }
            }
            row.assert_state(&members, alone[0].state_hash(), &what);
        }
    }
}

/// The second moments become so small that no gradient fits, for a step.
pub(super) fn numbers_that_do_not_fit_into_32_bits_travel_again_and_change_no_bit(row: &Row) {
    for spec in exact_runs() {
        let mut alone = [(row.reference)(&spec)];
        let mut members = row.members(&spec, 3);
        let owned: [&[u32]; 3] = [&[3, 0], &[], &[2, 1]];
        run_halves(&mut alone, &[ALL], 4);
        run_halves(&mut members, &owned, 4);
        alone.iter_mut().chain(&mut members).for_each(shrink_second_moments);
        for half in 4..HALVES {
            run_halves(&mut alone, &[ALL], 1);
            compute_half(&mut members, &owned);
            all_reduce(&mut members);
            for member in &mut members {
                let repeated = member.apply(Metrics::Skipped).expect("good sums are applied").repeated;
                let wanted = row.is_narrow && half < 6;
                assert_eq!(repeated > 0, wanted, "{}: {}, half {half}", row.name, in_words(&spec));
            }
        }
        row.assert_state(&members, alone[0].state_hash(), &in_words(&spec));
    }
}

pub(super) fn any_grouping_of_the_virtual_ranks_gives_the_same_state(row: &Row) {
    for spec in exact_runs().into_iter().chain([clipped()]).chain(with_idle_halves()) {
        let wanted = row.wanted(&spec, HALVES);
        let groupings: [&[&[u32]]; 3] =
            [&[&[0, 1], &[2, 3]], &[&[3, 0], &[], &[2, 1]], &[&[0], &[1], &[2], &[3]]];
        for owned in groupings {
            let mut members = row.members(&spec, owned.len());
            run_halves(&mut members, owned, HALVES);
            row.assert_state(&members, wanted, &format!("{}, {owned:?}", in_words(&spec)));
        }
        let other = RunSpec { seed: spec.seed + 1, ..spec.clone() };
        assert_ne!(wanted, row.wanted(&other, HALVES), "the hash sees the weights");
    }
}

pub(super) fn members_that_hold_the_same_state_have_one_fingerprint_and_a_flipped_bit_shows(row: &Row) {
    for spec in exact_runs() {
        let mut members = row.members(&spec, 2);
        let mut seen = BTreeSet::new();
        for half in 0..6 {
            run_halves(&mut members, &[&[1, 2], &[0, 3]], 1);
            let [one, other] = [&members[0], &members[1]].map(Replica::fingerprint);
            assert_eq!(one, other, "{}: {}, half {half}", row.name, in_words(&spec));
            assert!(seen.insert(one), "{}: {}, half {half} has changed it", row.name, in_words(&spec));
        }
        flip_a_bit(&mut members[1]);
        assert!(seen.insert(members[1].fingerprint()), "{}: {}", row.name, in_words(&spec));
        flip_a_bit(&mut members[1]);
        assert_eq!(members[0].fingerprint(), members[1].fingerprint(), "{}: {}", row.name, in_words(&spec));
    }
}

pub(super) fn the_number_of_threads_never_changes_a_bit(row: &Row) {
    for mut spec in runs() {
        let one = row.wanted(&spec, HALVES);
        for threads in [2, 3] {
            spec.compute.threads = threads;
            let mut members = row.members(&spec, 1);
            run_halves(&mut members, &[ALL], HALVES);
            row.assert_state(&members, one, &format!("{}, {threads} threads", in_words(&spec)));
        }
    }
}

pub(super) fn a_fake_that_is_computed_again_is_the_same(row: &Row) {
    for spec in exact_runs() {
        let wanted = row.wanted(&spec, HALVES);
        for kept in [0, 1, 3] {
            let mut members = row.members(&spec, 1);
            members[0].keep_fakes_at_most(kept);
            run_halves(&mut members, &[ALL], HALVES);
            row.assert_state(&members, wanted, &format!("{}, {kept} fakes kept", in_words(&spec)));
        }
    }
}

pub(super) fn a_step_back_is_the_beginning_of_the_step_and_the_same_bits_follow(row: &Row) {
    for spec in exact_runs().into_iter().chain(with_idle_halves()) {
        let mut members = row.members(&spec, 1);
        run_halves(&mut members, &[ALL], 4);
        let before = members[0].state_hash();
        assert!(!members[0].step_back(), "{}: it is at the beginning of a step", row.name);
        run_halves(&mut members, &[ALL], 1);
        assert!(members[0].step_back());
        row.assert_state(&members, before, "after a step back");
        run_halves(&mut members, &[ALL], HALVES - 4);
        row.assert_state(&members, row.wanted(&spec, HALVES), &in_words(&spec));
    }
}

fn receive(replica: &mut Replica, bytes: &[u8]) {
    let received: Result<(), TrainError> = replica.receive_state(|state| {
        state.copy_from_slice(bytes);
        Ok(())
    });
    received.expect("a peer's state fits");
}

pub(super) fn a_replica_that_came_in_at_the_middle_of_a_step_cannot_step_back(row: &Row) {
    let spec = small_dcgan();
    let [mut first, mut joiner] = [row.members(&spec, 1), row.members(&spec, 1)];
    run_halves(&mut first, &[ALL], 3);
    run_halves(&mut joiner, &[ALL], 1);
    receive(&mut joiner[0], first[0].state_bytes());
    assert!(!joiner[0].step_back(), "{}", row.name);
}

/// At every reduction one new replica takes the state from a peer and one from a snapshot, and they go on with other
/// ranks than before.
pub(super) fn a_worker_can_enter_at_either_half(row: &Row) {
    for spec in exact_runs().into_iter().chain(with_idle_halves()) {
        let wanted = row.wanted(&spec, HALVES);
        for entry in 0..HALVES {
            let mut members = row.members(&spec, 3);
            run_halves(&mut members[..1], &[ALL], entry);
            let [first, joiner, resumed] = &mut members[..] else { panic!("there are three") };
            receive(joiner, first.state_bytes());
            resumed.import(&first.export(), first.reduction()).expect("a snapshot fits");
            let now = first.state_hash();
            row.assert_state(&members, now, &format!("{}, entered at {entry}", in_words(&spec)));
            run_halves(&mut members, &[&[1], &[0, 3], &[2]], HALVES - entry);
            row.assert_state(&members, wanted, &format!("{}, entered at {entry}", in_words(&spec)));
        }
    }
}

/// As after an abort that came before the update.
pub(super) fn a_half_that_was_never_applied_leaves_no_trace(row: &Row) {
    let spec = small_dcgan();
    let mut members = row.members(&spec, 1);
    for _ in 0..HALVES {
        compute_half(&mut members, &[&[2, 1]]);
        run_halves(&mut members, &[ALL], 1);
    }
    row.assert_state(&members, row.wanted(&spec, HALVES), "halves computed twice");
}

/// What a peer's broken broadcast leaves is not taken for a state.
pub(super) fn half_a_state_is_never_kept(row: &Row) {
    let spec = small_dcgan();
    let mut members = row.members(&spec, 1);
    let fresh = members[0].state_hash();
    run_halves(&mut members, &[ALL], 3);
    let broken: Result<(), TrainError> = members[0].receive_state(|state| {
        state[..1000].fill(7);
        Err(TrainError::Data { problem: "the peer died" })
    });
    assert!(matches!(broken, Err(TrainError::Data { problem: "the peer died" })));
    assert_eq!((members[0].state_hash(), members[0].reduction().0), (fresh, 0), "{}", row.name);
    let foreign: Result<(), TrainError> = members[0].receive_state(|state| {
        state.fill(1);
        Ok(())
    });
    assert!(matches!(foreign, Err(TrainError::PeerLayout { .. })));
    row.assert_state(&members, fresh, "after a foreign state");
    run_halves(&mut members, &[ALL], HALVES);
    row.assert_state(&members, row.wanted(&spec, HALVES), "after a foreign state");
}

/// G's half of a step at which G is not updated: what the members wish is read, and a virtual rank that is missing is seen.
pub(super) fn an_idle_half_changes_nothing_but_the_count(row: &Row) {
    for spec in with_idle_halves() {
        let mut members = row.members(&spec, 2);
        for half in (0..HALVES).map(Reduction) {
            let (is_idle, before) = (spec.optimizer.is_idle(half), members[0].export());
            let what = format!("{}: {}, half {half}", row.name, in_words(&spec));
            if is_idle {
                compute_half(&mut members, &[&[0, 3], &[1]]);
                all_reduce(&mut members);
                for member in &mut members {
                    let refused = member.apply(Metrics::Read).expect_err("one is missing");
                    let is_it = matches!(&refused, NotApplied::Incomplete { missing, .. } if *missing == [2]);
                    assert!(is_it && member.reduction() == half, "{what}: {refused}");
                }
            }
            let wish = ControlWords::default().with(ControlWord::Snapshot);
            compute_wishing(&mut members[0], &[0, 3], wish);
            compute_wishing(&mut members[1], &[1, 2], ControlWords::default());
            all_reduce(&mut members);
            for member in &mut members {
                let applied = member.apply(Metrics::Read).expect("good sums are applied");
                let wishes = applied.controls.count(ControlWord::Snapshot);
                assert_eq!((applied.reduction, wishes), (half.next(), 1), "{what}");
                assert_eq!(applied.metrics.is_none(), is_idle, "{what}");
                assert_eq!(member.export() == before, is_idle, "{what}");
            }
        }
    }
}

pub(super) fn all_read_the_same_metrics_whatever_the_grouping(row: &Row) {
    let metrics_of = |owned: &[&[u32]]| -> Vec<HalfMetrics> {
        let mut members = row.members(&small_dcgan(), owned.len());
        let half = |_| {
            compute_half(&mut members, owned);
            all_reduce(&mut members);
            let read = |member: &mut Replica| member.apply(Metrics::Read).expect("good").metrics;
            let each: Vec<_> = members.iter_mut().map(read).collect();
            assert!(each.iter().all(|metrics| *metrics == each[0]), "{}: {each:?}", row.name);
            each[0].expect("they were asked for")
        };
        (0..4).map(half).collect()
    };
    let alone = metrics_of(&[ALL]);
    assert_eq!(alone, metrics_of(&[&[3], &[0, 2], &[1]]), "{}", row.name);
    for (index, metrics) in alone.iter().enumerate() {
        let loss = metrics.get(if index % 2 == 0 { scalars::LOSS_D } else { scalars::LOSS_G });
        assert!(loss > 0.0 && metrics.gradient_norm > 0.0, "{}: {metrics:?}", row.name);
        let spread = metrics.get(scalars::FAKE_STD);
        assert_eq!(
            spread > 0.0 && spread < 1.0,
            index % 2 == 1,
            "{}: only G's half, whose tanh is in −1..1",
            row.name
        );
        assert_eq!(metrics.get(scalars::D_REAL).is_nan(), index % 2 == 1, "only D's half sees real samples");
    }
}

pub(super) fn all_read_how_many_workers_wish_what(row: &Row) {
    for reduction in [ReductionMode::Exact, ReductionMode::Fast] {
        let mut members = row.members(&RunSpec { reduction, ..small_dcgan() }, 3);
        let none = ControlWords::default();
        let snapshot = none.with(ControlWord::Snapshot);
        let wishes = [snapshot, snapshot.with(ControlWord::Leave), none];
        let owned: [&[u32]; 3] = [&[0, 1], &[2], &[3]];
        for _ in 0..2 {
            for (member, (owned, wishes)) in members.iter_mut().zip(owned.into_iter().zip(wishes)) {
                compute_wishing(member, owned, wishes);
            }
            all_reduce(&mut members);
            for member in &mut members {
                let controls = member.apply(Metrics::Skipped).expect("good").controls;
                let counts = ControlWord::ALL.map(|word| controls.count(word));
                assert_eq!(counts, [2, 0, 0, 1], "{}: snapshot, reform, finish, leave", row.name);
                assert!(controls.is_set(ControlWord::Leave) && !controls.is_set(ControlWord::Finish));
            }
        }
    }
}

/// The membership changes in the middle of a step.
pub(super) fn halves_are_recorded_anew_for_other_virtual_ranks(row: &Row) {
    let spec = small_dcgan();
    let mut members = row.members(&spec, 2);
    let mut alone = [(row.reference)(&spec)];
    let owners: [&[&[u32]]; 3] = [&[&[0, 1], &[2, 3]], &[&[0, 1, 2], &[3]], &[&[3], &[1, 2, 0]]];
    let mut notices = 0;
    for (owned, halves) in owners.into_iter().zip([9, 12, 13]) {
        run_halves(&mut members, owned, halves);
        run_halves(&mut alone, &[ALL], halves);
        row.assert_state(&members, alone[0].state_hash(), &format!("{owned:?}"));
        notices += members.iter_mut().filter_map(Replica::take_notice).count();
    }
    let wanted = if row.records { 6 } else { 0 };
    assert_eq!(notices, wanted, "{}: each member says it in each membership", row.name);
}
