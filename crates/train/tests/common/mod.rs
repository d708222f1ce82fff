//! Small runs for tests.
#![allow(dead_code)] // Every test binary has its own copy and uses a part of it.

use std::time::Duration;

use lsgan_spec::*;
use lsgan_train::{ControlWords, Metrics, RankBatch, Replica, WordsMut};

/// A DCGAN of 32 pixels that steps in some milliseconds.
pub fn small_dcgan() -> RunSpec {
    let adam = Optimizer::Adam { learning_rate: 2e-4, beta1: 0.5, beta2: 0.999, epsilon: 1e-8 };
    RunSpec {
        run: "test".to_owned(),
        seed: 11,
        steps: 10,
        data: DataSpec::of(Source::Idx(IdxSource::of("unused")), Some(ImageSpec::of(32, 1))),
        model: ModelSpec {
            generator: Generator::Dcgan { latent: Latent::Normal(16), width: 4 },
            discriminator: Discriminator::Dcgan { width: 4 },
        },
        objective: Objective::LeastSquares { a: -1.0, b: 1.0, c: 0.0 },
        optimizer: OptimizersSpec { generator: adam, discriminator: adam },
        batch: BatchSpec { virtual_ranks: 4, per_rank: 8 },
        ema: EmaSpec { decay: 0.9 },
        precision: Precision::F32,
        reduction: ReductionMode::Exact,
        compute: ComputeSpec {
            device: Device::Cpu,
            threads: 1,
            loader_threads: 1,
            cpu_isa: CpuIsa::Native,
            deterministic: true,
            cuda_graphs: CudaGraphs::Off,
        },
        cluster: ClusterSpec {
            failure_timeout: FailureTimeout::Fixed(Duration::from_secs(1)),
            ..ClusterSpec::default()
        },
        checkpoint: CheckpointSpec { to: "unused".to_owned(), every: 0, keep_last: 1 },
        samples: SamplesSpec { grid: Grid { columns: 4, rows: 2 }, every: 0, weights: SampleWeights::Ema },
        report: ReportSpec { every: 1, state_hash_every: 0 },
    }
}

/// The toy on points of the plane.
pub fn small_mlp() -> RunSpec {
    let mut spec = small_dcgan();
    let ring = Modes::Ring { count: 8, radius: 1.0 };
    spec.data.source = Source::Gaussian(GaussianSource { modes: ring, sigma: 0.01, records: 1 << 20 });
    spec.data.image = None;
    spec.model.generator = Generator::Mlp { latent: Latent::Normal(32), width: 16, depth: 2, gain: 1.4 };
    spec.model.discriminator = Discriminator::Mlp { width: 16, depth: 2, gain: 1.4 };
    spec
}

/// Real samples as a pure function of (step, rank).
pub fn real(step: Step, rank: VirtualRank, len: usize) -> Vec<f32> {
    let mut state = (step.0 << 32) ^ u64::from(rank.0) ^ 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / 2f32.powi(23) - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// What a group does to the sums of its members: every one holds the sum over all.
pub fn all_reduce(members: &mut [Replica]) {
    let exact: Vec<Vec<i64>> = members
        .iter_mut()
        .filter_map(|replica| match replica.words() {
            WordsMut::Exact(words) => Some(words.to_vec()),
            WordsMut::Fast(_) | WordsMut::Device(_) => None,
        })
        .collect();
    let fast: Vec<Vec<f32>> = members
        .iter_mut()
        .filter_map(|replica| match replica.words() {
            WordsMut::Fast(words) => Some(words.to_vec()),
            WordsMut::Exact(_) | WordsMut::Device(_) => None,
        })
        .collect();
    for replica in members {
        match replica.words() {
            WordsMut::Exact(words) => {
                words.iter_mut().enumerate().for_each(|(i, word)| *word = exact.iter().map(|w| w[i]).sum());
            }
            WordsMut::Fast(words) => {
                words.iter_mut().enumerate().for_each(|(i, word)| *word = fast.iter().map(|w| w[i]).sum());
            }
            WordsMut::Device(_) => unreachable!("a CPU's words are the host's"),
        }
    }
}

/// Computes the half that comes next, member i for the ranks `owned[i]`.
pub fn compute_half(members: &mut [Replica], owned: &[&[u32]]) {
    for (replica, owned) in members.iter_mut().zip(owned) {
        let reduction = replica.next_reduction();
        let step = reduction.step();
        let ranks: Vec<_> = owned.iter().map(|&rank| VirtualRank(rank)).collect();
        let computed = match reduction.half() {
            Half::Discriminator => {
                let len = replica.batch_len();
                let batches: Vec<_> = ranks.iter().map(|&rank| real(step, rank, len)).collect();
                let work: Vec<_> = ranks
                    .iter()
                    .zip(&batches)
                    .map(|(&virtual_rank, samples)| RankBatch { virtual_rank, samples })
                    .collect();
                replica.compute_discriminator(step, &work, ControlWords::default())
            }
            Half::Generator => replica.compute_generator(step, &ranks, ControlWords::default()),
        };
        computed.expect("the half that comes next can be computed");
    }
}

/// Runs `count` halves.
pub fn run_halves(members: &mut [Replica], owned: &[&[u32]], count: u64) {
    for _ in 0..count {
        compute_half(members, owned);
        all_reduce(members);
        for replica in &mut *members {
            replica.apply(Metrics::Read).expect("good sums are applied");
        }
    }
}
