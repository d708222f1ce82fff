//! Batches and noise on their way to the device.
//!
//! For a CPU nothing is carried. To a GPU a batch goes from pinned memory, on a stream for copies alone, into memory of
//! the device, while the device computes what was queued before. Two slots take turns, so that one is filled while the
//! other is read. When the copy is done, the training stream copies the batch into a new tensor, and the slot is free.
//!
//! Two events of each slot keep the order. The host waits for one of them only: before it overwrites pinned memory, until
//! the device has read it. That copy was queued two sends ago, so the host waits only where it is that far ahead.

mod cuda;

use tch::{Device, Kind, Tensor};

use crate::native::{reused, shared_with};
use crate::tensors::words_mut;
use cuda::Cuda;

/// Carries f32 to a device.
pub(crate) enum Feed {
    Cpu,
    Gpu(Box<Upload<Cuda>>),
}

/// How many slots take turns.
const SLOTS: usize = 2;

/// Why these calls are not expected to fail: only a broken device refuses them.
const WORKS: &str = "the GPU's driver takes copies and events of a stream that it made";

/// Carries f32 to a GPU.
pub(crate) struct Upload<S: Streams> {
    streams: S,
    device: Device,
    slots: Vec<Slot<S::Event>>,
    next: usize,
}

struct Slot<Event> {
    pinned: Tensor,
    on_device: Tensor,
    /// Recorded on the stream of copies: the numbers are on the device.
    arrived: Event,
    /// Recorded on the training stream: it has copied them.
    taken: Event,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// For copies to the device alone.
    Copies,
    /// libtorch's.
    Training,
}

/// A device's two streams. Waiting for an event that was never recorded returns at once.
pub(crate) trait Streams: Send {
    type Event: Send;
    type Error: std::fmt::Debug;

    /// Makes this the device of the calling thread.
    fn make_current(&self) -> Result<(), Self::Error>;
    fn event(&self) -> Result<Self::Event, Self::Error>;
    fn destroy(&self, event: Self::Event) -> Result<(), Self::Error>;
    fn record(&self, stream: Stream, event: &Self::Event) -> Result<(), Self::Error>;
    /// What is queued on the stream from now on runs after the event.
    fn wait(&self, stream: Stream, event: &Self::Event) -> Result<(), Self::Error>;
    /// The host waits for the event.
    fn wait_on_host(&self, event: &Self::Event) -> Result<(), Self::Error>;
    /// The host waits for all that is queued on the stream.
    fn drain(&self, stream: Stream) -> Result<(), Self::Error>;

    /// Queues a copy of the first `len` numbers on the stream of copies.
    ///
    /// # Safety
    /// Both have so many f32, `from` in pinned memory, and live until the copy is done.
    unsafe fn copy(&self, to: &Tensor, from: &Tensor, len: usize) -> Result<(), Self::Error>;

    /// Queues a copy of the first `len` numbers into a new tensor on the training stream.
    fn take(&self, from: &Tensor, len: usize) -> Tensor;
}

impl Feed {
    pub fn to(device: Device) -> Self {
        match device {
            Device::Cuda(index) => Self::Gpu(Box::new(Upload::new(Cuda::new(index).expect(WORKS), device))),
            Device::Cpu | Device::Mps | Device::Vulkan => Self::Cpu,
        }
    }

    /// `len` numbers that `fill` writes, as a tensor on the device.
    pub fn send(&mut self, len: usize, fill: impl FnOnce(&mut [f32])) -> Tensor {
        match self {
            Self::Cpu => {
                let mut numbers = reused(len as i64);
                fill(words_mut(&mut numbers));
                numbers
            }
            Self::Gpu(upload) => upload.send(len, fill).expect(WORKS),
        }
    }
}

impl<S: Streams> Upload<S> {
    fn new(streams: S, device: Device) -> Self {
        Self { streams, device, slots: vec![], next: 0 }
    }

    fn send(&mut self, len: usize, fill: impl FnOnce(&mut [f32])) -> Result<Tensor, S::Error> {
        self.streams.make_current()?;
        self.make_room(len)?;
        let (streams, slot) = (&self.streams, &self.slots[self.next]);
        self.next = (self.next + 1) % SLOTS;
        streams.wait_on_host(&slot.arrived)?;
        // SAFETY: the memory has at least `len` numbers, which only this slot has, and no copy reads it any more.
        fill(unsafe { std::slice::from_raw_parts_mut(slot.pinned.data_ptr().cast::<f32>(), len) });
        streams.wait(Stream::Copies, &slot.taken)?;
        // SAFETY: both have at least `len` numbers and live as long as this, which drains the stream of copies before
        // it drops them; the events order reads and writes.
        unsafe { streams.copy(&slot.on_device, &slot.pinned, len)? };
        streams.record(Stream::Copies, &slot.arrived)?;
        streams.wait(Stream::Training, &slot.arrived)?;
        let taken = streams.take(&slot.on_device, len);
        streams.record(Stream::Training, &slot.taken)?;
        Ok(taken)
    }

    /// Makes the slots, or replaces them by larger ones.
    fn make_room(&mut self, len: usize) -> Result<(), S::Error> {
        if self.slots.len() == SLOTS && self.slots.iter().all(|slot| slot.pinned.numel() >= len) {
            return Ok(());
        }
        self.close_slots()?;
        for _ in 0..SLOTS {
            let slot = Slot {
                pinned: shared_with(self.device, len as i64, Kind::Float),
                on_device: Tensor::zeros([len as i64], (Kind::Float, self.device)),
                arrived: self.streams.event()?,
                taken: self.streams.event()?,
            };
            self.slots.push(slot);
        }
        self.next = 0;
        // The training stream writes the zeros, the other stream the first batch.
        self.streams.drain(Stream::Training)
    }

    /// Drops the slots once no copy into them is queued. Tensors that were made from them stay.
    fn close_slots(&mut self) -> Result<(), S::Error> {
        self.streams.drain(Stream::Copies)?;
        for Slot { arrived, taken, .. } in self.slots.drain(..) {
            self.streams.destroy(arrived)?;
            self.streams.destroy(taken)?;
        }
        Ok(())
    }
}

impl<S: Streams> Drop for Upload<S> {
    fn drop(&mut self) {
        // A device that is broken has lost its memory as well.
        if self.streams.make_current().is_ok() {
            _ = self.close_slots();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::{BTreeSet, VecDeque};
    use std::convert::Infallible;

    use super::*;

    /// Two streams that are late: each does what is queued only when the host waits for it, or when the draws of a seed
    /// say so.
    #[derive(Default)]
    struct Lazy(RefCell<Queues>);

    #[derive(Default)]
    struct Queues {
        queued: [VecDeque<Work>; 2],
        /// For each event: how often it was recorded, and how many of these records were reached.
        recorded: Vec<usize>,
        reached: Vec<usize>,
        draws: u64,
    }

    enum Work {
        Copy {
            to: Tensor,
            from: Tensor,
        },
        Record(usize),
        /// Until so many records of this event were reached.
        Wait(usize, usize),
    }

    impl Queues {
        /// Does the next thing of a stream, unless it must wait for the other.
        fn step(&mut self, stream: usize) -> bool {
            match self.queued[stream].front() {
                None => return false,
                Some(&Work::Wait(event, records)) if self.reached[event] < records => return false,
                Some(_) => {}
            }
            match self.queued[stream].pop_front() {
                Some(Work::Copy { mut to, from }) => to.copy_(&from),
                Some(Work::Record(event)) => self.reached[event] += 1,
                Some(Work::Wait(..)) | None => {}
            }
            true
        }

        fn step_any(&mut self) -> bool {
            self.step(0) || self.step(1)
        }

        fn draw(&mut self, below: u64) -> u64 {
            self.draws = self.draws.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (self.draws >> 33) % below
        }

        /// Does some of what may be done now.
        fn idle(&mut self) {
            for _ in 0..self.draw(8) {
                let stream = self.draw(2) as usize;
                self.step(stream);
            }
        }
    }

    // SAFETY: one thread has it.
    unsafe impl Send for Lazy {}

    impl Streams for Lazy {
        type Event = usize;
        type Error = Infallible;

        fn make_current(&self) -> Result<(), Infallible> {
            self.0.borrow_mut().idle();
            Ok(())
        }

        fn event(&self) -> Result<usize, Infallible> {
            let mut queues = self.0.borrow_mut();
            queues.reached.push(0);
            queues.recorded.push(0);
            Ok(queues.recorded.len() - 1)
        }

        fn destroy(&self, _event: usize) -> Result<(), Infallible> {
            Ok(())
        }

        fn record(&self, stream: Stream, event: &usize) -> Result<(), Infallible> {
            let mut queues = self.0.borrow_mut();
            queues.recorded[*event] += 1;
            queues.queued[stream as usize].push_back(Work::Record(*event));
            queues.idle();
            Ok(())
        }

        fn wait(&self, stream: Stream, event: &usize) -> Result<(), Infallible> {
            let mut queues = self.0.borrow_mut();
            let records = queues.recorded[*event];
            queues.queued[stream as usize].push_back(Work::Wait(*event, records));
            Ok(())
        }

        fn wait_on_host(&self, event: &usize) -> Result<(), Infallible> {
            let mut queues = self.0.borrow_mut();
            while queues.reached[*event] < queues.recorded[*event] {
                assert!(queues.step_any(), "the streams wait for each other");
            }
            Ok(())
        }

        fn drain(&self, stream: Stream) -> Result<(), Infallible> {
            let mut queues = self.0.borrow_mut();
            while !queues.queued[stream as usize].is_empty() {
                assert!(queues.step_any(), "the streams wait for each other");
            }
            Ok(())
        }

        unsafe fn copy(&self, to: &Tensor, from: &Tensor, len: usize) -> Result<(), Infallible> {
            let [to, from] = [to, from].map(|tensor| tensor.narrow(0, 0, len as i64));
            self.0.borrow_mut().queued[Stream::Copies as usize].push_back(Work::Copy { to, from });
            Ok(())
        }

        fn take(&self, from: &Tensor, len: usize) -> Tensor {
            let from = from.narrow(0, 0, len as i64);
            let to = from.zeros_like();
            let copy = Work::Copy { to: to.shallow_clone(), from };
            self.0.borrow_mut().queued[Stream::Training as usize].push_back(copy);
            to
        }
    }

    #[test]
    fn what_is_sent_arrives_whole_however_late_the_streams_are() {
        let mut schedules = BTreeSet::new();
        for seed in 0..300 {
            let streams = Lazy::default();
            streams.0.borrow_mut().draws = seed;
            let mut upload = Upload::new(streams, Device::Cpu);
            // The longer ones need new slots.
            let lengths = [5, 5, 3, 5, 1, 9, 9, 4, 9, 12, 12, 12, 2];
            let sent: Vec<_> = lengths
                .into_iter()
                .enumerate()
                .map(|(at, len)| {
                    let numbers: Vec<_> = (0..len).map(|i| (100 * at + i) as f32 + 1.0).collect();
                    (upload.send(len, |to| to.copy_from_slice(&numbers)).expect("it never fails"), numbers)
                })
                .collect();
            schedules.insert(upload.streams.0.borrow().queued.each_ref().map(VecDeque::len));
            upload.streams.drain(Stream::Training).expect("it never fails");
            for (come, numbers) in sent {
                assert_eq!(Vec::<f32>::try_from(come).expect("it is f32"), numbers, "seed {seed}");
            }
        }
        assert!(schedules.len() > 3, "the seeds differ: {schedules:?}");
    }
}
