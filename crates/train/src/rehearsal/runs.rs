//! Small runs, and groups of replicas in one process.

use std::time::Duration;

use lsgan_spec::*;
use tch::Tensor;

use crate::batch::RankBatch;
use crate::beside::Beside;
use crate::header::ControlWords;
use crate::replica::{Metrics, Replica};
use crate::tensors::over_words;
use crate::word::Words;

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
        model: ModelSpec::of(
            Generator::Dcgan { latent: Latent::Normal(16), width: 4 },
            Discriminator::Dcgan { width: 4 },
        ),
        objective: Objective::LeastSquares { a: -1.0, b: 1.0, c: 0.0 },
        regularization: RegularizationSpec::default(),
        augment: AugmentSpec::default(),
        optimizer: OptimizersSpec::of(adam, adam),
        updates: Updates::Alternating,
        batch: BatchSpec { virtual_ranks: 4, per_rank: 8 },
        ema: EmaSpec { decay: 0.9, ramp: 0.0 },
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
        journal: JournalSpec::default(),
        samples: SamplesSpec { grid: Grid { columns: 4, rows: 2 }, every: 0, weights: SampleWeights::Ema },
        evaluate: EvaluateSpec::default(),
        report: ReportSpec { every: 1, state_hash_every: 0, tensorboard: None },
        alerts: AlertsSpec::default(),
    }
}

/// The toy on points of the plane.
#[must_use]
pub fn small_mlp() -> RunSpec {
    let mut spec = small_dcgan();
    let ring = Modes::Ring { count: 8, radius: 1.0 };
    spec.data.source = Source::Gaussian(GaussianSource::of(ring, 0.01));
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

/// Sums the words of all members, as a group does.
pub fn all_reduce(members: &mut [Replica]) {
    let early = members.iter().map(|_| vec![]).collect();
    all_reduce_after(members, early);
}

/// The same where each member has given these words early.
pub fn all_reduce_after(members: &mut [Replica], mut early: Vec<Vec<Words>>) {
    while all_reduce_once(members, early) {
        early = members.iter().map(|_| vec![]).collect();
    }
}

/// Sums what the members take now, behind what each has given early. Returns whether there was anything.
pub(crate) fn all_reduce_once(members: &mut [Replica], mut taken: Vec<Vec<Words>>) -> bool {
    members.iter_mut().zip(&mut taken).for_each(|(member, taken)| taken.append(&mut member.take_words()));
    if taken[0].is_empty() {
        assert!(taken.iter().all(Vec::is_empty), "all members take the same words");
        return false;
    }
    for call in 0..taken[0].len() {
        let devices: Vec<_> = members.iter().map(|member| member.device).collect();
        let mut words: Vec<_> = taken.iter_mut().map(|words| &mut words[call]).collect();
        add_up(&mut words, &devices);
    }
    members.iter_mut().zip(taken).for_each(|(member, words)| member.put_words(words));
    true
}

/// Makes each member's words, which lie on its device, the sum of all members'.
pub(crate) fn add_up(words: &mut [&mut Words], devices: &[tch::Device]) {
    let tensors: Vec<_> =
        words.iter().zip(devices).map(|(words, device)| tensor_of(words, *device)).collect();
    let sum = tensors[1..].iter().fold(tensors[0].copy(), |sum, words| sum + words);
    words.iter_mut().zip(devices).for_each(|(words, device)| overwrite(words, &sum, *device));
}

/// Makes a member's words, which lie on this device, this sum.
pub(crate) fn overwrite(words: &mut Words, sum: &Tensor, device: tch::Device) {
    match words {
        Words::Wide(words) => copy(sum, words),
        Words::Narrow { sum: words, .. } => copy(sum, words),
        Words::Fast(words) => copy(sum, words),
        // SAFETY: the replica does not compute meanwhile.
        Words::Device(words) => unsafe { over_words(*words, device) }.copy_(sum),
    }
}

fn copy<T: tch::kind::Element>(from: &Tensor, to: &mut [T]) {
    let count = to.len();
    from.copy_data(to, count);
}

/// This member's words: a copy, but over a device's own memory.
pub(crate) fn tensor_of(words: &Words, device: tch::Device) -> Tensor {
    match words {
        Words::Wide(words) => Tensor::from_slice(words),
        Words::Narrow { own, .. } => Tensor::from_slice(own),
        Words::Fast(words) => Tensor::from_slice(words),
        // SAFETY: the callers use it before the replica computes again.
        Words::Device(words) => unsafe { over_words(*words, device) },
    }
}

/// Overwrites words near the end of a replica's sum, as an abort may that comes while they are summed.
pub(crate) fn spoil(replica: &mut Replica, count: usize) {
    const GARBAGE: i64 = 0x0555_5555;
    let mut taken = replica.take_words();
    let [words] = &mut taken[..] else { panic!("a device's words are in one piece") };
    let sum = tensor_of(words, replica.device).copy();
    let _ = sum.narrow(0, sum.numel() as i64 - 1 - count as i64, count as i64).fill_(GARBAGE);
    overwrite(words, &sum, replica.device);
    replica.put_words(taken);
}

/// Makes the second moments so small that the next step's gradients do not fit into 32 bits.
pub(crate) fn shrink_second_moments(replica: &mut Replica) {
    replica.change_state(|state| {
        let regions = state.regions().clone();
        for half in [Half::Discriminator, Half::Generator] {
            let moments = regions.of(half).second_moments.clone();
            state.numbers_mut()[moments].iter_mut().for_each(|v| *v *= 2f32.powi(-20));
        }
    });
}

/// Computes the half that comes next, member i for the ranks `owned[i]`.
pub fn compute_half(members: &mut [Replica], owned: &[&[u32]]) {
    for (replica, owned) in members.iter_mut().zip(owned) {
        compute_wishing(replica, owned, ControlWords::default());
    }
}

/// Computes the half that comes next for these ranks, with this member's wishes.
pub fn compute_wishing(replica: &mut Replica, owned: &[u32], wishes: ControlWords) {
    compute_with(replica, owned, wishes, &mut ());
}

fn compute_with(replica: &mut Replica, owned: &[u32], wishes: ControlWords, beside: &mut dyn Beside) {
    let reduction = replica.next_reduction();
    let (step, batch) = (reduction.step(), (replica.batch_len(), replica.classes()));
    let computed = match reduction.half() {
        Half::Discriminator => with_batches(batch, step, owned, |work| {
            replica.compute_discriminator_with(step, work, wishes, beside)
        }),
        Half::Generator => {
            let ranks: Vec<_> = owned.iter().map(|&rank| VirtualRank(rank)).collect();
            replica.compute_generator_with(step, &ranks, wishes, beside)
        }
    };
    computed.expect("the half that comes next can be computed");
}

/// Computes the half that comes next for these ranks, and returns the words that could leave before it was whole.
pub fn compute_early(replica: &mut Replica, owned: &[u32]) -> Vec<Words> {
    struct Early(Vec<Words>);
    impl Beside for Early {
        fn takes_early(&self) -> bool {
            true
        }

        fn ready(&mut self, mut words: Vec<Words>) {
            self.0.append(&mut words);
        }
    }
    let mut early = Early(vec![]);
    compute_with(replica, owned, ControlWords::default(), &mut early);
    early.0
}

/// Computes ahead what D's half of the next step needs of real samples.
pub fn ahead(replica: &mut Replica, owned: &[u32]) {
    let step = replica.next_reduction().next().step();
    let batch = (replica.batch_len(), replica.classes());
    with_batches(batch, step, owned, |work| replica.compute_ahead(step, work)).expect("G's half comes next");
}

/// Batches of so many numbers, of samples a virtual rank and classes, if there are any.
fn with_batches<T>(
    (len, (per_rank, classes)): (usize, (u32, u32)),
    step: Step,
    owned: &[u32],
    then: impl FnOnce(&[RankBatch]) -> T,
) -> T {
    let ranks = owned.iter().map(|&rank| VirtualRank(rank));
    let classes_of = |rank: VirtualRank| -> Vec<u32> {
        let samples = if classes > 0 { per_rank } else { 0 };
        (0..samples).map(|at| (step.0 as u32 + rank.0 + at) % classes).collect()
    };
    let batches: Vec<_> = ranks.map(|rank| (rank, real(step, rank, len), classes_of(rank))).collect();
    let work: Vec<_> = batches
        .iter()
        .map(|(rank, samples, classes)| RankBatch { virtual_rank: *rank, samples, classes })
        .collect();
    then(&work)
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
