//! Whether what a rank has applied is to be believed.
//!
//! A rank whose host is starved for longer than the others wait ([`super::watch`]) does not set its flag in time. The others
//! abort all the same, and its own kernel ends with garbage, which the update behind it takes for a sum. The others say before
//! they abort which ranks they do not know to be stopped, and how many calls they have finished. So such a rank knows
//! afterwards: an update behind a call that another rank had not finished when it gave this one up may be wrong, and the state
//! must be taken from the others.
//!
//! No rank believes its last sum before it has read what lies in its neighbours' connections.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is known of one rank's updates in one group.
#[derive(Debug)]
pub struct Trust {
    /// The calls made before the last update that was made.
    applied: AtomicU64,
    /// The fewest calls that another rank had finished when it gave this one up.
    given_up_after: AtomicU64,
}

impl Default for Trust {
    fn default() -> Self {
        Self { applied: AtomicU64::new(0), given_up_after: AtomicU64::new(u64::MAX) }
    }
}

impl Trust {
    /// An update behind so many calls was made.
    pub(super) fn applied(&self, calls: u64) {
        self.applied.fetch_max(calls, Ordering::SeqCst);
    }

    /// Another rank, which has finished so many calls, aborts before it knows that this one is stopped.
    pub(super) fn given_up(&self, finished_calls: u64) {
        self.given_up_after.fetch_min(finished_calls, Ordering::SeqCst);
    }

    /// The last update may be garbage. Known when the group is dropped, not before.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.applied.load(Ordering::SeqCst) > self.given_up_after.load(Ordering::SeqCst)
    }
}
