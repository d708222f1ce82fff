//! Simulated time and streams: what happens next, and first-in-first-out delivery with delays.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

use lsgan_control::{Event, Message, SessionId};
use lsgan_spec::{Generation, Millis, Reduction, Step};

use crate::faults::Fault;
use crate::history::State;

/// A process in the world: an index into the list of all that ever were.
pub type ProcessIndex = usize;

/// Something that will happen.
#[derive(Clone, Debug)]
pub enum Happening {
    /// The coordinator is started.
    CoordinatorStarts,
    /// The time that the machine asked for has come.
    Deadline,
    /// An event reaches the coordinator on a stream.
    AtCoordinator(SessionId, Event),
    /// A message reaches a worker on a stream.
    AtWorker(ProcessIndex, SessionId, Message),
    /// A worker sees that its stream is gone.
    StreamLost(ProcessIndex, SessionId),
    /// Something happens inside a worker.
    Worker(ProcessIndex, Inner),
    /// A fault strikes.
    Fault(Fault),
    /// A worker is started.
    Spawn,
    /// SIGCONT.
    Thaw(ProcessIndex),
    /// The operator asks the run to stop.
    OperatorStops,
    /// The operator goes on with a stopped run.
    OperatorResumes,
    /// Nothing fails from here on.
    Calm,
}

/// Something inside a worker.
#[derive(Clone, Debug)]
pub enum Inner {
    /// It tries to reach the coordinator.
    Connect,
    /// It says that it lives.
    Heartbeat(SessionId),
    /// All its peers are connected.
    Connected(Generation),
    /// It has taken over the state that the generation starts from.
    Taken(Generation),
    /// It has computed its part of a reduction.
    Computed(Generation, Reduction),
    /// The sum is there.
    Reduced(Generation, Reduction),
    /// It sees that a peer is gone.
    PeerLost(Generation),
    /// Nothing of the generation is under way on its device any more.
    Drained(Generation),
    /// The snapshot that it writes in the background is published.
    Published(State),
    /// The task that it was given is done.
    TaskDone(SessionId),
}

/// What happens when, in order; what was scheduled first comes first.
#[derive(Debug, Default)]
pub struct Queue {
    heap: BinaryHeap<Scheduled>,
    count: u64,
}

#[derive(Debug)]
struct Scheduled(Millis, u64, Happening);

impl Queue {
    /// Schedules `what`.
    pub fn push(&mut self, at: Millis, what: Happening) {
        self.heap.push(Scheduled(at, self.count, what));
        self.count += 1;
    }

    /// What happens next.
    pub fn pop(&mut self) -> Option<(Millis, Happening)> {
        self.heap.pop().map(|Scheduled(at, _, what)| (at, what))
    }
}

// The heap gives its greatest first: the earliest is the greatest.
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.0, other.1).cmp(&(self.0, self.1))
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

/// A stream between a worker and a life of the coordinator.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// The worker's process.
    pub process: ProcessIndex,
    /// The coordinator still reads and writes it.
    pub open_at_coordinator: bool,
    /// The worker still reads and writes it.
    pub open_at_worker: bool,
    last_up: Millis,
    last_down: Millis,
}

/// All streams that ever were.
#[derive(Debug, Default)]
pub struct Network {
    links: BTreeMap<SessionId, Link>,
    count: u64,
}

impl Network {
    /// Opens a stream.
    pub fn open(&mut self, process: ProcessIndex) -> SessionId {
        self.count += 1;
        let session = SessionId(self.count);
        let link = Link {
            process,
            open_at_coordinator: true,
            open_at_worker: true,
            last_up: Millis(0),
            last_down: Millis(0),
        };
        self.links.insert(session, link);
        session
    }

    /// The stream.
    pub fn link(&mut self, session: SessionId) -> &mut Link {
        self.links.get_mut(&session).expect("a session is a stream that was opened")
    }

    /// When something sent to the coordinator, that could be there at `earliest`, arrives: not before what was
    /// sent before it.
    pub fn arrival_up(&mut self, session: SessionId, earliest: Millis) -> Millis {
        let link = self.link(session);
        link.last_up = link.last_up.max(earliest);
        link.last_up
    }

    /// The same for something sent to the worker.
    pub fn arrival_down(&mut self, session: SessionId, earliest: Millis) -> Millis {
        let link = self.link(session);
        link.last_down = link.last_down.max(earliest);
        link.last_down
    }

    /// The coordinator is gone: no stream is open at its end. Returns those that were, with their workers.
    pub fn cut_all(&mut self) -> Vec<(SessionId, ProcessIndex)> {
        let open = self.links.iter_mut().filter(|(_, link)| link.open_at_coordinator);
        open.map(|(session, link)| {
            link.open_at_coordinator = false;
            (*session, link.process)
        })
        .collect()
    }

    /// The worker at the other end.
    #[must_use]
    pub fn process(&self, session: SessionId) -> ProcessIndex {
        self.links[&session].process
    }
}

/// A step's snapshot as it lies in the store.
pub type Store = BTreeMap<Step, State>;
