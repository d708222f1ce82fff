//! Batches and noise on their way to the device.
//!
//! On a CPU they are where they have to be. To a GPU they go from pinned memory on a stream of their own, into memory
//! that is kept for it, while the device is at work on what was queued before: two places take turns, so that one is
//! filled while the other is read. Then the training stream, once it sees that they have come, takes them into a tensor
//! of their own, and the place is free again.
//!
//! The order is kept by two events of each place, and the host waits for one of them alone: before it overwrites pinned
//! memory, until the device has read what was in it. That is two sends ago, so it stands still only where it is that far
//! ahead.

mod cuda;

use tch::{Device, Kind, Tensor};

use crate::native::shared_with;
use cuda::Cuda;

/// Carries f32 to a device.
pub(crate) enum Feed {
    /// To a CPU: there is no way.
    Here,
    /// To a GPU.
    Gpu(Box<Road<Cuda>>),
}

/// How many places take turns.
const PLACES: usize = 2;

/// Why these calls are not expected to fail: nothing but a broken device is left to say no.
const WORKS: &str = "the GPU's driver takes copies and events of a stream that it made";

/// To a GPU.
pub(crate) struct Road<S: Streams> {
    streams: S,
    device: Device,
    places: Vec<Place<S::Event>>,
    next: usize,
}

struct Place<Event> {
    pinned: Tensor,
    on_device: Tensor,
    /// The copy to the device is done: recorded on the road.
    has_come: Event,
    /// The training stream has taken it: recorded there.
    is_taken: Event,
}

/// One of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nothing but these copies.
    Road,
    /// libtorch's.
    Training,
}

/// What is needed of a device. An event that was never recorded is past.
pub(crate) trait Streams: Send {
    type Event: Send;
    type Error: std::fmt::Debug;

    /// Makes it the device of this thread.
    fn make_current(&self) -> Result<(), Self::Error>;
    fn event(&self) -> Result<Self::Event, Self::Error>;
    fn destroy(&self, event: Self::Event) -> Result<(), Self::Error>;
    fn record(&self, way: Way, event: &Self::Event) -> Result<(), Self::Error>;
    /// What is queued there later comes after the event.
    fn wait(&self, way: Way, event: &Self::Event) -> Result<(), Self::Error>;
    /// The host waits.
    fn wait_here(&self, event: &Self::Event) -> Result<(), Self::Error>;
    /// The host waits for all that is queued there.
    fn rest(&self, way: Way) -> Result<(), Self::Error>;

    /// Queues a copy of the first `len` numbers on the road.
    ///
    /// # Safety
    /// Both have so many f32, `from` in pinned memory, and stay so until the road has come past the copy.
    unsafe fn carry(&self, to: &Tensor, from: &Tensor, len: usize) -> Result<(), Self::Error>;

    /// Queues on the training stream that the first `len` numbers are copied into a tensor of their own.
    fn take(&self, from: &Tensor, len: usize) -> Tensor;
}

impl Feed {
    pub fn to(device: Device) -> Self {
        match device {
            Device::Cuda(index) => Self::Gpu(Box::new(Road::new(Cuda::new(index).expect(WORKS), device))),
            Device::Cpu | Device::Mps | Device::Vulkan => Self::Here,
        }
    }

    /// `len` numbers that `fill` writes, as a tensor on the device.
    pub fn send(&mut self, len: usize, fill: impl FnOnce(&mut [f32])) -> Tensor {
        match self {
            Self::Here => {
                let mut numbers = vec![0.0; len];
                fill(&mut numbers);
                Tensor::from_slice(&numbers)
            }
            Self::Gpu(road) => road.send(len, fill).expect(WORKS),
        }
    }
}

impl<S: Streams> Road<S> {
    fn new(streams: S, device: Device) -> Self {
        Self { streams, device, places: vec![], next: 0 }
    }

    fn send(&mut self, len: usize, fill: impl FnOnce(&mut [f32])) -> Result<Tensor, S::Error> {
        self.streams.make_current()?;
        self.make_room(len)?;
        let (streams, place) = (&self.streams, &self.places[self.next]);
        self.next = (self.next + 1) % PLACES;
        streams.wait_here(&place.has_come)?;
        // SAFETY: the memory has at least `len` numbers, nobody else knows it, and no copy reads it any more.
        fill(unsafe { std::slice::from_raw_parts_mut(place.pinned.data_ptr().cast::<f32>(), len) });
        streams.wait(Way::Road, &place.is_taken)?;
        // SAFETY: both have at least `len` numbers and live as long as this, which waits for the road before it gives
        // them back; the events order who reads and who writes.
        unsafe { streams.carry(&place.on_device, &place.pinned, len)? };
        streams.record(Way::Road, &place.has_come)?;
        streams.wait(Way::Training, &place.has_come)?;
        let taken = streams.take(&place.on_device, len);
        streams.record(Way::Training, &place.is_taken)?;
        Ok(taken)
    }

    /// Makes the places, or larger ones.
    fn make_room(&mut self, len: usize) -> Result<(), S::Error> {
        if self.places.len() == PLACES && self.places.iter().all(|place| place.pinned.numel() >= len) {
            return Ok(());
        }
        self.close_places()?;
        for _ in 0..PLACES {
            let place = Place {
                pinned: shared_with(self.device, len as i64, Kind::Float),
                on_device: Tensor::zeros([len as i64], (Kind::Float, self.device)),
                has_come: self.streams.event()?,
                is_taken: self.streams.event()?,
            };
            self.places.push(place);
        }
        self.next = 0;
        // The zeros are written by the training stream, the first batch by the other one.
        self.streams.rest(Way::Training)
    }

    /// What was taken from them is the training stream's; what is still on its way is waited for.
    fn close_places(&mut self) -> Result<(), S::Error> {
        self.streams.rest(Way::Road)?;
        for Place { has_come, is_taken, .. } in self.places.drain(..) {
            self.streams.destroy(has_come)?;
            self.streams.destroy(is_taken)?;
        }
        Ok(())
    }
}

impl<S: Streams> Drop for Road<S> {
    fn drop(&mut self) {
        // A device that is broken has lost its memory as well; there is nobody to tell.
        if self.streams.make_current().is_ok() {
            _ = self.close_places();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::{BTreeSet, VecDeque};
    use std::convert::Infallible;

    use super::*;

    /// Two streams that do nothing by themselves: each does what is queued only when somebody has to wait for it, or
    /// when the draws of a seed say so.
    #[derive(Default)]
    struct Lazy(RefCell<Queues>);

    #[derive(Default)]
    struct Queues {
        queued: [VecDeque<Work>; 2],
        /// Of each event, how often it was recorded, and how many of these records were reached.
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
        /// Does one thing of a stream, if it need not wait for the other.
        fn step(&mut self, way: usize) -> bool {
            match self.queued[way].front() {
                None => return false,
                Some(&Work::Wait(event, records)) if self.reached[event] < records => return false,
                Some(_) => {}
            }
            match self.queued[way].pop_front() {
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

        /// Some of what may be done now.
        fn idle(&mut self) {
            for _ in 0..self.draw(8) {
                let way = self.draw(2) as usize;
                self.step(way);
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

        fn record(&self, way: Way, event: &usize) -> Result<(), Infallible> {
            let mut queues = self.0.borrow_mut();
            queues.recorded[*event] += 1;
            queues.queued[way as usize].push_back(Work::Record(*event));
            queues.idle();
            Ok(())
        }

        fn wait(&self, way: Way, event: &usize) -> Result<(), Infallible> {
            let mut queues = self.0.borrow_mut();
            let records = queues.recorded[*event];
            queues.queued[way as usize].push_back(Work::Wait(*event, records));
            Ok(())
        }

        fn wait_here(&self, event: &usize) -> Result<(), Infallible> {
            let mut queues = self.0.borrow_mut();
            while queues.reached[*event] < queues.recorded[*event] {
                assert!(queues.step_any(), "the streams wait for each other");
            }
            Ok(())
        }

        fn rest(&self, way: Way) -> Result<(), Infallible> {
            let mut queues = self.0.borrow_mut();
            while !queues.queued[way as usize].is_empty() {
                assert!(queues.step_any(), "the streams wait for each other");
            }
            Ok(())
        }

        unsafe fn carry(&self, to: &Tensor, from: &Tensor, len: usize) -> Result<(), Infallible> {
            let [to, from] = [to, from].map(|tensor| tensor.narrow(0, 0, len as i64));
            self.0.borrow_mut().queued[Way::Road as usize].push_back(Work::Copy { to, from });
            Ok(())
        }

        fn take(&self, from: &Tensor, len: usize) -> Tensor {
            let from = from.narrow(0, 0, len as i64);
            let to = from.zeros_like();
            let copy = Work::Copy { to: to.shallow_clone(), from };
            self.0.borrow_mut().queued[Way::Training as usize].push_back(copy);
            to
        }
    }

    #[test]
    fn what_is_sent_comes_whole_however_late_the_streams_are() {
        let mut schedules = BTreeSet::new();
        for seed in 0..300 {
            let streams = Lazy::default();
            streams.0.borrow_mut().draws = seed;
            let mut road = Road::new(streams, Device::Cpu);
            // Shorter ones, and longer ones for which new places are made.
            let lengths = [5, 5, 3, 5, 1, 9, 9, 4, 9, 12, 12, 12, 2];
            let sent: Vec<_> = lengths
                .into_iter()
                .enumerate()
                .map(|(at, len)| {
                    let numbers: Vec<_> = (0..len).map(|i| (100 * at + i) as f32 + 1.0).collect();
                    (road.send(len, |to| to.copy_from_slice(&numbers)).expect("it never fails"), numbers)
                })
                .collect();
            schedules.insert(road.streams.0.borrow().queued.each_ref().map(VecDeque::len));
            road.streams.rest(Way::Training).expect("it never fails");
            for (come, numbers) in sent {
                assert_eq!(Vec::<f32>::try_from(come).expect("it is f32"), numbers, "seed {seed}");
            }
        }
        assert!(schedules.len() > 3, "the seeds differ: {schedules:?}");
    }
}
