//! `compute.threads`: how many virtual ranks are computed at once.
//!
//! With one, the calling thread computes. With more, that many persistent threads do; contributions come back
//! in the order of the tasks, so that the number of threads never changes a bit, whatever the kind of sum.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use lsgan_spec::{Step, VirtualRank};
use tch::Tensor;

use crate::device;
use crate::step::{Contribution, Keep, Lane};

/// One virtual rank's part of a half step.
pub(crate) enum Task {
    Discriminator { step: Step, rank: VirtualRank, real: Tensor, keep: Keep },
    Generator { step: Step, rank: VirtualRank },
}

impl Task {
    fn run(&self, lane: &mut Lane) -> Contribution {
        match self {
            Self::Discriminator { step, rank, real, keep } => {
                lane.discriminator_half(*step, *rank, real, *keep)
            }
            Self::Generator { step, rank } => lane.generator_half(*step, *rank),
        }
    }
}

enum Order {
    Run(Task),
    Forget,
}

pub(crate) struct LaneThread {
    orders: Option<Sender<Order>>,
    results: Receiver<Contribution>,
    thread: Option<JoinHandle<()>>,
}

/// The lanes of a replica.
pub(crate) enum Lanes {
    Inline(Box<Lane>),
    Threads(Vec<LaneThread>),
}

impl Lanes {
    /// `lanes` has one lane for each thread.
    pub fn new(mut lanes: Vec<Lane>) -> Self {
        if lanes.len() == 1 {
            return Self::Inline(Box::new(lanes.remove(0)));
        }
        Self::Threads(
            lanes.into_iter().enumerate().map(|(index, lane)| LaneThread::start(index, lane)).collect(),
        )
    }

    /// Runs all tasks, task i on lane i mod n, and hands each contribution to `take` in the tasks' order.
    pub fn run(&mut self, tasks: Vec<Task>, mut take: impl FnMut(Contribution)) {
        match self {
            Self::Inline(lane) => tasks.iter().for_each(|task| take(task.run(lane))),
            Self::Threads(threads) => {
                let (count, lanes) = (tasks.len(), threads.len());
                for (index, task) in tasks.into_iter().enumerate() {
                    threads[index % lanes].order(Order::Run(task));
                }
                (0..count).for_each(|index| take(threads[index % lanes].result()));
            }
        }
    }

    /// The same on this thread, which must be the only one.
    pub fn run_here(&mut self, tasks: &[Task], mut take: impl FnMut(Contribution)) {
        match self {
            Self::Inline(lane) => tasks.iter().for_each(|task| take(task.run(lane))),
            Self::Threads(_) => unreachable!("where halves are recorded there is one lane"),
        }
    }

    /// Drops every kept fake.
    pub fn forget(&mut self) {
        match self {
            Self::Inline(lane) => lane.forget(),
            Self::Threads(threads) => threads.iter().for_each(|thread| thread.order(Order::Forget)),
        }
    }
}

impl LaneThread {
    fn start(index: usize, mut lane: Lane) -> Self {
        let (orders, inbox) = channel();
        let (outbox, results) = channel();
        let work = move || {
            device::one_thread();
            for order in inbox {
                match order {
                    Order::Run(task) => {
                        if outbox.send(task.run(&mut lane)).is_err() {
                            return;
                        }
                    }
                    Order::Forget => lane.forget(),
                }
            }
        };
        let thread = std::thread::Builder::new().name(format!("lane-{index}")).spawn(work);
        let thread = thread.expect("the system has room for one thread more");
        Self { orders: Some(orders), results, thread: Some(thread) }
    }

    fn order(&self, order: Order) {
        let orders = self.orders.as_ref().expect("orders end only when the thread is dropped");
        orders.send(order).expect("a lane ends only by a panic, which is our bug");
    }

    fn result(&self) -> Contribution {
        self.results.recv().expect("a lane ends only by a panic, which is our bug")
    }
}

impl Drop for LaneThread {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic in the lane has been printed; a second one while dropping would end the process.
            let _ = thread.join();
        }
    }
}
