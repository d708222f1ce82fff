//! A state in a device's memory: on a CPU it has the very bits of the state on the host.

mod common;

use common::{all_reduce, compute_half, run_halves, small_dcgan, small_mlp};
use lsgan_spec::{Precision, Reduction, ReductionMode, RunSpec, Step, VirtualRank};
use lsgan_train::{
    Blame, ControlWord, ControlWords, Device, Metrics, NotApplied, Placement, RankBatch, Rehearsal, Replica,
    WordsMut,
};

/// Six halves are three steps.
const HALVES: u64 = 6;
const ALL: &[u32] = &[0, 1, 2, 3];

fn placed(spec: &RunSpec, placement: Placement) -> Replica {
    Replica::placed(spec, Device::Cpu, placement).expect("the spec is valid")
}

fn specs() -> Vec<RunSpec> {
    let with = |spec: &RunSpec, reduction, precision| RunSpec { reduction, precision, ..spec.clone() };
    [ReductionMode::Exact, ReductionMode::Fast]
        .into_iter()
        .flat_map(|reduction| {
            [
                with(&small_dcgan(), reduction, Precision::F32),
                with(&small_dcgan(), reduction, Precision::Bf16),
                with(&small_mlp(), reduction, Precision::F32),
            ]
        })
        .collect()
}

#[test]
fn it_has_the_bits_of_the_host_after_every_half() {
    for spec in specs() {
        let mut host = [placed(&spec, Placement::Usual)];
        let mut device = [placed(&spec, Placement::Device)];
        for half in 0..HALVES {
            let applied = [&mut host, &mut device].map(|members| {
                compute_half(members, &[ALL]);
                members[0].apply(Metrics::Read).expect("good sums are applied")
            });
            let what = format!("{:?} {:?}, half {half}", spec.reduction, spec.precision);
            assert_eq!(host[0].state_hash(), device[0].state_hash(), "{what}");
            assert_eq!(applied[0].reduction, applied[1].reduction, "{what}");
            let [means, others] = applied.map(|applied| applied.metrics.expect("they were asked for").means);
            assert_eq!(means, others, "{what}");
        }
    }
}

#[test]
fn members_on_both_sides_make_one_sum() {
    for spec in [small_dcgan(), small_mlp()] {
        let mut mixed = [placed(&spec, Placement::Device), placed(&spec, Placement::Usual)];
        run_halves(&mut mixed, &[&[0, 3], &[1, 2]], HALVES);
        let mut alone = [placed(&spec, Placement::Usual)];
        run_halves(&mut alone, &[ALL], HALVES);
        for member in &mixed {
            assert_eq!(member.state_hash(), alone[0].state_hash());
        }
    }
}

#[test]
fn wishes_are_summed_over_the_members() {
    let spec = small_mlp();
    let mut members = [placed(&spec, Placement::Device), placed(&spec, Placement::Device)];
    run_halves(&mut members, &[&[0, 1], &[2, 3]], 1);
    let wish = ControlWords::default().with(ControlWord::Leave);
    let ranks = |range: std::ops::Range<u32>| range.map(VirtualRank).collect::<Vec<_>>();
    members[0].compute_generator(Step(0), &ranks(0..2), wish).expect("it is its turn");
    members[1].compute_generator(Step(0), &ranks(2..4), ControlWords::default()).expect("it is its turn");
    all_reduce(&mut members);
    for member in &mut members {
        let controls = member.apply(Metrics::Skipped).expect("good sums are applied").controls;
        assert_eq!(controls.count(ControlWord::Leave), 1);
        assert_eq!(controls.count(ControlWord::Reform), 0);
    }
}

#[test]
fn a_number_that_is_not_finite_changes_nothing_and_names_its_rank() {
    for spec in specs() {
        let mut replica = placed(&spec, Placement::Device);
        let before = replica.state_hash();
        let good = common::real(Step(0), VirtualRank(0), replica.batch_len());
        let mut bad = good.clone();
        bad[7] = f32::NAN;
        let work: Vec<_> = (0..4)
            .map(|rank| RankBatch {
                virtual_rank: VirtualRank(rank),
                samples: if rank == 2 { &bad } else { &good },
            })
            .collect();
        replica.compute_discriminator(Step(0), &work, ControlWords::default()).expect("it is its turn");
        let error = replica.apply(Metrics::Skipped).expect_err("a rank is bad");
        let NotApplied::NotFinite { blamed, .. } = error else { panic!("{error}") };
        assert_eq!(blamed, [(VirtualRank(2), Blame::NotFinite)]);
        assert_eq!(replica.state_hash(), before);

        let mut again = [replica];
        run_halves(&mut again, &[ALL], 2);
        let mut other = [placed(&spec, Placement::Usual)];
        run_halves(&mut other, &[ALL], 2);
        assert_eq!(again[0].state_hash(), other[0].state_hash(), "it goes on as if nothing had been");
    }
}

#[test]
fn a_missing_rank_changes_nothing() {
    let mut members = [placed(&small_dcgan(), Placement::Device)];
    let before = members[0].state_hash();
    compute_half(&mut members, &[&[0, 1, 3]]);
    let error = members[0].apply(Metrics::Skipped).expect_err("a rank is missing");
    assert!(matches!(error, NotApplied::Incomplete { ref missing, .. } if missing == &[2]), "{error}");
    assert_eq!(members[0].state_hash(), before);
}

#[test]
fn an_aborted_sum_never_reaches_the_weights_whatever_is_in_it() {
    for half in 0..2 {
        let mut members = [placed(&small_dcgan(), Placement::Device)];
        run_halves(&mut members, &[ALL], half);
        let before = members[0].state_hash();
        compute_half(&mut members, &[ALL]);
        let WordsMut::Exact(words) = members[0].words() else { panic!("the sum is exact") };
        // All marks are good, as they may be when the header came through and the rest did not.
        let body = words.len() - 200;
        words[body..].fill(0x5555_5555_5555);
        let flag = 1_u32;
        // SAFETY: the flag outlives both calls.
        unsafe { members[0].queue_update(Metrics::Read, Some(&raw const flag)) };
        let applied = members[0].finish_update();
        assert!(matches!(applied, Err(NotApplied::Aborted { .. })), "{applied:?}");
        assert_eq!(members[0].state_hash(), before);
        assert_eq!(members[0].reduction(), Reduction(half));

        let flag = 0_u32;
        compute_half(&mut members, &[ALL]);
        // SAFETY: as above.
        unsafe { members[0].queue_update(Metrics::Read, Some(&raw const flag)) };
        let applied = members[0].finish_update();
        assert_eq!(applied.expect("nothing is aborted").reduction, Reduction(half + 1));
        let mut other = [placed(&small_dcgan(), Placement::Usual)];
        run_halves(&mut other, &[ALL], half + 1);
        assert_eq!(members[0].state_hash(), other[0].state_hash());
    }
}

/// Each half is computed before it is known what has come of the update before, as on a GPU.
#[test]
fn halves_that_run_ahead_of_the_updates_have_the_same_bits() {
    for spec in specs() {
        let mut ahead = [placed(&spec, Placement::Device)];
        let mut host = [placed(&spec, Placement::Usual)];
        compute_half(&mut ahead, &[ALL]);
        for half in 0..HALVES {
            // SAFETY: there is no flag.
            unsafe { ahead[0].queue_update(Metrics::Read, None) };
            assert_eq!(ahead[0].reduction(), Reduction(half), "nobody has looked yet");
            assert_eq!(ahead[0].next_reduction(), Reduction(half + 1));
            compute_half(&mut ahead, &[ALL]);
            let applied = ahead[0].finish_update().expect("good sums are applied");
            compute_half(&mut host, &[ALL]);
            let wanted = host[0].apply(Metrics::Read).expect("good sums are applied");
            let what = format!("{:?} {:?}, half {half}", spec.reduction, spec.precision);
            assert_eq!((applied.reduction, applied.controls), (wanted.reduction, wanted.controls), "{what}");
            let [means, others] = [applied, wanted].map(|applied| applied.metrics.expect("asked for"));
            assert_eq!(means.means, others.means, "{what}");
            assert!((means.gradient_norm / others.gradient_norm - 1.0).abs() < 1e-9, "{what}");
            assert_eq!(ahead[0].state_hash(), host[0].state_hash(), "{what}");
        }
    }
}

/// The update that the half behind it counted on was not made: not even a kept fake is left of that half.
#[test]
fn what_ran_ahead_of_an_update_that_was_not_made_is_void() {
    let spec = small_dcgan();
    for half in 1..3 {
        let mut members = [placed(&spec, Placement::Device)];
        run_halves(&mut members, &[ALL], half);
        let before = members[0].state_hash();
        compute_half(&mut members, &[ALL]);
        let flag = 1_u32;
        // SAFETY: the flag outlives both calls.
        unsafe { members[0].queue_update(Metrics::Skipped, Some(&raw const flag)) };
        compute_half(&mut members, &[ALL]);
        let applied = members[0].finish_update();
        assert!(matches!(applied, Err(NotApplied::Aborted { .. })), "{applied:?}");
        assert_eq!((members[0].state_hash(), members[0].reduction()), (before, Reduction(half)));
        run_halves(&mut members, &[ALL], HALVES - half);
        let mut other = [placed(&spec, Placement::Usual)];
        run_halves(&mut other, &[ALL], HALVES);
        assert_eq!(members[0].state_hash(), other[0].state_hash());
    }
}

/// Warm-up, the step that is proved, and steps that are replayed.
const RECORDED_HALVES: u64 = 12;

#[test]
fn halves_that_are_recorded_have_the_bits_of_those_that_are_not() {
    for (spec, kept) in specs().into_iter().zip([4, 4, 2, 0, 2, 4]) {
        let mut recorded = [placed(&spec, Placement::Rehearsed(Rehearsal::Works))];
        let mut host = [placed(&spec, Placement::Usual)];
        recorded[0].keep_fakes_at_most(kept);
        let mut notices = vec![];
        for half in 0..RECORDED_HALVES {
            run_halves(&mut recorded, &[ALL], 1);
            run_halves(&mut host, &[ALL], 1);
            let what = format!("{:?} {:?}, {kept} kept, half {half}", spec.reduction, spec.precision);
            assert_eq!(recorded[0].state_hash(), host[0].state_hash(), "{what}");
            notices.extend(recorded[0].take_notice());
        }
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert!(!notices[0].is_warning && notices[0].text.contains("4 virtual ranks"), "{notices:?}");
    }
}

/// Halves are proved and replayed while the update before is still queued, and one of these updates is not made.
#[test]
fn recorded_halves_run_ahead_and_are_void_where_an_update_was_not_made() {
    let spec = small_dcgan();
    // Before, while and after a step is proved, of each half.
    for aborted in [3, 4, 5, 8, 9] {
        let mut recorded = [placed(&spec, Placement::Rehearsed(Rehearsal::Works))];
        compute_half(&mut recorded, &[ALL]);
        for half in 0..RECORDED_HALVES {
            let flag = u32::from(half == aborted);
            // SAFETY: the flag outlives both calls.
            unsafe { recorded[0].queue_update(Metrics::Skipped, Some(&raw const flag)) };
            compute_half(&mut recorded, &[ALL]);
            if let Err(error) = recorded[0].finish_update() {
                assert!(matches!(error, NotApplied::Aborted { .. }) && half == aborted, "{error}");
                compute_half(&mut recorded, &[ALL]);
            }
        }
        let mut other = [placed(&spec, Placement::Usual)];
        run_halves(&mut other, &[ALL], RECORDED_HALVES - 1);
        assert_eq!(recorded[0].state_hash(), other[0].state_hash(), "{aborted}");
    }
}

#[test]
fn other_virtual_ranks_are_recorded_anew() {
    let spec = small_dcgan();
    let mut members = [
        placed(&spec, Placement::Rehearsed(Rehearsal::Works)),
        placed(&spec, Placement::Rehearsed(Rehearsal::Works)),
    ];
    let mut alone = [placed(&spec, Placement::Usual)];
    let owners: [&[&[u32]]; 3] = [&[&[0, 1], &[2, 3]], &[&[0, 1, 2], &[3]], &[&[3], &[1, 2, 0]]];
    let mut notices = 0;
    // The membership changes in the middle of a step.
    for (owned, halves) in owners.into_iter().zip([9, 12, 13]) {
        run_halves(&mut members, owned, halves);
        run_halves(&mut alone, &[ALL], halves);
        for member in &mut members {
            assert_eq!(member.state_hash(), alone[0].state_hash());
            notices += usize::from(member.take_notice().is_some());
        }
    }
    assert_eq!(notices, 6, "each member says it in each membership");
}

#[test]
fn what_cannot_be_recorded_or_gives_other_bits_is_not_used_and_said() {
    for (rehearsal, words) in [
        (Rehearsal::RecordsNothing, "this stand-in records nothing"),
        (Rehearsal::ReplaysOtherBits, "other bits than the same step queued call by call"),
    ] {
        let spec = small_dcgan();
        let mut recorded = [placed(&spec, Placement::Rehearsed(rehearsal))];
        let mut other = [placed(&spec, Placement::Usual)];
        run_halves(&mut recorded, &[ALL], RECORDED_HALVES);
        run_halves(&mut other, &[ALL], RECORDED_HALVES);
        assert_eq!(recorded[0].state_hash(), other[0].state_hash());
        let notice = recorded[0].take_notice().expect("it says so");
        assert!(notice.is_warning && notice.text.contains(words), "{}", notice.text);
        assert_eq!(recorded[0].take_notice(), None, "once");
    }
}

#[test]
fn it_steps_back_and_takes_over_states() {
    let spec = small_dcgan();
    let mut members = [placed(&spec, Placement::Device)];
    run_halves(&mut members, &[ALL], 2);
    let begin = members[0].state_hash();
    run_halves(&mut members, &[ALL], 1);
    assert!(members[0].step_back());
    assert_eq!(members[0].state_hash(), begin);

    let bytes = members[0].state_bytes().to_vec();
    let mut joiner = [placed(&spec, Placement::Device)];
    let received: Result<(), lsgan_train::TrainError> = joiner[0].receive_state(|state| {
        state.copy_from_slice(&bytes);
        Ok(())
    });
    received.expect("it is the same model");
    run_halves(&mut joiner, &[ALL], 3);
    run_halves(&mut members, &[ALL], 3);
    assert_eq!(joiner[0].state_hash(), members[0].state_hash());

    let mut loaded = [placed(&spec, Placement::Device)];
    run_halves(&mut members, &[ALL], 1);
    let parts = members[0].export();
    loaded[0].import(&parts, Reduction(6)).expect("they are of step 3");
    assert_eq!(loaded[0].state_hash(), members[0].state_hash());
}
