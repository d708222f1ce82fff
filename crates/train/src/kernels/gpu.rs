//! The kernels of a GPU: compiled for it by NVRTC, which libtorch brings, when the first replica on it is made.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::sync::Mutex;

use cudarc::driver::{result, sys};

use super::{KERNELS, Kernel};
use crate::gpu::{self, Loaded};
use crate::libtorch;

const SOURCE: &str = concat!(
    include_str!("../../native/kernels/portable.h"),
    include_str!("../../native/kernels/sums.h"),
    include_str!("../../native/kernels/update.h")
);
/// Threads of a block: warps that share up to 1024 numbers.
const THREADS: u32 = 256;

/// Why there are none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoKernels {
    #[error("libtorch's compiler for GPUs (NVRTC) cannot be loaded: {0}")]
    NoCompiler(String),
    #[error("libtorch's compiler for GPUs (NVRTC) does not compile for sm_{0}{1}: {2}")]
    NotCompiled(u32, u32, String),
    #[error("the driver refuses them: {0}")]
    Refused(String),
}

/// A GPU's kernels; they stay loaded.
pub(crate) struct Gpu {
    context: sys::CUcontext,
    functions: Vec<sys::CUfunction>,
}

// SAFETY: the driver's handles may be used from any thread whose current context is theirs, which `queue` sees to.
unsafe impl Send for Gpu {}
// SAFETY: as above; nothing of it changes.
unsafe impl Sync for Gpu {}

thread_local! {
    /// The stream on which this thread queues; null is the usual one.
    static STREAM: Cell<sys::CUstream> = const { Cell::new(std::ptr::null_mut()) };
}

/// Kernels that `work` queues on this thread go to this stream, which lives until it returns.
pub(crate) fn queued_on(stream: *mut c_void, work: impl FnOnce()) {
    struct Restored(sys::CUstream);
    impl Drop for Restored {
        fn drop(&mut self) {
            STREAM.set(self.0);
        }
    }
    let _restored = Restored(STREAM.replace(stream.cast()));
    work();
}

/// The kernels of the GPU with this index.
pub(super) fn of(index: usize) -> Result<&'static Gpu, NoKernels> {
    static GPUS: Mutex<BTreeMap<usize, &'static Gpu>> = Mutex::new(BTreeMap::new());
    let mut gpus = GPUS.lock().expect("nobody panicked while they were made");
    if let Some(gpu) = gpus.get(&index) {
        return Ok(gpu);
    }
    let gpu: &'static Gpu = Box::leak(Box::new(Gpu::new(index)?));
    gpus.insert(index, gpu);
    Ok(gpu)
}

impl Gpu {
    fn new(index: usize) -> Result<Self, NoKernels> {
        let refused = |error: result::DriverError| NoKernels::Refused(gpu::words(error));
        let driver = gpu::driver().map_err(|why| NoKernels::Refused(why.to_string()))?;
        let of_index = driver.gpus.iter().find(|gpu| gpu.index as usize == index);
        let capability =
            of_index.ok_or_else(|| NoKernels::Refused(format!("there is no GPU {index}")))?.capability;
        let binary = compile(capability)?;
        result::init().map_err(refused)?;
        let device = result::device::get(c_int::try_from(index).unwrap_or(c_int::MAX)).map_err(refused)?;
        // SAFETY: the driver has just named this device. The context is kept, as libtorch keeps it.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(refused)?;
        // SAFETY: it is retained.
        unsafe { result::ctx::set_current(context) }.map_err(refused)?;
        // SAFETY: the compiler made it, for this device.
        let module = unsafe { result::module::load_data(binary.as_ptr().cast()) }.map_err(refused)?;
        let function = |(name, _): &(&CStr, _)| {
            // SAFETY: the module stays loaded.
            unsafe { result::module::get_function(module, CString::from(*name)) }.map_err(refused)
        };
        Ok(Self { context, functions: KERNELS.iter().map(function).collect::<Result<_, _>>()? })
    }

    /// Queues blocks of a kernel on this thread's stream.
    ///
    /// # Safety
    /// As [`super::Kernels::queue`]; `args` are the kernel's.
    pub unsafe fn queue(&self, kernel: Kernel, args: *const c_void, blocks: u32) {
        let function = self.functions[kernel as usize];
        let mut parameters = [args.cast_mut()];
        // SAFETY: the context is retained, the function is one of its own with one parameter; the caller vouches for the rest.
        let queued = unsafe {
            result::ctx::set_current(self.context).and_then(|()| {
                result::launch_kernel(
                    function,
                    (blocks, 1, 1),
                    (THREADS, 1, 1),
                    0,
                    STREAM.get(),
                    &mut parameters,
                )
            })
        };
        // A panic, as where an operation of libtorch fails.
        queued.unwrap_or_else(|error| panic!("the GPU does not take {kernel:?}: {}", gpu::words(error)));
    }
}

type Program = *mut c_void;

/// NVRTC's functions.
struct Compiler {
    library: Loaded,
}

impl Compiler {
    /// libtorch opens it by a library of its own, which knows where its version of it lies.
    fn load() -> Result<Self, NoKernels> {
        let file = libtorch::nvrtc().ok_or_else(|| {
            NoKernels::NoCompiler("there is no libcaffe2_nvrtc.so in libtorch's folder".to_owned())
        })?;
        let name = CString::new(file.into_os_string().into_encoded_bytes()).expect("a path has no zero");
        // As libtorch opens it.
        let library = gpu::load(&name, libc::RTLD_LAZY).map_err(NoKernels::NoCompiler)?;
        load_builtins(library);
        Ok(Self { library })
    }

    fn function(&self, name: &CStr) -> Result<*mut c_void, String> {
        self.library.function(name).ok_or_else(|| format!("it has no {}", name.to_string_lossy()))
    }

    /// Compiles the kernels for GPUs of one kind.
    fn compile(&self, options: &[&CStr]) -> Result<Vec<u8>, String> {
        let source = CString::new(SOURCE).expect("the source has no zero");
        // SAFETY: all of these have the types of NVIDIA's `nvrtc.h`, which have not changed since CUDA 11.
        unsafe {
            type Create = unsafe extern "C" fn(
                *mut Program,
                *const c_char,
                *const c_char,
                c_int,
                *const *const c_char,
                *const *const c_char,
            ) -> c_int;
            type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
            type Destroy = unsafe extern "C" fn(*mut Program) -> c_int;
            let create = std::mem::transmute::<*mut c_void, Create>(self.function(c"nvrtcCreateProgram")?);
            let compile = std::mem::transmute::<*mut c_void, Compile>(self.function(c"nvrtcCompileProgram")?);
            let destroy = std::mem::transmute::<*mut c_void, Destroy>(self.function(c"nvrtcDestroyProgram")?);
            let mut program: Program = std::ptr::null_mut();
            let none = std::ptr::null();
            let created = create(&raw mut program, source.as_ptr(), c"kernels".as_ptr(), 0, none, none);
            if created != 0 {
                return Err(format!("it begins no program: error {created}"));
            }
            let options: Vec<_> = options.iter().map(|option| option.as_ptr()).collect();
            let compiled = compile(program, options.len() as c_int, options.as_ptr());
            let binary = if compiled == 0 {
                self.read(program, c"nvrtcGetCUBINSize", c"nvrtcGetCUBIN")
            } else {
                let said = self.read(program, c"nvrtcGetProgramLogSize", c"nvrtcGetProgramLog");
                let said =
                    said.map(|log| String::from_utf8_lossy(&log).trim_end_matches(['\0', '\n']).to_owned());
                Err(format!("error {compiled}: {}", said.unwrap_or_default()))
            };
            destroy(&raw mut program);
            binary
        }
    }

    /// What one function writes, whose length another says.
    ///
    /// # Safety
    /// The program lives, and the names are of two such functions.
    unsafe fn read(&self, program: Program, size: &CStr, get: &CStr) -> Result<Vec<u8>, String> {
        type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
        type Get = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
        let (size, get) = (self.function(size)?, self.function(get)?);
        // SAFETY: the caller vouches for the functions; the memory has the length that was said.
        unsafe {
            let (size, get) = (
                std::mem::transmute::<*mut c_void, Size>(size),
                std::mem::transmute::<*mut c_void, Get>(get),
            );
            let mut bytes = 0;
            let mut failed = size(program, &raw mut bytes);
            let mut read = vec![0_u8; bytes];
            if failed == 0 {
                failed = get(program, read.as_mut_ptr().cast());
            }
            if failed == 0 { Ok(read) } else { Err(format!("it gives nothing: error {failed}")) }
        }
    }
}

/// The compiler opens a library of its own by name, which the loader may not find though it lies beside it.
fn load_builtins(compiler: Loaded) {
    let file = compiler.file_of(c"nvrtcCreateProgram");
    let folder = file.as_deref().and_then(Path::parent).and_then(|folder| folder.read_dir().ok());
    for entry in folder.into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(b"libnvrtc-builtins.so") {
            let name = CString::new(entry.path().into_os_string().into_encoded_bytes());
            // Where it is no library, the compiler says what it misses.
            _ = gpu::load(&name.expect("a path has no zero"), libc::RTLD_NOW);
        }
    }
}

/// The kernels as a GPU of this compute capability runs them.
fn compile((major, minor): (u32, u32)) -> Result<Vec<u8>, NoKernels> {
    let architecture = format!("--gpu-architecture=sm_{major}{minor}");
    let architecture = CString::new(architecture).expect("numbers have no zero");
    // A product and a sum are rounded each: the same bits as on a CPU.
    let options = [&*architecture, c"--std=c++17", c"--fmad=false"];
    let compiled = Compiler::load()?.compile(&options);
    compiled.map_err(|why| NoKernels::NotCompiled(major, minor, why))
}
