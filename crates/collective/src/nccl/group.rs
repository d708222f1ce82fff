//! The group: how a call is queued, waited for, and ended.

use std::ffi::c_void;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lsgan_spec::Generation;

use super::communicator::{Communicator, Progress, Trouble};
use super::core::{Core, Ending, Side};
use super::device::{Device, Mark};
use super::flag::AbortFlag;
use super::staging::Staging;
use super::watch::Watcher;
use super::{Pause, Values};
use crate::tcp::ask_after_silence;
use crate::{Aborter, Call, CallKind, Group, GroupError};

/// How long a leaving rank gives NCCL to send its last values on. On one host it may wait for the others to leave too.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// A group over NCCL. Made by [`super::connect`].
///
/// Dropped after its calls are done, it leaves in order; the others may still be in the same call. Dropped earlier, or
/// after an error, it is gone for them.
pub struct NcclGroup {
    pub(super) core: Arc<Core>,
    /// None in a group of one that was formed without.
    pub(super) communicator: Option<Arc<Communicator>>,
    pub(super) device: Arc<dyn Device>,
    pub(super) drain_within: Duration,
    pub(super) staging: Staging,
    pub(super) watcher: Option<Watcher>,
    /// How many calls were made, and which was the last.
    pub(super) calls: u64,
    pub(super) last_call: Call,
    /// The last call may not have reached the stream: NCCL was seen to work on it.
    pub(super) in_progress: bool,
    /// Behind the last call on the stream.
    pub(super) last_mark: Option<Mark>,
    /// What ended the group; every later call says it again.
    pub(super) failed: Option<GroupError>,
    pub(super) description: String,
}

impl NcclGroup {
    /// One line for a log: NCCL's version, its file, its settings from the environment.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What keeps an aborted sum from the weights; see [`super::flag`].
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

    /// Marks what is queued so far: the calls, and what the caller has queued behind them. [`Self::wait_for`] waits for
    /// that and not for what is queued later, so that the device need not stand still meanwhile.
    pub fn mark_queued(&mut self) -> Result<Mark, GroupError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.mark().map_err(|ending| self.over(ending))
    }

    /// Waits until the device has come past `mark`. An error is as in [`Self::drain`], and says that the device has come
    /// past all that was queued.
    pub fn wait_for(&mut self, mark: Mark) -> Result<(), GroupError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let calls = self.calls;
        let reached = self.wait(mark).inspect(|()| self.core.finished(calls));
        reached.map_err(|ending| self.over(ending))
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
    pub(super) fn begin_call(&mut self, kind: CallKind, length: usize) -> Result<(), GroupError> {
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
    pub(super) fn queue(
        &mut self,
        call: impl FnOnce(&Communicator) -> Result<(), Trouble>,
    ) -> Result<(), Ending> {
        let Some(communicator) = self.communicator.clone() else { return Ok(()) };
        if let Some(mark) = self.last_mark {
            self.wait(mark)?;
            self.core.finished(self.calls - 1);
        }
        self.in_progress = true;
        call(&communicator).map_err(|trouble| self.ending(trouble))?;
        let mut pause = Pause::default();
        while self.progress(&communicator)? == Progress::Working {
            pause.take();
        }
        self.in_progress = false;
        self.mark().map(|_| ())
    }

    /// Marks what is queued so far.
    pub(super) fn mark(&mut self) -> Result<Mark, Ending> {
        let mark = self.device.mark().map_err(|error| self.failing(error.into()))?;
        self.last_mark = Some(mark);
        Ok(mark)
    }

    /// Waits until the stream has come past `mark`, with whole values.
    pub(super) fn wait(&self, mark: Mark) -> Result<(), Ending> {
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
    pub(super) fn failing(&self, error: GroupError) -> Ending {
        self.core.end(Ending::Failed(error));
        self.core.ended().expect("it was just ended")
    }

    /// Waits for the device, and says from now on how the group ended.
    pub(super) fn over(&mut self, ending: Ending) -> GroupError {
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

    /// Waits until the device of an ended group has come past all that is queued, and all that NCCL may still queue.
    fn rest(&mut self) -> Result<(), GroupError> {
        let started = Instant::now();
        if self.in_progress {
            // A mark set now could come before the call. NCCL's abort returns when the call has been made, or never
            // will be.
            self.until(started, |group| Ok(group.core.is_aborted()))?;
        }
        let mark = self.device.mark()?;
        self.until(started, |group| Ok(group.device.has_reached(mark)?))
    }

    /// Waits for what must happen in an ended group.
    fn until(
        &self,
        started: Instant,
        happened: impl Fn(&Self) -> Result<bool, GroupError>,
    ) -> Result<(), GroupError> {
        let mut pause = Pause::default();
        while !happened(self)? {
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
        self.core.size
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
        let Core { generation, rank, size, .. } = &*self.core;
        write!(f, "NcclGroup(generation {generation}, rank {rank} of {size}, {} calls)", self.calls)
    }
}
