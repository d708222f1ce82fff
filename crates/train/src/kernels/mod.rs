//! What a GPU's engine does with its sums and its state: a few kernels, each in the place of dozens of libtorch's operations over
//! whole tensors. `native/kernels` has them, for GPUs and for CPUs, with the same bits.
//!
//! `args`: their arguments. `gpu`: compiles them for a GPU, and queues them. On a CPU they are functions.

mod args;
mod gpu;

use std::ffi::{CStr, c_void};

use tch::Device;

pub(crate) use args::*;
pub(crate) use gpu::{NoKernels, queued_on};

/// A kernel on a CPU: the arguments, their length, the number of blocks. False if the length is another.
type OnHost = unsafe extern "C" fn(*const c_void, usize, u32) -> bool;

macro_rules! kernels {
    ($($kernel:ident: $name:literal, $function:ident;)*) => {
        unsafe extern "C" {
            $(fn $function(args: *const c_void, bytes: usize, blocks: u32) -> bool;)*
        }

        #[derive(Clone, Copy, Debug)]
        pub(crate) enum Kernel {
            $($kernel),*
        }

        /// Each with its name in the source.
        const KERNELS: &[(&CStr, OnHost)] = &[$(($name, $function)),*];
    };
}

kernels! {
    Begin: c"lsgan_kernel_begin", lsgan_kernel_begin;
    Measure: c"lsgan_kernel_measure", lsgan_kernel_measure;
    Add: c"lsgan_kernel_add", lsgan_kernel_add;
    EndRank: c"lsgan_kernel_end_rank", lsgan_kernel_end_rank;
    Narrow: c"lsgan_kernel_narrow", lsgan_kernel_narrow;
    ReadHead: c"lsgan_kernel_read_head", lsgan_kernel_read_head;
    Decide: c"lsgan_kernel_decide", lsgan_kernel_decide;
    Choose: c"lsgan_kernel_choose", lsgan_kernel_choose;
    Squares: c"lsgan_kernel_squares", lsgan_kernel_squares;
    Clip: c"lsgan_kernel_clip", lsgan_kernel_clip;
    Update: c"lsgan_kernel_update", lsgan_kernel_update;
}

/// The kernels of a device.
#[derive(Clone, Copy)]
pub(crate) enum Kernels {
    OnHost,
    OnGpu(&'static gpu::Gpu),
}

impl Kernels {
    /// Compiles them, if that device is a GPU and they are not yet compiled for it.
    pub fn of(device: Device) -> Result<Self, NoKernels> {
        match device {
            Device::Cuda(index) => gpu::of(index).map(Self::OnGpu),
            Device::Cpu | Device::Mps | Device::Vulkan => Ok(Self::OnHost),
        }
    }

    /// Queues so many blocks of a kernel. On a CPU they are done when this returns.
    ///
    /// # Safety
    /// The arguments are those of this kernel. Their addresses are of the device's memory, which has what the kernel reads and
    /// writes in so many blocks until they are done.
    pub unsafe fn queue<A: Arguments>(self, kernel: Kernel, args: &A, blocks: usize) {
        if blocks == 0 {
            return;
        }
        let blocks = u32::try_from(blocks).expect("a network has fewer blocks of parameters");
        let args = std::ptr::from_ref(args).cast();
        match self {
            Self::OnHost => {
                let (name, on_host) = KERNELS[kernel as usize];
                // SAFETY: the caller vouches for the arguments and what they point to.
                let known = unsafe { on_host(args, size_of::<A>(), blocks) };
                assert!(known, "{}: its arguments are {} bytes here", name.to_string_lossy(), size_of::<A>());
            }
            // SAFETY: as above.
            Self::OnGpu(gpu) => unsafe { gpu.queue(kernel, args, blocks) },
        }
    }
}
