//! Faults, set by `double_set(NAME, value)` or by the environment variable `NCCL_DOUBLE_NAME`.
//!
//! Each opened copy of the library's file has its own settings, so that ranks in one process can differ.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The version that `ncclGetVersion` returns, and whose config is accepted.
    Version,
    /// Not 0: new communicators never reach the other ranks.
    NeverArrives,
    /// Not 0: calls hang on the device, and this is the asynchronous error.
    AsyncError,
    /// The time before an abort takes effect.
    SlowAbortMs,
    /// Not 0: an aborted call leaves garbage in the first half of its buffer.
    Garbage,
    /// Not 0: an abort makes the calls of the other ranks finish with garbage. An aborted kernel of NCCL does that: it runs
    /// to its end without its peers, and passes on data that it has not received.
    Poison,
    /// Not 0: calls return while in progress, and reach the stream after this time.
    LazyMs,
}

/// Names and defaults.
const ALL: [(Fault, &str, i64); 7] = [
    (Fault::Version, "VERSION", 22_703),
    (Fault::NeverArrives, "NEVER_ARRIVES", 0),
    (Fault::AsyncError, "ASYNC_ERROR", 0),
    (Fault::SlowAbortMs, "SLOW_ABORT_MS", 0),
    (Fault::Garbage, "GARBAGE", 0),
    (Fault::Poison, "POISON", 0),
    (Fault::LazyMs, "LAZY_MS", 0),
];

fn values() -> &'static [AtomicI64; ALL.len()] {
    static VALUES: OnceLock<[AtomicI64; ALL.len()]> = OnceLock::new();
    VALUES.get_or_init(|| {
        ALL.map(|(_, name, default)| {
            let set = std::env::var(format!("NCCL_DOUBLE_{name}")).ok();
            AtomicI64::new(set.and_then(|value| value.parse().ok()).unwrap_or(default))
        })
    })
}

impl Fault {
    pub fn named(name: &str) -> Option<Self> {
        ALL.iter().find(|(_, known, _)| *known == name).map(|(fault, ..)| *fault)
    }

    pub fn get(self) -> i64 {
        values()[self as usize].load(Ordering::SeqCst)
    }

    pub fn set(self, value: i64) {
        values()[self as usize].store(value, Ordering::SeqCst);
    }
}
