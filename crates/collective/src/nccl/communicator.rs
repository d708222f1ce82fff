//! One rank's NCCL communicator, with all NCCL calls on it.
//!
//! It is non-blocking: a call may return while a thread of NCCL still works on it. Until [`Communicator::poll`] returns
//! [`Progress::Ready`], no other call may be made, and the call may not be on the stream yet.
//!
//! NCCL calls on one communicator must not overlap, so each holds a lock. None of them waits for a peer or the device
//! while the work queued before it can finish, which `NcclGroup` ensures. The abort may take long: it takes the
//! communicator out of the lock first, so that no other thread finds it.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::nccl::sys::{ncclComm_t, ncclDataType_t, ncclRedOp_t, ncclUniqueId};

use super::config::non_blocking;
use super::device::Device;
use super::library::{IN_PROGRESS, Library, SUCCESS};

/// `NCCL_UNIQUE_ID_BYTES`.
pub(super) const ID_BYTES: usize = 128;

/// The id by which NCCL connects the ranks of one communicator.
pub(super) type Id = [u8; ID_BYTES];

#[derive(Debug)]
pub(super) enum CommunicatorError {
    /// The communicator was aborted or destroyed.
    Gone,
    /// An NCCL call failed; `code` is its `ncclResult_t`.
    Nccl { doing: &'static str, code: i32, said: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// NCCL still works on the last call.
    Working,
    /// The last call is made or queued on the stream.
    Ready,
}

pub(super) struct Communicator {
    library: Library,
    device: Arc<dyn Device>,
    /// None once it is aborted or destroyed.
    handle: Mutex<Option<Handle>>,
    /// NCCL's thread writes the handle here again when it has made the communicator, so this must not move. We read it
    /// once, right after the call that got its address.
    _written_by_nccl: Box<UnsafeCell<ncclComm_t>>,
}

#[derive(Clone, Copy)]
struct Handle(ncclComm_t);

// SAFETY: NCCL lets any thread use a communicator, one at a time; the lock ensures that.
unsafe impl Send for Handle {}
// SAFETY: the cell is not read after `begin`; all else is Send and Sync.
unsafe impl Send for Communicator {}
// SAFETY: as above.
unsafe impl Sync for Communicator {}

/// Makes an id. It is bound to this process, which answers the ranks that connect by it.
pub(super) fn new_id(library: &Library) -> Result<Id, CommunicatorError> {
    let mut id = ncclUniqueId { internal: [0; ID_BYTES] };
    // SAFETY: `nccl.h`'s signature; NCCL fills the 128 bytes.
    let code = unsafe { (library.functions().get_unique_id)(&raw mut id) };
    match code {
        SUCCESS => Ok(id.internal.map(|byte| byte as u8)),
        code => Err(failed(library, "make an id for its communicator", code, null_mut())),
    }
}

fn failed(
    library: &Library,
    doing: &'static str,
    code: c_int,
    communicator: ncclComm_t,
) -> CommunicatorError {
    CommunicatorError::Nccl { doing, code, said: library.words(code, communicator) }
}

impl Communicator {
    /// Begins to make this rank's communicator; [`Communicator::poll`] says when it is made. `device` must be the
    /// calling thread's current one; the calls use its memory and stream.
    pub(super) fn begin(
        library: &Library,
        device: &Arc<dyn Device>,
        id: &Id,
        rank: usize,
        size: usize,
    ) -> Result<Self, CommunicatorError> {
        const DOING: &str = "begin to make its communicator";
        let narrow = |value: usize| c_int::try_from(value).expect("ranks are below 65536");
        let written_by_nccl = Box::new(UnsafeCell::new(null_mut()));
        let id = ncclUniqueId { internal: id.map(|byte| byte as _) };
        let mut config = non_blocking(library.version());
        // SAFETY: `nccl.h`'s signature. The config is as its macro would have made it and is copied before the call
        // returns; the cell stays where it is until the communicator is gone.
        let (code, handle) = unsafe {
            let init = library.functions().comm_init_rank_config;
            let code = init(written_by_nccl.get(), narrow(size), id, narrow(rank), &raw mut config);
            (code, written_by_nccl.get().read())
        };
        match code {
            SUCCESS | IN_PROGRESS if !handle.is_null() => Ok(Self {
                library: library.clone(),
                device: Arc::clone(device),
                handle: Mutex::new(Some(Handle(handle))),
                _written_by_nccl: written_by_nccl,
            }),
            code => Err(failed(library, DOING, code, null_mut())),
        }
    }

    /// The progress of the last call, or an error that has occurred since, here or on the way to a peer.
    pub(super) fn poll(&self) -> Result<Progress, CommunicatorError> {
        let mut state = SUCCESS;
        let code = self.with(|handle| {
            // SAFETY: `nccl.h`'s signature; the communicator is alive while the lock is held.
            unsafe { (self.library.functions().comm_get_async_error)(handle, &raw mut state) }
        })?;
        match (code, state) {
            (SUCCESS, SUCCESS) => Ok(Progress::Ready),
            (SUCCESS, IN_PROGRESS) => Ok(Progress::Working),
            (SUCCESS, state) => Err(self.said("go on", state)),
            (code, _) => Err(self.said("say how it is", code)),
        }
    }

    /// Queues the sum of `count` values over all ranks, in place.
    ///
    /// # Safety
    ///
    /// They lie in the device's memory and stay valid until its stream has passed this call.
    pub(super) unsafe fn all_reduce(
        &self,
        values: *mut c_void,
        count: usize,
        of: ncclDataType_t,
    ) -> Result<(), CommunicatorError> {
        self.queue("queue an all-reduce", |handle| {
            // SAFETY: `nccl.h`'s signature, in place as it allows; the caller vouches for the memory.
            unsafe {
                let (all_reduce, stream) = (self.library.functions().all_reduce, self.device.stream().cast());
                all_reduce(values, values, count, of, ncclRedOp_t::ncclSum, handle, stream)
            }
        })
    }

    /// Queues a broadcast of the bytes of `root`, in place.
    ///
    /// # Safety
    ///
    /// As [`Communicator::all_reduce`].
    pub(super) unsafe fn broadcast(
        &self,
        bytes: *mut c_void,
        count: usize,
        root: usize,
    ) -> Result<(), CommunicatorError> {
        let root = c_int::try_from(root).expect("ranks are below 65536");
        self.queue("queue a broadcast", |handle| {
            // SAFETY: `nccl.h`'s signature, in place as it allows; the caller vouches for the memory.
            unsafe {
                let broadcast = self.library.functions().broadcast;
                let of = ncclDataType_t::ncclUint8;
                broadcast(bytes, bytes, count, of, root, handle, self.device.stream().cast())
            }
        })
    }

    /// Begins to send the last values to the peers; [`Communicator::poll`] says when that is done.
    pub(super) fn finalize(&self) -> Result<(), CommunicatorError> {
        self.queue("finish its communicator", |handle| {
            // SAFETY: `nccl.h`'s signature; the communicator is alive while the lock is held.
            unsafe { (self.library.functions().comm_finalize)(handle) }
        })
    }

    /// Destroys a finalized communicator.
    pub(super) fn destroy(&self) {
        if let Some(Handle(handle)) = self.take() {
            // SAFETY: `nccl.h`'s signature; the handle is taken out, so no other thread uses it. The result changes
            // nothing: the communicator is gone either way.
            unsafe { (self.library.functions().comm_destroy)(handle) };
        }
    }

    /// Ends the queued calls, here and on the other ranks, and destroys the communicator. May take long.
    pub(super) fn abort(&self) {
        if let Some(Handle(handle)) = self.take() {
            // SAFETY: as in `destroy`; NCCL allows it at any time, also while it makes the communicator.
            unsafe { (self.library.functions().comm_abort)(handle) };
        }
    }

    fn queue(
        &self,
        doing: &'static str,
        call: impl FnOnce(ncclComm_t) -> c_int,
    ) -> Result<(), CommunicatorError> {
        match self.with(call)? {
            SUCCESS | IN_PROGRESS => Ok(()),
            code => Err(self.said(doing, code)),
        }
    }

    fn said(&self, doing: &'static str, code: c_int) -> CommunicatorError {
        self.with(|handle| failed(&self.library, doing, code, handle)).unwrap_or_else(|gone| gone)
    }

    fn with<T>(&self, call: impl FnOnce(ncclComm_t) -> T) -> Result<T, CommunicatorError> {
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        handle.map(|Handle(handle)| call(handle)).ok_or(CommunicatorError::Gone)
    }

    fn take(&self) -> Option<Handle> {
        self.handle.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Communicator {
    fn drop(&mut self) {
        self.abort();
    }
}
