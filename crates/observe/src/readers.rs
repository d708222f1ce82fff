//! How many readers are answered at a time, and what is counted of those that are too slow or too many, for `/metrics`: a page and its
//! scrapers are held up, a run never is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// What readers missed since the process started. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Missed(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    updates: AtomicU64,
    requests: AtomicU64,
}

/// The counts of [`Missed`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Changes of runs that slow readers of live events were not told one by one.
    pub updates: u64,
    /// Requests that had no turn in time.
    pub requests: u64,
}

impl Missed {
    /// A reader of live events was slow: so many changes lie between the two that it was told.
    pub fn add_updates(&self, count: u64) {
        self.0.updates.fetch_add(count, Ordering::Relaxed);
    }

    /// As they are now.
    pub fn counts(&self) -> Counts {
        let [updates, requests] =
            [&self.0.updates, &self.0.requests].map(|count| count.load(Ordering::Relaxed));
        Counts { updates, requests }
    }
}

/// The turns of requests. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    free: Arc<Semaphore>,
    within: Duration,
    missed: Missed,
}

impl Turns {
    /// So many at a time; a request waits for its own no longer than `within`.
    pub fn new(at_a_time: usize, within: Duration, missed: Missed) -> Self {
        Self { free: Arc::new(Semaphore::new(at_a_time)), within, missed }
    }

    /// A turn, which lasts until it is dropped; none where it did not come in time, which is counted.
    pub async fn take(&self) -> Option<OwnedSemaphorePermit> {
        let taken = timeout(self.within, self.free.clone().acquire_owned()).await;
        let turn = taken.ok().and_then(Result::ok);
        if turn.is_none() {
            self.missed.0.requests.fetch_add(1, Ordering::Relaxed);
        }
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_that_has_no_turn_in_time_is_sent_away_and_counted() {
        let missed = Missed::default();
        let turns = Turns::new(1, Duration::from_millis(1), missed.clone());
        let first = turns.take().await;
        assert!(first.is_some());
        assert!(turns.take().await.is_none() && turns.clone().take().await.is_none());
        assert_eq!(missed.counts(), Counts { updates: 0, requests: 2 });
        drop(first);
        assert!(turns.take().await.is_some());
        assert_eq!(missed.counts().requests, 2);
    }
}
