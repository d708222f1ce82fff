//! The GPUs of this host, as their driver shows them. Nothing of CUDA is linked: driver and libtorch's CUDA part are
//! opened at run time, so that one binary serves hosts with and without GPUs.

use std::ffi::{CStr, OsStr, c_int, c_void};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cudarc::driver::{result, sys};

use crate::libtorch;

/// A version of CUDA, as 12.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CudaVersion(pub u32, pub u32);

/// The oldest CUDA that a driver may support, where libtorch does not say for which it was built: libtorch's oldest builds
/// need it.
const CUDA_LEAST: CudaVersion = CudaVersion(12, 0);

impl CudaVersion {
    /// As CUDA counts them: 13000 is 13.0.
    pub(crate) fn counted(version: c_int) -> Self {
        let version = version.unsigned_abs();
        Self(version / 1000, version % 1000 / 10)
    }
}

impl fmt::Display for CudaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// Its index among those of `CUDA_VISIBLE_DEVICES`.
    pub index: u32,
    /// As `NVIDIA H100 80GB HBM3`.
    pub name: String,
    pub memory_bytes: u64,
    /// Its compute capability, as (9, 0).
    pub capability: (u32, u32),
    /// The GPUs whose memory it reaches directly.
    pub peers: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    /// The newest CUDA that it supports.
    pub cuda: CudaVersion,
    /// The GPUs that it shows to this process.
    pub gpus: Vec<Gpu>,
}

/// Why no GPU can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoGpu {
    /// There is no driver.
    #[error(
        "there is no NVIDIA driver: {cause}. Install it, or start the container with its host's GPUs; compute.device: \
         cpu trains without"
    )]
    NoDriver { cause: String },
    /// The driver does not know the CUDA that libtorch needs.
    #[error(
        "the NVIDIA driver is too old: it supports CUDA {found}, and this libtorch needs {needed} or newer. Update the \
         driver{}, or set LIBTORCH to a libtorch of the same version that is built for CUDA {found} or older; \
         compute.device: cpu trains without",
        release(.needed)
    )]
    DriverTooOld { found: CudaVersion, needed: CudaVersion },
    /// Two files call themselves the driver.
    #[error(
        "the loader finds two NVIDIA drivers, {named} as libcuda.so and {driver} as libcuda.so.1. The first may be a stub of \
         CUDA's toolkit, which only serves to link: take its folder out of LD_LIBRARY_PATH; compute.device: cpu trains \
         without"
    )]
    TwoDrivers { named: String, driver: String },
    /// The driver does not start.
    #[error("the NVIDIA driver does not start: {cause}; `nvidia-smi` may say more")]
    DriverFails { cause: String },
    /// There is a driver and no GPU.
    #[error("the NVIDIA driver shows no GPU to this process{}", visible(.visible_devices))]
    NoneVisible { visible_devices: Option<String> },
    /// The GPU that was asked for is not there.
    #[error(
        "there is no GPU {index}: this process sees {count}, which are counted from 0{}. Name one of them in \
         compute.device, or cuda for any",
        visible(.visible_devices)
    )]
    NoSuchIndex { index: u32, count: u32, visible_devices: Option<String> },
    /// libtorch was built without CUDA.
    #[error(
        "this libtorch has no CUDA part: {cause}. Install one that has (`make setup LIBTORCH_VARIANT=cuda`), or set \
         LIBTORCH to it"
    )]
    NoCudaLibtorch { cause: String },
    /// libtorch's CUDA part does not find what it needs.
    #[error(
        "libtorch's CUDA part{} cannot use the GPU, though the driver shows one and supports CUDA {cuda}; `nvidia-smi` may \
         say more. compute.device: cpu trains without",
        built(.built_for)
    )]
    Refused { cuda: CudaVersion, built_for: Option<CudaVersion> },
}

fn built(cuda: &Option<CudaVersion>) -> String {
    cuda.map_or_else(String::new, |cuda| format!(", built for CUDA {cuda},"))
}

/// NVIDIA's name of the first driver with this CUDA.
fn release(cuda: &CudaVersion) -> String {
    let release = match cuda.0 {
        12 => 525,
        13 => 580,
        _ => return String::new(),
    };
    format!(" to release {release} or newer")
}

fn visible(devices: &Option<String>) -> String {
    devices.as_ref().map_or_else(String::new, |devices| format!(" (CUDA_VISIBLE_DEVICES is `{devices}`)"))
}

/// `CUDA_VISIBLE_DEVICES`, if it is set.
pub(crate) fn visible_devices() -> Option<String> {
    std::env::var("CUDA_VISIBLE_DEVICES").ok()
}

/// Whether a driver's module is loaded into this host's kernel, or into that of the Windows below it; nothing is opened. What it
/// shows, [`driver`] tells.
#[must_use]
pub fn may_be_here() -> bool {
    ["/proc/driver/nvidia", "/dev/nvidiactl", "/dev/dxg"].into_iter().any(|file| Path::new(file).exists())
}

/// What the driver shows to this process. It is asked once; libtorch is not loaded.
///
/// # Errors
/// No driver, an old one, or no GPU.
pub fn driver() -> Result<&'static Driver, NoGpu> {
    static DRIVER: OnceLock<Result<Driver, NoGpu>> = OnceLock::new();
    DRIVER.get_or_init(ask).as_ref().map_err(NoGpu::clone)
}

fn ask() -> Result<Driver, NoGpu> {
    let driver = load(c"libcuda.so.1", libc::RTLD_LAZY).map_err(|cause| NoGpu::NoDriver { cause })?;
    // cudarc asks for this name first.
    if let Ok(named) = load(c"libcuda.so", libc::RTLD_LAZY)
        && named != driver
    {
        let file = |library: Loaded| {
            let file = library.file_of(c"cuInit");
            file.map_or_else(|| "another file".to_owned(), |file| file.display().to_string())
        };
        return Err(NoGpu::TwoDrivers { named: file(named), driver: file(driver) });
    }
    // SAFETY: asks only whether the library that was just loaded is found.
    if !unsafe { sys::is_culib_present() } {
        return Err(NoGpu::NoDriver { cause: "libcuda.so.1 is loaded and not found again".to_owned() });
    }
    let cuda = version()?;
    // A driver serves all that is built for its major version.
    let needed = libtorch::cuda().map_or(CUDA_LEAST, |CudaVersion(major, _)| CudaVersion(major, 0));
    if cuda < needed {
        return Err(NoGpu::DriverTooOld { found: cuda, needed });
    }
    let fails = |error: result::DriverError| NoGpu::DriverFails { cause: words(error) };
    match result::init() {
        Err(error) if error.0 == sys::CUresult::CUDA_ERROR_NO_DEVICE => {
            return Err(NoGpu::NoneVisible { visible_devices: visible_devices() });
        }
        started => started.map_err(fails)?,
    }
    let count = result::device::get_count().map_err(fails)?;
    if count == 0 {
        return Err(NoGpu::NoneVisible { visible_devices: visible_devices() });
    }
    let gpus = (0..count).map(|index| gpu(index, count)).collect::<Result<_, _>>().map_err(fails)?;
    Ok(Driver { cuda, gpus })
}

fn version() -> Result<CudaVersion, NoGpu> {
    let mut version: c_int = 0;
    // SAFETY: the driver is loaded, and writes one number.
    let asked = unsafe { sys::cuDriverGetVersion(&raw mut version) }.result();
    asked.map_err(|error| NoGpu::DriverFails { cause: words(error) })?;
    Ok(CudaVersion::counted(version))
}

fn gpu(index: c_int, count: c_int) -> Result<Gpu, result::DriverError> {
    use sys::CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
    };
    let device = result::device::get(index)?;
    // SAFETY: the driver has just named this device.
    let attribute = |which| unsafe { result::device::get_attribute(device, which) }.map(i32::unsigned_abs);
    let mut peers = Vec::new();
    for other in (0..count).filter(|other| *other != index) {
        let mut reaches: c_int = 0;
        let peer = result::device::get(other)?;
        // SAFETY: the driver has named both, and writes one number.
        unsafe { sys::cuDeviceCanAccessPeer(&raw mut reaches, device, peer) }.result()?;
        if reaches != 0 {
            peers.push(other.unsigned_abs());
        }
    }
    Ok(Gpu {
        index: index.unsigned_abs(),
        name: result::device::get_name(device)?,
        // SAFETY: as above.
        memory_bytes: unsafe { result::device::total_mem(device) }? as u64,
        capability: (attribute(MAJOR)?, attribute(MINOR)?),
        peers,
    })
}

/// The driver's text for an error, or its number if it has none.
pub(crate) fn words(error: result::DriverError) -> String {
    match error.error_string() {
        Ok(words) => words.to_string_lossy().into_owned(),
        Err(_) => format!("error {}", error.0 as u32),
    }
}

/// A library that stays loaded; the same one each time it is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Loaded(*mut c_void);

impl Loaded {
    /// Its function of this name, or that of a library that it brings.
    pub(crate) fn function(self, name: &CStr) -> Option<*mut c_void> {
        // SAFETY: the library is loaded for good, the name is a C string.
        let found = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        (!found.is_null()).then_some(found)
    }

    /// The file that has its function of this name.
    pub(crate) fn file_of(self, name: &CStr) -> Option<PathBuf> {
        let mut found = libc::Dl_info {
            dli_fname: std::ptr::null(),
            dli_fbase: std::ptr::null_mut(),
            dli_sname: std::ptr::null(),
            dli_saddr: std::ptr::null_mut(),
        };
        // SAFETY: the library is loaded for good; what is found lies in it.
        let known = unsafe { libc::dladdr(self.function(name)?, &raw mut found) } != 0;
        // SAFETY: it is the name of a loaded file, which ends with a zero.
        (known && !found.dli_fname.is_null())
            .then(|| PathBuf::from(OsStr::from_bytes(unsafe { CStr::from_ptr(found.dli_fname) }.to_bytes())))
    }
}

/// Loads a library and keeps it loaded.
pub(crate) fn load(name: &CStr, flags: c_int) -> Result<Loaded, String> {
    // SAFETY: the name is a C string; loading these libraries runs only their own initialisers.
    let library = unsafe { libc::dlopen(name.as_ptr(), flags) };
    if !library.is_null() {
        return Ok(Loaded(library));
    }
    // SAFETY: after a failure there is a message, which lives until this thread's next call of the loader.
    let message = unsafe { libc::dlerror() };
    if message.is_null() {
        return Err(format!("{} cannot be loaded", name.to_string_lossy()));
    }
    // SAFETY: see above; it ends with a zero.
    Err(unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned())
}
