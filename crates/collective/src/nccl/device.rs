//! What a collective needs of a device: memory, one stream, and to see how far that stream has come.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;

use thiserror::Error;

/// A device with one stream of work.
///
/// # Safety
///
/// What [`Device::alloc`] gives is valid for `len_bytes`, on the device or, where pinned, also for the host, aligned
/// to at least 8 bytes, and stays so until it is freed. What is queued on the stream is done in its order.
pub unsafe trait Device: Send + Sync {
    /// Makes this the device of the calling thread, for what that thread calls next.
    fn make_current(&self) -> Result<(), DeviceError>;

    /// The stream on which everything is queued: a `cudaStream_t`.
    fn stream(&self) -> *mut c_void;

    /// Memory of `len_bytes`, at least 1; its values are undefined.
    fn alloc(&self, place: Place, len_bytes: usize) -> Result<NonNull<u8>, DeviceError>;

    /// Gives memory back.
    ///
    /// # Safety
    ///
    /// It is [`Device::alloc`]'s, with this place and length, and nothing that is queued works on it.
    unsafe fn free(&self, place: Place, memory: NonNull<u8>, len_bytes: usize);

    /// Queues a copy. Never waits for the stream.
    ///
    /// # Safety
    ///
    /// Both lie in memory of this device or in pinned memory, are valid for `len_bytes`, and stay so until the
    /// stream has come past the copy.
    unsafe fn copy(&self, to: *mut u8, from: *const u8, len_bytes: usize) -> Result<(), DeviceError>;

    /// Queues a mark behind all that was queued before.
    fn mark(&self) -> Result<Mark, DeviceError>;

    /// Whether the stream has come past this mark. Never waits.
    fn has_reached(&self, mark: Mark) -> Result<bool, DeviceError>;
}

/// Where memory lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Device,
    /// On the host, at an address that never changes, so that the device reads it when a copy's turn comes. Memory
    /// that is not pinned is read by the driver already when the copy is queued.
    PinnedHost,
}

/// A point in a stream. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub u64);

/// A device did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the device could not {doing}: {said}")]
pub struct DeviceError {
    /// What was asked.
    pub doing: &'static str,
    /// What its driver said.
    pub said: String,
}

impl From<DeviceError> for crate::GroupError {
    fn from(DeviceError { doing, said }: DeviceError) -> Self {
        Self::Device { doing, said }
    }
}

/// Memory that is given back when it is dropped.
pub(super) struct Memory {
    device: Arc<dyn Device>,
    place: Place,
    start: NonNull<u8>,
    len_bytes: usize,
}

// SAFETY: it is plain memory of which this is the only owner; the device can be used from any thread.
unsafe impl Send for Memory {}
// SAFETY: a shared one gives out its address and nothing else.
unsafe impl Sync for Memory {}

impl Memory {
    pub(super) fn new(device: &Arc<dyn Device>, place: Place, len_bytes: usize) -> Result<Self, DeviceError> {
        let start = device.alloc(place, len_bytes)?;
        Ok(Self { device: Arc::clone(device), place, start, len_bytes })
    }

    pub(super) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    pub(super) fn len_bytes(&self) -> usize {
        self.len_bytes
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it was allocated so in `new`. Owners forget it instead where the stream may still work on it.
        unsafe { self.device.free(self.place, self.start, self.len_bytes) }
    }
}
