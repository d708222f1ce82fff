//! A stream: a thread that runs jobs in order. Calls may also be queued on a stream of CUDA, where a driver is loaded that
//! runs host functions: the null GPU's (`tests/null-gpu`), whose memory is the host's.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

type Job = Box<dyn FnOnce() + Send>;

/// The target of a `cudaStream_t`.
pub struct Stream {
    jobs: Sender<Job>,
    queued: AtomicU64,
    done: Arc<AtomicU64>,
}

impl Stream {
    /// An empty stream. When it is dropped, its thread ends after the queued jobs.
    pub fn new() -> Self {
        let (jobs, next) = channel::<Job>();
        let done = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&done);
        thread::spawn(move || {
            for job in next {
                job();
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { jobs, queued: AtomicU64::new(0), done }
    }

    pub fn queue(&self, job: impl FnOnce() + Send + 'static) {
        self.queued.fetch_add(1, Ordering::SeqCst);
        self.jobs.send(Box::new(job)).expect("a stream's thread lives as long as the stream");
    }

    pub fn queued(&self) -> u64 {
        self.queued.load(Ordering::SeqCst)
    }

    pub fn done(&self) -> u64 {
        self.done.load(Ordering::SeqCst)
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self::new()
    }
}

/// Where a call is queued.
#[derive(Clone, Copy)]
pub enum Target {
    Own(&'static Stream),
    /// A `cudaStream_t` of the driver that is loaded.
    Cuda(usize),
}

/// The streams that [`Stream::leak`] made, by their addresses.
static OWN: Mutex<BTreeMap<usize, &'static Stream>> = Mutex::new(BTreeMap::new());

impl Stream {
    /// A stream that is never freed.
    pub fn leak() -> &'static Self {
        let stream: &'static Self = Box::leak(Box::default());
        OWN.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(std::ptr::from_ref(stream) as usize, stream);
        stream
    }
}

impl Target {
    /// What this `cudaStream_t` is; none where it is not ours and no driver is loaded.
    pub fn of(stream: *const Stream) -> Option<Self> {
        let own = OWN.lock().unwrap_or_else(PoisonError::into_inner).get(&(stream as usize)).copied();
        own.map(Self::Own).or_else(|| launch_host_function().map(|_| Self::Cuda(stream as usize)))
    }

    pub fn queue(self, job: impl FnOnce() + Send + 'static) {
        match self {
            Self::Own(stream) => stream.queue(job),
            Self::Cuda(stream) => queue_on_cuda(stream, Box::new(job)),
        }
    }
}

/// `cuLaunchHostFunc`.
type LaunchHostFunction =
    unsafe extern "C" fn(*mut c_void, unsafe extern "C" fn(*mut c_void), *mut c_void) -> c_int;

fn queue_on_cuda(stream: usize, job: Job) {
    unsafe extern "C" fn run(job: *mut c_void) {
        // SAFETY: made by `Box::into_raw` below, and a host function runs once.
        let job = unsafe { Box::from_raw(job.cast::<Job>()) };
        job();
    }
    let launch = launch_host_function().expect("it was found when the target was made");
    let job = Box::into_raw(Box::new(job)).cast();
    // SAFETY: a stream of the caller's, which lives as its call does; the function takes what it is given here.
    let error = unsafe { launch(stream as *mut c_void, run, job) };
    assert_eq!(error, 0, "a host function can be queued");
}

fn launch_host_function() -> Option<LaunchHostFunction> {
    unsafe extern "C" {
        fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    }
    static FOUND: OnceLock<Option<LaunchHostFunction>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        const NAME: &CStr = c"cuLaunchHostFunc";
        // SAFETY: this only looks for the name in what is loaded for all.
        let found = unsafe { dlsym(std::ptr::null_mut(), NAME.as_ptr()) };
        // SAFETY: the function of this name has this type in CUDA's header.
        (!found.is_null()).then(|| unsafe { std::mem::transmute::<*mut c_void, LaunchHostFunction>(found) })
    })
}
