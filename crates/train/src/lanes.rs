//! `compute.threads`: how many virtual ranks are computed at once.
//!
//! The calling thread computes too; the others are persistent. Task i is lane i's, modulo their number; so many tasks are a
//! round. Contributions come back in the order of the tasks, so that the number of threads never changes a bit, whatever
//! the kind of sum. Where they come in pieces, each piece comes in that order.

use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lsgan_spec::Half;

use crate::contribution::{Contribution, Sink};
use crate::device;
use crate::lane::{Kept, Lane, StateWeights, Task};

/// How long a thread looks for what comes next before it sleeps. Between the halves of a small network that is enough; and
/// threads that sleep and wake many times in a step often share a CPU while another has nothing to do.
const LOOK_FOR: Duration = Duration::from_micros(500);

/// The lanes of a replica, with the weights that they read.
pub(crate) struct Lanes {
    /// Lane 0.
    calling: Box<Lane>,
    /// The lanes behind it.
    threads: Vec<LaneThread>,
    weights: StateWeights,
    /// How often tasks were given to the threads.
    runs: u64,
}

struct LaneThread {
    orders: Option<Sender<Order>>,
    results: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    Compute { run: u64, task: Task, in_pieces: bool },
    ComputeAhead { run: u64, task: Task },
    Forget(Kept),
}

/// What a thread has done of a run. After one that the calling thread did not end, some are left that nobody waits for.
struct Done {
    run: u64,
    /// None where it computed ahead.
    contribution: Option<Contribution>,
}

/// How far a round is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    /// Other virtual ranks of it have a contribution to come of the same parameters.
    Open,
    Complete,
}

impl Lanes {
    /// `calling` is the lane of the calling thread, `more` are those of other threads. They read `weights`.
    pub fn new(calling: Lane, more: Vec<Lane>, weights: StateWeights) -> Self {
        let threads = more.into_iter().enumerate().map(LaneThread::start).collect();
        Self { calling: Box::new(calling), threads, weights, runs: 0 }
    }

    /// Computes all tasks, and hands each contribution to `take` in the tasks' order. Those of the last round come in pieces,
    /// if that is asked for.
    pub fn run(&mut self, tasks: &[Task], in_pieces: bool, mut take: impl FnMut(Contribution, Round)) {
        let run = self.next_run();
        let lanes = 1 + self.threads.len();
        let in_pieces = |round: usize| in_pieces && (round + 1) * lanes >= tasks.len();
        self.order(tasks, |round, task| Order::Compute { run, task, in_pieces: in_pieces(round) });
        for (round, tasks) in tasks.chunks(lanes).enumerate() {
            let others = &self.threads[..tasks.len() - 1];
            let round_of = |left: usize| if left == 0 { Round::Complete } else { Round::Open };
            let give = &mut |contribution| {
                take(contribution, round_of(others.len()));
                for (index, thread) in others.iter().enumerate() {
                    let contribution = thread.result(run).expect("a half has contributions");
                    take(contribution, round_of(others.len() - 1 - index));
                }
            };
            self.calling.compute(&tasks[0], Sink { in_pieces: in_pieces(round), give });
        }
    }

    /// What these tasks add to the sum of an idle half.
    pub fn idle(&self, tasks: &[Task], take: impl FnMut(Contribution)) {
        tasks.iter().map(|task| self.calling.idle(task.rank)).for_each(take);
    }

    /// Computes what these tasks of D's half need of real samples, each on the lane that gets its task later.
    pub fn run_ahead(&mut self, tasks: &[Task]) {
        let run = self.next_run();
        self.order(tasks, |_, task| Order::ComputeAhead { run, task });
        for tasks in tasks.chunks(1 + self.threads.len()) {
            self.calling.compute_ahead(&tasks[0]);
            self.threads[..tasks.len() - 1].iter().for_each(|thread| drop(thread.result(run)));
        }
    }

    /// Gives the threads their tasks; `order` is told the round of each.
    fn order(&self, tasks: &[Task], order: impl Fn(usize, Task) -> Order) {
        for (round, tasks) in tasks.chunks(1 + self.threads.len()).enumerate() {
            for (task, thread) in tasks[1..].iter().zip(&self.threads) {
                thread.order(order(round, task.share()));
            }
        }
    }

    fn next_run(&mut self) -> u64 {
        self.runs += 1;
        self.runs
    }

    /// The weights of a half's network were updated.
    pub fn updated(&mut self, half: Half) {
        if half == Half::Generator {
            self.forget(Kept::Fakes);
        }
        self.weights.refresh(half);
    }

    /// The whole state is another one.
    pub fn state_changed(&mut self) {
        self.forget(Kept::All);
        for half in [Half::Discriminator, Half::Generator] {
            self.weights.refresh(half);
        }
    }

    /// Drops what lanes keep.
    pub fn forget(&mut self, kept: Kept) {
        self.calling.forget(kept);
        self.threads.iter().for_each(|thread| thread.order(Order::Forget(kept)));
    }
}

impl LaneThread {
    fn start((index, mut lane): (usize, Lane)) -> Self {
        let (orders, inbox) = channel();
        let (outbox, results) = channel();
        let work = move || {
            device::one_thread();
            while let Some(order) = next_of(&inbox) {
                // Nobody listens once the replica is dropped, and then orders end.
                let give = |run, contribution| _ = outbox.send(Done { run, contribution });
                match order {
                    Order::Compute { run, task, in_pieces } => {
                        let give = &mut |contribution| give(run, Some(contribution));
                        lane.compute(&task, Sink { in_pieces, give });
                    }
                    Order::ComputeAhead { run, task } => {
                        lane.compute_ahead(&task);
                        give(run, None);
                    }
                    Order::Forget(kept) => lane.forget(kept),
                }
            }
        };
        let thread = std::thread::Builder::new().name(format!("lane-{}", index + 1)).spawn(work);
        let thread = thread.expect("the system has room for one thread more");
        Self { orders: Some(orders), results, thread: Some(thread) }
    }

    fn order(&self, order: Order) {
        let orders = self.orders.as_ref().expect("orders end only when the thread is dropped");
        orders.send(order).expect("a lane ends only by a panic, which is our bug");
    }

    /// The next that it has done of this run.
    fn result(&self, run: u64) -> Option<Contribution> {
        loop {
            let done = next_of(&self.results).expect("a lane ends only by a panic, which is our bug");
            if done.run == run {
                return done.contribution;
            }
        }
    }
}

/// What comes next, or none when nothing will.
fn next_of<T>(receiver: &Receiver<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        match receiver.try_recv() {
            Ok(next) => return Some(next),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) if began.elapsed() < LOOK_FOR => std::thread::yield_now(),
            Err(TryRecvError::Empty) => return receiver.recv().ok(),
        }
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

#[cfg(test)]
mod tests {
    use lsgan_spec::VirtualRank;

    use super::*;

    /// As after a panic of the calling thread, which stops to wait.
    #[test]
    fn what_is_left_of_an_older_run_is_not_taken_for_this_ones() {
        let (outbox, results) = channel();
        let thread = LaneThread { orders: None, results, thread: None };
        let contribution = || Contribution { rank: VirtualRank(3), first: 0, gradients: vec![], end: None };
        for (run, contribution) in [(1, Some(contribution())), (1, None), (2, None)] {
            outbox.send(Done { run, contribution }).expect("it is read below");
        }
        assert!(thread.result(2).is_none());
    }
}
