//! What computes on a GPU besides libtorch: the versions that this process has loaded, which decide bits.

use std::ffi::{CStr, c_int, c_void};

use crate::gpu::CudaVersion;

/// The versions that this process computes with, as `CUDA 13.0, cuBLAS 13.1.0, cuDNN 9.19.0, driver 580.65.06`. libtorch's CUDA
/// part must be loaded.
pub(crate) fn versions() -> String {
    let driver = std::fs::read_to_string("/proc/driver/nvidia/version").unwrap_or_default();
    let found = [
        ("CUDA", cuda_runtime().map(|version| CudaVersion::counted(version).to_string())),
        ("cuBLAS", said_by(c"cublasLtGetVersion").map(plain)),
        ("cuDNN", said_by(c"cudnnGetVersion").map(cudnn)),
        ("driver", driver_in(&driver).map(str::to_owned)),
    ];
    let known = found.into_iter().filter_map(|(what, version)| Some(format!("{what} {}", version?)));
    known.collect::<Vec<_>>().join(", ")
}

/// A function of this name in what is loaded.
fn function(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: this only looks for the name.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

/// What a function of NVIDIA's says that takes nothing.
fn said_by(name: &CStr) -> Option<usize> {
    type Version = unsafe extern "C" fn() -> usize;
    let found = function(name)?;
    // SAFETY: all functions that are asked for here have this type in NVIDIA's headers.
    let version = unsafe { std::mem::transmute::<*mut c_void, Version>(found) };
    // SAFETY: as above; it has no conditions.
    Some(unsafe { version() })
}

fn cuda_runtime() -> Option<c_int> {
    type Version = unsafe extern "C" fn(*mut c_int) -> c_int;
    let found = function(c"cudaRuntimeGetVersion")?;
    // SAFETY: it has this type in NVIDIA's headers.
    let get = unsafe { std::mem::transmute::<*mut c_void, Version>(found) };
    let mut version = 0;
    // SAFETY: it writes one number.
    let failed = unsafe { get(&raw mut version) };
    (failed == 0).then_some(version)
}

/// 130100 is 13.1.0.
fn plain(version: usize) -> String {
    format!("{}.{}.{}", version / 10_000, version / 100 % 100, version % 100)
}

/// 91900 is 9.19.0, and 8907 is 8.9.7.
fn cudnn(version: usize) -> String {
    if version >= 10_000 {
        return plain(version);
    }
    format!("{}.{}.{}", version / 1000, version / 100 % 10, version % 100)
}

/// The driver's release, in its kernel module's own words.
fn driver_in(text: &str) -> Option<&str> {
    let line = text.lines().find(|line| line.starts_with("NVRM version"))?;
    line.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_nvidia_counts_them() {
        let cuda = |version| CudaVersion::counted(version).to_string();
        assert_eq!((cuda(13_000), cuda(12_080)), ("13.0".to_owned(), "12.8".to_owned()));
        assert_eq!((cudnn(91_900), cudnn(8_907)), ("9.19.0".to_owned(), "8.9.7".to_owned()));
        assert_eq!(plain(130_100), "13.1.0");
        let text = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder)\n\
                    GCC version:  gcc version 12.2.0\n";
        assert_eq!(driver_in(text), Some("580.65.06"));
        let older =
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n";
        assert_eq!(driver_in(older), Some("535.183.01"));
        assert_eq!(driver_in(""), None);
    }
}
