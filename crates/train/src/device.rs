//! What a worker computes on.

use lsgan_spec::Device as Wish;
use tch::Device;

/// The device that a run's file asks for: CUDA where libtorch's CUDA part and a GPU are found at run time.
#[must_use]
pub fn choose(wish: Wish) -> Device {
    match wish {
        Wish::Auto if cuda_is_there() => Device::Cuda(0),
        Wish::Auto | Wish::Cpu => Device::Cpu,
    }
}

/// How many devices this host has: its GPUs, or else its CPU as one.
#[must_use]
pub fn count() -> u32 {
    if cuda_is_there() { u32::try_from(tch::Cuda::device_count()).unwrap_or(1).max(1) } else { 1 }
}

/// Makes libtorch use one thread in each operation that this thread calls: their number changes bits.
pub fn one_thread() {
    tch::set_num_threads(1);
}

/// Loads libtorch's CUDA part, which nothing links, and asks it for a GPU.
///
/// The driver is asked for first: without one, libtorch's hundreds of megabytes are not read for nothing, and
/// an install without CUDA's libraries is not touched.
fn cuda_is_there() -> bool {
    let loads = |name: &std::ffi::CStr, flags| {
        // SAFETY: the name is a C string; loading these libraries runs only their own initialisers.
        unsafe { !libc::dlopen(name.as_ptr(), flags).is_null() }
    };
    loads(c"libcuda.so.1", libc::RTLD_LAZY)
        && loads(c"libtorch_cuda.so", libc::RTLD_LAZY | libc::RTLD_GLOBAL)
        && tch::Cuda::is_available()
}
