//! What rides in the header of a sum, and what is refused because of it.

mod common;

use common::{all_reduce, compute_half, real, run_halves, small_dcgan, small_mlp};
use lsgan_spec::*;
use lsgan_train::{
    Applied, Blame, ControlWord, ControlWords, Device, HalfMetrics, Metrics, NotApplied, RankBatch, Replica,
    TrainError,
};

fn replicas(spec: &RunSpec, count: usize) -> Vec<Replica> {
    (0..count).map(|_| Replica::new(spec, Device::Cpu).expect("the spec is valid")).collect()
}

fn both_sums() -> [RunSpec; 2] {
    [ReductionMode::Exact, ReductionMode::Fast].map(|reduction| RunSpec { reduction, ..small_dcgan() })
}

/// Two members compute D's half of step 0 for two ranks each; one number of one rank's samples is `bad`.
fn members_with_a_bad_sample(spec: &RunSpec, rank: u32, bad: f32) -> Vec<Replica> {
    let mut members = replicas(spec, 2);
    for (member, ranks) in members.iter_mut().zip([[0, 1], [2, 3]]) {
        let len = member.batch_len();
        let batches = ranks.map(|r| {
            let mut samples = real(Step(0), VirtualRank(r), len);
            if r == rank {
                samples[len / 2] = bad;
            }
            samples
        });
        let work: Vec<_> = ranks
            .iter()
            .zip(&batches)
            .map(|(&r, samples)| RankBatch { virtual_rank: VirtualRank(r), samples })
            .collect();
        member.compute_discriminator(Step(0), &work, ControlWords::default()).expect("valid work");
    }
    all_reduce(&mut members);
    members
}

#[test]
fn a_rank_whose_gradient_is_not_finite_is_named_by_everyone_and_nothing_changes() {
    for spec in both_sums() {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut members = members_with_a_bad_sample(&spec, 2, bad);
            for member in &mut members {
                let before = member.state_hash();
                let refused = member.apply(Metrics::Read).expect_err("the sum is bad");
                let NotApplied::NotFinite { step, half, reduction, blamed } = &refused else {
                    panic!("{refused}")
                };
                assert_eq!((*step, *half, *reduction), (Step(0), Half::Discriminator, Reduction(0)));
                assert_eq!(*blamed, [(VirtualRank(2), Blame::NotFinite)], "{:?}", spec.reduction);
                assert_eq!(member.state_hash(), before);
            }
            // With good samples the very same members go on.
            run_halves(&mut members, &[&[0, 1], &[2, 3]], 2);
            let mut undisturbed = replicas(&spec, 2);
            run_halves(&mut undisturbed, &[&[0, 1], &[2, 3]], 2);
            assert_eq!(members[1].state_hash(), undisturbed[0].state_hash());
        }
    }
}

#[test]
fn a_rank_beyond_the_range_of_the_exact_sum_is_named() {
    let mut members = members_with_a_bad_sample(&small_dcgan(), 1, 3e7);
    let refused = members[1].apply(Metrics::Skipped).expect_err("a variance of 1e12 is beyond the range");
    assert_eq!(
        refused.to_string(),
        "step 0: the discriminator's gradient is too large to be summed on virtual rank 1; the weights stay at \
         reduction 0. Look at these ranks' data, or branch off from a snapshot before the losses grew, with a lower \
         learning rate: --fork NAME --fork-at STEP"
    );
}

#[test]
fn a_sum_that_lacks_a_rank_or_holds_one_twice_is_not_applied() {
    for spec in both_sums() {
        let refuse = |owned: &[&[u32]], missing: &[u32], twice: &[u32]| {
            let mut members = replicas(&spec, owned.len());
            compute_half(&mut members, owned);
            all_reduce(&mut members);
            let before = members[0].state_hash();
            let wanted = NotApplied::Incomplete {
                step: Step(0),
                half: Half::Discriminator,
                missing: missing.to_vec(),
                twice: twice.to_vec(),
            };
            assert_eq!(members[0].apply(Metrics::Skipped), Err(wanted));
            assert_eq!(members[0].state_hash(), before);
        };
        refuse(&[&[0, 1], &[3]], &[2], &[]);
        refuse(&[&[0, 1, 2], &[2, 3]], &[], &[2]);
        refuse(&[&[0], &[0], &[0, 1]], &[2, 3], &[0]);
    }
}

#[test]
fn a_sum_is_applied_once() {
    let mut members = replicas(&small_dcgan(), 1);
    run_halves(&mut members, &[&[0, 1, 2, 3]], 2);
    let missing = |refused: NotApplied| match refused {
        NotApplied::Incomplete { missing, .. } => missing,
        NotApplied::NotFinite { .. } | NotApplied::Aborted { .. } => panic!("{refused}"),
    };
    assert_eq!(missing(members[0].apply(Metrics::Skipped).expect_err("nothing computed")), [0, 1, 2, 3]);
}

#[test]
fn everyone_reads_how_many_workers_wish_what() {
    for spec in both_sums() {
        let mut members = replicas(&spec, 3);
        let wishes = [
            ControlWords::default().with(ControlWord::Snapshot),
            ControlWords::default().with(ControlWord::Snapshot).with(ControlWord::Leave),
            ControlWords::default(),
        ];
        for half in 0..2 {
            for (index, member) in members.iter_mut().enumerate() {
                let ranks: &[u32] = [&[0, 1][..], &[2], &[3]][index];
                let batches: Vec<_> =
                    ranks.iter().map(|&r| real(Step(0), VirtualRank(r), member.batch_len())).collect();
                let work: Vec<_> = ranks
                    .iter()
                    .zip(&batches)
                    .map(|(&r, samples)| RankBatch { virtual_rank: VirtualRank(r), samples })
                    .collect();
                let ranks: Vec<_> = ranks.iter().map(|&r| VirtualRank(r)).collect();
                match half {
                    0 => member.compute_discriminator(Step(0), &work, wishes[index]),
                    _ => member.compute_generator(Step(0), &ranks, wishes[index]),
                }
                .expect("valid work");
            }
            all_reduce(&mut members);
            for member in &mut members {
                let Applied { controls, .. } = member.apply(Metrics::Skipped).expect("good");
                let counts = ControlWord::ALL.map(|word| controls.count(word));
                assert_eq!(counts, [2, 0, 0, 1], "snapshot, reform, finish, leave");
                assert!(controls.is_set(ControlWord::Leave) && !controls.is_set(ControlWord::Finish));
            }
        }
    }
}

#[test]
fn everyone_reads_the_same_metrics_whatever_the_grouping() {
    let metrics_of = |owned: &[&[u32]]| -> Vec<HalfMetrics> {
        let mut members = replicas(&small_dcgan(), owned.len());
        let mut read = vec![];
        for _ in 0..4 {
            compute_half(&mut members, owned);
            all_reduce(&mut members);
            let each: Vec<_> = members
                .iter_mut()
                .map(|member| member.apply(Metrics::Read).expect("good").metrics.expect("asked for"))
                .collect();
            assert!(each.iter().all(|metrics| *metrics == each[0]));
            read.push(each[0]);
        }
        read
    };
    let alone = metrics_of(&[&[0, 1, 2, 3]]);
    assert_eq!(alone, metrics_of(&[&[3], &[0, 2], &[1]]));
    for (index, metrics) in alone.iter().enumerate() {
        assert!(metrics.means.loss > 0.0 && metrics.gradient_norm > 0.0, "{metrics:?}");
        assert_eq!(metrics.means.real == 0.0, index % 2 == 1, "only D's half sees real samples");
    }
}

/// The loss of four ranks is the mean of the losses that each has alone in a run of one rank with its noise.
#[test]
fn the_loss_is_the_mean_over_the_virtual_ranks() {
    let mut four = replicas(&small_dcgan(), 1);
    compute_half(&mut four, &[&[0, 1, 2, 3]]);
    let mean = four[0].apply(Metrics::Read).expect("good").metrics.expect("asked for").means;
    let alone = |rank: u32| {
        let mut members = replicas(&small_dcgan(), 4);
        compute_half(&mut members, &[&[0], &[1], &[2], &[3]]);
        let lsgan_train::WordsMut::Exact(words) = members[rank as usize].words() else {
            panic!("the reduction is exact")
        };
        // One word of marks, four of control, then the loss at 2^24, divided by V = 4.
        words[5] as f64 / f64::from(1 << 24) * 4.0
    };
    let by_hand = (0..4).map(alone).sum::<f64>() / 4.0;
    assert!((mean.loss - by_hand).abs() < 1e-6, "{} instead of {by_hand}", mean.loss);
}

#[test]
fn thousands_of_virtual_ranks_have_their_marks() {
    let mut spec = small_mlp();
    spec.batch = BatchSpec { virtual_ranks: 4096, per_rank: 1 };
    for reduction in [ReductionMode::Exact, ReductionMode::Fast] {
        spec.reduction = reduction;
        let mut members = replicas(&spec, 1);
        let all: Vec<u32> = (0..4096).filter(|rank| *rank != 4095).collect();
        compute_half(&mut members, &[&all]);
        let refused = members[0].apply(Metrics::Skipped).expect_err("one is missing");
        assert!(
            matches!(&refused, NotApplied::Incomplete { missing, .. } if *missing == [4095]),
            "{refused}"
        );
        let all: Vec<u32> = (0..4096).rev().collect();
        run_halves(&mut members, &[&all], 1);
    }
}

#[test]
fn work_that_does_not_fit_is_refused() {
    let spec = small_dcgan();
    let mut replica = Replica::new(&spec, Device::Cpu).expect("the spec is valid");
    let samples = vec![0.0; replica.batch_len()];
    let none = ControlWords::default();
    let batch = |rank, samples| RankBatch { virtual_rank: VirtualRank(rank), samples };
    let mut refuse = |step, work: &[RankBatch], text: &str| {
        let error = replica.compute_discriminator(Step(step), work, none).expect_err("refused");
        assert_eq!(error.to_string(), text);
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

#[test]
fn models_and_data_that_do_not_fit_are_refused() {
    let refuse = |change: &dyn Fn(&mut RunSpec), text: &str| {
        let mut spec = small_dcgan();
        change(&mut spec);
        let error = Replica::new(&spec, Device::Cpu).err().expect("refused");
        assert_eq!(error.to_string(), text);
    };
    let sized = |size, channels| {
        move |spec: &mut RunSpec| {
            spec.data.image = Some(ImageSpec::of(size, channels));
        }
    };
    let dcgan = "dcgan works on pictures of 32, 64 or 128 pixels with 1 or 3 channels";
    refuse(
        &sized(60, 1),
        &format!("{dcgan}, but the run's samples are [60, 60, 1]; choose another model or data.image"),
    );
    refuse(
        &sized(64, 2),
        &format!("{dcgan}, but the run's samples are [64, 64, 2]; choose another model or data.image"),
    );
    refuse(
        &|spec| spec.model = small_mlp().model,
        "mlp works on 2-D points, but the run's samples are [32, 32, 1]; choose another model or data.image",
    );
    refuse(
        &|spec| spec.data.image = None,
        "pictures need their size and channels; see data.image in the run's file",
    );
}
