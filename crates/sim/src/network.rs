//! Simulated time and streams: a queue of what happens next, and first-in-first-out delivery with delays.

use std::collections::{BTreeMap, VecDeque};

use lsgan_control::{Message, Report, SessionId, Task};
use lsgan_spec::{Generation, Incarnation, Millis, Reduction};

use crate::faults::Fault;
use crate::fence::{Coordinator, Piece};
use crate::history::State;

/// A process in the world: an index into the list of all that were ever started.
pub type ProcessIndex = usize;

/// Something that will happen at a time.
#[derive(Clone, Debug)]
pub enum Happening {
    CoordinatorStarts,
    /// The deadline that the coordinator's machine asked for.
    Deadline,
    /// A report reaches the coordinator on a stream.
    AtCoordinator(SessionId, Report),
    /// The coordinator sees that a stream is gone.
    StreamClosed(SessionId),
    /// A message reaches a worker on a stream.
    AtWorker(ProcessIndex, SessionId, Message),
    /// A worker sees that its stream is gone.
    StreamLost(ProcessIndex, SessionId),
    /// Something happens inside a worker.
    Worker(ProcessIndex, Inner),
    /// A request to create this piece of the journal's copy reaches the store.
    PieceArrives {
        number: usize,
        piece: Box<Piece>,
    },
    /// The store's answer reaches a coordinator: what another one has created there, if so.
    PieceAnswered {
        by: Coordinator,
        number: usize,
        theirs: Option<Box<Piece>>,
    },
    /// A coordinator asks again for a piece, if it has no answer.
    PieceAskedAgain(Coordinator, usize),
    /// A coordinator that has nothing to copy looks whether another one leads.
    LooksWhoLeads(Coordinator),
    /// A coordinator copies what no message waits for.
    PieceDue(Coordinator),
    /// A fault strikes.
    Fault(Fault),
    /// A worker starts.
    Spawn,
    /// SIGCONT.
    Thaw(ProcessIndex),
    /// An operator asks the run to stop.
    OperatorStops,
    /// An operator resumes a stopped run.
    OperatorResumes,
    /// An operator resumes a paused run.
    OperatorUnpauses,
    /// Nothing fails from here on.
    Calm,
}

/// Something inside a worker.
#[derive(Clone, Debug)]
pub enum Inner {
    /// It tries to reach the coordinator.
    Connect,
    /// A heartbeat on this stream is due.
    Heartbeat(SessionId),
    /// All its peers are connected.
    Connected(Generation),
    /// It has taken over the state that the generation starts from.
    Taken(Generation),
    /// It has computed its part of a reduction.
    Computed(Generation, Reduction),
    /// It has received the sum of a reduction.
    Reduced(Generation, Reduction),
    /// It sees that the connection to a peer is gone.
    PeerLost(Generation),
    /// It sees that a peer's host does not answer.
    Unreachable(Generation, Incarnation),
    /// It has tried to connect to these peers, for a round of [`lsgan_control::Message::Try`].
    Tried(u64, Vec<Incarnation>),
    /// Nothing of the generation is running on its device any more.
    Drained(Generation),
    /// The snapshot that it writes in the background is published.
    Published(State),
    /// It has waited long enough for its training thread to park, since it had this incarnation.
    ParkOverdue(Option<Incarnation>),
    /// It has written `state`, which it held when the task was given, or has failed to.
    TaskDone { task: Task, state: State, fails: bool },
}

/// So many milliseconds from now have a slot of their own. Nearly everything happens within them.
const SLOTS: u64 = 4_096;

/// What happens when, in order. Of the same time, what was pushed first comes first.
///
/// A ring of slots, one for each millisecond: with thousands of workers a heap would take most of the time.
#[derive(Debug)]
pub struct Queue {
    /// By time modulo [`SLOTS`].
    near: Vec<VecDeque<Happening>>,
    /// Beyond the slots. An entry moves to its slot as soon as the ring reaches it, before anything is pushed there.
    far: BTreeMap<Millis, VecDeque<Happening>>,
    now: Millis,
    near_count: usize,
}

impl Default for Queue {
    fn default() -> Self {
        let near = (0..SLOTS).map(|_| VecDeque::new()).collect();
        Self { near, far: BTreeMap::new(), now: Millis(0), near_count: 0 }
    }
}

impl Queue {
    /// Schedules `what`. A time in the past counts as now.
    pub fn push(&mut self, at: Millis, what: Happening) {
        let at = at.max(self.now);
        if at.0 - self.now.0 < SLOTS {
            self.near[(at.0 % SLOTS) as usize].push_back(what);
            self.near_count += 1;
        } else {
            self.far.entry(at).or_default().push_back(what);
        }
    }

    pub fn pop(&mut self) -> Option<(Millis, Happening)> {
        loop {
            if let Some(what) = self.near[(self.now.0 % SLOTS) as usize].pop_front() {
                self.near_count -= 1;
                return Some((self.now, what));
            }
            let next = match (self.near_count, self.far.first_key_value()) {
                (0, None) => return None,
                (0, Some((at, _))) => *at,
                (_, _) => self.now.plus(1),
            };
            self.advance(next);
        }
    }

    fn advance(&mut self, now: Millis) {
        self.now = now;
        while let Some(entry) = self.far.first_entry().filter(|entry| entry.key().0 - now.0 < SLOTS) {
            let (at, mut all) = entry.remove_entry();
            self.near_count += all.len();
            self.near[(at.0 % SLOTS) as usize].append(&mut all);
        }
    }
}

/// A stream between a worker and a life of the coordinator.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub process: ProcessIndex,
    /// The coordinator at the other end.
    pub coordinator: Coordinator,
    /// The coordinator still reads and writes it.
    pub open_at_coordinator: bool,
    /// The worker still reads and writes it.
    pub open_at_worker: bool,
    last_up: Millis,
    last_down: Millis,
    /// Nothing that the worker sends arrives before: the network holds it up.
    pub up_cut_until: Millis,
    /// The same for what the worker is sent.
    pub down_cut_until: Millis,
}

/// All streams that were ever opened.
#[derive(Debug, Default)]
pub struct Network {
    /// By session, which are counted from 1.
    links: Vec<Link>,
}

impl Network {
    pub fn open(&mut self, process: ProcessIndex, coordinator: Coordinator) -> SessionId {
        let session = SessionId(self.links.len() as u64 + 1);
        let link = Link {
            process,
            coordinator,
            open_at_coordinator: true,
            open_at_worker: true,
            last_up: Millis(0),
            last_down: Millis(0),
            up_cut_until: Millis(0),
            down_cut_until: Millis(0),
        };
        self.links.push(link);
        session
    }

    pub fn link(&mut self, session: SessionId) -> &mut Link {
        &mut self.links[session.0 as usize - 1]
    }

    /// The worker at the other end.
    #[must_use]
    pub fn process(&self, session: SessionId) -> ProcessIndex {
        self.links[session.0 as usize - 1].process
    }

    /// When a message to the coordinator arrives: at `earliest`, but not before those that were sent before it.
    pub fn arrival_up(&mut self, session: SessionId, earliest: Millis) -> Millis {
        let link = self.link(session);
        link.last_up = link.last_up.max(earliest).max(link.up_cut_until);
        link.last_up
    }

    /// The same for a message to the worker.
    pub fn arrival_down(&mut self, session: SessionId, earliest: Millis) -> Millis {
        let link = self.link(session);
        link.last_down = link.last_down.max(earliest).max(link.down_cut_until);
        link.last_down
    }

    /// The streams that a coordinator has open, with their workers.
    pub fn open_of(&self, coordinator: Coordinator) -> Vec<(SessionId, ProcessIndex)> {
        let open = |link: &&Link| link.open_at_coordinator && link.coordinator == coordinator;
        let open = (1..).map(SessionId).zip(&self.links).filter(|(_, link)| open(link));
        open.map(|(session, link)| (session, link.process)).collect()
    }

    /// Closes a coordinator's end of all its streams, because it is gone. Returns those that were open, with their workers.
    pub fn cut_all(&mut self, coordinator: Coordinator) -> Vec<(SessionId, ProcessIndex)> {
        let open = self.open_of(coordinator);
        open.iter().for_each(|(session, _)| self.link(*session).open_at_coordinator = false);
        open
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The model is a list sorted by time and order of the pushes.
        #[test]
        fn a_queue_is_in_order_whatever_is_pushed_when(
            moves in proptest::collection::vec((0_u64..3 * SLOTS, 0_usize..4), 1..300),
        ) {
            let (mut queue, mut model, mut now) = (Queue::default(), Vec::new(), 0);
            for (index, (after_ms, pops)) in moves.iter().enumerate() {
                queue.push(Millis(now + after_ms), Happening::Thaw(index));
                model.push((now + after_ms, index));
                for _ in 0..*pops {
                    model.sort_unstable();
                    let wanted = (!model.is_empty()).then(|| model.remove(0));
                    let found = queue.pop().map(|(at, what)| match what {
                        Happening::Thaw(index) => (at.0, index),
                        other => panic!("{other:?}"),
                    });
                    prop_assert_eq!(found, wanted);
                    now = found.map_or(now, |(at, _)| at);
                }
            }
        }
    }
}
