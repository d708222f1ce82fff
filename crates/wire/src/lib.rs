//! The wire between coordinator, workers and tools: what `proto/lsgan/v1` generates, short ways to build it, its
//! conversions from and to the types of `control` ([`convert`]), where a server listens ([`Listen`]) and how it accepts
//! ([`Incoming`]), and how a coordinator is reached ([`dial`]). Both ends speak TLS where there are certificates.
//!
//! Not here: what a message means (`control`), certificates (`certs`), who may call what (`coordinator`).

#![forbid(unsafe_code)]

mod connect;
pub mod convert;
mod dial;
mod incoming;
mod listen;
mod places;
mod stream;
mod words;

pub use dial::{Address, Bearer, Client, Shown, SweepClient, dial, dial_sweep, scheme};
pub use incoming::{Accepted, Incoming, Peer};
pub use listen::{Listen, from_here, listen};
pub use places::Limits;

/// Protocol messages, client and server of `lsgan.v1`.
#[allow(missing_docs, clippy::all, clippy::too_many_lines)]
pub mod v1 {
    tonic::include_proto!("lsgan.v1");
}

impl v1::StepMetrics {
    /// The scalar of this name; not a number where it was not measured.
    #[must_use]
    pub fn scalar(&self, name: &str) -> f64 {
        self.scalars.get(name).copied().unwrap_or(f64::NAN)
    }
}

/// Hash of a run's specification as it travels, by which coordinator and workers see whether a generation was formed under
/// the present one.
#[must_use]
pub fn file_hash(spec: &str) -> String {
    blake3::hash(spec.as_bytes()).to_hex()[..16].to_owned()
}

/// What a coordinator says that has its port and not its run yet, with the code `FAILED_PRECONDITION`. Waiting helps.
pub const STARTING: &str = "the coordinator is starting: it reads the data set and looks at the snapshots";

/// What a coordinator says whose run is finished, with the code `OUT_OF_RANGE`. There is nothing left to do.
pub const FINISHED: &str = "the run is finished";

/// The largest message that a client sends or takes. What a coordinator takes is less, and depends on the sender.
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

wrap!(WorkerMessage, worker_message: Hello, Heartbeat, Progress, Ready, Parked, Consumed, Metrics, WantsLeave,
    SnapshotWritten, SnapshotFailed, Sample, TaskDone, TaskFailed, StateHash, CutOff,
    CorruptRecords, Warning, StoreProof, TriedPeers, LogLines, Load, Scored, Spans);
wrap!(CoordinatorMessage, coordinator_message: Welcome, Refused, Form, Abort, Lease, Wish, Task, Retired,
    Shutdown, MetricsStored, TryPeers, Score, RecordSpans);
