//! What is refused changes nothing.

use lsgan_spec::{BatchSpec, Half, Reduction, ReductionMode, RunSpec, Step, VirtualRank};

use super::{HALVES, Row, in_words, runs};
use crate::batch::RankBatch;
use crate::error::{Blame, NotApplied, TrainError};
use crate::header::ControlWords;
use crate::rehearsal::runs::{ALL, all_reduce, compute_half, real, run_halves, small_dcgan, small_mlp};
use crate::replica::{Metrics, Replica};

/// Two members compute D's half of step 0 for two ranks each; one number of one rank's samples is `bad`.
fn members_with_a_bad_sample(row: &Row, spec: &RunSpec, rank: u32, bad: f32) -> Vec<Replica> {
    let mut members = row.members(spec, 2);
    let classes = vec![0; if spec.model.classes.count > 0 { spec.batch.per_rank as usize } else { 0 }];
    for (member, ranks) in members.iter_mut().zip([[0, 1], [2, 3]]) {
        let len = member.batch_len();
        let batches = ranks.map(|r| {
            let mut samples = real(Step(0), VirtualRank(r), len);
            if r == rank {
                samples[len / 2] = bad;
            }
            samples
        });
        let batch = |index: usize| RankBatch {
            virtual_rank: VirtualRank(ranks[index]),
            samples: &batches[index],
            classes: &classes,
        };
        let work = [0, 1].map(batch);
        member.compute_discriminator(Step(0), &work, ControlWords::default()).expect("valid work");
    }
    all_reduce(&mut members);
    members
}

pub(super) fn a_rank_that_is_not_finite_is_named_by_all_and_changes_nothing(row: &Row) {
    for spec in runs() {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut members = members_with_a_bad_sample(row, &spec, 2, bad);
            for member in &mut members {
                let before = member.state_hash();
                let refused = member.apply(Metrics::Read).expect_err("the sum is bad");
                let wanted = NotApplied::NotFinite {
                    step: Step(0),
                    half: Half::Discriminator,
                    reduction: Reduction(0),
                    blamed: vec![(VirtualRank(2), Blame::NotFinite)],
                };
                assert_eq!(refused, wanted, "{}: {}, {bad}", row.name, in_words(&spec));
                assert_eq!(member.state_hash(), before, "{}: {}, {bad}", row.name, in_words(&spec));
            }
            // With good samples the very same members go on.
            let owned: [&[u32]; 2] = [&[0, 1], &[2, 3]];
            run_halves(&mut members, &owned, 2);
            let mut undisturbed = row.members(&spec, 2);
            run_halves(&mut undisturbed, &owned, 2);
            row.assert_state(&members, undisturbed[0].state_hash(), &in_words(&spec));
        }
    }
}

pub(super) fn a_rank_beyond_the_range_of_the_exact_sum_is_named(row: &Row) {
    let mut members = members_with_a_bad_sample(row, &small_dcgan(), 1, 3e7);
    let refused = members[1].apply(Metrics::Skipped).expect_err("a variance of 1e12 is beyond the range");
    assert_eq!(
        refused.to_string(),
        "step 0: the discriminator's gradient is too large to be summed on virtual rank 1; the weights stay at \
         reduction 0. Look at these ranks' data, or branch off from a snapshot before the losses grew, with a lower \
         learning rate: --fork NAME --fork-at STEP",
        "{}",
        row.name
    );
}

pub(super) fn a_sum_that_lacks_a_rank_or_holds_one_twice_is_not_applied(row: &Row) {
    for reduction in [ReductionMode::Exact, ReductionMode::Fast] {
        let spec = RunSpec { reduction, ..small_dcgan() };
        let refuse = |owned: &[&[u32]], missing: &[u32], twice: &[u32]| {
            let mut members = row.members(&spec, owned.len());
            compute_half(&mut members, owned);
            all_reduce(&mut members);
            let before = members[0].state_hash();
            let (missing, twice) = (missing.to_vec(), twice.to_vec());
            let wanted = NotApplied::Incomplete { step: Step(0), half: Half::Discriminator, missing, twice };
            assert_eq!(members[0].apply(Metrics::Skipped), Err(wanted), "{}", row.name);
            row.assert_state(&members[..1], before, "after a sum that was refused");
        };
        refuse(&[&[0, 1], &[3]], &[2], &[]);
        refuse(&[&[0, 1, 2], &[2, 3]], &[], &[2]);
        refuse(&[&[0], &[0], &[0, 1]], &[2, 3], &[0]);
    }
}

pub(super) fn a_sum_is_applied_once(row: &Row) {
    let mut members = row.members(&small_dcgan(), 1);
    run_halves(&mut members, &[ALL], 2);
    let refused = members[0].apply(Metrics::Skipped).expect_err("nothing was computed");
    assert!(matches!(&refused, NotApplied::Incomplete { missing, .. } if missing == ALL), "{refused}");
    run_halves(&mut members, &[ALL], HALVES - 2);
    row.assert_state(&members, row.wanted(&small_dcgan(), HALVES), "after a sum that was refused");
}

pub(super) fn thousands_of_virtual_ranks_have_their_marks(row: &Row) {
    for reduction in [ReductionMode::Exact, ReductionMode::Fast] {
        let batch = BatchSpec { virtual_ranks: 4096, per_rank: 1 };
        let mut members = row.members(&RunSpec { batch, reduction, ..small_mlp() }, 1);
        let most: Vec<u32> = (0..4095).collect();
        compute_half(&mut members, &[&most]);
        let refused = members[0].apply(Metrics::Skipped).expect_err("one is missing");
        let names_it = matches!(&refused, NotApplied::Incomplete { missing, .. } if *missing == [4095]);
        assert!(names_it, "{}: {refused}", row.name);
        let all: Vec<u32> = (0..4096).rev().collect();
        run_halves(&mut members, &[&all], 1);
    }
}

pub(super) fn work_that_does_not_fit_is_refused(row: &Row) {
    let mut replica = (row.make)(&small_dcgan());
    let samples = vec![0.0; replica.batch_len()];
    let none = ControlWords::default();
    let batch = |rank, samples| RankBatch { virtual_rank: VirtualRank(rank), samples, classes: &[] };
    let mut refuse = |step, work: &[RankBatch], text: &str| {
        let error = replica.compute_discriminator(Step(step), work, none).expect_err("refused");
        assert_eq!(error.to_string(), text, "{}", row.name);
    };
    refuse(
        0,
        &[batch(4, &samples)],
        "virtual rank 4 was given though the run does not have it; a run of 4 has 0 to 3, each once",
    );
    refuse(
        0,
        &[batch(1, &samples), batch(1, &samples)],
        "virtual rank 1 was given twice; a run of 4 has 0 to 3, each once",
    );
    refuse(
        0,
        &[batch(1, &samples[1..])],
        "the batch of virtual rank 1 has 8191 numbers; 8192 are needed (8 samples of [32, 32, 1])",
    );
    refuse(
        3,
        &[batch(1, &samples)],
        "step 3's Discriminator half was asked for, but 0 reductions are applied, which stands before step 0's \
         Discriminator half",
    );
    let error =
        replica.compute_generator(Step(0), &[VirtualRank(0)], none).expect_err("D's half comes first");
    assert!(matches!(error, TrainError::WrongHalf { half: Half::Generator, reduction: Reduction(0), .. }));
}
