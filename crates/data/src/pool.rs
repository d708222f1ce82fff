//! Reusable buffers for samples.

use std::sync::Mutex;

/// Buffers of `len` numbers, of which at most `buffers_max` are kept.
pub(crate) struct Pool {
    len: usize,
    buffers_max: usize,
    free: Mutex<Vec<Vec<f32>>>,
}

impl Pool {
    pub(crate) fn new(len: usize, buffers_max: usize) -> Self {
        Self { len, buffers_max, free: Mutex::default() }
    }

    /// A buffer with arbitrary content.
    pub(crate) fn take(&self) -> Vec<f32> {
        let buffer = self.free.lock().expect(UNPOISONED).pop();
        buffer.unwrap_or_else(|| vec![0.0; self.len])
    }

    /// Keeps a buffer for reuse; drops one of another length, or one too many.
    pub(crate) fn give_back(&self, buffer: Vec<f32>) {
        let mut free = self.free.lock().expect(UNPOISONED);
        if buffer.len() == self.len && free.len() < self.buffers_max {
            free.push(buffer);
        }
    }
}

const UNPOISONED: &str = "nothing panics while the free buffers are locked";
