//! The flag that keeps an aborted sum from the weights.
//!
//! `ncclCommAbort` makes an all-reduce *finish*, with a half-written buffer, and the update that is queued behind it
//! on the same stream runs. So the update must see for itself that it must not:
//!
//! 1. The step queues all-reduce; copy of the flag to the device; update. The update (weights, moments, moving
//!    average, and the device's own count of the reductions that it has applied) does nothing where the copy is not 0.
//! 2. Whoever ends a group sets the flag first. No rank aborts its communicator before the flags of all ranks are set:
//!    an aborted kernel hands garbage on to its peers, whose all-reduce then ends without an abort of their own. `watch`
//!    sees to that, as far as it can: after a bounded time it aborts all the same, lest a frozen rank hold up the others.
//!
//! If the copy reads 0, no abort had begun anywhere when its turn came, so the all-reduce before it had ended by itself
//! and its sums are whole. If it reads 1, the sums may be whole or not, and are not used. An update is therefore applied
//! whole or not at all, and the count says which: after [`super::NcclGroup::drain`] the host reads the count from the
//! device, and that is what this worker has applied.
//!
//! The flag must be copied from where it lies, by [`AbortFlag::address`]: a copy of its value that was read earlier
//! says nothing. The step keeps the flag alive until its stream is drained.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::device::{Device, DeviceError, Memory, Place};

/// A u32 in pinned host memory: 0 while the group lives, 1 once it is ended. Never set back.
pub struct AbortFlag {
    memory: Memory,
}

impl AbortFlag {
    pub(super) fn new(device: &Arc<dyn Device>) -> Result<Self, DeviceError> {
        let flag = Self { memory: Memory::new(device, Place::PinnedHost, size_of::<AtomicU32>())? };
        // SAFETY: the memory is valid for the host, large enough, and nobody else knows it yet.
        unsafe { flag.memory.start().cast::<u32>().write(0) };
        Ok(flag)
    }

    /// Where it lies, for a copy of 4 bytes to the device. The same address for this flag's whole life.
    #[must_use]
    pub fn address(&self) -> *const u32 {
        self.memory.start().cast()
    }

    /// Whether the group is ended.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.value().load(Ordering::Acquire) != 0
    }

    pub(super) fn set(&self) {
        // Before the abort for every thread, and for the device, which reads the host's memory.
        self.value().store(1, Ordering::SeqCst);
    }

    fn value(&self) -> &AtomicU32 {
        // SAFETY: the memory is initialised, aligned, valid as long as `self`, and the host reaches it only so.
        unsafe { AtomicU32::from_ptr(self.memory.start().cast()) }
    }
}
