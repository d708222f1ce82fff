//! Sums over TCP on a thread of their own, so that the training thread can compute meanwhile.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use lsgan_collective::tcp::TcpGroup;
use lsgan_collective::{Aborter, Group, GroupError};
use lsgan_train::Words;

/// A group over TCP, with the thread on which its sums may travel.
pub struct Exchange {
    /// None while words travel.
    group: Option<Box<TcpGroup>>,
    aborter: Aborter,
    orders: Option<Sender<Order>>,
    results: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
    is_timed: bool,
    /// Not taken yet.
    travels: Vec<Travel>,
}

/// When words began to travel on the thread, and when they had.
pub type Travel = (Instant, Instant);

enum Order {
    /// Takes the group.
    Begin {
        group: Box<TcpGroup>,
        is_timed: bool,
    },
    AddUp(Vec<Words>),
    /// Gives the group back, with all words since.
    End,
}

struct Done {
    group: Box<TcpGroup>,
    words: Vec<Words>,
    outcome: Result<(), GroupError>,
    is_timed: bool,
    travels: Vec<Travel>,
}

impl Exchange {
    /// # Errors
    /// The system has no room for a thread more.
    pub fn new(group: TcpGroup) -> Result<Self, GroupError> {
        let (orders, inbox) = channel();
        let (outbox, results) = channel();
        let work = move || travel(inbox, &outbox);
        let thread = std::thread::Builder::new().name("exchange".to_owned()).spawn(work);
        let system =
            |error: std::io::Error| GroupError::System { doing: "start a thread", kind: error.kind() };
        let thread = thread.map_err(system)?;
        let aborter = group.aborter();
        Ok(Self {
            group: Some(Box::new(group)),
            aborter,
            orders: Some(orders),
            results,
            thread: Some(thread),
            is_timed: false,
            travels: vec![],
        })
    }

    /// Whether it is kept from now on when words travel.
    pub fn time(&mut self, is_timed: bool) {
        self.is_timed = is_timed;
    }

    /// When words have travelled since this was asked last.
    pub fn take_travels(&mut self) -> Vec<Travel> {
        std::mem::take(&mut self.travels)
    }

    /// The group, while no words travel.
    pub fn group(&mut self) -> &mut TcpGroup {
        self.group.as_mut().expect("no words travel")
    }

    /// Whether there is no other member. Then no words travel.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.size() == 1)
    }

    /// Begins to add up these words over all members, behind those that travel already.
    pub fn start(&mut self, words: Vec<Words>) {
        if let Some(group) = self.group.take() {
            self.order(Order::Begin { group, is_timed: self.is_timed });
        }
        self.order(Order::AddUp(words));
    }

    /// Adds up these words too, and returns all since the first [`Self::start`], in that order.
    ///
    /// # Errors
    /// The group is over.
    pub fn finish(&mut self, mut words: Vec<Words>) -> Result<Vec<Words>, GroupError> {
        if let Some(group) = &mut self.group {
            // Nothing travels: this thread need not wait for another.
            return add_up(&mut **group, &mut words).map(|()| words);
        }
        self.order(Order::AddUp(words));
        self.order(Order::End);
        let Done { group, words, outcome, mut travels, .. } =
            self.results.recv().expect("the thread ends only by a panic, which is our bug");
        self.group = Some(group);
        self.travels.append(&mut travels);
        outcome.map(|()| words)
    }

    fn order(&self, order: Order) {
        let orders = self.orders.as_ref().expect("orders end only when this is dropped");
        orders.send(order).expect("the thread ends only by a panic, which is our bug");
    }
}

/// What the thread does.
fn travel(inbox: Receiver<Order>, outbox: &Sender<Done>) {
    let mut held: Option<Done> = None;
    for order in inbox {
        match (order, &mut held) {
            (Order::Begin { group, is_timed }, _) => {
                held = Some(Done { group, words: vec![], outcome: Ok(()), is_timed, travels: vec![] });
            }
            (Order::AddUp(mut words), Some(done)) => {
                let begin = (done.is_timed && !words.is_empty()).then(Instant::now);
                if done.outcome.is_ok() {
                    done.outcome = add_up(&mut *done.group, &mut words);
                }
                done.travels.extend(begin.map(|begin| (begin, Instant::now())));
                done.words.append(&mut words);
            }
            (Order::End, _) => {
                if outbox.send(held.take().expect("it began")).is_err() {
                    return;
                }
            }
            (Order::AddUp(_), None) => unreachable!("words come behind the group"),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // Words that travel while a half fails arrive, or the group ends: the members come to the same words, or leave. But
        // in a panic nobody waits for them.
        if self.group.is_none() && std::thread::panicking() {
            self.aborter.abort();
        }
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; a second one while dropping would end the process.
            _ = thread.join();
        }
    }
}

/// Adds up words of the host over all members, one call for each.
///
/// # Errors
/// The group is over.
fn add_up(group: &mut dyn Group, words: &mut [Words]) -> Result<(), GroupError> {
    words.iter_mut().try_for_each(|words| match words {
        Words::Wide(words) => group.all_reduce_i64(words),
        Words::Narrow { own, sum } => group.all_reduce_i32(own, sum),
        Words::Fast(words) => group.all_reduce_f32(words),
        Words::Device(_) => unreachable!("a GPU's sums travel over NCCL"),
    })
}
