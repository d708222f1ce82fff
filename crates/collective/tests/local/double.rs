//! NCCL's test double (`tests/nccl-double`), and a device made of the host's memory and the double's streams.

use std::alloc::{Layout, alloc, dealloc};
use std::ffi::{CString, c_char, c_int, c_void};
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lsgan_collective::nccl::device::{Device, DeviceError, Mark, MemoryKind};
use lsgan_collective::nccl::{Connected, Library, Nccl, NcclGroup, connect};
use lsgan_collective::tcp::Listener;
use lsgan_collective::{Aborter, GroupError};

use super::{PATIENCE, aborter, listener, membership};

/// Long enough for a double's stream to finish on a loaded machine.
const DRAIN_WITHIN: Duration = Duration::from_secs(20);

/// The double's library: a dependency of these tests, which cargo puts into the same folder.
pub fn file() -> PathBuf {
    let tests = std::env::current_exe().expect("a test knows its file");
    let folder = tests.parent().expect("a file lies in a folder");
    let file = folder.join("liblsgan_nccl_double.so");
    assert!(file.exists(), "{} is missing: run the tests with `cargo test`, which builds it", file.display());
    file
}

/// A copy of the double, with its own settings.
pub struct Double {
    pub library: Library,
    functions: Arc<Functions>,
    // Dropped last; an open library does not need its file, but a debugger does.
    _folder: tempfile::TempDir,
}

struct Functions {
    library: libloading::Library,
}

impl Functions {
    fn get<F: Copy>(&self, name: &str) -> F {
        // SAFETY: each use below has the signature in `nccl-double/src/exports.rs`.
        unsafe { *self.library.get::<F>(name).expect("the double has this function") }
    }
}

impl Double {
    /// A double with these settings; `nccl-double/src/faults.rs` lists them.
    pub fn with(settings: &[(&str, i64)]) -> Self {
        let (folder, copy, functions) = copied();
        settings.iter().for_each(|(name, value)| set(&functions, name, *value));
        let library = Library::open(&copy).expect("the double is an NCCL");
        Self { library, functions: Arc::new(functions), _folder: folder }
    }

    pub fn set(&self, name: &str, value: i64) {
        set(&self.functions, name, value);
    }

    /// A device with a stream of its own.
    pub fn device(&self) -> HostDevice {
        HostDevice::new(&self.functions)
    }

    pub fn nccl(&self) -> Nccl {
        self.nccl_on(Arc::new(self.device()))
    }

    pub fn nccl_on(&self, device: Arc<dyn Device>) -> Nccl {
        Nccl {
            library: self.library.clone(),
            device,
            also_alone: true,
            connect_within: Duration::from_secs(2),
            drain_within: DRAIN_WITHIN,
        }
    }

    /// Communicators begun.
    pub fn begun(&self) -> u64 {
        self.count("double_begun")
    }

    /// Calls made, on the stream or not yet.
    pub fn called(&self) -> u64 {
        self.count("double_called")
    }

    /// Uses of a communicator that is gone or busy.
    pub fn misuses(&self) -> u64 {
        self.count("double_misuses")
    }

    fn count(&self, name: &str) -> u64 {
        self.functions.get::<extern "C" fn() -> u64>(name)()
    }
}

/// Opens a double with this setting.
pub fn open_with(name: &str, value: i64) -> Result<Library, GroupError> {
    let (_folder, copy, functions) = copied();
    set(&functions, name, value);
    Library::open(&copy)
}

fn copied() -> (tempfile::TempDir, PathBuf, Functions) {
    let folder = tempfile::tempdir().expect("there is room for a copy");
    let copy = folder.path().join("libnccl.so.2");
    std::fs::copy(file(), &copy).expect("there is room for a copy");
    // SAFETY: the double's initialisers are Rust's, which have no preconditions.
    let library = unsafe { libloading::Library::new(&copy) }.expect("the double can be opened");
    (folder, copy, Functions { library })
}

fn set(functions: &Functions, name: &str, value: i64) {
    let set: unsafe extern "C" fn(*const c_char, i64) -> c_int = functions.get("double_set");
    let name = CString::new(name).expect("names have no zeros");
    // SAFETY: a C string that outlives the call.
    assert_eq!(unsafe { set(name.as_ptr(), value) }, 0, "the double has no setting {name:?}");
}

/// Host memory in place of a device's, and one of the double's streams.
pub struct HostDevice {
    functions: Arc<Functions>,
    stream: usize,
    allocated: AtomicUsize,
    is_starved: AtomicBool,
    id: AtomicU64,
}

impl HostDevice {
    /// From now on the watcher of a group that is formed does not run.
    pub fn starve(&self) {
        self.is_starved.store(true, Ordering::SeqCst);
    }

    /// Says from now on that it is this one.
    pub fn call(&self, id: u64) {
        self.id.store(id, Ordering::SeqCst);
    }

    pub fn feed(&self) {
        self.is_starved.store(false, Ordering::SeqCst);
    }

    fn new(functions: &Arc<Functions>) -> Self {
        let create: extern "C" fn() -> *mut c_void = functions.get("double_stream_create");
        Self {
            functions: Arc::clone(functions),
            stream: create() as usize,
            allocated: AtomicUsize::new(0),
            is_starved: AtomicBool::new(false),
            id: AtomicU64::new(0),
        }
    }

    /// Allocations that are not freed.
    pub fn allocated(&self) -> usize {
        self.allocated.load(Ordering::SeqCst)
    }

    /// Jobs queued: copies, calls, and a test's own.
    pub fn queued(&self) -> u64 {
        self.count("double_stream_queued")
    }

    /// Queues `job` behind all that is queued.
    pub fn queue(&self, job: impl FnOnce() + Send + 'static) {
        extern "C" fn run(data: *mut c_void) {
            // SAFETY: made by `Box::into_raw` below, and the stream runs each job once.
            let job = unsafe { Box::from_raw(data.cast::<Box<dyn FnOnce() + Send>>()) };
            job();
        }
        let boxed: Box<Box<dyn FnOnce() + Send>> = Box::new(Box::new(job));
        type Queue = unsafe extern "C" fn(*mut c_void, extern "C" fn(*mut c_void), *mut c_void);
        let queue: Queue = self.functions.get("double_stream_queue");
        // SAFETY: the double's own stream; the job may run on any thread.
        unsafe { queue(self.stream(), run, Box::into_raw(boxed).cast()) };
    }

    fn count(&self, name: &str) -> u64 {
        let count: unsafe extern "C" fn(*mut c_void) -> u64 = self.functions.get(name);
        // SAFETY: the double's own stream.
        unsafe { count(self.stream()) }
    }
}

fn layout(len_bytes: usize) -> Layout {
    Layout::from_size_align(len_bytes, 64).expect("tests ask for little")
}

// SAFETY: the allocator's memory is valid until it is freed, and a stream of the double keeps its order.
unsafe impl Device for HostDevice {
    fn make_current(&self) -> Result<(), DeviceError> {
        let is_watcher = thread::current().name() == Some("nccl-watcher");
        wait_until("the host runs again", || !is_watcher || !self.is_starved.load(Ordering::SeqCst));
        Ok(())
    }

    fn id(&self) -> u128 {
        self.id.load(Ordering::SeqCst).into()
    }

    fn stream(&self) -> *mut c_void {
        self.stream as *mut c_void
    }

    fn alloc(&self, _kind: MemoryKind, len_bytes: usize) -> Result<NonNull<u8>, DeviceError> {
        self.allocated.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the length is above 0.
        let start = NonNull::new(unsafe { alloc(layout(len_bytes)) }).expect("there is memory");
        // Not zeros, so that code that relies on zeros fails. SAFETY: it was just allocated.
        unsafe { start.as_ptr().write_bytes(0xa5, len_bytes) };
        Ok(start)
    }

    unsafe fn free(&self, _kind: MemoryKind, memory: NonNull<u8>, len_bytes: usize) {
        self.allocated.fetch_sub(1, Ordering::SeqCst);
        // SAFETY: the memory comes from `alloc`.
        unsafe { dealloc(memory.as_ptr(), layout(len_bytes)) };
    }

    unsafe fn copy(&self, to: *mut u8, from: *const u8, len_bytes: usize) -> Result<(), DeviceError> {
        let (to, from) = (to as usize, from as usize);
        // SAFETY: the caller keeps both valid until the stream has passed this.
        self.queue(move || unsafe { (to as *mut u8).copy_from(from as *const u8, len_bytes) });
        Ok(())
    }

    fn mark(&self) -> Result<Mark, DeviceError> {
        Ok(Mark(self.queued()))
    }

    fn has_reached(&self, mark: Mark) -> Result<bool, DeviceError> {
        Ok(self.count("double_stream_done") >= mark.0)
    }
}

/// Joins generation 1.
pub fn join(nccl: &Nccl, listener: &mut Listener, rank: usize, members: &[std::net::SocketAddr]) -> Outcome {
    join_generation(nccl, listener, 1, rank, members)
}

pub fn join_generation(
    nccl: &Nccl,
    listener: &mut Listener,
    generation: u64,
    rank: usize,
    members: &[std::net::SocketAddr],
) -> Outcome {
    let membership = membership(generation, rank, members);
    connect(nccl, listener, &membership, Instant::now() + PATIENCE, &aborter(), &|| ())?.over_nccl()
}

type Outcome = Result<NcclGroup, GroupError>;

/// A group, rank r of which uses the r-th of these doubles; by rank.
pub fn form(doubles: &[&Double]) -> Vec<NcclGroup> {
    form_with(&doubles.iter().map(|double| double.nccl()).collect::<Vec<_>>())
}

/// A group, rank r of which uses the r-th of these; by rank.
pub fn form_with(nccls: &[Nccl]) -> Vec<NcclGroup> {
    let aborters: Vec<_> = nccls.iter().map(|_| aborter()).collect();
    let groups = try_form(nccls, PATIENCE, &aborters);
    groups.into_iter().map(|group| group.expect("all members are there")).collect()
}

/// Two ranks of one double, each with its device and its aborter.
pub fn pair(double: &Double, aborters: &[Aborter; 2]) -> [(Arc<HostDevice>, NcclGroup); 2] {
    let devices = [(); 2].map(|()| Arc::new(double.device()));
    let nccls = devices.clone().map(|device| double.nccl_on(device));
    let mut groups = try_form(&nccls, PATIENCE, aborters).into_iter();
    devices.map(|device| (device, groups.next().expect("there are two").expect("both are there")))
}

/// Returns each rank's result of `connect`, by rank. Each rank has its own aborter.
pub fn try_form(nccls: &[Nccl], within: Duration, aborters: &[Aborter]) -> Vec<Outcome> {
    try_form_waiting(nccls, within, aborters, &|| ())
}

/// The same; `waiting` is called while NCCL connects.
pub fn try_form_waiting(
    nccls: &[Nccl],
    within: Duration,
    aborters: &[Aborter],
    waiting: &(dyn Fn() + Sync),
) -> Vec<Outcome> {
    let met = try_meet(nccls, within, aborters, waiting);
    met.into_iter().map(|met| met.and_then(Connected::over_nccl)).collect()
}

/// As a worker connects.
pub fn try_meet(
    nccls: &[Nccl],
    within: Duration,
    aborters: &[Aborter],
    waiting: &(dyn Fn() + Sync),
) -> Vec<Result<Connected, GroupError>> {
    let mut listeners: Vec<_> = nccls.iter().map(|_| listener()).collect();
    let members: Vec<_> = listeners.iter().map(Listener::local_addr).collect();
    thread::scope(|scope| {
        let joining: Vec<_> = std::iter::zip(nccls, &mut listeners)
            .enumerate()
            .map(|(rank, (nccl, listener))| {
                let membership = membership(1, rank, &members);
                let aborter = aborters[rank].clone();
                scope.spawn(move || {
                    connect(nccl, listener, &membership, Instant::now() + within, &aborter, waiting)
                })
            })
            .collect();
        joining.into_iter().map(|thread| thread.join().expect("joining does not panic")).collect()
    })
}

/// Waits until `happened`; panics with `what` after [`PATIENCE`].
pub fn wait_until(what: &str, happened: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "awaited in vain that {what}");
        thread::yield_now();
    }
}
