//! The most memory that files of data sets make their readers take, whatever they say of themselves.

#[path = "../common/mod.rs"]
mod common;
mod pictures;
mod sources;

use std::sync::{Mutex, MutexGuard, PoisonError};

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;

/// To be held by each test: the memory of the others would count.
#[must_use]
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The result of `action`, and the most memory that it took beyond what was there.
fn measured<T>(action: impl FnOnce() -> T) -> (T, usize) {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let result = action();
    (result, ALLOCATOR.peak_usage().saturating_sub(before))
}
