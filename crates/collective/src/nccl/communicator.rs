//! One rank's NCCL communicator. Every call of NCCL on it is here.
//!
//! It is non-blocking: a call may return while NCCL still works on it in a thread of its own, and until
//! [`Communicator::poll`] says that it is ready, no other call may be made and nothing has reached the stream.
//!
//! NCCL calls on one communicator must not overlap, so a lock is held for each; none waits for a peer or the device
//! as long as the stream before it runs dry by itself, which is what `NcclGroup` sees to. The one call that may take
//! long, the abort, takes the communicator out first: nobody else can find it any more.

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

/// What NCCL connects the ranks of one communicator by.
pub(super) type Id = [u8; ID_BYTES];

/// Why a call of NCCL failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The communicator was aborted, or has left.
    Gone,
    /// NCCL's answer.
    Nccl {
        doing: &'static str,
        /// `ncclResult_t`.
        code: i32,
        /// NCCL's words.
        said: String,
    },
}

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// NCCL still works on it.
    Working,
    /// It is done: made, or queued on the stream.
    Ready,
}

pub(super) struct Communicator {
    library: Library,
    device: Arc<dyn Device>,
    /// None once it is aborted or destroyed.
    handle: Mutex<Option<Handle>>,
    /// NCCL's own thread writes the handle here once more when it has made the communicator, so that this must stay
    /// where it is. Read once, right after the call that was given it.
    _written_by_nccl: Box<UnsafeCell<ncclComm_t>>,
}

#[derive(Clone, Copy)]
struct Handle(ncclComm_t);

// SAFETY: NCCL lets any thread use a communicator, one at a time; the lock sees to that.
unsafe impl Send for Handle {}
// SAFETY: nobody reads the cell after `begin`; all else is Send and Sync.
unsafe impl Send for Communicator {}
// SAFETY: as above.
unsafe impl Sync for Communicator {}

/// A new id. It is bound to this process, which answers the ranks that connect by it.
pub(super) fn new_id(library: &Library) -> Result<Id, Trouble> {
    let mut id = ncclUniqueId { internal: [0; ID_BYTES] };
    // SAFETY: `nccl.h`'s signature; NCCL fills the 128 bytes.
    let code = unsafe { (library.functions().get_unique_id)(&raw mut id) };
    match code {
        SUCCESS => Ok(id.internal.map(|byte| byte as u8)),
        code => Err(trouble(library, "make an id for its communicator", code, null_mut())),
    }
}

fn trouble(library: &Library, doing: &'static str, code: c_int, communicator: ncclComm_t) -> Trouble {
    Trouble::Nccl { doing, code, said: library.words(code, communicator) }
}

impl Communicator {
    /// Begins to make this rank's communicator; [`Communicator::poll`] says when it is made. `device` must be the
    /// calling thread's, and its memory and stream are what the calls are about.
    pub(super) fn begin(
        library: &Library,
        device: &Arc<dyn Device>,
        id: &Id,
        rank: usize,
        size: usize,
    ) -> Result<Self, Trouble> {
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
            code => Err(trouble(library, DOING, code, null_mut())),
        }
    }

    /// How far the last call has come, or what has gone wrong since, here or on the way to a peer.
    pub(super) fn poll(&self) -> Result<Progress, Trouble> {
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
    /// They lie in the device's memory and stay valid until its stream has come past this.
    pub(super) unsafe fn all_reduce(
        &self,
        values: *mut c_void,
        count: usize,
        of: ncclDataType_t,
    ) -> Result<(), Trouble> {
        self.queue("queue an all-reduce", |handle| {
            // SAFETY: `nccl.h`'s signature, in place as it allows; the caller vouches for the memory.
            unsafe {
                let all_reduce = self.library.functions().all_reduce;
                all_reduce(
                    values,
                    values,
                    count,
                    of,
                    ncclRedOp_t::ncclSum,
                    handle,
                    self.device.stream().cast(),
                )
            }
        })
    }

    /// Queues that all ranks get the bytes of `root`, in place.
    ///
    /// # Safety
    ///
    /// They lie in the device's memory and stay valid until its stream has come past this.
    pub(super) unsafe fn broadcast(
        &self,
        bytes: *mut c_void,
        count: usize,
        root: usize,
    ) -> Result<(), Trouble> {
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

    /// Begins to send what is still on its way to peers; [`Communicator::poll`] says when that is done.
    pub(super) fn finalize(&self) -> Result<(), Trouble> {
        self.queue("finish its communicator", |handle| {
            // SAFETY: `nccl.h`'s signature; the communicator is alive while the lock is held.
            unsafe { (self.library.functions().comm_finalize)(handle) }
        })
    }

    /// Gives a finalized communicator back.
    pub(super) fn destroy(&self) {
        if let Some(Handle(handle)) = self.take() {
            // SAFETY: `nccl.h`'s signature; taken out, so that nobody uses it any more. Its answer changes nothing:
            // the communicator is gone either way.
            unsafe { (self.library.functions().comm_destroy)(handle) };
        }
    }

    /// Ends what is queued, here and thereby for the others, and gives the communicator back. NCCL may take its time.
    pub(super) fn abort(&self) {
        if let Some(Handle(handle)) = self.take() {
            // SAFETY: as in `destroy`; NCCL allows it at any time, also while it still makes the communicator.
            unsafe { (self.library.functions().comm_abort)(handle) };
        }
    }

    fn queue(&self, doing: &'static str, call: impl FnOnce(ncclComm_t) -> c_int) -> Result<(), Trouble> {
        match self.with(call)? {
            SUCCESS | IN_PROGRESS => Ok(()),
            code => Err(self.said(doing, code)),
        }
    }

    fn said(&self, doing: &'static str, code: c_int) -> Trouble {
        self.with(|handle| trouble(&self.library, doing, code, handle)).unwrap_or_else(|gone| gone)
    }

    fn with<T>(&self, call: impl FnOnce(ncclComm_t) -> T) -> Result<T, Trouble> {
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        handle.map(|Handle(handle)| call(handle)).ok_or(Trouble::Gone)
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
