//! A test double of `libcuda.so.1`. It reports GPUs that cannot compute, so that tests on a host without a GPU see the
//! messages about old drivers, missing indices and a libtorch without CUDA.
//!
//! `CUDA_DOUBLE_VERSION` is the version of CUDA that the driver supports (12040 is 12.4; default 13000), `CUDA_DOUBLE_GPUS`
//! the number of GPUs (default 2). With 0 GPUs the driver returns "no device", as NVIDIA's does.
#![allow(non_snake_case, reason = "the names are NVIDIA's")]
#![allow(clippy::missing_safety_doc, reason = "NVIDIA's header documents the functions")]

use std::ffi::{CStr, c_char, c_int, c_uint};

const SUCCESS: c_uint = 0;
const INVALID_VALUE: c_uint = 1;
const NO_DEVICE: c_uint = 100;
const INVALID_DEVICE: c_uint = 101;

const NAME: &CStr = c"Double GPU";
const MEMORY_BYTES: usize = 8 << 30;
/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR` and `_MINOR`, and their values.
const ATTRIBUTES: [(c_int, c_int); 2] = [(75, 9), (76, 0)];

fn variable(name: &str, default: c_int) -> c_int {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn gpus() -> c_int {
    variable("CUDA_DOUBLE_GPUS", 2)
}

/// Writes `value` to `to`, which must be writable, if there is such a GPU.
unsafe fn answer<T>(gpu: c_int, to: *mut T, value: T) -> c_uint {
    if !(0..gpus()).contains(&gpu) {
        return INVALID_DEVICE;
    }
    // SAFETY: the caller vouches for it.
    unsafe { to.write(value) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn cuInit(_flags: c_uint) -> c_uint {
    if gpus() == 0 { NO_DEVICE } else { SUCCESS }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> c_uint {
    // SAFETY: the caller gives room for one number.
    unsafe { version.write(variable("CUDA_DOUBLE_VERSION", 13_000)) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> c_uint {
    // SAFETY: the caller gives room for one number.
    unsafe { count.write(gpus()) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> c_uint {
    // SAFETY: the caller gives room for one handle.
    unsafe { answer(ordinal, device, ordinal) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, len: c_int, _device: c_int) -> c_uint {
    let bytes = NAME.to_bytes_with_nul();
    if usize::try_from(len).unwrap_or(0) < bytes.len() {
        return INVALID_VALUE;
    }
    // SAFETY: the caller gives room for `len` bytes.
    unsafe { name.copy_from_nonoverlapping(bytes.as_ptr().cast(), bytes.len()) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int) -> c_uint {
    // SAFETY: the caller gives room for one number.
    unsafe { answer(device, bytes, MEMORY_BYTES) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_int, device: c_int) -> c_uint {
    match ATTRIBUTES.iter().find(|(known, _)| *known == attribute) {
        // SAFETY: the caller gives room for one number.
        Some((_, answered)) => unsafe { answer(device, value, *answered) },
        None => INVALID_VALUE,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceCanAccessPeer(reaches: *mut c_int, device: c_int, _peer: c_int) -> c_uint {
    // SAFETY: the caller gives room for one number.
    unsafe { answer(device, reaches, 1) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(error: c_uint, words: *mut *const c_char) -> c_uint {
    let said = match error {
        SUCCESS => c"no error",
        NO_DEVICE => c"no CUDA-capable device is detected",
        INVALID_DEVICE => c"invalid device ordinal",
        _ => c"invalid argument",
    };
    // SAFETY: the caller gives room for one pointer.
    unsafe { words.write(said.as_ptr()) };
    SUCCESS
}
