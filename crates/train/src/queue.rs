//! Updates that are queued on a device before it is known how their sums end.

use crate::engine::{Finished, Update};
use crate::error::NotApplied;
use crate::replica::{Metrics, Replica};

/// A replica's queue of updates. One update is queued at a time; until it is finished, the next half may be computed
/// already, which changes nothing of the state, and is void if the update was not made.
pub struct Queue<'a>(&'a mut Replica);

impl<'a> Queue<'a> {
    /// The caller has seen that the engine has one.
    pub(crate) fn of(replica: &'a mut Replica) -> Self {
        Self(replica)
    }

    /// Queues the update behind the sum that a collective queued on the device. It does nothing if `abort_flag` is set
    /// when its turn comes. Waits for nothing.
    ///
    /// # Safety
    /// `abort_flag` points to a u32 that lives until the device has come past the update; on a GPU, in pinned memory.
    pub unsafe fn push(&mut self, metrics: Metrics, abort_flag: Option<*const u32>) {
        let Self(replica) = self;
        let update = Update::new(&replica.spec, replica.reduction(), metrics);
        if let Some(queue) = replica.engine.queue() {
            // SAFETY: the caller vouches for the flag.
            unsafe { queue.push(&update, abort_flag) };
        }
        // Queued behind the update, too. Of one that is not made there is nothing to take over.
        if !update.is_idle {
            replica.lanes.updated(update.half());
        }
    }

    /// Reads whether the update was made. The device must have come past it. If it was not made, what was computed since
    /// is void.
    pub fn finish(&mut self) -> Result<Finished, NotApplied> {
        let Self(replica) = self;
        let queue = replica.engine.queue().expect("this is made only where there is a queue");
        match queue.finish() {
            Ok(Finished::Applied(applied)) => replica.finished(Ok(applied)).map(Finished::Applied),
            Ok(Finished::TravelsAgain) => {
                replica.forget_fakes();
                Ok(Finished::TravelsAgain)
            }
            Err(error) => replica.finished(Err(error)).map(Finished::Applied),
        }
    }
}
