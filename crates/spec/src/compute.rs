//! What a worker computes on, and with which numbers.

use serde::{Deserialize, Serialize};

use crate::macros::{section, words};
use crate::table::{Form, Kind, field, of, text, whole};

section! {
    /// What a worker computes on.
    ComputeSpec: Copy, Eq {
        /// auto: a GPU where there is one, else the CPU. cuda: a GPU, or an error; the workers of a host take one after
        /// another. cuda:N: the GPU with that index (among those of CUDA_VISIBLE_DEVICES) on every host.
        device: Device => text(DEVICE).default("auto"),
        /// Virtual ranks that a worker computes at once, each on a thread of its own. Never changes a bit.
        threads: u32 => whole(1, 256).default("1"),
        /// Threads that decode and transform records ahead of the step.
        loader_threads: u32 => whole(1, 256).default("1"),
        /// The most that libtorch's kernels may use of a CPU; kernels for other instructions round differently.
        cpu_isa: CpuIsa => of::<CpuIsa>().default("native"),
        /// Whether a GPU's kernels must give the same bits each time. Without it some are faster, and the run does not
        /// promise bits. A CPU's always give the same.
        deterministic: bool => field(Kind::YesNo).default("true"),
        /// Whether what a step queues on a GPU is recorded once and replayed as CUDA graphs, which spares the host many
        /// calls. Never changes a bit.
        cuda_graphs: CudaGraphs => of::<CudaGraphs>().default("auto"),
    }
}

const DEVICE: Form = Form {
    accepts: "auto, cpu, cuda or cuda:N with N from 0 to 1,023",
    takes: |text| Device::try_from(text.to_owned()).is_ok(),
    pattern: "^(auto|cpu|cuda|cuda:[0-9]{1,4})$",
    list: false,
    file: None,
};

/// Which device a worker computes on: in a file `auto`, `cpu`, `cuda` or `cuda:N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// A GPU where there is one, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU of the worker's host: the workers of a host take one after another.
    Cuda,
    /// The GPU with this index on every host, 0 to 1,023.
    CudaIndex(u32),
}

impl TryFrom<String> for Device {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let index = |text: &str| text.strip_prefix("cuda:")?.parse().ok().filter(|index| *index <= 1023);
        match text.as_str() {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            text => index(text)
                .map(Self::CudaIndex)
                .ok_or_else(|| format!("`{text}` is no device; write auto, cpu, cuda or cuda:N")),
        }
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        match device {
            Device::Auto => "auto".to_owned(),
            Device::Cpu => "cpu".to_owned(),
            Device::Cuda => "cuda".to_owned(),
            Device::CudaIndex(index) => format!("cuda:{index}"),
        }
    }
}

words! {
    /// What libtorch's kernels may use of a CPU.
    CpuIsa {
        /// all that it has
        Native = "native",
        /// no more than AVX2, so that CPUs with AVX-512 compute the bits of those without, more slowly
        Avx2 = "avx2",
    }
}

words! {
    /// Whether what a step queues on a GPU is recorded once and replayed.
    CudaGraphs {
        /// one step is first done both ways; where the sums differ, or nothing can be recorded, it goes on without and says so
        Auto = "auto",
        /// never
        Off = "off",
    }
}

words! {
    /// Number format of the forward and backward pass; weights and moments are always f32.
    Precision {
        /// 32-bit floats throughout
        F32 = "f32",
        /// 32-bit floats whose products a GPU rounds to 10 bits of mantissa; not on a CPU
        Tf32 = "tf32",
        /// convolutions and linear layers in bfloat16, batch norm and losses in f32
        Bf16 = "bf16",
    }
}

words! {
    /// How gradients are summed.
    ReductionMode {
        /// fixed point whose last bit is chosen for each 1024 parameters, 4 bytes each; the same bits for any number of
        /// workers
        Exact = "exact",
        /// 64-bit fixed point with one last bit, 8 bytes each; as `exact` was in version 0.1.0: runs that began with
        /// it keep it
        Exact64 = "exact64",
        /// plain f32, and the bits depend on the number of workers; deprecated, for `exact` sends no more bytes
        Fast = "fast",
    }
}
