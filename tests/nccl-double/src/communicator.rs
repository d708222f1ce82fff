//! One rank's communicator: makes calls on a stream, and ends them at an abort.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::faults::Fault;
use crate::hub::{ALL_REDUCE, GARBAGE, HEADER_BYTES, HELLO_BYTES, POISON};
use crate::stream::Target;

/// `ncclResult_t`.
pub(crate) const SUCCESS: i32 = 0;
pub(crate) const SYSTEM_ERROR: i32 = 2;
pub(crate) const INVALID_ARGUMENT: i32 = 4;
pub(crate) const INVALID_USAGE: i32 = 5;
pub(crate) const IN_PROGRESS: i32 = 7;

pub(crate) struct Communicator {
    rank: u32,
    size: u32,
    /// The result of `ncclCommGetAsyncError`.
    pub(crate) state: AtomicI32,
    connection: Mutex<Connection>,
    connection_changed: Condvar,
}

#[derive(Default)]
struct Connection {
    socket: Option<Arc<TcpStream>>,
    aborted: bool,
}

/// A call on a stream.
pub(crate) struct Call {
    pub(crate) of: u32,
    pub(crate) root: u32,
    pub(crate) count: u64,
    pub(crate) values: *mut u8,
    pub(crate) len_bytes: usize,
}

// SAFETY: the caller of ncclAllReduce keeps the values valid for the stream, and only the stream accesses them.
unsafe impl Send for Call {}

/// Uses of a communicator that is gone or busy.
pub(crate) static MISUSES: AtomicU64 = AtomicU64::new(0);

/// Communicators begun.
pub(crate) static BEGUN: AtomicU64 = AtomicU64::new(0);

/// Calls made, on the stream or not yet.
pub(crate) static CALLED: AtomicU64 = AtomicU64::new(0);

/// The communicators that are not gone, by handle. Handles are unique, so that the use of a gone one is noticed.
static LIVING: Mutex<BTreeMap<usize, Arc<Communicator>>> = Mutex::new(BTreeMap::new());

fn living() -> MutexGuard<'static, BTreeMap<usize, Arc<Communicator>>> {
    LIVING.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn find(handle: usize) -> Option<Arc<Communicator>> {
    let found = living().get(&handle).cloned();
    if found.is_none() {
        MISUSES.fetch_add(1, Ordering::SeqCst);
    }
    found
}

pub(crate) fn lives(handle: usize) -> bool {
    living().contains_key(&handle)
}

/// Removes the communicator: from now on it is gone.
pub(crate) fn take(handle: usize) -> Option<Arc<Communicator>> {
    let taken = living().remove(&handle);
    if taken.is_none() {
        MISUSES.fetch_add(1, Ordering::SeqCst);
    }
    taken
}

impl Communicator {
    /// A new communicator with its handle, in progress until [`Communicator::join`] returns.
    pub(crate) fn begin(rank: u32, size: u32) -> (usize, Arc<Self>) {
        static NEXT: AtomicUsize = AtomicUsize::new(0x1000);
        let handle = NEXT.fetch_add(16, Ordering::SeqCst);
        let state = AtomicI32::new(IN_PROGRESS);
        let communicator = Arc::new(Self {
            rank,
            size,
            state,
            connection: Mutex::default(),
            connection_changed: Condvar::new(),
        });
        living().insert(handle, Arc::clone(&communicator));
        BEGUN.fetch_add(1, Ordering::SeqCst);
        (handle, communicator)
    }

    /// Connects to the hub; false if it is aborted before.
    pub(crate) fn join(&self, port: u16, nonce: u64) -> bool {
        if Fault::NeverArrives.get() != 0 {
            self.await_abort();
            return false;
        }
        let joined = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).and_then(|socket| {
            socket.set_nodelay(true)?;
            let socket = Arc::new(socket);
            let mut connection = self.connection();
            if connection.aborted {
                return Ok(false);
            }
            connection.socket = Some(Arc::clone(&socket));
            drop(connection);
            let mut hello = [0; HELLO_BYTES];
            hello[..8].copy_from_slice(&nonce.to_le_bytes());
            hello[8..12].copy_from_slice(&self.rank.to_le_bytes());
            hello[12..].copy_from_slice(&self.size.to_le_bytes());
            (&*socket).write_all(&hello)?;
            (&*socket).read_exact(&mut [0])?;
            Ok(true)
        });
        self.state.store(if joined.is_ok() { SUCCESS } else { SYSTEM_ERROR }, Ordering::SeqCst);
        joined.unwrap_or(false)
    }

    /// Puts a call on the stream, at once or after [`Fault::LazyMs`].
    pub(crate) fn queue(self: &Arc<Self>, target: Target, call: Call) -> i32 {
        match self.state.load(Ordering::SeqCst) {
            SUCCESS => {}
            IN_PROGRESS => {
                MISUSES.fetch_add(1, Ordering::SeqCst);
                return INVALID_USAGE;
            }
            error => return error,
        }
        let this = Arc::clone(self);
        let job = move || this.run(call);
        let Some(late) = u64::try_from(Fault::LazyMs.get()).ok().filter(|late| *late > 0) else {
            target.queue(job);
            CALLED.fetch_add(1, Ordering::SeqCst);
            return SUCCESS;
        };
        self.state.store(IN_PROGRESS, Ordering::SeqCst);
        CALLED.fetch_add(1, Ordering::SeqCst);
        let this = Arc::clone(self);
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(late));
            // Under the lock: after an abort has returned, nothing reaches the stream. NCCL waits for its thread.
            let connection = this.connection();
            if !connection.aborted {
                target.queue(job);
                this.state.store(SUCCESS, Ordering::SeqCst);
            }
        });
        IN_PROGRESS
    }

    /// Runs a call on the stream's thread: ends with the result, or when it is aborted.
    fn run(&self, call: Call) {
        let error = i32::try_from(Fault::AsyncError.get()).unwrap_or(SYSTEM_ERROR);
        if error != SUCCESS {
            self.state.store(error, Ordering::SeqCst);
        }
        // SAFETY: the caller of ncclAllReduce vouches for the memory until the stream has passed this.
        let values = unsafe { std::slice::from_raw_parts_mut(call.values, call.len_bytes) };
        if error != SUCCESS || self.exchange(&call, values).is_none() {
            self.await_abort();
            if Fault::Garbage.get() != 0 {
                let half = values.len().div_ceil(2);
                values[..half].fill(GARBAGE);
            }
        }
    }

    /// None if the call cannot finish: a rank or the hub is gone, or this rank is aborted.
    fn exchange(&self, call: &Call, values: &mut [u8]) -> Option<()> {
        let socket = {
            let connection = self.connection();
            connection.socket.clone().filter(|_| !connection.aborted)?
        };
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(&call.of.to_le_bytes());
        header[4..8].copy_from_slice(&call.root.to_le_bytes());
        header[8..].copy_from_slice(&call.count.to_le_bytes());
        (&*socket).write_all(&header).ok()?;
        if call.root == ALL_REDUCE || call.root == self.rank {
            (&*socket).write_all(values).ok()?;
        }
        // An unfinished call leaves its buffer unchanged, or as `Fault::Garbage` says.
        let mut result = vec![0; values.len()];
        (&*socket).read_exact(&mut result).ok()?;
        values.copy_from_slice(&result);
        Some(())
    }

    /// With [`Fault::Poison`]: lets the calls of the other ranks finish with garbage.
    pub(crate) fn poison(&self) {
        if let (Some(socket), true) = (&self.connection().socket, Fault::Poison.get() != 0) {
            let mut header = [0; HEADER_BYTES];
            header[4..8].copy_from_slice(&POISON.to_le_bytes());
            // If the hub is gone, the calls cannot finish anyway.
            _ = (&**socket).write_all(&header);
        }
    }

    /// Aborts the calls.
    pub(crate) fn end(&self) {
        let mut connection = self.connection();
        connection.aborted = true;
        if let Some(socket) = &connection.socket {
            _ = socket.shutdown(Shutdown::Both);
        }
        self.connection_changed.notify_all();
    }

    fn await_abort(&self) {
        let mut connection = self.connection();
        while !connection.aborted {
            connection = self.connection_changed.wait(connection).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
