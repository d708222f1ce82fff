//! The functions with their C names: those of `nccl.h`, then those for streams, faults and counts.
#![allow(clippy::missing_safety_doc, reason = "nccl.h documents them")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::communicator::{
    BEGUN, CALLED, Call, Communicator, IN_PROGRESS, INVALID_ARGUMENT, MISUSES, SUCCESS, SYSTEM_ERROR, find,
    lives, take,
};
use crate::faults::Fault;
use crate::hub::{self, ALL_REDUCE, UINT8, value_bytes};
use crate::stream::{Stream, Target};

/// `ncclUniqueId`: nonce (u64), then the hub's port (u16).
#[repr(C)]
pub struct UniqueId([u8; 128]);

/// How `ncclConfig_t` begins, in all versions.
#[repr(C)]
pub struct ConfigHead {
    size: usize,
    magic: u32,
    version: u32,
    blocking: c_int,
}

/// The size of the config in this version's header.
fn config_bytes(version: i64) -> usize {
    const SINCE: [(i64, usize); 4] = [(23_000, 96), (22_900, 88), (22_800, 80), (22_700, 72)];
    SINCE.iter().find(|(since, _)| version >= *since).map_or(48, |(_, bytes)| *bytes)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclGetVersion(version: *mut c_int) -> c_int {
    // SAFETY: the caller's place for an int.
    unsafe { version.write(Fault::Version.get() as c_int) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclGetUniqueId(id: *mut UniqueId) -> c_int {
    let nonce = RandomState::new().hash_one("nccl-double");
    let Ok(port) = hub::start(nonce) else { return SYSTEM_ERROR };
    let mut bytes = [0; 128];
    bytes[..8].copy_from_slice(&nonce.to_le_bytes());
    bytes[8..10].copy_from_slice(&port.to_le_bytes());
    // SAFETY: the caller's place for an id.
    unsafe { id.write(UniqueId(bytes)) };
    SUCCESS
}

/// Accepts only a non-blocking config of exactly the size for its version.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclCommInitRankConfig(
    handle: *mut usize,
    size: c_int,
    id: UniqueId,
    rank: c_int,
    config: *const ConfigHead,
) -> c_int {
    // SAFETY: the caller's config.
    let config = unsafe { config.read() };
    let version = Fault::Version.get().min(23_000);
    let right = config.magic == 0xcafe_beef
        && i64::from(config.version) == version
        && config.size == config_bytes(version)
        && config.blocking == 0;
    let (Ok(rank), Ok(size), true) = (u32::try_from(rank), u32::try_from(size), right) else {
        return INVALID_ARGUMENT;
    };
    let nonce = u64::from_le_bytes(id.0[..8].try_into().expect("8 bytes"));
    let port = u16::from_le_bytes([id.0[8], id.0[9]]);
    let (number, communicator) = Communicator::begin(rank, size);
    // SAFETY: the caller's place for a handle.
    unsafe { handle.write(number) };
    let address = handle as usize;
    thread::spawn(move || {
        if communicator.join(port, nonce) && lives(number) {
            // SAFETY: as in NCCL, the address must stay valid until the communicator is ready or aborted.
            unsafe { (address as *mut usize).write(number) };
        }
    });
    IN_PROGRESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclCommGetAsyncError(handle: usize, state: *mut c_int) -> c_int {
    let Some(communicator) = find(handle) else { return INVALID_ARGUMENT };
    // SAFETY: the caller's place for a result.
    unsafe { state.write(communicator.state.load(Ordering::SeqCst)) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclCommFinalize(handle: usize) -> c_int {
    find(handle).map_or(INVALID_ARGUMENT, |communicator| communicator.state.load(Ordering::SeqCst))
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclCommDestroy(handle: usize) -> c_int {
    let Some(communicator) = take(handle) else { return INVALID_ARGUMENT };
    communicator.end();
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclCommAbort(handle: usize) -> c_int {
    let Some(communicator) = take(handle) else { return INVALID_ARGUMENT };
    thread::sleep(Duration::from_millis(u64::try_from(Fault::SlowAbortMs.get()).unwrap_or(0)));
    communicator.poison();
    communicator.end();
    SUCCESS
}

/// In place and sums only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclAllReduce(
    from: *const c_void,
    to: *mut c_void,
    count: usize,
    of: u32,
    op: u32,
    handle: usize,
    stream: *const Stream,
) -> c_int {
    if op != 0 || !std::ptr::eq(from, to) || of == UINT8 {
        return INVALID_ARGUMENT;
    }
    queue(to, count, of, ALL_REDUCE, handle, stream)
}

/// In place only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclBroadcast(
    from: *const c_void,
    to: *mut c_void,
    count: usize,
    of: u32,
    root: c_int,
    handle: usize,
    stream: *const Stream,
) -> c_int {
    let (Ok(root), true) = (u32::try_from(root), std::ptr::eq(from, to)) else { return INVALID_ARGUMENT };
    queue(to, count, of, root, handle, stream)
}

fn queue(
    values: *mut c_void,
    count: usize,
    of: u32,
    root: u32,
    handle: usize,
    stream: *const Stream,
) -> c_int {
    let (Some(communicator), Some(value_bytes)) = (find(handle), value_bytes(of)) else {
        return INVALID_ARGUMENT;
    };
    if count == 0 {
        return SUCCESS;
    }
    let Some(target) = Target::of(stream) else { return INVALID_ARGUMENT };
    let call = Call { of, root, count: count as u64, values: values.cast(), len_bytes: count * value_bytes };
    communicator.queue(target, call)
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclGetErrorString(code: c_int) -> *const c_char {
    let words = match code {
        SUCCESS => c"no error",
        SYSTEM_ERROR => c"unhandled system error",
        INVALID_ARGUMENT => c"invalid argument",
        6 => c"remote process exited or there was a network error",
        _ => c"another error",
    };
    words.as_ptr()
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclGetLastError(_handle: usize) -> *const c_char {
    c"said by the double".as_ptr()
}

/// A new stream, which is never freed.
#[unsafe(no_mangle)]
pub extern "C" fn double_stream_create() -> *const Stream {
    Stream::leak()
}

/// Queues `job(data)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn double_stream_queue(
    stream: *const Stream,
    job: extern "C" fn(*mut c_void),
    data: *mut c_void,
) {
    let data = data as usize;
    // SAFETY: a stream of `double_stream_create`.
    unsafe { &*stream }.queue(move || job(data as *mut c_void));
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn double_stream_queued(stream: *const Stream) -> u64 {
    // SAFETY: a stream of `double_stream_create`.
    unsafe { &*stream }.queued()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn double_stream_done(stream: *const Stream) -> u64 {
    // SAFETY: a stream of `double_stream_create`.
    unsafe { &*stream }.done()
}

/// Sets a fault by its name. Not 0 if there is no such fault.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn double_set(name: *const c_char, value: i64) -> c_int {
    // SAFETY: the caller's C string.
    let name = unsafe { CStr::from_ptr(name) };
    match name.to_str().ok().and_then(Fault::named) {
        Some(fault) => {
            fault.set(value);
            SUCCESS
        }
        None => INVALID_ARGUMENT,
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn double_misuses() -> u64 {
    MISUSES.load(Ordering::SeqCst)
}

#[unsafe(no_mangle)]
pub extern "C" fn double_begun() -> u64 {
    BEGUN.load(Ordering::SeqCst)
}

#[unsafe(no_mangle)]
pub extern "C" fn double_called() -> u64 {
    CALLED.load(Ordering::SeqCst)
}
