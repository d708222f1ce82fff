//! How far each virtual rank may read.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard};

use lsgan_spec::VirtualRank;

/// The leases of this generation: virtual rank v may read its positions with ordinals below its lease.
///
/// The session grants leases, and the loader waits for them. A rank without a lease may not read. A lease is a pure
/// function of the plan, so one that is repeated or late never takes anything back. Each generation needs a new `Leases`.
#[derive(Debug, Default)]
pub struct Leases {
    until: Mutex<BTreeMap<VirtualRank, u64>>,
    changed: Condvar,
}

impl Leases {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Permits `rank` to read its ordinals `0..until`. A lower lease than before is ignored.
    pub fn grant(&self, rank: VirtualRank, until: u64) {
        let mut leases = self.lock();
        let lease = leases.entry(rank).or_default();
        *lease = until.max(*lease);
        self.changed.notify_all();
    }

    /// The lease of `rank`: it may read ordinals below this; 0 without a lease.
    #[must_use]
    pub fn until(&self, rank: VirtualRank) -> u64 {
        self.lock().get(&rank).copied().unwrap_or(0)
    }

    /// Waits until `rank` may read its ordinals `0..needed`; false if `stopped` ends the wait. There is no deadline: the
    /// session decides how long a coordinator may be unreachable.
    pub(crate) fn wait_for(&self, rank: VirtualRank, needed: u64, stopped: impl Fn() -> bool) -> bool {
        let mut leases = self.lock();
        loop {
            if stopped() {
                return false;
            }
            if leases.get(&rank).is_some_and(|&until| until >= needed) {
                return true;
            }
            leases = self.changed.wait(leases).expect(UNPOISONED);
        }
    }

    /// Makes all waiting threads check `stopped`, which the caller set before: so no thread misses it.
    pub(crate) fn wake_all(&self) {
        let _lease = self.lock();
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<VirtualRank, u64>> {
        self.until.lock().expect(UNPOISONED)
    }
}

const UNPOISONED: &str = "nothing panics while the leases are locked";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_given_again_or_late_takes_nothing_back() {
        let leases = Leases::new();
        assert_eq!(leases.until(VirtualRank(1)), 0);
        for until in [5, 5, 3] {
            leases.grant(VirtualRank(1), until);
        }
        assert_eq!((leases.until(VirtualRank(1)), leases.until(VirtualRank(0))), (5, 0));
    }
}
