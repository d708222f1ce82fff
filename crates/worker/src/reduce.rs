//! Sums over the members of a generation: by TCP where they lie on the host, by NCCL where they lie in a GPU's memory.

use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lsgan_collective::nccl::device::Mark;
use lsgan_collective::nccl::{self, AbortFlag, Connected, ElementType, NcclGroup, cuda::CudaDevice};
use lsgan_collective::tcp::{self, Listener, Membership};
use lsgan_collective::{Aborter, Group, GroupError};
use lsgan_console::Failure;
use lsgan_spec::Numerics;
use lsgan_train::{Applied, Device, DeviceWordKind, Finished, Metrics, NotApplied, Replica, Words, libtorch};

use crate::exchange::{Exchange, Travel};

/// What this worker's sums travel over, for its whole life.
#[derive(Clone)]
pub enum Transport {
    /// Over TCP.
    Tcp,
    /// Over NCCL.
    Nccl(nccl::Nccl),
}

impl Transport {
    /// The transport of a device.
    ///
    /// # Errors
    /// A GPU without NCCL.
    pub fn of(device: Device) -> Result<Self, Failure> {
        let Device::Cuda(index) = device else { return Ok(Self::Tcp) };
        let library = nccl::Library::find(libtorch::nccl().as_deref())?;
        // SAFETY: the null stream is every context's, and libtorch computes on it unless it is told otherwise.
        let device = unsafe { CudaDevice::beside(index, std::ptr::null_mut()) }?;
        tracing::info!("sums travel over {}", library.description());
        if let Some(trouble) = library.version().trouble() {
            tracing::warn!("{trouble}");
        }
        Ok(Self::Nccl(nccl::Nccl {
            library,
            device: Arc::new(device),
            also_alone: false,
            connect_within: nccl::CONNECT_WITHIN,
            drain_within: nccl::DRAIN_WITHIN,
        }))
    }

    /// Adds what sums here to the numerics: another NCCL may add in another order, where the sum is not exact.
    pub fn describe(&self, numerics: &mut Numerics) {
        if let Self::Nccl(nccl) = self {
            numerics.libtorch.push_str(&format!(", NCCL {}", nccl.library.version()));
        }
    }

    /// Forms a generation's group; calls `waiting` now and then while that takes longer than peers do.
    ///
    /// # Errors
    /// A member that does not come, or an abort.
    pub fn connect(
        &self,
        listener: &mut Listener,
        membership: &Membership,
        deadline: Instant,
        aborter: &Aborter,
        waiting: &dyn Fn(),
    ) -> Result<Formed, GroupError> {
        match self {
            Self::Tcp => {
                let group = tcp::connect(listener, membership, deadline, aborter)?;
                Ok(Formed::Tcp { exchange: Exchange::new(group)?, shared: None })
            }
            Self::Nccl(nccl) => {
                match nccl::connect(nccl, listener, membership, deadline, aborter, waiting)? {
                    Connected::Nccl(group) => Ok(Formed::Nccl(group)),
                    Connected::OneDevice { meeting, peers } => {
                        let shared = Some(peers.map(|peer| peer.address));
                        Ok(Formed::Tcp { exchange: Exchange::new(*meeting)?, shared })
                    }
                }
            }
        }
    }
}

/// One generation's group.
pub enum Formed {
    /// Over TCP.
    Tcp {
        exchange: Exchange,
        /// Of workers on GPUs: two of them are on one, so that NCCL refuses.
        shared: Option<[SocketAddr; 2]>,
    },
    /// Over NCCL.
    Nccl(Box<NcclGroup>),
}

/// How far the update of a sum is.
pub enum Update {
    Done(Applied),
    Queued(Queued),
}

/// An update that is queued.
pub struct Queued {
    metrics: Metrics,
    on_gpu: Option<OnGpu>,
}

struct OnGpu {
    /// A mark behind it in the queue; or why there is none.
    mark: Result<Mark, GroupError>,
    /// The flag that the device reads before it. Freed only when the device is known to be past that.
    flag: ManuallyDrop<Arc<AbortFlag>>,
}

/// Why a sum was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ReduceError {
    /// The group is over.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The sum is bad.
    #[error(transparent)]
    NotApplied(#[from] NotApplied),
}

impl Formed {
    /// The group itself, for broadcasts.
    pub fn group(&mut self) -> &mut dyn Group {
        match self {
            Self::Tcp { exchange, .. } => exchange.group(),
            Self::Nccl(group) => &mut **group,
        }
    }

    /// Whether GPUs sum over TCP, since two workers are on one. Their words travel from the host's memory then.
    #[must_use]
    pub fn shares_a_gpu(&self) -> bool {
        matches!(self, Self::Tcp { shared: Some(_), .. })
    }

    /// What to tell the user of it, in a run that has TLS or not.
    #[must_use]
    pub fn warning(&self, sealed: bool) -> Option<String> {
        if let Self::Nccl(group) = self
            && sealed
            && group.size() > 1
        {
            return Some(
                "the run has TLS, but sums between GPUs travel over NCCL, which encrypts nothing and asks nobody who he is: \
                 they need a network of their own (SECURITY.md)"
                    .to_owned(),
            );
        }
        let Self::Tcp { shared: Some([first, second]), .. } = self else { return None };
        Some(format!(
            "the workers at {first} and {second} compute on one GPU, which NCCL refuses: all sums travel over TCP, through \
             the memory of the hosts, and no step runs ahead of its sum. Start at most one worker for each GPU, with \
             --local-rank or CUDA_VISIBLE_DEVICES of its own"
        ))
    }

    /// Whether the state is to be believed when the group is over; over TCP it always is.
    #[must_use]
    pub fn trust(&self) -> Option<Arc<nccl::Trust>> {
        match self {
            Self::Tcp { .. } => None,
            Self::Nccl(group) => Some(group.trust()),
        }
    }

    /// Ends the connection to a neighbour whose host has not answered for about this long.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn set_unreachable_after(&mut self, timeout: Duration) -> Result<(), GroupError> {
        match self {
            Self::Tcp { exchange, .. } => exchange.group().set_unreachable_after(timeout),
            Self::Nccl(group) => group.set_unreachable_after(timeout),
        }
    }

    /// Sums the words of the half that the replica has computed over all members. Returns how long that took.
    ///
    /// On a GPU the sum is only queued, and what must travel again is found by [`Self::finish`].
    ///
    /// # Errors
    /// The group is over.
    pub fn all_reduce(&mut self, replica: &mut Replica) -> Result<Duration, GroupError> {
        let begin = Instant::now();
        if self.is_alone() {
            self.group().all_reduce_i64(&mut [])?; // an abort ends it all the same
            return Ok(begin.elapsed());
        }
        loop {
            let taken = replica.take_words();
            if taken.is_empty() {
                return Ok(begin.elapsed());
            }
            match (&mut *self, taken.as_slice()) {
                (Self::Tcp { exchange, .. }, _) => replica.put_words(exchange.finish(taken)?),
                (Self::Nccl(group), [Words::Device(words)]) => {
                    let values = match words.kind {
                        DeviceWordKind::Wide => ElementType::I64,
                        DeviceWordKind::Narrow => ElementType::I32,
                        DeviceWordKind::Fast => ElementType::F32,
                    };
                    // SAFETY: the replica owns the words, and touches them only on the stream that the group has. It
                    // outlives the group.
                    unsafe { group.enqueue_all_reduce(words.start, words.count, values) }?;
                    replica.put_words(taken);
                    return Ok(begin.elapsed());
                }
                (Self::Nccl(_), _) => unreachable!("a GPU's sums are in one piece of its memory"),
            }
        }
    }

    /// The same; `meanwhile` computes while the words travel, where that is another thread's work. Returns how long this
    /// thread waited.
    ///
    /// # Errors
    /// As above.
    pub fn all_reduce_during(
        &mut self,
        replica: &mut Replica,
        meanwhile: impl FnOnce(&mut Replica),
    ) -> Result<Duration, GroupError> {
        match self {
            Self::Tcp { .. } if self.takes_early() && replica.queue().is_none() => {
                self.start(replica.take_words());
                meanwhile(replica);
                let begin = Instant::now();
                if let Self::Tcp { exchange, .. } = self {
                    replica.put_words(exchange.finish(vec![])?);
                }
                self.all_reduce(replica)?; // what has to travel again
                Ok(begin.elapsed())
            }
            Self::Nccl(group) if group.size() > 1 => {
                let waited = self.all_reduce(replica)?;
                // The GPU does it beside the sum, which has a stream of its own.
                meanwhile(replica);
                Ok(waited)
            }
            Self::Tcp { .. } | Self::Nccl(_) => self.all_reduce(replica),
        }
    }

    /// Whether words may leave before their half is whole: [`Self::start`].
    #[must_use]
    pub fn takes_early(&self) -> bool {
        matches!(self, Self::Tcp { .. }) && !self.is_alone()
    }

    /// Begins to add up words of the host that are whole before their half is; the next sum returns them with the others.
    pub fn start(&mut self, words: Vec<Words>) {
        let Self::Tcp { exchange, .. } = self else { unreachable!("words of the host travel over TCP") };
        exchange.start(words);
    }

    /// Whether it is kept from now on when words travel on a thread of their own.
    pub fn time(&mut self, is_timed: bool) {
        if let Self::Tcp { exchange, .. } = self {
            exchange.time(is_timed);
        }
    }

    /// When they have since this was asked last.
    pub fn take_travels(&mut self) -> Vec<Travel> {
        match self {
            Self::Tcp { exchange, .. } => exchange.take_travels(),
            Self::Nccl(_) => Vec::new(),
        }
    }

    /// Whether this worker has all virtual ranks, and its sum is whole as it is. Over NCCL the group decides.
    fn is_alone(&self) -> bool {
        matches!(self, Self::Tcp { exchange, .. } if exchange.is_alone())
    }

    /// Applies the sum. On a GPU the update is only queued behind it, and [`Self::finish`] says whether it was made; it does
    /// nothing if the group is ended before its turn.
    ///
    /// # Errors
    /// The group is over, or the sum is bad.
    pub fn apply(&mut self, replica: &mut Replica, metrics: Metrics) -> Result<Update, ReduceError> {
        let queue = if self.shares_a_gpu() { None } else { replica.queue() };
        let Some(mut queue) = queue else { return Ok(Update::Done(replica.apply(metrics)?)) };
        match self {
            // Rehearsed on a CPU.
            Self::Tcp { .. } => {
                // SAFETY: there is no flag.
                unsafe { queue.push(metrics, None) };
                Ok(Update::Queued(Queued { metrics, on_gpu: None }))
            }
            Self::Nccl(group) => {
                group.sum_comes_first()?;
                let flag = group.abort_flag();
                // SAFETY: `flag` is held until the update is finished, or for ever.
                unsafe { queue.push(metrics, Some(flag.address())) };
                let mark = group.mark_queued();
                let on_gpu = Some(OnGpu { mark, flag: ManuallyDrop::new(flag) });
                Ok(Update::Queued(Queued { metrics, on_gpu }))
            }
        }
    }

    /// Waits until the device has come past an update, and no further. [`Self::finish`] returns the errors.
    pub fn wait_for(&mut self, queued: &Queued) {
        if let (Self::Nccl(group), Some(OnGpu { mark: Ok(mark), .. })) = (self, &queued.on_gpu) {
            _ = group.wait_for(*mark);
        }
    }

    /// Waits for an update, and reads from the device's own count whether it was made. Where its sum did not fit into 32 bits
    /// it was not, on any worker: then the sum travels again in 64, and what was computed since the update was queued is void.
    ///
    /// # Errors
    /// The group is over, or the sum is bad. The replica's count of reductions is right then, except after
    /// [`GroupError::NotDrained`]: reading the device's count would wait for the device.
    pub fn finish(&mut self, replica: &mut Replica, queued: Queued) -> Result<Applied, ReduceError> {
        match self.finish_once(replica, queued.on_gpu)? {
            Finished::Applied(applied) => Ok(applied),
            Finished::TravelsAgain => {
                self.all_reduce(replica)?;
                match self.apply(replica, queued.metrics)? {
                    Update::Done(applied) => Ok(applied),
                    Update::Queued(again) => self.finish(replica, again),
                }
            }
        }
    }

    fn finish_once(&mut self, replica: &mut Replica, on_gpu: Option<OnGpu>) -> Result<Finished, ReduceError> {
        let (Self::Nccl(group), Some(OnGpu { mark, flag })) = (self, on_gpu) else {
            return Ok(finish_update(replica)?);
        };
        let waited = match mark {
            Ok(mark) => group.wait_for(mark),
            Err(error) => Err(error),
        };
        if let Err(error @ GroupError::NotDrained { .. }) = waited {
            return Err(error.into());
        }
        drop(ManuallyDrop::into_inner(flag));
        let finished = finish_update(replica);
        if let Ok(Finished::Applied(_)) = finished {
            group.update_made();
        }
        waited?;
        Ok(finished?)
    }
}

fn finish_update(replica: &mut Replica) -> Result<Finished, NotApplied> {
    replica.queue().expect("an update was queued").finish()
}
