//! What the bits of a device depend on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the bits of a device depend on. Devices with equal numerics compute equal bits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numerics {
    /// libtorch's version, such as `2.11.0`.
    pub libtorch: String,
    /// A CPU or a GPU.
    pub device: DeviceKind,
    /// The CPU's or the GPU's name.
    pub model: String,
    /// The instruction set that the kernels were chosen for, such as `AVX512`, or the GPU's architecture, such as `sm_90`;
    /// empty if the driver does not tell it.
    pub instructions: String,
    /// The first 64 bits of a BLAKE3 hash over a forward and backward pass on fixed inputs.
    pub probe: u64,
}

/// What a worker computes on. GPUs sum over NCCL and CPUs over TCP, so that a generation has one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// A CPU.
    #[default]
    Cpu,
    /// A GPU of NVIDIA's.
    Cuda,
}

impl Numerics {
    /// The device's name and instructions, for people: `NVIDIA H200 with CUDA sm_90`.
    #[must_use]
    pub fn hardware(&self) -> String {
        let Self { device, model, instructions, .. } = self;
        match device {
            DeviceKind::Cpu => format!("{model} with {instructions}"),
            DeviceKind::Cuda => format!("{model} with CUDA {instructions}").trim_end().to_owned(),
        }
    }
}

/// The sentence for people. The journal's table `meta` and the manifests of snapshots have it too.
impl fmt::Display for Numerics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "libtorch {} on {}, probe {:016x}", self.libtorch, self.hardware(), self.probe)
    }
}

/// For people: `a GPU`.
impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "a CPU",
            Self::Cuda => "a GPU",
        })
    }
}
