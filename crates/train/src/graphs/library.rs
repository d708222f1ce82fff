//! libtorch's own recorder (`native/graphs.cpp`): a small library that is embedded in the binary. It is not linked,
//! since it needs libtorch's CUDA part, which a binary on a CPU lacks.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::{Recorder, Recording};
use crate::kernels;

/// The library's bytes, where it was built in.
#[cfg(cuda_graphs)]
const LIBRARY: Option<&[u8]> = Some(include_bytes!(concat!(env!("OUT_DIR"), "/liblsgan_graphs.so")));
#[cfg(not(cuda_graphs))]
const LIBRARY: Option<&[u8]> = None;

const MESSAGE_BYTES: usize = 4096;

type Raw = *mut c_void;

/// Its functions, which are never unloaded.
#[derive(Clone, Copy)]
struct Functions {
    begin: unsafe extern "C" fn(c_int, Raw, *mut c_char, usize) -> Raw,
    stream: unsafe extern "C" fn(Raw) -> Raw,
    end: unsafe extern "C" fn(Raw, *mut c_char, usize) -> bool,
    replay: unsafe extern "C" fn(Raw, *mut c_char, usize) -> bool,
    free: unsafe extern "C" fn(Raw),
    empty_cache: unsafe extern "C" fn(),
}

/// Whether this build has it.
#[must_use]
pub fn has_cuda_graphs() -> bool {
    LIBRARY.is_some()
}

/// Records what is queued on this GPU. libtorch's CUDA part must be loaded.
///
/// # Errors
/// Why it cannot be done.
pub(crate) fn open(index: usize) -> Result<Box<dyn Recorder>, String> {
    let bytes = LIBRARY
        .ok_or("this build has none: the headers of CUDA's runtime were missing when it was compiled")?;
    let functions = load(bytes).map_err(|why| format!("its library cannot be loaded: {why}"))?;
    let device = c_int::try_from(index).map_err(|_| "no GPU has this index".to_owned())?;
    Ok(Box::new(Library { functions, device, pool: None }))
}

fn load(bytes: &[u8]) -> Result<Functions, String> {
    // SAFETY: makes a file in memory, whose descriptor is ours.
    let descriptor = unsafe { libc::memfd_create(c"lsgan_graphs".as_ptr(), libc::MFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(std::io::Error::last_os_error().to_string());
    }
    // SAFETY: it was just made, and no other file owns it.
    let mut file = unsafe { File::from_raw_fd(descriptor) };
    file.write_all(bytes).map_err(|error| error.to_string())?;
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("a path without zeros");
    // SAFETY: its initialisers are the C++ runtime's. All that it needs is resolved now, or it is refused.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if library.is_null() {
        // SAFETY: after a failure the loader has a message, which lives until this thread's next call of it.
        let said = unsafe { libc::dlerror() };
        // SAFETY: as above; it ends with a zero.
        let said = (!said.is_null()).then(|| unsafe { CStr::from_ptr(said) }.to_string_lossy().into_owned());
        return Err(said.unwrap_or_else(|| "the loader gives no reason".to_owned()));
    }
    let find = |name: &CStr| {
        // SAFETY: the library is loaded for good.
        let found = unsafe { libc::dlsym(library, name.as_ptr()) };
        if found.is_null() { Err(format!("it has no {}", name.to_string_lossy())) } else { Ok(found) }
    };
    // SAFETY: each has the signature that `native/graphs.cpp` gives it, which was compiled with this file.
    unsafe {
        Ok(Functions {
            begin: std::mem::transmute::<Raw, unsafe extern "C" fn(c_int, Raw, *mut c_char, usize) -> Raw>(
                find(c"lsgan_graphs_begin")?,
            ),
            stream: std::mem::transmute::<Raw, unsafe extern "C" fn(Raw) -> Raw>(find(
                c"lsgan_graphs_stream",
            )?),
            end: std::mem::transmute::<Raw, unsafe extern "C" fn(Raw, *mut c_char, usize) -> bool>(find(
                c"lsgan_graphs_end",
            )?),
            replay: std::mem::transmute::<Raw, unsafe extern "C" fn(Raw, *mut c_char, usize) -> bool>(find(
                c"lsgan_graphs_replay",
            )?),
            free: std::mem::transmute::<Raw, unsafe extern "C" fn(Raw)>(find(c"lsgan_graphs_free")?),
            empty_cache: std::mem::transmute::<Raw, unsafe extern "C" fn()>(find(
                c"lsgan_graphs_empty_cache",
            )?),
        })
    }
}

struct Library {
    functions: Functions,
    device: c_int,
    /// The first recording, whose memory all that follow share.
    pool: Option<Arc<Handle>>,
}

/// One of the library's recordings.
struct Handle {
    raw: Raw,
    functions: Functions,
}

// SAFETY: a recording may be replayed and freed on any thread, one at a time; a replica uses one thread.
unsafe impl Send for Handle {}
// SAFETY: as above; of a shared recording only the memory is read.
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the library made it, and it is freed once.
        unsafe { (self.functions.free)(self.raw) }
    }
}

impl Recorder for Library {
    fn record(&mut self, work: &mut dyn FnMut()) -> Result<Box<dyn Recording>, String> {
        let Functions { begin, stream, end, .. } = self.functions;
        let pool = self.pool.as_ref().map_or(std::ptr::null_mut(), |pool| pool.raw);
        let device = self.device;
        // SAFETY: the pool is a recording that lives, or null; the message buffer has the length that is said.
        let raw =
            said(|message, bytes| unsafe { begin(device, pool, message, bytes) }, |raw| !raw.is_null())?;
        let handle = Arc::new(Handle { raw, functions: self.functions });
        // SAFETY: it was begun.
        let stream = unsafe { stream(raw) };
        let worked = catch_unwind(AssertUnwindSafe(|| kernels::queued_on(stream, work)));
        // SAFETY: it was begun, and is ended once, whatever was in between.
        let ended = said(|message, bytes| unsafe { end(raw, message, bytes) }, |ended| *ended);
        if let Err(panic) = worked {
            let text = panic.downcast_ref::<String>().cloned();
            return Err(text.unwrap_or_else(|| "what was recorded panicked".to_owned()));
        }
        ended?;
        self.pool.get_or_insert_with(|| handle.clone());
        Ok(Box::new(handle))
    }

    fn begin_anew(&mut self) {
        self.pool = None;
    }

    fn tidy(&mut self) {
        // SAFETY: libtorch frees only memory that no tensor uses.
        unsafe { (self.functions.empty_cache)() }
    }
}

impl Recording for Arc<Handle> {
    fn replay(&self, _work: &mut dyn FnMut()) -> Result<(), String> {
        let Handle { raw, functions: Functions { replay, .. } } = **self;
        // SAFETY: the recording lives as long as `self`, and was ended.
        said(|message, bytes| unsafe { replay(raw, message, bytes) }, |replayed| *replayed).map(|_| ())
    }
}

/// The result of a call, or the first line of its message where `is_good` refuses the result.
fn said<T>(
    call: impl FnOnce(*mut c_char, usize) -> T,
    is_good: impl FnOnce(&T) -> bool,
) -> Result<T, String> {
    let mut message: [c_char; MESSAGE_BYTES] = [0; MESSAGE_BYTES];
    let given = call(message.as_mut_ptr(), MESSAGE_BYTES);
    if is_good(&given) {
        return Ok(given);
    }
    // SAFETY: on failure the callee wrote a text that ends with a zero.
    let text = unsafe { CStr::from_ptr(message.as_ptr()) }.to_string_lossy().into_owned();
    Err(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The only symbols that it lacks are those of libtorch's CUDA part.
    #[test]
    fn without_libtorchs_cuda_part_it_is_refused_with_the_reason() {
        let why = open(0).err().expect("nothing has loaded libtorch's CUDA part here");
        let wanted = if has_cuda_graphs() {
            "undefined symbol: "
        } else {
            "the headers of CUDA's runtime were missing"
        };
        assert!(why.contains(wanted), "{why}");
        assert!(!has_cuda_graphs() || why.contains("cuda"), "{why}");
    }
}
