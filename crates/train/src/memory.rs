//! How much memory a step needs, and libtorch's message when there is too little.

use std::any::Any;
use std::fmt;
use std::panic::{self, AssertUnwindSafe, catch_unwind, resume_unwind};

use lsgan_spec::{Half, Precision, ReductionMode, RunSpec};

use crate::TrainError;
use crate::gpu;
use crate::header::passes;
use crate::layers::Network;
use crate::models::SampleShape;
use crate::penalties::Penalties;
use crate::state::{Networks, Regions};

/// What may be kept on a device from one half to the next; beyond it fakes are computed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptLimit {
    bytes: u64,
}

impl KeptLimit {
    /// A CPU's memory is also the loader's, the system's and other workers'.
    pub const CPU: Self = Self { bytes: 2 << 30 };

    /// A quarter of a GPU's memory, of which a worker is the only user.
    #[must_use]
    pub fn of_gpu(memory_bytes: u64) -> Self {
        Self { bytes: memory_bytes / 4 }
    }

    /// Of the device of a replica.
    #[must_use]
    pub fn of(device: tch::Device) -> Self {
        match device {
            tch::Device::Cuda(index) => {
                let driver = gpu::driver().ok();
                let gpu = driver.as_ref().and_then(|driver| driver.gpus.get(index));
                gpu.map_or(Self::CPU, |gpu| Self::of_gpu(gpu.memory_bytes))
            }
            tch::Device::Cpu | tch::Device::Mps | tch::Device::Vulkan => Self::CPU,
        }
    }
}

/// About what a worker needs, in bytes. libtorch's own workspace, and what its allocator holds beyond the tensors, come
/// on top: on a GPU half a GiB, and a tenth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Weights, moments, moving average, and copies of them.
    pub state: u64,
    /// The buffers of both reductions, and one virtual rank's gradients.
    pub sums: u64,
    /// What the largest half step of one virtual rank keeps for its backward pass, with its real samples and the slots
    /// that carry them. The next virtual rank uses the same memory again.
    pub activations: u64,
    /// The graphs of the fakes that are kept from D's half to G's.
    pub kept: u64,
}

impl Estimate {
    /// For a worker that owns so many virtual ranks, on a device that may keep so much.
    ///
    /// # Errors
    /// A model that does not fit the data.
    pub fn new(spec: &RunSpec, virtual_ranks: u32, limit: KeptLimit) -> Result<Self, TrainError> {
        let networks = Networks::of(spec)?;
        let Networks { generator, discriminator } = &networks;
        let regions = Regions::new(&networks, spec.updates);
        let parameters = (generator.parameters.len() + discriminator.parameters.len()) as u64;
        let float = size_of::<f32>() as u64;
        let (number, copies) = match spec.precision {
            Precision::F32 | Precision::Tf32 => (float, 0),
            Precision::Bf16 => (2, 2 * parameters),
        };
        let word = match spec.reduction {
            // In 32 bits this worker's and the sum.
            ReductionMode::Exact | ReductionMode::Exact64 => size_of::<i64>() as u64,
            ReductionMode::Fast => float,
        };
        let sum = |half, network: &Network| {
            (network.parameters.len() + passes(half) * network.statistics.len()) as u64
        };
        let words = sum(Half::Discriminator, discriminator) + sum(Half::Generator, generator);
        let graph = |network: &Network| network.graph_numbers() * u64::from(spec.batch.per_rank) * number;
        let has_penalty = Penalties::of(spec).are_any();
        let penalty = if has_penalty { 4 * graph(discriminator) * float / number } else { 0 };
        let batch = u64::from(spec.batch.per_rank) * SampleShape::of(spec)?.len() as u64;
        // As it is computed with, as it came, and two slots of crate::feed.
        let batches = batch * (number + 3 * float);
        let kept = (kept_max(generator, spec.batch.per_rank, limit) as u64).min(u64::from(virtual_ranks));
        Ok(Self {
            state: (regions.len + regions.discriminator.all().len()) as u64 * float + copies,
            sums: words * (word + float),
            // D on real and on fake, or G and D; gradients of activations come and go. A penalty's graph has D's, that of
            // its gradient, and what comes of both.
            activations: batches
                + (2 * graph(discriminator)).max(graph(generator) + graph(discriminator)).max(penalty),
            kept: kept * graph(generator),
        })
    }

    #[must_use]
    pub fn total(&self) -> u64 {
        self.state + self.sums + self.activations + self.kept
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| format!("{:.0} MiB", (bytes as f64 / f64::from(1 << 20)).ceil());
        write!(
            f,
            "about {}: state {}, sums {}, activations of one virtual rank {}, kept fakes {}",
            mib(self.total()),
            mib(self.state),
            mib(self.sums),
            mib(self.activations),
            mib(self.kept)
        )
    }
}

/// How many fakes with their graphs fit into the limit; one always does.
pub(crate) fn kept_max(generator: &Network, per_rank: u32, limit: KeptLimit) -> usize {
    let bytes_per_rank = generator.graph_numbers() * u64::from(per_rank) * size_of::<f32>() as u64;
    (limit.bytes / bytes_per_rank.max(1)).max(1) as usize
}

/// For how many virtual ranks D's gradients of real samples fit into a quarter of the limit.
pub(crate) fn ahead_max(discriminator: &Network, limit: KeptLimit) -> usize {
    let bytes_per_rank = (discriminator.parameters.len() * size_of::<f32>()) as u64;
    (limit.bytes / 4 / bytes_per_rank.max(1)) as usize
}

/// There is too little memory. The text is for all but a half step, which has its own ([`TrainError::OutOfMemory`]).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this worker's device has too little memory: {words}. Lower batch.per_rank, and raise batch.virtual_ranks to keep the \
     global batch, or end what else uses the device; `worker --probe --config FILE` says what a step needs"
)]
pub struct TooLittle {
    pub(crate) words: String,
}

/// What `work` returns, or that there was too little memory for it; what was under way is then in no known state. Another
/// panic goes on.
///
/// # Errors
/// libtorch found too little memory.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, TooLittle> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| match too_little(&*panic) {
        Some(words) => TooLittle { words },
        None => resume_unwind(panic),
    })
}

/// What libtorch says of too little memory: of a GPU's, of pinned memory, of the CPU's.
const WORDS: [&str; 3] = ["CUDA out of memory", "CUDA error: out of memory", "DefaultCPUAllocator"];

/// libtorch's words for too little memory, if that caused the panic: the bindings panic where libtorch fails.
pub(crate) fn too_little(panic: &(dyn Any + Send)) -> Option<String> {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())?;
    let begin = WORDS.iter().find_map(|words| text.find(words))?;
    // A stack and settings follow the first line.
    let line = text[begin..].split("\\n").next().unwrap_or_default();
    Some(line.lines().next().unwrap_or_default().trim_end_matches(['.', '"']).to_owned())
}

/// Makes a panic over too little memory print nothing: it becomes an error, which is shown.
pub fn report_too_little_as_error() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if too_little(info.payload()).is_none() {
            usual(info);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rehearsal::runs::small_dcgan;

    #[test]
    fn a_large_gpu_keeps_more_fakes_than_a_cpu() {
        let mut spec = small_dcgan();
        spec.batch.per_rank = 1 << 14;
        let kept = |limit| Estimate::new(&spec, 4096, limit).expect("the models fit").kept;
        let large = kept(KeptLimit::of_gpu(80 << 30));
        assert!(kept(KeptLimit::CPU) <= 2 << 30);
        assert!(large > 19 << 30 && large <= 20 << 30, "{large}");
        assert!(kept(KeptLimit::of_gpu(0)) > 0, "one is always kept");
    }
}
