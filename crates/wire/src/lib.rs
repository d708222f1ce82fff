//! The wire between coordinator, workers and tools: what `proto/lsgan/v1` generates, and short ways to build it.
//!
//! Not here: what a message means. The coordinator turns them into events of `control`, the worker into orders
//! for its training thread.

/// Protocol messages, client and server of `lsgan.v1`.
#[allow(missing_docs, clippy::all)]
pub mod v1 {
    tonic::include_proto!("lsgan.v1");
}

/// The largest message that either side accepts: a grid of samples is the largest there is.
pub const MESSAGE_LEN_BYTES_MAX: usize = 64 << 20;

macro_rules! wrap {
    ($outer:ident, $module:ident: $($variant:ident),+ $(,)?) => {
        $(impl From<v1::$variant> for v1::$outer {
            fn from(message: v1::$variant) -> Self {
                Self { kind: Some(v1::$module::Kind::$variant(message)) }
            }
        })+
    };
}

wrap!(WorkerMessage, worker_message: Hello, Heartbeat, Ready, Parked, Consumed, Metrics, WantsLeave,
    SnapshotWritten, SnapshotFailed, Sample, TaskDone, TaskFailed);
wrap!(CoordinatorMessage, coordinator_message: Welcome, Refused, Form, Abort, Lease, Wish, Task, Retired,
    Shutdown, MetricsStored);
