//! The flag that keeps an aborted sum from the weights.
//!
//! `ncclCommAbort` makes an all-reduce *finish* with a half-written buffer, and the update queued behind it on the same
//! stream runs. So the update itself must find out that it must do nothing:
//!
//! 1. The step queues the all-reduce, a copy of the flag to the device, and the update. The update (weights, moments,
//!    moving average, and the device's own count of applied reductions) does nothing where the copy is not 0.
//! 2. A rank that ends a group sets its flag first. No rank aborts its communicator before the flags of all ranks are
//!    set: an aborted kernel passes garbage on to its peers, whose all-reduce then finishes without an abort of their
//!    own. `watch` ensures that, but waits only a bounded time for the other flags, so that a frozen rank does not hold
//!    up the others.
//!
//! A copy of 0 means that no abort had begun on any rank when the stream reached the copy: the all-reduce before it
//! finished by itself and its sums are whole. With a copy of 1 the sums may be whole or not, and are not used. So an
//! update is applied whole or not at all, and the count tells which: after [`super::NcclGroup::drain`] the host reads it
//! from the device, and that is what this worker has applied.
//!
//! The stream must copy the flag itself, from [`AbortFlag::address`]; a value read earlier proves nothing. The step keeps
//! the flag alive until its stream is drained.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::device::{Device, DeviceError, Memory, MemoryKind};

/// A u32 in pinned host memory: 0 while the group lives, 1 once it is over. Never reset.
pub struct AbortFlag {
    memory: Memory,
}

impl AbortFlag {
    pub(super) fn new(device: &Arc<dyn Device>) -> Result<Self, DeviceError> {
        let flag = Self { memory: Memory::new(device, MemoryKind::PinnedHost, size_of::<AtomicU32>())? };
        // SAFETY: the memory is valid for the host, large enough, and not shared yet.
        unsafe { flag.memory.start().cast::<u32>().write(0) };
        Ok(flag)
    }

    /// The address from which the device copies 4 bytes. It never changes.
    #[must_use]
    pub fn address(&self) -> *const u32 {
        self.memory.start().cast()
    }

    #[must_use]
    pub fn is_set(&self) -> bool {
        self.value().load(Ordering::Acquire) != 0
    }

    pub(super) fn set(&self) {
        // Every thread, and the device, which reads host memory, must see it before the abort.
        self.value().store(1, Ordering::SeqCst);
    }

    fn value(&self) -> &AtomicU32 {
        // SAFETY: the memory is initialised, aligned, valid as long as `self`, and the host accesses it only here.
        unsafe { AtomicU32::from_ptr(self.memory.start().cast()) }
    }
}
