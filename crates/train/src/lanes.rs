//! `compute.threads`: how many virtual ranks are computed at once.
//!
//! With one, the calling thread computes. With more, that many persistent threads do. Contributions come back
//! in the order of the tasks, so that the number of threads never changes a bit, whatever the kind of sum.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use lsgan_spec::Half;

use crate::device;
use crate::lane::{ComputeWeights, Contribution, Kept, Lane, Sink, Task};

/// The lanes of a replica, with the weights that they read.
pub(crate) struct Lanes {
    threads: Threads,
    weights: [ComputeWeights; 2],
}

enum Threads {
    Calling(Box<Lane>),
    Own(Vec<LaneThread>),
}

struct LaneThread {
    orders: Option<Sender<Order>>,
    results: Receiver<Option<Contribution>>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    Compute(Task),
    ComputeAhead(Task),
    Forget(Kept),
}

impl Lanes {
    /// `lanes` has one lane for each thread, and reads `weights`: D's and G's.
    pub fn new(mut lanes: Vec<Lane>, weights: [ComputeWeights; 2]) -> Self {
        let threads = match lanes.len() {
            1 => Threads::Calling(Box::new(lanes.remove(0))),
            _ => Threads::Own(lanes.into_iter().enumerate().map(LaneThread::start).collect()),
        };
        Self { threads, weights }
    }

    /// Computes all tasks, task i on lane i mod n, and hands each contribution to `take` in the tasks' order; the last one in
    /// pieces, if that is asked for and the calling thread computes.
    pub fn run(&mut self, tasks: &[Task], in_pieces: bool, mut take: impl FnMut(Contribution)) {
        match &mut self.threads {
            Threads::Calling(lane) => {
                for (index, task) in tasks.iter().enumerate() {
                    let in_pieces = in_pieces && index + 1 == tasks.len();
                    lane.compute(task, Sink { in_pieces, give: &mut take });
                }
            }
            Threads::Own(threads) => each(threads, tasks, Order::Compute)
                .for_each(|result| take(result.expect("a half has a contribution"))),
        }
    }

    /// Computes what these tasks of D's half need of real samples, each on the lane that gets its task later.
    pub fn run_ahead(&mut self, tasks: &[Task]) {
        match &mut self.threads {
            Threads::Calling(lane) => tasks.iter().for_each(|task| lane.compute_ahead(task)),
            Threads::Own(threads) => each(threads, tasks, Order::ComputeAhead).for_each(drop),
        }
    }

    /// The weights of a half's network were updated.
    pub fn updated(&mut self, half: Half) {
        if half == Half::Generator {
            self.forget(Kept::Fakes);
        }
        self.weights[half as usize].refresh();
    }

    /// The whole state is another one.
    pub fn state_changed(&mut self) {
        self.forget(Kept::All);
        self.weights.iter_mut().for_each(ComputeWeights::refresh);
    }

    /// Drops what lanes keep.
    pub fn forget(&mut self, kept: Kept) {
        match &mut self.threads {
            Threads::Calling(lane) => lane.forget(kept),
            Threads::Own(threads) => threads.iter().for_each(|thread| thread.order(Order::Forget(kept))),
        }
    }
}

/// Orders all tasks, task i on thread i mod n, and returns the results in the tasks' order.
fn each(
    threads: &[LaneThread],
    tasks: &[Task],
    order: fn(Task) -> Order,
) -> impl Iterator<Item = Option<Contribution>> {
    let assigned = || tasks.iter().zip(threads.iter().cycle());
    assigned().for_each(|(task, thread)| thread.order(order(task.share())));
    assigned().map(|(_, thread)| thread.result())
}

impl LaneThread {
    fn start((index, mut lane): (usize, Lane)) -> Self {
        let (orders, inbox) = channel();
        let (outbox, results) = channel();
        let work = move || {
            device::one_thread();
            for order in inbox {
                let result = match order {
                    Order::Compute(task) => {
                        let mut whole = None;
                        let give = &mut |contribution| whole = Some(contribution);
                        lane.compute(&task, Sink { in_pieces: false, give });
                        whole
                    }
                    Order::ComputeAhead(task) => {
                        lane.compute_ahead(&task);
                        None
                    }
                    Order::Forget(kept) => {
                        lane.forget(kept);
                        continue;
                    }
                };
                if outbox.send(result).is_err() {
                    return;
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

    fn result(&self) -> Option<Contribution> {
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
