//! NCCL between GPUs, behind the same [`crate::Group`] and the same contract as TCP.
//!
//! **Forming.** The ranks first form a TCP group ([`crate::tcp`]), which is fenced by generation and run and names missing
//! members. Over it they compare NCCL's versions, and rank 0 broadcasts the id by which NCCL connects them. The id does
//! not come with the coordinator's assignment, because it is bound to the process that made it: rank 0 itself answers the
//! ranks that connect by it. The TCP connections stay open as a side channel, on which a dead peer shows at once; NCCL
//! alone would wait for it for ever.
//!
//! **Calls.** The calls of [`crate::Group`] take slices on the host and copy them to the device and back in pieces; they
//! are for states and tests. [`NcclGroup::enqueue_all_reduce`] sums values on the device, on the caller's stream, and does
//! not wait. [`NcclGroup::drain`] waits.
//!
//! **Ends.** An abort, a dead neighbour and an error of NCCL all do the same, in this order: set the [`AbortFlag`], tell
//! the neighbours over the side channel, wait until all ranks have set theirs, call `ncclCommAbort`. [`flag`] and `watch`
//! say why. Every wait checks for the end of its group and for errors of NCCL and the device, and has a deadline where
//! the group's end alone would not bound it.
//!
//! Limit: it does not notice that two ranks make different calls. NCCL then hangs, or sums values that do not belong
//! together.
//!
//! - [`library`]: the NCCL of this machine, opened at run time. `config`: the configuration of a communicator.
//! - [`device`]: what a group needs of a device; [`cuda`] is a GPU. Tests have their own, over host memory.
//! - [`connect`]: forms a [`NcclGroup`]. `communicator`: NCCL's calls. `watch`: the thread that ends a group at once.
//!   `message`: what ranks tell each other on the side channel.

mod communicator;
mod config;
mod core;
pub mod cuda;
pub mod device;
pub mod flag;
mod form;
mod group;
pub mod library;
mod message;
mod staging;
mod trust;
mod watch;

use std::thread;
use std::time::Duration;

use cudarc::nccl::sys::ncclDataType_t;

pub use self::flag::AbortFlag;
pub use self::form::{Connected, Nccl, connect};
pub use self::group::NcclGroup;
pub use self::library::{Library, NcclVersion};
pub use self::trust::Trust;
use crate::CallKind;

/// [`Nccl::connect_within`] of GPUs: seconds on cloud hosts, most of a minute where NCCL's kernels are built first.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(60);

/// [`Nccl::drain_within`] of a GPU. NCCL's kernels check for the abort all the time, but the work queued behind them
/// takes a while, and on one host the aborts of all ranks wait for each other.
pub const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// The longest wait between two looks at a device. Only a callback on the stream could wake the host, and it would hold
/// the stream up.
const LOOK_EACH: Duration = Duration::from_micros(200);

/// The type of the numbers in an all-reduce on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementType {
    /// Sums wrap.
    I64,
    /// Sums wrap.
    I32,
    /// Every rank ends with the same bits.
    F32,
}

impl ElementType {
    fn call_kind(self) -> CallKind {
        match self {
            Self::I64 => CallKind::AllReduceI64,
            Self::I32 => CallKind::AllReduceI32,
            Self::F32 => CallKind::AllReduceF32,
        }
    }

    fn data_type(self) -> ncclDataType_t {
        match self {
            Self::I64 => ncclDataType_t::ncclInt64,
            Self::I32 => ncclDataType_t::ncclInt32,
            Self::F32 => ncclDataType_t::ncclFloat32,
        }
    }
}

/// Waits ever longer: the end of a short call is seen at once, a long wait leaves the core to other threads.
#[derive(Default)]
struct Backoff {
    waits: u32,
}

impl Backoff {
    fn wait(&mut self) {
        const YIELDS: u32 = 20;
        match self.waits.checked_sub(YIELDS) {
            None => thread::yield_now(),
            Some(longer) => thread::sleep((Duration::from_micros(10) * (longer + 1)).min(LOOK_EACH)),
        }
        self.waits = self.waits.saturating_add(1).min(1000);
    }
}
