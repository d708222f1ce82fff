//! Small runs, and groups of replicas in one process.

use std::time::Duration;

use lsgan_spec::*;
use tch::Tensor;

use crate::header::ControlWords;
use crate::replica::{Metrics, RankBatch, Replica};
use crate::tensors::over_words;

/// The virtual ranks of the small runs.
pub const ALL: &[u32] = &[0, 1, 2, 3];

/// A DCGAN of 32 pixels that steps in some milliseconds.
#[must_use]
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
#[must_use]
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
#[must_use]
pub fn real(step: Step, rank: VirtualRank, len: usize) -> Vec<f32> {
    let mut state = (step.0 << 32) ^ u64::from(rank.0) ^ 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / 2f32.powi(23) - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// The words of a replica's sum as a tensor over the same memory.
pub(crate) fn words(replica: &mut Replica) -> Tensor {
    let device = replica.device;
    // SAFETY: the callers use it before the replica computes again.
    unsafe { over_words(replica.words(), device) }
}

/// Sums the words of all members, as a group does.
pub fn all_reduce(members: &mut [Replica]) {
    let words: Vec<_> = members.iter_mut().map(words).collect();
    let sum = words[1..].iter().fold(words[0].copy(), |sum, words| sum + words);
    words.into_iter().for_each(|mut words| words.copy_(&sum));
}

/// Computes the half that comes next, member i for the ranks `owned[i]`.
pub fn compute_half(members: &mut [Replica], owned: &[&[u32]]) {
    for (replica, owned) in members.iter_mut().zip(owned) {
        compute_wishing(replica, owned, ControlWords::default());
    }
}

/// Computes the half that comes next for these ranks, with this member's wishes.
pub fn compute_wishing(replica: &mut Replica, owned: &[u32], wishes: ControlWords) {
    let reduction = replica.next_reduction();
    let (step, len) = (reduction.step(), replica.batch_len());
    let ranks: Vec<_> = owned.iter().map(|&rank| VirtualRank(rank)).collect();
    let computed = match reduction.half() {
        Half::Discriminator => {
            let batches: Vec<_> = ranks.iter().map(|&rank| real(step, rank, len)).collect();
            let batch = |(&virtual_rank, samples)| RankBatch { virtual_rank, samples };
            let work: Vec<_> = ranks.iter().zip(batches.iter().map(Vec::as_slice)).map(batch).collect();
            replica.compute_discriminator(step, &work, wishes)
        }
        Half::Generator => replica.compute_generator(step, &ranks, wishes),
    };
    computed.expect("the half that comes next can be computed");
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
