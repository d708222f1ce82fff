//! The group: queues a call, waits for it, ends it.

use std::ffi::c_void;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lsgan_spec::Generation;

use super::communicator::{Communicator, CommunicatorError, Progress};
use super::core::{Core, EndReason};
use super::device::{Device, DeviceError, Mark};
use super::flag::AbortFlag;
use super::staging::Staging;
use super::trust::Trust;
use super::watch::Watcher;
use super::{Backoff, ElementType};
use crate::tcp::{Side, set_keepalive};
use crate::{Aborter, Call, CallKind, Group, GroupError};

/// How long a leaving rank gives NCCL to send its last values. On one host NCCL may wait until the other ranks leave too.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// A group over NCCL. Made by [`super::connect`].
///
/// Dropped after its calls are done, it leaves in order: other ranks may still be in the same call. Dropped earlier, or
/// after an error, it ends the group on all ranks.
pub struct NcclGroup {
    pub(super) core: Arc<Core>,
    /// None in a group of one that has none ([`super::Nccl::also_alone`]).
    pub(super) communicator: Option<Arc<Communicator>>,
    pub(super) device: Arc<dyn Device>,
    pub(super) drain_within: Duration,
    pub(super) staging: Staging,
    pub(super) watcher: Option<Watcher>,
    /// The number of calls made.
    pub(super) calls: u64,
    pub(super) last_call: Call,
    /// NCCL still works on the last call, which may not be on the stream yet.
    pub(super) in_progress: bool,
    /// Behind the last call on the stream.
    pub(super) last_mark: Option<Mark>,
    /// What ended the group; every later call returns it again.
    pub(super) failed: Option<GroupError>,
    pub(super) description: String,
}

impl NcclGroup {
    /// One line for a log: NCCL's version, its file, its settings from the environment.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The flag that keeps an aborted sum from the weights; see [`super::flag`].
    #[must_use]
    pub fn abort_flag(&self) -> Arc<AbortFlag> {
        Arc::clone(&self.core.flag)
    }

    /// Whether what this rank has applied is to be believed; it outlives the group.
    #[must_use]
    pub fn trust(&self) -> Arc<Trust> {
        Arc::clone(&self.core.trust)
    }

    /// The update behind the last call was made, as the device's count says.
    pub fn update_made(&mut self) {
        self.core.trust.applied(self.calls);
    }

    /// Queues an all-reduce on the device's stream, behind what the caller has queued where it computes: each of `count` values
    /// is replaced by its sum over all ranks. What the caller queues runs beside it, until [`Self::sum_comes_first`].
    ///
    /// First waits until the device has finished the call before: behind a call that hangs the stream would fill up, and
    /// with a full stream NCCL cannot be aborted. The device does not idle meanwhile: it does what was queued in between.
    ///
    /// # Safety
    ///
    /// `values` points to `count` values in the memory of this group's device. They stay valid, and only the stream
    /// touches them, until [`NcclGroup::drain`] has returned anything but [`GroupError::NotDrained`].
    pub unsafe fn enqueue_all_reduce(
        &mut self,
        values: *mut c_void,
        count: usize,
        element: ElementType,
    ) -> Result<(), GroupError> {
        self.begin_call(element.call_kind(), count)?;
        self.ordered(|device| device.follow_computing())?;
        let queued = self.queue(|communicator| {
            // SAFETY: the caller vouches for the memory.
            unsafe { communicator.all_reduce(values, count, element.data_type()) }
        });
        queued.map_err(|reason| self.over(reason))
    }

    /// What the caller queues from now on, where it computes, runs after the calls.
    pub fn sum_comes_first(&mut self) -> Result<(), GroupError> {
        self.failed.clone().map_or(Ok(()), Err)?;
        self.ordered(|device| device.lead_computing())
    }

    fn ordered(
        &mut self,
        order: impl FnOnce(&dyn Device) -> Result<(), DeviceError>,
    ) -> Result<(), GroupError> {
        order(&*self.device).map_err(|error| {
            let reason = self.failing(error.into());
            self.over(reason)
        })
    }

    /// Marks the work queued so far: the calls, and what the caller queued behind them. [`Self::wait_for`] waits for that
    /// and not for later work, so that the device need not idle.
    pub fn mark_queued(&mut self) -> Result<Mark, GroupError> {
        self.failed.clone().map_or(Ok(()), Err)?;
        self.ordered(|device| device.follow_computing())?;
        self.mark().map_err(|reason| self.over(reason))
    }

    /// Waits until the device has passed `mark`. After an error, which is as in [`Self::drain`], the device has passed
    /// all queued work.
    pub fn wait_for(&mut self, mark: Mark) -> Result<(), GroupError> {
        self.failed.clone().map_or(Ok(()), Err)?;
        let reached = self.wait(mark).inspect(|()| self.core.finished(self.calls));
        reached.map_err(|reason| self.over(reason))
    }

    /// Waits until the device has finished all work on its stream: the calls, and what the caller queued behind them.
    /// After an error the group is over. Unless it is [`GroupError::NotDrained`], the buffers are free again, and the
    /// device's count of applied reductions is final.
    pub fn drain(&mut self) -> Result<(), GroupError> {
        let mark = self.mark_queued()?;
        self.wait_for(mark)
    }

    /// As [`crate::tcp::TcpGroup::set_unreachable_after`].
    pub fn set_unreachable_after(&mut self, timeout: Duration) -> Result<(), GroupError> {
        let links = Side::BOTH.into_iter().filter_map(|side| self.core.link(side));
        links.map(|link| &link.socket).try_for_each(|socket| set_keepalive(socket, timeout))
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
        self.core.begin_call().map_err(|reason| self.over(reason))
    }

    /// Makes one NCCL call, which is on the stream when this returns.
    pub(super) fn queue(
        &mut self,
        call: impl FnOnce(&Communicator) -> Result<(), CommunicatorError>,
    ) -> Result<(), EndReason> {
        let Some(communicator) = self.communicator.clone() else { return Ok(()) };
        if let Some(mark) = self.last_mark {
            self.wait(mark)?;
            self.core.finished(self.calls - 1);
        }
        self.in_progress = true;
        call(&communicator).map_err(|error| self.core.end_by(error))?;
        let mut backoff = Backoff::default();
        while self.progress(&communicator)? == Progress::Working {
            backoff.wait();
        }
        self.in_progress = false;
        self.mark().map(|_| ())
    }

    /// Marks what is queued so far.
    pub(super) fn mark(&mut self) -> Result<Mark, EndReason> {
        let mark = self.device.mark().map_err(|error| self.failing(error.into()))?;
        self.last_mark = Some(mark);
        Ok(mark)
    }

    /// Waits until the stream has passed `mark` and the values before it are known to be whole.
    pub(super) fn wait(&self, mark: Mark) -> Result<(), EndReason> {
        let mut backoff = Backoff::default();
        loop {
            let reached = self.device.has_reached(mark).map_err(|error| self.failing(error.into()))?;
            // In this order: an abort makes a call finish with broken values, and is known before that.
            match &self.communicator {
                Some(communicator) => _ = self.progress(communicator)?,
                None => self.core.ended().map_or(Ok(()), Err)?,
            }
            // Where this host was starved, the watcher may not have read yet that the others have aborted.
            if reached && !self.core.has_unheard() {
                return Ok(());
            }
            backoff.wait();
        }
    }

    fn progress(&self, communicator: &Communicator) -> Result<Progress, EndReason> {
        self.core.ended().map_or(Ok(()), Err)?;
        communicator.poll().map_err(|error| self.core.end_by(error))
    }

    /// Ends the group because of `error`, unless it is over already.
    pub(super) fn failing(&self, error: GroupError) -> EndReason {
        self.core.end(EndReason::Failed(error));
        self.core.ended().expect("it was just ended")
    }

    /// Ends the group and waits for the device; from now on every call returns this error.
    pub(super) fn over(&mut self, reason: EndReason) -> GroupError {
        // The watcher may not have seen the abort yet, and the caller of a failed call relies on the flag.
        self.core.end(reason.clone());
        let error = match self.drain_ended() {
            Ok(()) => reason.error(self.core.generation, self.last_call),
            Err(error) => {
                self.staging.abandon();
                error
            }
        };
        self.failed = Some(error.clone());
        error
    }

    /// Waits until the device of an ended group has finished all queued work, and all that NCCL may still queue.
    fn drain_ended(&mut self) -> Result<(), GroupError> {
        let started = Instant::now();
        if self.in_progress {
            // A mark set now could come before the call. When NCCL's abort returns, the call is on the stream or never
            // will be.
            self.until(started, |group| Ok(group.core.is_aborted()))?;
        }
        // The update of a sum that was aborted may be queued, and is known when it has run.
        self.device.follow_computing()?;
        let mark = self.device.mark()?;
        self.until(started, |group| Ok(group.device.has_reached(mark)?))
    }

    /// Waits until `happened`, at most `drain_within` since `started`.
    fn until(
        &self,
        started: Instant,
        happened: impl Fn(&Self) -> Result<bool, GroupError>,
    ) -> Result<(), GroupError> {
        let mut backoff = Backoff::default();
        while !happened(self)? {
            if started.elapsed() > self.drain_within {
                return Err(GroupError::NotDrained {
                    generation: self.core.generation,
                    after: self.drain_within,
                });
            }
            backoff.wait();
        }
        Ok(())
    }

    /// Leaves a group that is not over and whose calls are done. False if it must be aborted instead.
    fn leave(&self) -> bool {
        self.core.finished(self.calls);
        let Some(communicator) = &self.communicator else { return true };
        let started = Instant::now();
        let mut backoff = Backoff::default();
        let mut progress = communicator.finalize().and_then(|()| communicator.poll());
        while matches!(progress, Ok(Progress::Working)) && started.elapsed() < LEAVE_WITHIN {
            if self.core.ended().is_some() {
                return false;
            }
            backoff.wait();
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
        self.all_reduce_staged(values, ElementType::I64)
    }

    fn all_reduce_i32(&mut self, own: &[i32], sums: &mut [i32]) -> Result<(), GroupError> {
        sums.copy_from_slice(own);
        self.all_reduce_staged(sums, ElementType::I32)
    }

    fn all_reduce_f32(&mut self, values: &mut [f32]) -> Result<(), GroupError> {
        self.all_reduce_staged(values, ElementType::F32)
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
            self.core.end(EndReason::Aborted);
        }
        // A failed call has drained the device already.
        if self.failed.is_none() && self.drain_ended().is_err() {
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
