//! The device that a worker computes on.

use lsgan_spec::{ComputeSpec, Device as Wish, Precision};
use tch::Device;

use crate::gpu::{self, NoGpu, visible_devices};
use crate::{libtorch, native};

/// Why a worker cannot compute as its run's file says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// A GPU is asked for, and none can be used.
    #[error("compute.device is {wish}, but {why}")]
    NoGpu {
        wish: String,
        #[source]
        why: NoGpu,
    },
    /// A CPU has no TensorFloat-32.
    #[error("precision is tf32, which a CPU does not have; write f32 or bf16, or train on a GPU")]
    Tf32OnCpu,
}

/// A device to compute on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    pub device: Device,
    /// Why no GPU was chosen, where there seems to be one.
    pub no_gpu: Option<NoGpu>,
}

impl From<Device> for Chosen {
    fn from(device: Device) -> Self {
        Self { device, no_gpu: None }
    }
}

/// The device that a run's file asks for. The worker of each `local_rank` on a host takes the next GPU.
///
/// # Errors
/// A GPU is asked for and cannot be used.
pub fn choose(wish: Wish, local_rank: u32) -> Result<Chosen, DeviceError> {
    let one_of = |count| Chosen::from(Device::Cuda((local_rank % count) as usize));
    let error = |why| DeviceError::NoGpu { wish: String::from(wish), why };
    match wish {
        Wish::Cpu => Ok(Device::Cpu.into()),
        Wish::Auto => Ok(match usable() {
            Ok(count) => one_of(count),
            Err(NoGpu::NoDriver { .. } | NoGpu::NoneVisible { .. }) => Device::Cpu.into(),
            Err(why) => Chosen { device: Device::Cpu, no_gpu: Some(why) },
        }),
        Wish::Cuda => usable().map(one_of).map_err(error),
        Wish::CudaIndex(index) => {
            check(wish)?;
            usable().map(|_| Device::Cuda(index as usize).into()).map_err(error)
        }
    }
}

/// Whether the driver shows the GPU that a run's file asks for. libtorch's CUDA part is not loaded.
///
/// # Errors
/// What is missing.
pub fn check(wish: Wish) -> Result<(), DeviceError> {
    let index = match wish {
        Wish::Cpu | Wish::Auto => return Ok(()),
        Wish::Cuda => 0,
        Wish::CudaIndex(index) => index,
    };
    let error = |why| DeviceError::NoGpu { wish: String::from(wish), why };
    let count = gpu::driver().map_err(error)?.gpus.len() as u32;
    if index >= count {
        return Err(error(NoGpu::NoSuchIndex { index, count, visible_devices: visible_devices() }));
    }
    Ok(())
}

/// Sets libtorch's global options for a device; before anything is computed on it.
///
/// # Errors
/// A precision that the device does not have.
pub fn configure(device: Device, precision: Precision, compute: &ComputeSpec) -> Result<(), DeviceError> {
    one_thread();
    match device {
        Device::Cpu | Device::Mps | Device::Vulkan if precision == Precision::Tf32 => {
            Err(DeviceError::Tf32OnCpu)
        }
        Device::Cpu | Device::Mps | Device::Vulkan => Ok(()),
        Device::Cuda(_) => {
            native::configure_gpus(precision == Precision::Tf32, compute.deterministic);
            Ok(())
        }
    }
}

/// How many devices this host has: its GPUs, or else its CPU as one.
#[must_use]
pub fn count() -> u32 {
    usable().unwrap_or(1)
}

/// How many GPUs of this host a run with this wish can use; none where it computes on the CPU.
#[must_use]
pub fn places(wish: Wish) -> Option<u32> {
    match wish {
        Wish::Cpu => None,
        Wish::Auto | Wish::Cuda => usable().ok(),
        Wish::CudaIndex(_) => usable().ok().map(|_| 1),
    }
}

/// Makes libtorch use one thread in each operation that this thread calls: the number of threads changes bits.
pub fn one_thread() {
    tch::set_num_threads(1);
}

/// How many GPUs can be used, at least one: loads libtorch's CUDA part, which nothing links.
///
/// The driver is asked first: without one, libtorch's hundreds of megabytes are not read.
///
/// # Errors
/// What is missing.
pub fn usable() -> Result<u32, NoGpu> {
    let driver = gpu::driver()?;
    gpu::load(c"libtorch_cuda.so", libc::RTLD_LAZY | libc::RTLD_GLOBAL)
        .map_err(|cause| NoGpu::NoCudaLibtorch { cause })?;
    if !tch::Cuda::is_available() {
        return Err(NoGpu::Refused { cuda: driver.cuda, built_for: libtorch::cuda() });
    }
    Ok((tch::Cuda::device_count().max(1) as u32).min(driver.gpus.len() as u32))
}
