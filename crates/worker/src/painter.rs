//! Makes pictures on a thread of its own, so that no step waits for one.

use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use lsgan_console::{exit::chain, vital};
use lsgan_control::Report;
use lsgan_spec::Step;
use lsgan_train::FrozenGenerator;

use crate::outbox::Outbox;

/// So many pictures may wait for the one that is made. Those that come faster slow the run down instead of filling the memory.
const WAITING_MAX: usize = 2;

/// The painter. Dropping it waits for the pictures that were asked for.
pub struct Painter {
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    Paint(Step, Box<FrozenGenerator>),
    /// All before it are done.
    Tell(Sender<()>),
}

impl Painter {
    /// A painter that tells `outbox` of its pictures.
    pub fn start(outbox: Arc<Outbox>) -> std::io::Result<Self> {
        let (orders, queue) = sync_channel(WAITING_MAX);
        let thread = vital::thread("pictures", move || {
            for order in queue {
                match order {
                    Order::Paint(step, generator) => paint(step, &generator, &outbox),
                    // Whoever asked may have ended.
                    Order::Tell(done) => drop(done.send(())),
                }
            }
        })?;
        Ok(Self { orders: Some(orders), thread: Some(thread) })
    }

    /// Makes a picture with this generator, which was that of `step`.
    pub fn paint(&self, step: Step, generator: FrozenGenerator) {
        self.order(Order::Paint(step, Box::new(generator)));
    }

    /// Waits until all pictures are made and in the outbox.
    pub fn finish(&self) {
        let (done, told) = channel();
        self.order(Order::Tell(done));
        // A panic there ends the process.
        let _ = told.recv();
    }

    fn order(&self, order: Order) {
        let orders = self.orders.as_ref().expect("the queue is open until the painter is dropped");
        orders.send(order).expect("the painter's thread takes orders until the queue closes");
    }
}

fn paint(step: Step, generator: &FrozenGenerator, outbox: &Outbox) {
    match generator.picture() {
        Ok(png) => outbox.say(Report::Sample { step, png }),
        Err(error) => tracing::warn!(step = step.0, "no picture: {}", chain(&error)),
    }
}

impl Drop for Painter {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic has ended the process.
            let _ = thread.join();
        }
    }
}
