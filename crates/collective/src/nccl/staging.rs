//! The calls of [`crate::Group`], which take slices on the host: through pinned memory to the device and back.
//!
//! The copy to pinned memory costs a pass over the values. In return, a failed call never touches the caller's slice
//! again, whatever the device still does.

use std::ffi::c_void;
use std::sync::Arc;

use super::core::EndReason;
use super::device::{Device, DeviceError, Memory, MemoryKind};
use super::{ElementType, NcclGroup};
use crate::{CallKind, GroupError};

/// Large enough for NCCL to reach its full speed, small beside a GPU's memory.
const PIECE_BYTES: usize = 8 << 20;

/// Buffers for one piece; they grow to the largest piece so far.
#[derive(Default)]
pub(super) struct Staging {
    buffers: Option<Buffers>,
}

struct Buffers {
    pinned: Memory,
    on_device: Memory,
}

impl Staging {
    fn buffers(&mut self, device: &Arc<dyn Device>, len_bytes: usize) -> Result<&Buffers, DeviceError> {
        if self.buffers.as_ref().is_none_or(|buffers| buffers.pinned.len_bytes() < len_bytes) {
            let len_bytes = len_bytes.next_power_of_two();
            self.buffers = Some(Buffers {
                pinned: Memory::new(device, MemoryKind::PinnedHost, len_bytes)?,
                on_device: Memory::new(device, MemoryKind::Device, len_bytes)?,
            });
        }
        Ok(self.buffers.as_ref().expect("they were just made"))
    }

    /// Leaks the buffers: the device may still work on them.
    pub(super) fn abandon(&mut self) {
        std::mem::forget(self.buffers.take());
    }
}

impl NcclGroup {
    pub(super) fn all_reduce_staged<T: bytemuck::Pod>(
        &mut self,
        values: &mut [T],
        element: ElementType,
    ) -> Result<(), GroupError> {
        self.begin_call(element.call_kind(), values.len())?;
        self.staged(bytemuck::cast_slice_mut(values), |group, piece, len_bytes| {
            group.queue(|communicator| {
                // SAFETY: the piece is the group's own buffer of that many values, kept until the stream has passed.
                unsafe { communicator.all_reduce(piece, len_bytes / size_of::<T>(), element.data_type()) }
            })
        })
    }

    pub(super) fn broadcast_staged(&mut self, root: usize, bytes: &mut [u8]) -> Result<(), GroupError> {
        let (generation, size) = (self.core.generation, self.core.size);
        if root >= size {
            return Err(GroupError::NoSuchRoot { generation, root, size });
        }
        let kind = CallKind::Broadcast { root: u32::try_from(root).expect("a rank is below 65536") };
        self.begin_call(kind, bytes.len())?;
        self.staged(bytes, |group, piece, len_bytes| {
            group.queue(|communicator| {
                // SAFETY: the piece is the group's own buffer of that many bytes, kept until the stream has passed.
                unsafe { communicator.broadcast(piece, len_bytes, root) }
            })
        })
    }

    fn staged(
        &mut self,
        bytes: &mut [u8],
        mut queue: impl FnMut(&mut Self, *mut c_void, usize) -> Result<(), EndReason>,
    ) -> Result<(), GroupError> {
        if self.communicator.is_none() {
            return Ok(());
        }
        let outcome =
            bytes.chunks_mut(PIECE_BYTES).try_for_each(|piece| self.staged_piece(piece, &mut queue));
        let calls = self.calls;
        outcome.inspect(|()| self.core.finished(calls)).map_err(|reason| self.over(reason))
    }

    fn staged_piece(
        &mut self,
        piece: &mut [u8],
        queue: &mut impl FnMut(&mut Self, *mut c_void, usize) -> Result<(), EndReason>,
    ) -> Result<(), EndReason> {
        let device = Arc::clone(&self.device);
        // Calls queued before may be unfinished, but none uses the buffers: this function waits for each of its copies.
        let buffers = self.staging.buffers(&device, piece.len());
        let buffers = buffers.map(|buffers| (buffers.pinned.start(), buffers.on_device.start()));
        let (pinned, on_device) = buffers.map_err(|error| self.failing(error.into()))?;
        // SAFETY: the buffers are at least as long as the piece, and no copy from or to them is queued.
        unsafe { pinned.copy_from_nonoverlapping(piece.as_ptr(), piece.len()) };
        // SAFETY: the buffers are kept until the stream has passed, or leaked.
        unsafe { device.copy(on_device, pinned, piece.len()) }.map_err(|error| self.failing(error.into()))?;
        self.mark()?;
        queue(self, on_device.cast(), piece.len())?;
        // SAFETY: as above.
        unsafe { device.copy(pinned, on_device, piece.len()) }.map_err(|error| self.failing(error.into()))?;
        let mark = self.mark()?;
        self.wait(mark)?;
        // SAFETY: as above; the stream has passed the last copy.
        unsafe { piece.as_mut_ptr().copy_from_nonoverlapping(pinned, piece.len()) };
        Ok(())
    }
}
