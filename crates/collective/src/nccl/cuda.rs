//! A CUDA device, through the driver's API.
//!
//! The driver is opened at run time. This uses the device's primary context, as libtorch and NCCL do, so that all three
//! share memory, streams and events.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

use super::device::{Device, DeviceError, Mark, MemoryKind};

/// One GPU and a stream of its own.
pub struct CudaDevice {
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    /// Where the caller computes, and an event for the order of both.
    computing: Option<(sys::CUstream, Event)>,
    marks: Mutex<Marks>,
}

#[derive(Default)]
struct Marks {
    next: u64,
    /// Recorded and not yet seen to be reached; oldest first.
    open: VecDeque<(u64, Event)>,
    /// Events to record again.
    spare: Vec<Event>,
}

#[derive(Clone, Copy)]
struct Event(sys::CUevent);

// SAFETY: the driver's handles may be used from any thread whose current context is theirs.
unsafe impl Send for Event {}
// SAFETY: as above; the handles never change, and a lock guards the events.
unsafe impl Send for CudaDevice {}
// SAFETY: as above.
unsafe impl Sync for CudaDevice {}

fn failed(doing: &'static str) -> impl Fn(DriverError) -> DeviceError {
    move |error| {
        let said =
            error.error_string().map_or_else(|_| error.to_string(), |text| text.to_string_lossy().into());
        DeviceError { doing, said }
    }
}

fn new_event() -> Result<Event, DeviceError> {
    let event = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING);
    event.map(Event).map_err(failed("make an event"))
}

fn open_driver() -> Result<(), DeviceError> {
    // SAFETY: opening the driver's library runs its initialisers, which have no preconditions. cudarc panics where there
    // is no library.
    if !unsafe { sys::is_culib_present() } {
        let said = "there is no libcuda.so.1: install NVIDIA's driver, or train on the CPU".to_owned();
        return Err(DeviceError { doing: "open the CUDA driver", said });
    }
    result::init().map_err(failed("open the CUDA driver"))
}

impl CudaDevice {
    /// The GPU of this index among those that CUDA_VISIBLE_DEVICES leaves, with a new stream.
    pub fn new(index: usize) -> Result<Self, DeviceError> {
        open_driver()?;
        let ordinal = i32::try_from(index).unwrap_or(i32::MAX);
        let device = result::device::get(ordinal).map_err(failed("find the GPU of this index"))?;
        // SAFETY: the driver just returned this device.
        let context = unsafe { result::primary_ctx::retain(device) };
        let context = context.map_err(failed("make the GPU's primary context"))?;
        let stream = std::ptr::null_mut();
        let mut opened = Self { device, context, stream, computing: None, marks: Mutex::default() };
        opened.make_current()?;
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking);
        opened.stream = stream.map_err(failed("make a stream"))?;
        Ok(opened)
    }

    /// The same beside a stream on which the caller computes, such as libtorch's current one.
    ///
    /// # Safety
    ///
    /// `computing` is a `cudaStream_t` of this GPU's primary context, and outlives this.
    pub unsafe fn beside(index: usize, computing: *mut c_void) -> Result<Self, DeviceError> {
        let mut device = Self::new(index)?;
        device.computing = Some((computing.cast(), new_event()?));
        Ok(device)
    }

    /// How many GPUs CUDA_VISIBLE_DEVICES leaves.
    pub fn count() -> Result<usize, DeviceError> {
        open_driver()?;
        let count = result::device::get_count().map_err(failed("count its GPUs"))?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// What is queued on `behind` from now on runs after what is queued on `stream`.
    fn order(&self, stream: sys::CUstream, behind: sys::CUstream, event: Event) -> Result<(), DeviceError> {
        self.make_current()?;
        let usual = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: event and streams are alive and of the same context. A wait is for what was recorded when it was queued, so
        // that the event may be recorded again.
        unsafe {
            result::event::record(event.0, stream)
                .and_then(|()| result::stream::wait_event(behind, event.0, usual))
        }
        .map_err(failed("order two streams"))
    }

    fn marks(&self) -> std::sync::MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: the driver's allocations are aligned to 256 bytes and valid until freed; pinned memory has the same address on
// the device (unified addressing, on all GPUs that libtorch supports). A stream keeps its order.
unsafe impl Device for CudaDevice {
    fn make_current(&self) -> Result<(), DeviceError> {
        // SAFETY: the context is retained as long as `self`.
        unsafe { result::ctx::set_current(self.context) }.map_err(failed("make itself this thread's device"))
    }

    fn id(&self) -> u128 {
        // An old driver does not know it, and then NCCL finds by itself that two ranks have one GPU.
        result::device::get_uuid(self.device)
            .map_or(0, |id| u128::from_be_bytes(id.bytes.map(|byte| byte as u8)))
    }

    fn stream(&self) -> *mut c_void {
        self.stream.cast()
    }

    fn alloc(&self, kind: MemoryKind, len_bytes: usize) -> Result<NonNull<u8>, DeviceError> {
        let doing = match kind {
            MemoryKind::Device => "allocate memory",
            MemoryKind::PinnedHost => "pin memory of the host",
        };
        self.make_current()?;
        // SAFETY: these only allocate, and the length is above 0.
        let start = unsafe {
            match kind {
                MemoryKind::Device => result::malloc_sync(len_bytes).map(|start| start as *mut u8),
                MemoryKind::PinnedHost => {
                    result::malloc_host(len_bytes, sys::CU_MEMHOSTALLOC_PORTABLE).map(|start| start.cast())
                }
            }
        };
        let start = start.map_err(failed(doing))?;
        NonNull::new(start)
            .ok_or_else(|| DeviceError { doing, said: "the driver gave no address".to_owned() })
    }

    unsafe fn free(&self, kind: MemoryKind, memory: NonNull<u8>, _len_bytes: usize) {
        // A broken context has lost its memory as well, and `free` returns no error.
        if self.make_current().is_ok() {
            // SAFETY: the memory comes from `alloc`.
            _ = unsafe {
                match kind {
                    MemoryKind::Device => result::free_sync(memory.as_ptr() as sys::CUdeviceptr),
                    MemoryKind::PinnedHost => result::free_host(memory.as_ptr().cast()),
                }
            };
        }
    }

    unsafe fn copy(&self, to: *mut u8, from: *const u8, len_bytes: usize) -> Result<(), DeviceError> {
        self.make_current()?;
        // SAFETY: the caller vouches for both; with unified addressing the driver finds their kind from the addresses.
        let queued = unsafe {
            sys::cuMemcpyAsync(to as sys::CUdeviceptr, from as sys::CUdeviceptr, len_bytes, self.stream)
                .result()
        };
        queued.map_err(failed("queue a copy"))
    }

    fn follow_computing(&self) -> Result<(), DeviceError> {
        let Some((computing, event)) = self.computing else { return Ok(()) };
        self.order(computing, self.stream, event)
    }

    fn lead_computing(&self) -> Result<(), DeviceError> {
        let Some((computing, event)) = self.computing else { return Ok(()) };
        self.order(self.stream, computing, event)
    }

    fn mark(&self) -> Result<Mark, DeviceError> {
        self.make_current()?;
        let mut marks = self.marks();
        let event = match marks.spare.pop() {
            Some(event) => event,
            None => new_event()?,
        };
        // SAFETY: event and stream are alive and of the same context.
        unsafe { result::event::record(event.0, self.stream) }.map_err(failed("record an event"))?;
        let mark = marks.next;
        marks.next += 1;
        marks.open.push_back((mark, event));
        Ok(Mark(mark))
    }

    fn has_reached(&self, mark: Mark) -> Result<bool, DeviceError> {
        self.make_current()?;
        let mut marks = self.marks();
        while let Some((oldest, event)) = marks.open.front().copied().filter(|(oldest, _)| *oldest <= mark.0)
        {
            // SAFETY: the event is alive and recorded.
            match unsafe { result::event::query(event.0) } {
                Ok(()) => {
                    marks.open.pop_front();
                    marks.spare.push(event);
                    if oldest == mark.0 {
                        return Ok(true);
                    }
                }
                Err(DriverError(sys::CUresult::CUDA_ERROR_NOT_READY)) => return Ok(false),
                Err(error) => return Err(failed("finish its work")(error)),
            }
        }
        Ok(true)
    }
}

impl Drop for CudaDevice {
    fn drop(&mut self) {
        if self.make_current().is_ok() {
            let marks = std::mem::take(&mut *self.marks());
            let of_marks = marks.open.into_iter().map(|(_, event)| event).chain(marks.spare);
            for event in of_marks.chain(self.computing.map(|(_, event)| event)) {
                // SAFETY: the event is this device's own. The driver itself waits for open ones.
                _ = unsafe { result::event::destroy(event.0) };
            }
            if !self.stream.is_null() {
                // SAFETY: the stream is this device's own; the driver finishes its work first.
                _ = unsafe { result::stream::destroy(self.stream) };
            }
        }
        // SAFETY: `new` retained it; this is the only release.
        _ = unsafe { result::primary_ctx::release(self.device) };
    }
}
