//! How far the journal is, for workers that come back: one that knows of more was told so by a newer journal.

use std::sync::atomic::{AtomicU64, Ordering};

/// Three numbers that only grow. They are read without the shell, by the side of gRPC.
#[derive(Debug, Default)]
pub struct Counts {
    generation: AtomicU64,
    incarnation: AtomicU64,
    metrics_until: AtomicU64,
}

impl Counts {
    /// As the journal is when the coordinator starts.
    pub fn new(generation: u64, incarnation: u64, metrics_until: u64) -> Self {
        let new = AtomicU64::new;
        Self { generation: new(generation), incarnation: new(incarnation), metrics_until: new(metrics_until) }
    }

    /// A generation is journaled.
    pub fn generation(&self, generation: u64) {
        self.generation.fetch_max(generation, Ordering::Relaxed);
    }

    /// An incarnation is journaled.
    pub fn incarnation(&self, incarnation: u64) {
        self.incarnation.fetch_max(incarnation, Ordering::Relaxed);
    }

    /// The metrics of the steps below are journaled.
    pub fn metrics_until(&self, until: u64) {
        self.metrics_until.fetch_max(until, Ordering::Relaxed);
    }

    /// `(generation, incarnation, metrics_until)`.
    pub fn read(&self) -> (u64, u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.generation), read(&self.incarnation), read(&self.metrics_until))
    }
}
