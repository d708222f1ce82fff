//! How far each virtual rank may read.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard};

use lsgan_spec::VirtualRank;

/// The coordinator's word so far: of virtual rank v, the positions with ordinals below its lease may be read.
///
/// Shared by the session, which grants, and the loader, which waits. A rank without a lease may read nothing. What a
/// lease says is a pure function of the plan, so one that is given again, or arrives late, never takes back anything.
/// Make a new one for each generation: what an old one granted is then forgotten.
#[derive(Debug, Default)]
pub struct Leases {
    until: Mutex<BTreeMap<VirtualRank, u64>>,
    changed: Condvar,
}

impl Leases {
    /// No leases.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `rank` may read its ordinals `0..until`. Less than before is ignored.
    pub fn grant(&self, rank: VirtualRank, until: u64) {
        let mut leases = self.lock();
        let lease = leases.entry(rank).or_default();
        *lease = until.max(*lease);
        self.changed.notify_all();
    }

    /// `rank` may read its ordinals below this; 0 without a lease.
    #[must_use]
    pub fn until(&self, rank: VirtualRank) -> u64 {
        self.lock().get(&rank).copied().unwrap_or(0)
    }

    /// Waits until `rank` may read its ordinals `0..needed`, or `stopped` says that they are not wanted any more.
    /// There is no deadline: how long a coordinator may be away is not decided here.
    pub(crate) fn wait_for(&self, rank: VirtualRank, needed: u64, stopped: impl Fn() -> bool) -> Granted {
        let mut leases = self.lock();
        loop {
            if stopped() {
                return Granted::Stopped;
            }
            if leases.get(&rank).is_some_and(|&until| until >= needed) {
                return Granted::Yes;
            }
            leases = self.changed.wait(leases).expect(UNPOISONED);
        }
    }

    /// Makes all waiting threads look at what stopped them. It was set before this is called, so that no thread can look
    /// between and then wait for ever.
    pub(crate) fn wake_all(&self) {
        let _lease = self.lock();
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<VirtualRank, u64>> {
        self.until.lock().expect(UNPOISONED)
    }
}

const UNPOISONED: &str = "nothing panics while the leases are locked";

/// How a wait for a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Granted {
    Yes,
    Stopped,
}

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
