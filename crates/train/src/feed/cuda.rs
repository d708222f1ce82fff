//! A GPU's two streams.

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use tch::Tensor;

use super::{Stream, Streams};

/// A GPU, through its driver: with the primary context, which libtorch uses too, and a stream of our own.
pub(crate) struct Cuda {
    device: sys::CUdevice,
    context: sys::CUcontext,
    copies: sys::CUstream,
}

// SAFETY: the driver's handles may be used from any thread whose current context is theirs, which `send` sees to.
unsafe impl Send for Cuda {}

/// A point in a stream.
pub(crate) struct Event(sys::CUevent);

// SAFETY: as above.
unsafe impl Send for Event {}

impl Cuda {
    pub fn new(index: usize) -> Result<Self, DriverError> {
        result::init()?;
        let device = result::device::get(i32::try_from(index).unwrap_or(i32::MAX))?;
        // SAFETY: the driver has just named this device.
        let context = unsafe { result::primary_ctx::retain(device)? };
        let mut cuda = Self { device, context, copies: std::ptr::null_mut() };
        cuda.make_current()?;
        cuda.copies = result::stream::create(result::stream::StreamKind::NonBlocking)?;
        Ok(cuda)
    }

    fn stream(&self, stream: Stream) -> sys::CUstream {
        match stream {
            Stream::Copies => self.copies,
            // The null stream of every context, unless libtorch is told otherwise.
            Stream::Training => std::ptr::null_mut(),
        }
    }
}

impl Streams for Cuda {
    type Event = Event;
    type Error = DriverError;

    fn make_current(&self) -> Result<(), DriverError> {
        // SAFETY: it is retained as long as `self`.
        unsafe { result::ctx::set_current(self.context) }
    }

    fn event(&self) -> Result<Event, DriverError> {
        result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).map(Event)
    }

    fn destroy(&self, event: Event) -> Result<(), DriverError> {
        // SAFETY: its slot is gone; the driver frees it once what is recorded has passed.
        unsafe { result::event::destroy(event.0) }
    }

    fn record(&self, stream: Stream, event: &Event) -> Result<(), DriverError> {
        // SAFETY: both live.
        unsafe { result::event::record(event.0, self.stream(stream)) }
    }

    fn wait(&self, stream: Stream, event: &Event) -> Result<(), DriverError> {
        let usual = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: both live.
        unsafe { result::stream::wait_event(self.stream(stream), event.0, usual) }
    }

    fn wait_on_host(&self, event: &Event) -> Result<(), DriverError> {
        // SAFETY: it lives.
        unsafe { result::event::synchronize(event.0) }
    }

    fn drain(&self, stream: Stream) -> Result<(), DriverError> {
        // SAFETY: it is ours, or every context's.
        unsafe { result::stream::synchronize(self.stream(stream)) }
    }

    unsafe fn copy(&self, to: &Tensor, from: &Tensor, len: usize) -> Result<(), DriverError> {
        let to = to.data_ptr() as sys::CUdeviceptr;
        // SAFETY: the caller vouches for both.
        unsafe {
            let from = std::slice::from_raw_parts(from.data_ptr().cast::<f32>(), len);
            result::memcpy_htod_async(to, from, self.copies)
        }
    }

    fn take(&self, from: &Tensor, len: usize) -> Tensor {
        let come = from.narrow(0, 0, len as i64);
        let mut taken = come.empty_like();
        taken.copy_(&come);
        taken
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        if self.make_current().is_ok() && !self.copies.is_null() {
            // SAFETY: it is ours, and drained where an `Upload` used it.
            _ = unsafe { result::stream::destroy(self.copies) };
        }
        // SAFETY: retained in `new`, released once.
        _ = unsafe { result::primary_ctx::release(self.device) };
    }
}
