//! NCCL between GPUs, behind the same [`Group`] and the same contract as TCP.
//!
//! **Forming.** The ranks first form a TCP group ([`crate::tcp`]): it is fenced by generation and run, and names who is
//! missing. Over it they compare NCCL's versions, and rank 0 sends the id by which NCCL connects them. The id travels
//! between the ranks, not with the coordinator's assignment, because it is bound to the process that made it: rank 0
//! itself answers those who connect by it. The TCP connections then stay open as a side channel, on which a dead peer
//! shows at once; NCCL alone would wait for it for ever.
//!
//! **Calls.** [`Group`]'s calls take slices on the host and carry them over the device in pieces; they are for states
//! and tests. [`NcclGroup::enqueue_all_reduce`] sums values that lie on the device, on the caller's stream, and does
//! not wait for them. [`NcclGroup::drain`] does.
//!
//! **Ends.** An abort, a dead neighbour and an error of NCCL all do the same, in this order: set the [`AbortFlag`],
//! close the side channel (which tells the neighbours), `ncclCommAbort`. What the flag is for is told in [`flag`].
//! Every wait looks for the end of its group, for errors of NCCL and of the device, and has a deadline where an end
//! alone would not bound it.
//!
//! What it cannot do: tell two ranks that make different calls; NCCL then hangs, or sums what does not belong together.
//!
//! - [`library`]: the NCCL of this machine, opened at run time. `config`: how it is told what is wanted.
//! - [`device`]: what is needed of a device; [`cuda`] is that of a GPU. Tests bring their own over host memory.
//! - [`connect`]: forms a group. `communicator`: NCCL's calls. `watch`: the thread that ends a group at once.

mod communicator;
mod config;
mod core;
pub mod cuda;
pub mod device;
mod farewell;
pub mod flag;
mod form;
pub mod library;
mod staging;
mod watch;

use std::ffi::c_void;
use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cudarc::nccl::sys::ncclDataType_t;
use lsgan_spec::Generation;

use self::communicator::{Communicator, Progress, Trouble};
use self::core::{Core, Ending, Side};
use self::device::{Device, Mark};
pub use self::flag::AbortFlag;
pub use self::form::{Nccl, connect};
pub use self::library::{Library, NcclVersion};
use self::staging::Staging;
use self::watch::Watcher;
use crate::tcp::ask_after_silence;
use crate::{Aborter, Call, CallKind, Group, GroupError};

/// What [`Nccl::drain_within`] is to be for a GPU. NCCL's kernels look for the abort all the time, but what is queued
/// behind them takes a while, and on one host all ranks' aborts wait for each other.
pub const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// How long a leaving rank gives NCCL to send its last values on. On one host it may wait for the others to leave too.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

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

/// A group over NCCL. Made by [`connect`].
///
/// Dropped after its calls are done, it leaves in order; the others may still be in the same call. Dropped earlier, or
/// after an error, it is gone for them.
pub struct NcclGroup {
    size: usize,
    core: Arc<Core>,
    /// None in a group of one that was formed without.
    communicator: Option<Arc<Communicator>>,
    device: Arc<dyn Device>,
    drain_within: Duration,
    staging: Staging,
    watcher: Option<Watcher>,
    /// How many calls were made, and which was the last.
    calls: u64,
    last_call: Call,
    /// Behind the last call on the stream.
    last_mark: Option<Mark>,
    /// What ended the group; every later call says it again.
    failed: Option<GroupError>,
    description: String,
}

impl NcclGroup {
    /// One line for a log: NCCL's version, its file, its settings from the environment.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What keeps an aborted sum from the weights; see [`flag`].
    #[must_use]
    pub fn abort_flag(&self) -> Arc<AbortFlag> {
        Arc::clone(&self.core.flag)
    }

    /// Queues, on the device's stream, that each of `count` values is replaced by its sum over all ranks. What is
    /// queued on that stream afterwards comes after it.
    ///
    /// Returns when the call is queued, which is when the one before has come to its end on the device: behind a call
    /// that hangs the stream would fill up, and with a full stream NCCL could not be aborted. The device does not stand
    /// still for it, as what was queued in between is done meanwhile.
    ///
    /// # Safety
    ///
    /// `values` points to `count` values in the memory of this group's device, which stay valid and are touched by
    /// nothing but its stream until [`NcclGroup::drain`] has returned, with an error other than
    /// [`GroupError::NotDrained`] or without.
    pub unsafe fn enqueue_all_reduce(
        &mut self,
        values: *mut c_void,
        count: usize,
        of: Values,
    ) -> Result<(), GroupError> {
        self.begin_call(of.call_kind(), count)?;
        let queued = self.queue(|communicator| {
            // SAFETY: the caller vouches for the memory.
            unsafe { communicator.all_reduce(values, count, of.data_type()) }
        });
        queued.map_err(|ending| self.over(ending))
    }

    /// Waits until the device has come past all that is queued on its stream: the calls, and what the caller has queued
    /// behind them. An error says that the group is over; the buffers are free again in any case, and what the device
    /// has counted is final, but for [`GroupError::NotDrained`].
    pub fn drain(&mut self) -> Result<(), GroupError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let drained = self.mark().and_then(|mark| self.wait(mark));
        let calls = self.calls;
        let drained = drained.inspect(|()| self.core.finished(calls));
        drained.map_err(|ending| self.over(ending))
    }

    /// Loses a neighbour whose host has answered nothing for about this long, as [`crate::tcp::TcpGroup`] does.
    pub fn set_unreachable_after(&mut self, timeout: Duration) -> Result<(), GroupError> {
        let links = Side::BOTH.into_iter().filter_map(|side| self.core.link(side));
        links.map(|link| &link.socket).try_for_each(|socket| ask_after_silence(socket, timeout))
    }

    /// Counts a call, unless the group is over.
    fn begin_call(&mut self, kind: CallKind, length: usize) -> Result<(), GroupError> {
        let aborted =
            self.core.aborter.is_aborted() && !matches!(self.failed, Some(GroupError::NotDrained { .. }));
        if let (Some(error), false) = (&self.failed, aborted) {
            return Err(error.clone());
        }
        self.last_call = Call { kind, sequence: self.calls, length: length as u64 };
        self.calls += 1;
        self.core.begin_call().map_err(|ending| self.over(ending))
    }

    /// Makes one call of NCCL; it is on the stream when this returns.
    fn queue(&mut self, call: impl FnOnce(&Communicator) -> Result<(), Trouble>) -> Result<(), Ending> {
        let Some(communicator) = self.communicator.clone() else { return Ok(()) };
        if let Some(mark) = self.last_mark {
            self.wait(mark)?;
            self.core.finished(self.calls - 1);
        }
        call(&communicator).map_err(|trouble| self.ending(trouble))?;
        let mut pause = Pause::default();
        while self.progress(&communicator)? == Progress::Working {
            pause.take();
        }
        self.mark().map(|_| ())
    }

    /// Marks what is queued so far.
    fn mark(&mut self) -> Result<Mark, Ending> {
        let mark = self.device.mark().map_err(|error| self.failing(error.into()))?;
        self.last_mark = Some(mark);
        Ok(mark)
    }

    /// Waits until the stream has come past `mark`, with whole values.
    fn wait(&self, mark: Mark) -> Result<(), Ending> {
        let mut pause = Pause::default();
        loop {
            let reached = self.device.has_reached(mark).map_err(|error| self.failing(error.into()))?;
            // After the look at the stream: an abort ends a call with broken values, and is known before it does.
            match &self.communicator {
                Some(communicator) => _ = self.progress(communicator)?,
                None => self.core.ended().map_or(Ok(()), Err)?,
            }
            if reached {
                return Ok(());
            }
            pause.take();
        }
    }

    fn progress(&self, communicator: &Communicator) -> Result<Progress, Ending> {
        self.core.ended().map_or(Ok(()), Err)?;
        communicator.poll().map_err(|trouble| self.ending(trouble))
    }

    /// Ends the group because of NCCL.
    fn ending(&self, trouble: Trouble) -> Ending {
        self.core.end_by(trouble);
        self.core.ended().expect("a communicator is gone only after its group's end")
    }

    /// Ends the group because of `error`, unless it is over already.
    fn failing(&self, error: GroupError) -> Ending {
        self.core.end(Ending::Failed(error));
        self.core.ended().expect("it was just ended")
    }

    /// Waits for the device, and says from now on how the group ended.
    fn over(&mut self, ending: Ending) -> GroupError {
        // The watcher may still be on its way. Whoever is told of the abort may rely on the flag.
        self.core.end(ending.clone());
        let error = match self.rest() {
            Ok(()) => ending.error(self.core.generation, self.last_call),
            Err(error) => {
                self.staging.abandon();
                error
            }
        };
        self.failed = Some(error.clone());
        error
    }

    /// Waits until the device of an ended group has come past all that is queued.
    fn rest(&mut self) -> Result<(), GroupError> {
        let started = Instant::now();
        let mut pause = Pause::default();
        let mark = self.device.mark()?;
        while !self.device.has_reached(mark)? {
            if started.elapsed() > self.drain_within {
                return Err(GroupError::NotDrained {
                    generation: self.core.generation,
                    after: self.drain_within,
                });
            }
            pause.take();
        }
        Ok(())
    }

    /// Leaves a group that is not over, and whose calls are done. False if it must be aborted after all.
    fn leave(&self) -> bool {
        self.core.finished(self.calls);
        let Some(communicator) = &self.communicator else { return true };
        let started = Instant::now();
        let mut pause = Pause::default();
        let mut progress = communicator.finalize().and_then(|()| communicator.poll());
        while matches!(progress, Ok(Progress::Working)) && started.elapsed() < LEAVE_WITHIN {
            if self.core.ended().is_some() {
                return false;
            }
            pause.take();
            progress = communicator.poll();
        }
        let finalized = matches!(progress, Ok(Progress::Ready));
        if finalized {
            communicator.destroy();
        }
        finalized
    }
}

impl Group for NcclGroup {
    fn rank(&self) -> usize {
        self.core.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn generation(&self) -> Generation {
        self.core.generation
    }

    fn all_reduce_i64(&mut self, values: &mut [i64]) -> Result<(), GroupError> {
        self.all_reduce_staged(values, Values::I64)
    }

    fn all_reduce_f32(&mut self, values: &mut [f32]) -> Result<(), GroupError> {
        self.all_reduce_staged(values, Values::F32)
    }

    fn broadcast(&mut self, root: usize, bytes: &mut [u8]) -> Result<(), GroupError> {
        self.broadcast_staged(root, bytes)
    }

    fn aborter(&self) -> Aborter {
        self.core.aborter.clone()
    }
}

impl Drop for NcclGroup {
    fn drop(&mut self) {
        let over = self.failed.is_some() || self.core.ended().is_some();
        let done = self.last_mark.is_none_or(|mark| matches!(self.device.has_reached(mark), Ok(true)));
        if !over && done && self.leave() {
            self.core.close();
        } else {
            self.core.end(Ending::Aborted);
        }
        // An error was returned only after the device's rest.
        if self.failed.is_none() && self.rest().is_err() {
            self.staging.abandon();
        }
        self.watcher = None;
    }
}

impl fmt::Debug for NcclGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Core { generation, rank, .. } = &*self.core;
        write!(f, "NcclGroup(generation {generation}, rank {rank} of {}, {} calls)", self.size, self.calls)
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
