//! What a collective needs of a device: memory, one stream, the progress of that stream, and its order with another stream, where
//! the caller computes.
#![warn(missing_docs)]

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;

use thiserror::Error;

/// A device with one stream of work.
///
/// # Safety
///
/// Memory from [`Device::alloc`] is valid for `len_bytes` on the device and, if pinned, on the host. It is aligned to at
/// least 8 bytes and stays valid until it is freed. The stream does its work in the order in which it was queued.
pub unsafe trait Device: Send + Sync {
    /// Makes this the current device of the calling thread.
    fn make_current(&self) -> Result<(), DeviceError>;

    /// What tells it from all other devices of all hosts; 0 where it does not say.
    fn id(&self) -> u128;

    /// The stream, a `cudaStream_t`.
    fn stream(&self) -> *mut c_void;

    /// Allocates `len_bytes`, at least 1, with undefined values.
    fn alloc(&self, kind: MemoryKind, len_bytes: usize) -> Result<NonNull<u8>, DeviceError>;

    /// Frees memory.
    ///
    /// # Safety
    ///
    /// It comes from [`Device::alloc`] with this kind and length, and no queued work uses it.
    unsafe fn free(&self, kind: MemoryKind, memory: NonNull<u8>, len_bytes: usize);

    /// Queues a copy. Never waits for the stream.
    ///
    /// # Safety
    ///
    /// Both are memory of this device or pinned memory, valid for `len_bytes` until the stream has passed the copy.
    unsafe fn copy(&self, to: *mut u8, from: *const u8, len_bytes: usize) -> Result<(), DeviceError>;

    /// What is queued on the stream from now on runs after what the caller has queued on the stream where it computes. Where
    /// that is this stream, it does so anyway.
    fn follow_computing(&self) -> Result<(), DeviceError> {
        Ok(())
    }

    /// What the caller queues from now on, where it computes, runs after what is queued on the stream.
    fn lead_computing(&self) -> Result<(), DeviceError> {
        Ok(())
    }

    /// Queues a mark behind all work queued on the stream so far.
    fn mark(&self) -> Result<Mark, DeviceError>;

    /// Whether the stream has passed this mark. Never waits.
    fn has_reached(&self, mark: Mark) -> Result<bool, DeviceError>;
}

/// Where memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryKind {
    /// On the device.
    Device,
    /// Host memory at a fixed address, which the device reads when the stream reaches a copy. Memory that is not pinned
    /// is read by the driver when the copy is queued.
    PinnedHost,
}

/// A point in a stream. Later points are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub u64);

/// A device failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the device could not {doing}: {said}")]
pub struct DeviceError {
    /// The operation that failed.
    pub doing: &'static str,
    /// The driver's text.
    pub said: String,
}

impl From<DeviceError> for crate::GroupError {
    fn from(DeviceError { doing, said }: DeviceError) -> Self {
        Self::Device { doing, said }
    }
}

/// Memory that is freed when it is dropped.
pub(super) struct Memory {
    device: Arc<dyn Device>,
    kind: MemoryKind,
    start: NonNull<u8>,
    len_bytes: usize,
}

// SAFETY: this is the only owner of plain memory, and the device can be used from any thread.
unsafe impl Send for Memory {}
// SAFETY: a shared reference gives only the address and the length.
unsafe impl Sync for Memory {}

impl Memory {
    pub(super) fn new(
        device: &Arc<dyn Device>,
        kind: MemoryKind,
        len_bytes: usize,
    ) -> Result<Self, DeviceError> {
        let start = device.alloc(kind, len_bytes)?;
        Ok(Self { device: Arc::clone(device), kind, start, len_bytes })
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
        // SAFETY: `new` allocated it with this kind and length. Owners leak it where the stream may still use it.
        unsafe { self.device.free(self.kind, self.start, self.len_bytes) }
    }
}
