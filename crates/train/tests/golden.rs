//! Three steps against the numbers of real PyTorch (`tests/reference/make_golden.py`).
//!
//! The tolerance is 1e-5 of the Euclidean norm of each flat vector: a network's weights, running statistics or
//! moments, and each metric over the steps. Single tensors agree to 1e-4 of their own norm, unless that is less
//! than a millionth of their vector's (a bias before a batch norm has no gradient but rounding errors). Norms,
//! not elements: Adam divides by √v, so an element whose gradient is as small as its rounding error may move by
//! anything up to a learning rate, in PyTorch as here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

mod common;

use lsgan_spec::*;
use lsgan_train::{
    ControlWords, Device, LatentSource, Metrics, NamedTensor, Part, Placement, RankBatch, Replica, TensorData,
};
use safetensors::{Dtype, SafeTensors};

const FLAT_TOLERANCE: f64 = 1e-5;
const TENSOR_TOLERANCE: f64 = 1e-4;
const RANK: VirtualRank = VirtualRank(0);

/// A fixture's tensors by name.
struct Fixture(BTreeMap<String, NamedTensor>);

impl Fixture {
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference").join(name);
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

    fn floats(&self, name: &str) -> &[f32] {
        match &self.0.get(name).unwrap_or_else(|| panic!("the fixture has no {name}")).data {
            TensorData::F32(values) => values,
            TensorData::I64(_) => panic!("{name} holds integers"),
        }
    }

    /// The tensors under a prefix, without it.
    fn under(&self, prefix: &str) -> Vec<NamedTensor> {
        let stripped = |tensor: &NamedTensor| {
            let name = tensor.name.strip_prefix(prefix)?.strip_prefix('.')?.to_owned();
            Some(NamedTensor { name, ..tensor.clone() })
        };
        self.0.values().filter_map(stripped).collect()
    }

    /// The initial state dicts as a snapshot, with moments of zero and the average at the weights.
    fn initial(&self) -> Vec<Part> {
        let zeros = |network: &str| {
            let weights = self.under(&format!("initial.{network}"));
            let trained = weights.into_iter().filter(|tensor| !tensor.name.contains("running_"));
            let floats = trained.filter(|tensor| matches!(tensor.data, TensorData::F32(_)));
            floats
                .flat_map(|tensor| {
                    ["exp_avg", "exp_avg_sq"].map(|moment| NamedTensor {
                        name: format!("{}.{moment}", tensor.name),
                        shape: tensor.shape.clone(),
                        data: TensorData::F32(vec![0.0; tensor.shape.iter().product()]),
                    })
                })
                .collect()
        };
        vec![
            Part { name: "generator", tensors: self.under("initial.generator") },
            Part { name: "generator_ema", tensors: self.under("initial.generator") },
            Part { name: "discriminator", tensors: self.under("initial.discriminator") },
            Part { name: "generator_adam", tensors: zeros("generator") },
            Part { name: "discriminator_adam", tensors: zeros("discriminator") },
        ]
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

    fn assert_below(self, tolerance: f64, what: &str) {
        let share = (self.error / self.wanted).sqrt();
        assert!(share <= tolerance, "{what}: off by {share:e} of its norm {:e}", self.wanted.sqrt());
    }
}

/// The flat vector that a tensor of a part belongs to.
fn vector_of(part: &str, tensor: &str) -> String {
    let kinds = ["running_mean", "running_var", "exp_avg_sq", "exp_avg"];
    let kind = kinds.into_iter().find(|kind| tensor.ends_with(kind)).unwrap_or("weights");
    format!("{part}, {kind}")
}

fn spec(fixture: &str) -> RunSpec {
    let mut spec = common::small_dcgan();
    spec.batch = BatchSpec { virtual_ranks: 1, per_rank: 8 };
    if fixture == "lsgan112" {
        spec.batch.per_rank = 3;
        spec.data.image = Some(ImageSpec::of(112, 3));
        spec.model.generator = Generator::Lsgan112 { latent: Latent::Normal(16), width: 2 };
        spec.model.discriminator = Discriminator::Lsgan112 { width: 2 };
        spec.objective = Objective::LeastSquares { a: 0.0, b: 1.0, c: 1.0 };
        let adam = Optimizer::Adam { learning_rate: 2e-4, beta1: 0.5, beta2: 0.999, epsilon: 1e-3 };
        spec.optimizer = OptimizersSpec { generator: adam, discriminator: adam };
    }
    spec
}

fn three_steps_are_pytorchs(name: &str) {
    let fixture = Fixture::read(&format!("{name}.safetensors"));
    let noise = Arc::new(Recorded(Fixture::read(&format!("{name}.safetensors"))));
    let mut replica =
        Replica::with_latent(&spec(name), Device::Cpu, Placement::Usual, noise).expect("the spec is valid");
    replica.import(&fixture.initial(), Reduction(0)).expect("PyTorch's state dicts fit");

    let mut metrics = BTreeMap::<&str, Vec<f32>>::new();
    for step in (0..3).map(Step) {
        let samples = fixture.samples(step.0);
        let work = [RankBatch { virtual_rank: RANK, samples: &samples }];
        replica.compute_discriminator(step, &work, ControlWords::default()).expect("D's half is next");
        let d = replica.apply(Metrics::Read).expect("good").metrics.expect("asked for").means;
        replica.compute_generator(step, &[RANK], ControlWords::default()).expect("G's half is next");
        let g = replica.apply(Metrics::Read).expect("good").metrics.expect("asked for").means;
        let said = [("loss_d", d.loss), ("d_real", d.real), ("d_fake", d.fake)];
        for (key, value) in said.into_iter().chain([("loss_g", g.loss), ("d_fake_in_g", g.fake)]) {
            metrics.entry(key).or_default().push(value as f32);
        }
    }
    for (key, found) in metrics {
        let wanted = fixture.floats(&format!("metric.{key}"));
        Distance::of(&found, wanted).assert_below(FLAT_TOLERANCE, &format!("{name}: {key} of three steps"));
    }

    let mut vectors = BTreeMap::<String, Distance>::new();
    let mut tensors = vec![];
    for part in replica.export() {
        for tensor in &part.tensors {
            let TensorData::F32(found) = &tensor.data else { continue };
            let key = format!("final.{}.{}", part.name, tensor.name);
            let distance = Distance::of(found, fixture.floats(&key));
            let vector = vector_of(part.name, &tensor.name);
            let sum = vectors.entry(vector.clone()).or_default();
            *sum = sum.plus(distance);
            tensors.push((key, vector, distance));
        }
    }
    for (vector, distance) in &vectors {
        distance.assert_below(FLAT_TOLERANCE, &format!("{name}: {vector}"));
    }
    for (key, vector, distance) in tensors {
        if distance.wanted > 1e-12 * vectors[&vector].wanted {
            distance.assert_below(TENSOR_TOLERANCE, &format!("{name}: {key}"));
        }
    }
}

#[test]
fn three_steps_of_dcgan_are_pytorchs() {
    three_steps_are_pytorchs("dcgan32");
}

#[test]
fn three_steps_of_lsgan112_are_pytorchs() {
    three_steps_are_pytorchs("lsgan112");
}

/// So `load_state_dict(load_file("generator.safetensors"))` works, strictly.
#[test]
fn exported_names_shapes_and_counters_are_those_of_pytorchs_state_dicts() {
    for name in ["dcgan32", "lsgan112"] {
        let fixture = Fixture::read(&format!("{name}.safetensors"));
        let mut replica = Replica::new(&spec(name), Device::Cpu).expect("the spec is valid");
        replica.import(&fixture.initial(), Reduction(6)).expect("PyTorch's state dicts fit");
        let signature = |tensors: &[NamedTensor]| -> BTreeSet<_> {
            let counter = |data: &TensorData| match data {
                TensorData::I64(values) => Some(values.clone()),
                TensorData::F32(_) => None,
            };
            tensors.iter().map(|t| (t.name.clone(), t.shape.clone(), counter(&t.data))).collect()
        };
        let parts = replica.export();
        for part in parts.iter().filter(|part| part.name != "generator_ema") {
            let wanted = fixture.under(&format!("final.{}", part.name));
            assert_eq!(signature(&part.tensors), signature(&wanted), "{name}: {}", part.name);
        }
        let names = |part: &str| {
            let part = parts.iter().find(|p| p.name == part).expect("exported");
            part.tensors.iter().map(|t| t.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names("generator_ema"), names("generator"), "{name}");
    }
}

#[test]
fn what_was_exported_is_imported_to_the_same_state() {
    let fixture = Fixture::read("lsgan112.safetensors");
    let mut replica = Replica::new(&spec("lsgan112"), Device::Cpu).expect("the spec is valid");
    replica.import(&fixture.initial(), Reduction(4)).expect("PyTorch's state dicts fit");
    let (hash, parts) = (replica.state_hash(), replica.export());
    let mut other = Replica::new(&spec("lsgan112"), Device::Cpu).expect("the spec is valid");
    assert_ne!(other.state_hash(), hash);
    other.import(&parts, Reduction(4)).expect("our own parts fit");
    assert_eq!((other.state_hash(), other.export() == parts), (hash, true));
}

#[test]
fn a_state_that_does_not_fit_is_refused_with_the_tensor_and_changes_nothing() {
    let mut replica = Replica::new(&spec("dcgan32"), Device::Cpu).expect("the spec is valid");
    let before = replica.state_hash();
    let good = replica.export();
    let mut refuse = |change: &dyn Fn(&mut Vec<Part>), what: &str| {
        let mut parts = good.clone();
        change(&mut parts);
        let error = replica.import(&parts, Reduction(2)).expect_err("a state that does not fit").to_string();
        assert!(error.contains(what), "{error}");
        assert_eq!(replica.state_hash(), before);
    };
    refuse(&|parts| drop(parts.remove(2)), "the part discriminator is missing");
    refuse(&|parts| drop(parts[0].tensors.remove(0)), "generator has no main.0.weight");
    refuse(
        &|parts| parts[2].tensors[0].shape = vec![4, 2, 4, 4],
        "discriminator: main.0.weight is [4, 2, 4, 4]",
    );
    refuse(&|parts| parts[0].tensors[0].data = TensorData::I64(vec![]), "main.0.weight holds integers");
    refuse(
        &|parts| {
            let mut extra = parts[0].tensors[0].clone();
            extra.name = "main.99.weight".to_owned();
            parts[0].tensors.push(extra);
        },
        "tensors of floats",
    );
}
