//! [`crate::Group`]'s calls, which take slices on the host: through pinned memory to the device and back.
//!
//! The copy in between costs a pass over the memory, and buys that a call that failed never touches the caller's
//! slice again, whatever the device still does.

use std::ffi::c_void;
use std::sync::Arc;

use super::core::Ending;
use super::device::{Device, DeviceError, Memory, Place};
use super::{NcclGroup, Values};
use crate::{CallKind, GroupError};

/// Slices go in pieces of this size: large enough for NCCL to be at its speed, small beside a GPU's memory.
const PIECE_BYTES: usize = 8 << 20;

/// Room for one piece, made when it is first needed and as large as was needed so far.
#[derive(Default)]
pub(super) struct Staging {
    room: Option<Room>,
}

struct Room {
    pinned: Memory,
    on_device: Memory,
}

impl Staging {
    fn room(&mut self, device: &Arc<dyn Device>, len_bytes: usize) -> Result<&Room, DeviceError> {
        let fits = self.room.as_ref().is_some_and(|room| room.pinned.len_bytes() >= len_bytes);
        if !fits {
            let len_bytes = len_bytes.next_power_of_two();
            self.room = Some(Room {
                pinned: Memory::new(device, Place::PinnedHost, len_bytes)?,
                on_device: Memory::new(device, Place::Device, len_bytes)?,
            });
        }
        Ok(self.room.as_ref().expect("it was just made"))
    }

    /// Never gives the memory back: the device may still be at work on it.
    pub(super) fn abandon(&mut self) {
        std::mem::forget(self.room.take());
    }
}

impl NcclGroup {
    pub(super) fn all_reduce_staged<T: bytemuck::Pod>(
        &mut self,
        values: &mut [T],
        of: Values,
    ) -> Result<(), GroupError> {
        self.begin_call(of.call_kind(), values.len())?;
        self.staged(bytemuck::cast_slice_mut(values), |group, piece, len_bytes| {
            group.queue(|communicator| {
                // SAFETY: the piece is the group's own, of so many whole values, and kept until the stream is past.
                unsafe { communicator.all_reduce(piece, len_bytes / size_of::<T>(), of.data_type()) }
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
                // SAFETY: the piece is the group's own, of so many bytes, and kept until the stream is past.
                unsafe { communicator.broadcast(piece, len_bytes, root) }
            })
        })
    }

    fn staged(
        &mut self,
        bytes: &mut [u8],
        mut queue: impl FnMut(&mut Self, *mut c_void, usize) -> Result<(), Ending>,
    ) -> Result<(), GroupError> {
        if self.communicator.is_none() {
            return Ok(());
        }
        let outcome =
            bytes.chunks_mut(PIECE_BYTES).try_for_each(|piece| self.staged_piece(piece, &mut queue));
        let calls = self.calls;
        outcome.inspect(|()| self.core.finished(calls)).map_err(|ending| self.over(ending))
    }

    fn staged_piece(
        &mut self,
        piece: &mut [u8],
        queue: &mut impl FnMut(&mut Self, *mut c_void, usize) -> Result<(), Ending>,
    ) -> Result<(), Ending> {
        let device = Arc::clone(&self.device);
        // Calls that were queued before need not be done, but a room that grows must not be in use.
        let room =
            self.staging.room(&device, piece.len()).map(|room| (room.pinned.start(), room.on_device.start()));
        let (pinned, on_device) = room.map_err(|error| self.failing(error.into()))?;
        // SAFETY: the room is as long as the piece; no copy from or to it is queued, because this waits for each.
        unsafe { pinned.copy_from_nonoverlapping(piece.as_ptr(), piece.len()) };
        // SAFETY: the room is kept until the stream is past, or for ever.
        unsafe { device.copy(on_device, pinned, piece.len()) }.map_err(|error| self.failing(error.into()))?;
        self.mark()?;
        queue(self, on_device.cast(), piece.len())?;
        // SAFETY: as above.
        unsafe { device.copy(pinned, on_device, piece.len()) }.map_err(|error| self.failing(error.into()))?;
        let mark = self.mark()?;
        self.wait(mark)?;
        // SAFETY: as above; the stream is past the last copy.
        unsafe { piece.as_mut_ptr().copy_from_nonoverlapping(pinned, piece.len()) };
        Ok(())
    }
}
