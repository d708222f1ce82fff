//! One step or more beside the numbers of real PyTorch (`tests/reference/make_golden.py`), on any device.
//!
//! The tolerance is 1e-5 of the Euclidean norm of each flat vector: a network's weights, running statistics or
//! moments, and each metric over the steps. Single tensors agree to 1e-4 of their own norm, unless that is less
//! than a millionth of their vector's (a bias before a batch norm has no gradient but rounding errors). Norms,
//! not elements: Adam divides by √v, so an element whose gradient is as small as its rounding error may move by
//! anything up to a learning rate, in PyTorch as here.
//!
//! `tests/it/golden.rs` and `examples/golden_step.rs` both include this file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lsgan_spec::scalars::{Origin, Scalar};
use lsgan_spec::*;
use lsgan_train::rehearsal::runs::small_dcgan;
use lsgan_train::{ControlWords, Device, HalfMetrics, LatentSource, Metrics, RankBatch, Replica};
use safetensors::{Dtype, SafeTensors};

/// Of a flat vector.
const FLAT_TOLERANCE: f64 = 1e-5;
/// Of a single tensor.
const TENSOR_TOLERANCE: f64 = 1e-4;
const RANK: VirtualRank = VirtualRank(0);

/// The fixtures, by name.
pub const NAMES: [&str; 12] = [
    "dcgan32",
    "lsgan112",
    "resnet32",
    "resnet64",
    "dcgan256",
    "conditional",
    "concatenation",
    "adamw-r1",
    "rmsprop-clip",
    "wgan-gp-augment",
    "spectral-norm",
    "discriminator-steps",
];

/// A fixture's tensors by name.
pub struct Fixture(BTreeMap<String, NamedTensor>);

impl Fixture {
    /// The one of this name in `folder`, which is `tests/reference` of a checkout.
    pub fn read(folder: &Path, name: &str) -> Self {
        let path = folder.join(format!("{name}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file = SafeTensors::deserialize(&bytes).expect("the fixture is a safetensors file");
        let tensors = file.tensors().into_iter().map(|(name, tensor)| {
            let bytes = tensor.data();
            let data = match tensor.dtype() {
                Dtype::F32 => TensorData::F32(
                    bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().expect("four"))).collect(),
                ),
                Dtype::I64 => TensorData::I64(
                    bytes.chunks(8).map(|b| i64::from_le_bytes(b.try_into().expect("eight"))).collect(),
                ),
                Dtype::U8 => TensorData::F32(bytes.iter().map(|&b| f32::from(b) / 127.5 - 1.0).collect()),
                other => panic!("{name} is {other:?}"),
            };
            (name.clone(), NamedTensor { name, shape: tensor.shape().to_vec(), data })
        });
        Self(tensors.collect())
    }

    /// How many steps it has.
    pub fn steps(&self) -> u64 {
        (0..).take_while(|step| self.0.contains_key(&format!("step.{step}.z"))).count() as u64
    }

    fn floats(&self, name: &str) -> &[f32] {
        match &self.0.get(name).unwrap_or_else(|| panic!("the fixture has no {name}")).data {
            TensorData::F32(values) => values,
            TensorData::I64(_) => panic!("{name} holds integers"),
        }
    }

    /// The tensors under a prefix, without it.
    pub fn under(&self, prefix: &str) -> Vec<NamedTensor> {
        let stripped = |tensor: &NamedTensor| {
            let name = tensor.name.strip_prefix(prefix)?.strip_prefix('.')?.to_owned();
            Some(NamedTensor { name, ..tensor.clone() })
        };
        self.0.values().filter_map(stripped).collect()
    }

    /// The initial state dicts as a snapshot, with the average at the weights and the moments of a `fresh` replica: zeros.
    pub fn initial(&self, fresh: &Replica) -> Vec<Part> {
        let started = |part: Part| match part.name.as_str() {
            "generator" | "generator_ema" => Part { tensors: self.under("initial.generator"), ..part },
            "discriminator" => Part { tensors: self.under("initial.discriminator"), ..part },
            _ => part,
        };
        fresh.export().into_iter().map(started).collect()
    }

    /// The classes of a step's samples, where the fixture has any.
    fn classes(&self, step: u64) -> Vec<u32> {
        let name = format!("step.{step}.classes");
        if self.0.contains_key(&name) {
            self.floats(&name).iter().map(|&class| class as u32).collect()
        } else {
            vec![]
        }
    }

    /// A step's samples, from PyTorch's `[n, c, h, w]` to the loader's `[n, h, w, c]`.
    fn samples(&self, step: u64) -> Vec<f32> {
        let tensor = &self.0[&format!("step.{step}.pixels")];
        let [n, c, h, w] = tensor.shape[..] else { panic!("samples are pictures") };
        let values = self.floats(&tensor.name);
        let mut out = Vec::with_capacity(values.len());
        for image in 0..n {
            for place in 0..h * w {
                out.extend((0..c).map(|channel| values[(image * c + channel) * h * w + place]));
            }
        }
        out
    }
}

/// The noise that PyTorch used.
struct Recorded(Fixture);

impl LatentSource for Recorded {
    fn fill(&self, step: Step, _: VirtualRank, out: &mut [f32]) {
        out.copy_from_slice(self.0.floats(&format!("step.{step}.z")));
    }

    fn fill_classes(&self, step: Step, _: VirtualRank, _: u32, out: &mut [f32]) {
        out.copy_from_slice(self.0.floats(&format!("step.{step}.fake_classes")));
    }

    fn fill_draws(&self, step: Step, _: VirtualRank, out: &mut [f32]) {
        out.copy_from_slice(self.0.floats(&format!("step.{step}.draws")));
    }
}

/// Squares of the error and of the wanted norm, summed over tensors.
#[derive(Clone, Copy, Default)]
struct Distance {
    error: f64,
    wanted: f64,
}

impl Distance {
    fn of(found: &[f32], wanted: &[f32]) -> Self {
        assert_eq!(found.len(), wanted.len());
        let square = |x: f64| x * x;
        let error = found.iter().zip(wanted).map(|(&a, &b)| square(f64::from(a) - f64::from(b))).sum();
        Self { error, wanted: wanted.iter().map(|&x| square(f64::from(x))).sum() }
    }

    fn plus(self, other: Self) -> Self {
        Self { error: self.error + other.error, wanted: self.wanted + other.wanted }
    }

    fn share(self, what: String, tolerance: f64) -> Share {
        Share { what, share: (self.error / self.wanted).sqrt(), tolerance }
    }
}

/// By how much of its norm something is off.
pub struct Share {
    /// What.
    pub what: String,
    /// The error's norm over the wanted one's.
    pub share: f64,
    /// What is accepted where the arithmetic is a CPU's.
    pub tolerance: f64,
}

/// The flat vector that a tensor of a part belongs to.
fn vector_of(part: &str, tensor: &str) -> String {
    let kinds =
        ["running_mean", "running_var", "exp_avg_sq", "exp_avg", "square_avg", "momentum_buffer", "weight_u"];
    let kind = kinds.into_iter().find(|kind| tensor.ends_with(kind)).unwrap_or("weights");
    format!("{part}, {kind}")
}

/// The run that a fixture is of.
pub fn spec(fixture: &str) -> RunSpec {
    let mut spec = small_dcgan();
    spec.batch = BatchSpec { virtual_ranks: 1, per_rank: 8 };
    match fixture {
        "lsgan112" => lsgan112(&mut spec),
        "resnet32" => resnet(&mut spec, (32, 4), 4),
        "resnet64" => resnet(&mut spec, (64, 2), 2),
        "dcgan256" => dcgan256(&mut spec),
        "conditional" => conditional(&mut spec),
        "concatenation" => concatenation(&mut spec),
        "adamw-r1" => adamw_r1(&mut spec),
        "rmsprop-clip" => rmsprop_clip(&mut spec),
        "wgan-gp-augment" => wgan_gp_augment(&mut spec),
        "spectral-norm" => spectral_norm(&mut spec),
        "discriminator-steps" => discriminator_steps(&mut spec),
        _ => {}
    }
    spec
}

/// A network of the paper's kind with its labels of pictures, and its optimizer.
fn papers(spec: &mut RunSpec, size: u32, per_rank: u32, networks: (Generator, Discriminator)) {
    spec.batch.per_rank = per_rank;
    spec.data.image = Some(ImageSpec::of(size, 3));
    (spec.model.generator, spec.model.discriminator) = networks;
    spec.objective = Objective::LeastSquares { a: 0.0, b: 1.0, c: 1.0 };
    let adam = Optimizer::Adam { learning_rate: 2e-4, beta1: 0.5, beta2: 0.999, epsilon: 1e-3 };
    spec.optimizer = OptimizersSpec::of(adam, adam);
}

fn lsgan112(spec: &mut RunSpec) {
    let generator = Generator::Lsgan112 { latent: Latent::Normal(16), width: 2 };
    papers(spec, 112, 3, (generator, Discriminator::Lsgan112 { width: 2 }));
}

fn resnet(spec: &mut RunSpec, (size, width): (u32, u32), per_rank: u32) {
    spec.batch.per_rank = per_rank;
    spec.data.image = Some(ImageSpec::of(size, 3));
    spec.model.generator = Generator::Resnet { latent: Latent::Normal(8), width };
    spec.model.discriminator = Discriminator::Resnet { width };
    spec.objective = Objective::Hinge {};
    let adam = Optimizer::Adam { learning_rate: 2e-4, beta1: 0.0, beta2: 0.9, epsilon: 1e-3 };
    spec.optimizer = OptimizersSpec::of(adam, adam);
}

fn dcgan256(spec: &mut RunSpec) {
    let generator = Generator::Dcgan { latent: Latent::Normal(8), width: 1 };
    papers(spec, 256, 2, (generator, Discriminator::Dcgan { width: 1 }));
}

fn conditional(spec: &mut RunSpec) {
    spec.model.classes = ClassesSpec { count: 3, embedding: 5, ..ClassesSpec::default() };
    spec.model.batch_norm = BatchNorm::Generator;
    spec.regularization.r1 = R1Spec { gamma: 0.5, every: 1 };
}

fn concatenation(spec: &mut RunSpec) {
    conditional(spec);
    spec.model.classes.discriminator = Conditioning::Concatenation;
}

fn adamw_r1(spec: &mut RunSpec) {
    let adam_w =
        Optimizer::AdamW { learning_rate: 1e-3, beta1: 0.5, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.1 };
    spec.optimizer = OptimizersSpec::of(adam_w, adam_w);
    spec.optimizer.schedule =
        ScheduleSpec { warm_up_steps: 2, decay: Decay::Cosine, decay_steps: 4, floor: 0.1 };
    spec.objective = Objective::Hinge {};
    spec.regularization.r1 = R1Spec { gamma: 0.5, every: 2 };
}

fn rmsprop_clip(spec: &mut RunSpec) {
    let of = |alpha, momentum| Optimizer::RmsProp { learning_rate: 1e-3, alpha, epsilon: 1e-3, momentum };
    spec.optimizer = OptimizersSpec::of(of(0.9, 0.5), of(0.99, 0.0));
    spec.optimizer.schedule =
        ScheduleSpec { warm_up_steps: 1, decay: Decay::Linear, decay_steps: 4, floor: 0.0 };
    spec.optimizer.clip_norm = 0.1;
}

fn wgan_gp_augment(spec: &mut RunSpec) {
    let adam = Optimizer::Adam { learning_rate: 2e-4, beta1: 0.0, beta2: 0.9, epsilon: 1e-8 };
    spec.optimizer = OptimizersSpec::of(adam, adam);
    spec.objective = Objective::WganGp { penalty: 10.0 };
    spec.model.batch_norm = BatchNorm::Generator;
    spec.batch.per_rank = 4;
    spec.data.image = Some(ImageSpec::of(32, 3));
    spec.augment = AugmentSpec { color: true, translation: 0.125, cutout: 0.5 };
}

fn spectral_norm(spec: &mut RunSpec) {
    let adam = Optimizer::Adam { learning_rate: 2e-4, beta1: 0.0, beta2: 0.9, epsilon: 1e-8 };
    spec.optimizer = OptimizersSpec::of(adam, adam);
    spec.objective = Objective::Hinge {};
    spec.model.batch_norm = BatchNorm::Generator;
    spec.model.spectral_norm = true;
}

fn discriminator_steps(spec: &mut RunSpec) {
    spec.optimizer.discriminator_steps = 2;
    spec.optimizer.schedule =
        ScheduleSpec { warm_up_steps: 2, decay: Decay::Linear, decay_steps: 4, floor: 0.0 };
    spec.regularization.r1 = R1Spec { gamma: 0.5, every: 3 };
}

/// Does the steps of a fixture; by how much everything is off.
pub fn shares(folder: &Path, name: &str, device: Device) -> Vec<Share> {
    let fixture = Fixture::read(folder, name);
    let noise = Arc::new(Recorded(Fixture::read(folder, name)));
    let mut replica =
        Replica::builder(&spec(name)).device(device).latent(noise).build().expect("the spec is valid");
    replica.import(&fixture.initial(&replica), Reduction(0)).expect("PyTorch's state dicts fit");

    let mut metrics = BTreeMap::<&str, Vec<f32>>::new();
    for step in (0..fixture.steps()).map(Step) {
        let samples = fixture.samples(step.0);
        let classes = fixture.classes(step.0);
        let work = [RankBatch { virtual_rank: RANK, samples: &samples, classes: &classes }];
        replica.compute_discriminator(step, &work, ControlWords::default()).expect("D's half is next");
        let d = replica.apply(Metrics::Read).expect("good").metrics.expect("asked for");
        replica.compute_generator(step, &[RANK], ControlWords::default()).expect("G's half is next");
        let g = replica.apply(Metrics::Read).expect("good").metrics; // none of an idle half
        let of_g = g.iter().flat_map(HalfMetrics::scalars);
        let is_mean = |scalar: &Scalar| matches!(scalar.origin, Origin::Mean(_));
        for (scalar, value) in d.scalars().chain(of_g).filter(|(scalar, _)| is_mean(scalar)) {
            metrics.entry(scalar.name).or_default().push(value as f32);
        }
    }
    let mut shares = vec![];
    for (key, found) in metrics {
        let distance = Distance::of(&found, fixture.floats(&format!("metric.{key}")));
        shares.push(distance.share(format!("{name}: {key} of all steps"), FLAT_TOLERANCE));
    }
    shares.extend(state_shares(&fixture, name, &replica));
    shares
}

fn state_shares(fixture: &Fixture, name: &str, replica: &Replica) -> Vec<Share> {
    let mut vectors = BTreeMap::<String, Distance>::new();
    let mut tensors = vec![];
    for part in replica.export() {
        for tensor in &part.tensors {
            let TensorData::F32(found) = &tensor.data else { continue };
            let key = format!("final.{}.{}", part.name, tensor.name);
            let distance = Distance::of(found, fixture.floats(&key));
            let vector = vector_of(&part.name, &tensor.name);
            let sum = vectors.entry(vector.clone()).or_default();
            *sum = sum.plus(distance);
            tensors.push((key, vector, distance));
        }
    }
    let whole =
        vectors.iter().map(|(vector, distance)| distance.share(format!("{name}: {vector}"), FLAT_TOLERANCE));
    let single = tensors
        .iter()
        .filter(|(_, vector, distance)| distance.wanted > 1e-12 * vectors[vector].wanted)
        .map(|(key, _, distance)| distance.share(format!("{name}: {key}"), TENSOR_TOLERANCE));
    whole.chain(single).collect()
}
