//! What can be made to go wrong, by `double_set(NAME, value)` in this copy of the library, or from the start by the
//! environment variable `NCCL_DOUBLE_NAME`.
//!
//! Each copy of the library's file that is opened has settings of its own, so that ranks in one process can differ.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

/// A setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The version that `ncclGetVersion` gives, and whose config is asked for.
    Version,
    /// Not 0: communicators that are made from now on never reach the others.
    NeverArrives,
    /// Not 0: calls hang on the device, and this is the communicator's asynchronous error.
    AsyncError,
    /// An abort takes this long before it has any effect.
    SlowAbortMs,
    /// Not 0: a call that is aborted leaves garbage in the first half of its buffer.
    Garbage,
    /// Not 0: an abort lets the calls of the other ranks end, with garbage. A kernel of NCCL that is aborted does that:
    /// it runs to its end without its peers, and hands on what it has not received.
    Poison,
    /// Not 0: calls return while they are in progress, and reach the stream after this time.
    LazyMs,
}

/// Name and value when nothing is set.
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
    /// The setting of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        ALL.iter().find(|(_, known, _)| *known == name).map(|(fault, ..)| *fault)
    }

    /// Its value.
    #[must_use]
    pub fn get(self) -> i64 {
        values()[self as usize].load(Ordering::SeqCst)
    }

    /// Changes it for what happens from now on.
    pub fn set(self, value: i64) {
        values()[self as usize].store(value, Ordering::SeqCst);
    }
}
