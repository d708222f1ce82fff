//! NCCL between GPUs, behind the same [`crate::Group`] and the same contract as TCP.
//!
//! **Forming.** The ranks first form a TCP group ([`crate::tcp`]): it is fenced by generation and run, and names who is
//! missing. Over it they compare NCCL's versions, and rank 0 sends the id by which NCCL connects them. The id travels
//! between the ranks, not with the coordinator's assignment, because it is bound to the process that made it: rank 0
//! itself answers those who connect by it. The TCP connections then stay open as a side channel, on which a dead peer
//! shows at once; NCCL alone would wait for it for ever.
//!
//! **Calls.** [`crate::Group`]'s calls take slices on the host and carry them over the device in pieces; they are for states
//! and tests. [`NcclGroup::enqueue_all_reduce`] sums values that lie on the device, on the caller's stream, and does
//! not wait for them. [`NcclGroup::drain`] does.
//!
//! **Ends.** An abort, a dead neighbour and an error of NCCL all do the same, in this order: set the [`AbortFlag`], tell
//! the neighbours over the side channel, wait until all ranks have set theirs, `ncclCommAbort`. Why: [`flag`], `watch`.
//! Every wait looks for the end of its group, for errors of NCCL and of the device, and has a deadline where an end
//! alone would not bound it.
//!
//! What it cannot do: tell two ranks that make different calls; NCCL then hangs, or sums what does not belong together.
//!
//! - [`library`]: the NCCL of this machine, opened at run time. `config`: how it is told what is wanted.
//! - [`device`]: what is needed of a device; [`cuda`] is that of a GPU. Tests bring their own over host memory.
//! - [`connect`]: forms a [`NcclGroup`]. `communicator`: NCCL's calls. `watch`: the thread that ends a group at once.

mod communicator;
mod config;
mod core;
pub mod cuda;
pub mod device;
mod farewell;
pub mod flag;
mod form;
mod group;
pub mod library;
mod staging;
mod watch;

use std::thread;
use std::time::Duration;

use cudarc::nccl::sys::ncclDataType_t;

pub use self::flag::AbortFlag;
pub use self::form::{Nccl, connect};
pub use self::group::NcclGroup;
pub use self::library::{Library, NcclVersion};
use crate::CallKind;

/// What [`Nccl::drain_within`] is to be for a GPU. NCCL's kernels look for the abort all the time, but what is queued
/// behind them takes a while, and on one host all ranks' aborts wait for each other.
pub const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// The longest pause between two looks at a device. Nothing wakes a host when a stream gets somewhere, but a callback
/// on that stream, which would hold it up.
const LOOK_EACH: Duration = Duration::from_micros(200);

/// What values on the device are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// `i64`; sums wrap.
    I64,
    /// `f32`; every rank ends with the same bits.
    F32,
}

impl Values {
    fn call_kind(self) -> CallKind {
        match self {
            Self::I64 => CallKind::AllReduceI64,
            Self::F32 => CallKind::AllReduceF32,
        }
    }

    fn data_type(self) -> ncclDataType_t {
        match self {
            Self::I64 => ncclDataType_t::ncclInt64,
            Self::F32 => ncclDataType_t::ncclFloat32,
        }
    }
}

/// Ever longer pauses: a short call is seen to end at once, a long wait leaves the core to others.
#[derive(Default)]
struct Pause {
    taken: u32,
}

impl Pause {
    fn take(&mut self) {
        const YIELDS: u32 = 20;
        match self.taken.checked_sub(YIELDS) {
            None => thread::yield_now(),
            Some(longer) => thread::sleep((Duration::from_micros(10) * (longer + 1)).min(LOOK_EACH)),
        }
        self.taken = self.taken.saturating_add(1).min(1000);
    }
}
