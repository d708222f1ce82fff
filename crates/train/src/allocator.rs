//! Keeps the memory in the process that libtorch allocates and frees at every step.
//!
//! glibc would return each large block to the kernel and get it back, zeroed page by page, at the next step.
//! Keeping blocks, on huge pages, is worth 5 to 12 % of a step.

/// Tunes glibc's allocator for training. Call it once, first thing in `main`, before threads start.
///
/// ARCHITECTURE.md says what was tried instead.
pub fn tune() {
    // SAFETY: mallopt only sets numbers of the allocator.
    unsafe {
        // No block gets a mapping of its own, the heap is never trimmed, all threads share it.
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
        libc::mallopt(libc::M_ARENA_MAX, 1);
        // Small blocks are merged when they are freed. Else each large block has glibc look for all that were freed before.
        libc::mallopt(libc::M_MXFAST, 0);
    }
    // SAFETY: the block is ours from malloc to free; advice about it changes no contents.
    unsafe {
        let block = libc::malloc(HEAP_BYTES);
        if !block.is_null() {
            let start = (block as usize).next_multiple_of(HUGE_PAGE_BYTES);
            let end = (block as usize + HEAP_BYTES) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
            libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE);
            libc::free(block);
        }
    }
}

/// How much of the heap is on huge pages: address space, which gets memory when it is touched.
const HEAP_BYTES: usize = 4 << 30;
/// A huge page on x86-64 and on most of aarch64.
const HUGE_PAGE_BYTES: usize = 2 << 20;
