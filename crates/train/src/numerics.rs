//! The numerics of this machine's devices, with the hash of one probe on fixed inputs.

use lsgan_spec::{DeviceKind, Numerics, RunSpec, Step, VirtualRank};
use tch::{Device, Kind, Tensor};

use crate::contribution::{Contribution, Sink};
use crate::device;
use crate::gpu;
use crate::gpu_libraries;
use crate::init::Init;
use crate::lane::{Real, Task};
use crate::layers::{Bias, Conv, Layer, Network, Norm};
use crate::memory;
use crate::native;
use crate::noise::Stream;
use crate::replica::Replica;
use crate::step::Keep;
use crate::tensors::{samples, view};

/// The numerics of a device. Takes some milliseconds.
///
/// Those of a GPU name what computes there besides libtorch, and the probe has both halves of this run's networks too: its
/// libraries choose their kernels by shapes, and may choose others for a version or a model of GPU.
#[must_use]
pub fn numerics(device: Device, spec: Option<&RunSpec>) -> Numerics {
    let (kind, (model, instructions)) = match device {
        Device::Cuda(index) => (DeviceKind::Cuda, gpu_model(index)),
        Device::Cpu | Device::Mps | Device::Vulkan => {
            (DeviceKind::Cpu, (cpu_model(), native::cpu_capability()))
        }
    };
    let mut hasher = blake3::Hasher::new();
    hash_probe(&mut hasher, device);
    if let (Some(spec), DeviceKind::Cuda) = (spec, kind) {
        hash_halves(&mut hasher, spec, device);
    }
    let probe = *hasher.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes");
    let mut libtorch = native::libtorch_version();
    if kind == DeviceKind::Cuda {
        libtorch = format!("{libtorch} with {}", gpu_libraries::versions());
    }
    Numerics { libtorch, device: kind, model, instructions, probe: u64::from_be_bytes(probe) }
}

/// A GPU's name and architecture, as (`NVIDIA H100 80GB HBM3`, `sm_90`).
fn gpu_model(index: usize) -> (String, String) {
    let driver = gpu::driver().ok();
    match driver.and_then(|driver| driver.gpus.get(index)) {
        Some(gpu) => (gpu.name.clone(), format!("sm_{}{}", gpu.capability.0, gpu.capability.1)),
        None => ("unknown GPU".to_owned(), String::new()),
    }
}

fn cpu_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field =
        |name: &str| text.lines().find(|line| line.starts_with(name))?.split_once(':').map(|(_, v)| v.trim());
    match (field("model name"), field("cpu family"), field("model\t")) {
        (Some(name), Some(family), Some(model)) => format!("{name} (family {family}, model {model})"),
        _ => "unknown CPU".to_owned(),
    }
}

/// A convolution of each kind with batch norm, forward and backward, in f32 and bf16.
fn hash_probe(hasher: &mut blake3::Hasher, device: Device) {
    device::one_thread();
    let network = probe_network();
    let mut stream = Stream::of_parameter(0, "probe", "numbers");
    let mut weights = vec![0.0; network.parameters.len()];
    let mut input = vec![0.0; 4 * 16 * 12 * 12];
    stream.fill_normal(&mut weights);
    stream.fill_normal(&mut input);
    for kind in [Kind::Float, Kind::BFloat16] {
        let flat = Tensor::from_slice(&weights).to_device(device);
        let leaves: Vec<_> = network
            .parameters
            .entries()
            .iter()
            .zip(&network.roles)
            .map(|(entry, role)| {
                let kind = if *role == crate::layers::Role::Norm { Kind::Float } else { kind };
                view(&flat, entry).to_kind(kind).detach().set_requires_grad(true)
            })
            .collect();
        let x = native::channels_last(
            &Tensor::from_slice(&input).view([4, 16, 12, 12]).to_device(device).to_kind(kind),
        );
        let mut statistics = vec![];
        let y = network.forward(&x, &leaves, &mut Norm::Batch(&mut statistics));
        let loss = y.to_kind(Kind::Float).square().mean(Kind::Float);
        let gradients = Tensor::run_backward(&[&loss], &leaves, false, false);
        [&y, &loss].into_iter().chain(&statistics).chain(&gradients).for_each(|tensor| hash(hasher, tensor));
    }
}

/// What a virtual rank of the run computes from the weights with which it begins: gradients, statistics and means of both
/// halves. Nothing where that takes more memory than there is; the first step will say so.
fn hash_halves(hasher: &mut blake3::Hasher, spec: &RunSpec, device: Device) {
    let computed = memory::caught(|| halves(spec, device)).unwrap_or_default();
    for contribution in &computed {
        contribution.tensors().chain(&contribution.end().means).for_each(|tensor| hash(hasher, tensor));
    }
}

fn halves(spec: &RunSpec, device: Device) -> Vec<Contribution> {
    // What is wrong with the models is said where the replica is built.
    let Ok((mut lane, sample)) = Replica::builder(spec).device(device).lane() else { return vec![] };
    let per_rank = spec.batch.per_rank as usize;
    let mut real = vec![0.0; per_rank * sample.len()];
    Stream::of_parameter(0, "probe", "samples").fill_uniform(&mut real);
    let (step, rank) = (Step(0), VirtualRank(0));
    let classes = vec![0; if spec.model.classes.count > 0 { per_rank } else { 0 }];
    let real =
        Real { samples: samples(&real, &sample.size(per_rank)), classes: classes.into(), keep: Keep::Kept };
    let mut contributions = vec![];
    for real in [Some(real), None] {
        let give = &mut |contribution| contributions.push(contribution);
        lane.compute(&Task { step, rank, real }, Sink { in_pieces: false, give });
    }
    contributions
}

fn hash(hasher: &mut blake3::Hasher, tensor: &Tensor) {
    let host = tensor.to_device(Device::Cpu).to_kind(Kind::Float).contiguous().flatten(0, -1);
    let values = Vec::<f32>::try_from(host).expect("what is probed is f32 on the host");
    values.iter().for_each(|value| _ = hasher.update(&value.to_bits().to_le_bytes()));
}

fn probe_network() -> Network {
    let weight = Init::Constant(0.0);
    let conv = |inputs, outputs| Conv {
        inputs,
        outputs,
        kernel: 4,
        stride: 2,
        padding: 1,
        bias: Bias::With,
        weight,
    };
    let layers = vec![
        Layer::Conv(conv(16, 32)),
        Layer::BatchNorm { channels: 32, weight },
        Layer::LeakyRelu { slope: 0.2 },
        Layer::ConvTranspose { conv: conv(32, 16), output_padding: 0 },
        Layer::Tanh,
        Layer::Flatten,
        Layer::Linear { inputs: 16 * 12 * 12, outputs: 8, weight },
    ];
    Network::new("probe", vec![16, 12, 12], layers).expect("the probe's names are unique")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rehearsal::runs::{small_dcgan, small_mlp};

    #[test]
    fn the_probe_is_quick_and_always_the_same() {
        let first = numerics(Device::Cpu, None);
        let start = std::time::Instant::now();
        assert_eq!(first, numerics(Device::Cpu, None));
        let elapsed = start.elapsed();
        assert!(elapsed.as_millis() < 100, "the probe took {elapsed:?}; a start must not wait for it");
        assert_eq!(first.libtorch, "2.11.0");
    }

    fn hash_of(spec: &RunSpec) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hash_halves(&mut hasher, spec, Device::Cpu);
        hasher.finalize()
    }

    /// As a GPU's numerics are made.
    #[test]
    fn a_runs_halves_are_probed_and_always_the_same() {
        for spec in [small_dcgan(), small_mlp()] {
            assert_eq!(halves(&spec, Device::Cpu).len(), 2);
            let first = hash_of(&spec);
            assert_eq!(first, hash_of(&spec));
            let batch = lsgan_spec::BatchSpec { per_rank: 9, ..spec.batch };
            assert_ne!(first, hash_of(&RunSpec { batch, ..spec }), "the shapes are the run's");
        }
    }
}
