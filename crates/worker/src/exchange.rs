//! Sums over TCP on a thread of their own, so that the training thread can compute meanwhile.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use lsgan_collective::tcp::TcpGroup;
use lsgan_collective::{Aborter, Group, GroupError};
use lsgan_train::Words;

/// A group over TCP, with the thread on which its sums may travel.
pub struct Exchange {
    /// None while its words travel.
    group: Option<Box<TcpGroup>>,
    aborter: Aborter,
    orders: Option<Sender<(Box<TcpGroup>, Vec<Words>)>>,
    results: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
}

struct Done {
    group: Box<TcpGroup>,
    words: Vec<Words>,
    outcome: Result<(), GroupError>,
}

impl Exchange {
    /// # Errors
    /// The system has no room for a thread more.
    pub fn new(group: TcpGroup) -> Result<Self, GroupError> {
        let (orders, inbox) = channel::<(Box<TcpGroup>, Vec<Words>)>();
        let (outbox, results) = channel();
        let work = move || {
            for (mut group, mut words) in inbox {
                let outcome = add_up(&mut *group, &mut words);
                if outbox.send(Done { group, words, outcome }).is_err() {
                    return;
                }
            }
        };
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
        })
    }

    /// The group, while no words travel.
    pub fn group(&mut self) -> &mut TcpGroup {
        self.group.as_mut().expect("no words travel")
    }

    /// Adds up these words over all members while `meanwhile` runs, and returns them when both are done.
    ///
    /// # Errors
    /// The group is over.
    pub fn add_up_during(
        &mut self,
        words: Vec<Words>,
        meanwhile: impl FnOnce(),
    ) -> Result<Vec<Words>, GroupError> {
        let orders = self.orders.as_ref().expect("orders end only when this is dropped");
        let group = self.group.take().expect("no words travel");
        orders.send((group, words)).expect("the thread ends only by a panic, which is our bug");
        meanwhile();
        let Done { group, words, outcome } = self.results.recv().expect("as above");
        self.group = Some(group);
        outcome.map(|()| words)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.group.is_none() {
            self.aborter.abort(); // a panic while words travel: nobody waits for them
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
pub fn add_up(group: &mut dyn Group, words: &mut [Words]) -> Result<(), GroupError> {
    words.iter_mut().try_for_each(|words| match words {
        Words::Wide(words) => group.all_reduce_i64(words),
        Words::Narrow { own, sum } => group.all_reduce_i32(own, sum),
        Words::Fast(words) => group.all_reduce_f32(words),
        Words::Device(_) => unreachable!("a GPU's sums travel over NCCL"),
    })
}
