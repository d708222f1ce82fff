//! A stream: a thread that runs jobs in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

type Job = Box<dyn FnOnce() + Send>;

/// The target of a `cudaStream_t`.
pub struct Stream {
    jobs: Sender<Job>,
    queued: AtomicU64,
    done: Arc<AtomicU64>,
}

impl Stream {
    /// An empty stream. When it is dropped, its thread ends after the queued jobs.
    pub fn new() -> Self {
        let (jobs, next) = channel::<Job>();
        let done = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&done);
        thread::spawn(move || {
            for job in next {
                job();
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { jobs, queued: AtomicU64::new(0), done }
    }

    pub fn queue(&self, job: impl FnOnce() + Send + 'static) {
        self.queued.fetch_add(1, Ordering::SeqCst);
        self.jobs.send(Box::new(job)).expect("a stream's thread lives as long as the stream");
    }

    pub fn queued(&self) -> u64 {
        self.queued.load(Ordering::SeqCst)
    }

    pub fn done(&self) -> u64 {
        self.done.load(Ordering::SeqCst)
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self::new()
    }
}
