//! The memory that something takes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// To be held by each test that calls [`measured`]: the memory of the others of its process would count.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The result of `action`, and the most memory that this process took during it, beyond what was there. In bytes.
pub fn measured<T>(action: impl FnOnce() -> T) -> (T, usize) {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let result = action();
    (result, ALLOCATOR.peak_usage().saturating_sub(before))
}
