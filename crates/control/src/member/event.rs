//! What can happen to a worker.

use lsgan_spec::{Generation, Reduction};
use serde::{Deserialize, Serialize};

use crate::{Message, Report};

/// One thing that happened. A plain value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A stream to the coordinator begins.
    Connected {
        /// Hash of the run's file as the coordinator has it now.
        spec: String,
    },
    /// The stream broke or ended.
    Disconnected,
    /// The coordinator cannot be reached, or is not the one of this run any more. It is not tried again.
    CoordinatorLost,
    /// The coordinator said this.
    Told(Message),
    /// A heartbeat is due.
    HeartbeatDue,
    /// The process is asked to end (SIGTERM).
    Terminate,
    /// The training thread was told to stop when the incarnation was over, and did not park in time.
    ParkOverdue,
    /// The training thread, or a helper beside it, says this.
    Said(Report),
    /// The training thread has applied so many reductions.
    Applied(Reduction),
    /// The training thread lately needed so much for one virtual rank in a step, in µs. None if that is not known.
    Pace(Option<u64>),
    /// The wish for a snapshot was in the header of this generation's last step.
    SnapshotHeard(Generation),
}
