//! What a group and its watcher share: the communicator, the side channel, and whether it is over.

use std::io::{PipeWriter, Write};
use std::net::Shutdown;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lsgan_spec::Generation;

use super::communicator::{Communicator, Trouble};
use super::farewell::{Farewell, Ranks, Way};
use super::flag::AbortFlag;
use crate::tcp::{Link, Membership};
use crate::{Aborter, Call, GroupError, LossCause, Peer};

/// One of the neighbours on the side channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::Left, Self::Right];
}

/// Why a group is over.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    /// Somebody aborted it.
    Aborted,
    /// A neighbour's connection ended without a farewell.
    Lost(Peer, LossCause),
    /// A neighbour said what it never says.
    Garbled(Peer),
    /// NCCL, the device or the system failed, or the caller gave it up.
    Failed(GroupError),
}

impl Ending {
    pub(super) fn error(self, generation: Generation, call: Call) -> GroupError {
        match self {
            Self::Aborted => GroupError::Aborted { generation },
            Self::Lost(peer, cause) => GroupError::PeerLost { peer, generation, call, cause },
            Self::Garbled(peer) => GroupError::Garbled { peer, generation, call },
            Self::Failed(error) => error,
        }
    }
}

pub(super) struct Core {
    pub(super) rank: usize,
    pub(super) generation: Generation,
    pub(super) aborter: Aborter,
    pub(super) flag: Arc<AbortFlag>,
    /// Left and right neighbour. None in a group of one.
    pub(super) links: Option<[Link; 2]>,
    pub(super) size: usize,
    /// Wakes the watcher when the group is over.
    wake: PipeWriter,
    state: Mutex<State>,
    /// None until it is begun, and in a group of one that needs none.
    communicator: Mutex<Option<Arc<Communicator>>>,
}

#[derive(Default)]
struct State {
    ended: Option<Ending>,
    /// It has left in order: there is nothing to abort.
    closed: bool,
    /// Its communicator was aborted, and NCCL has returned from that.
    aborted: bool,
    /// How many calls were begun, and how many of them are known to be finished.
    calls: u64,
    finished: u64,
    /// How many calls each neighbour had finished when it left or failed, by [`Side`].
    left_after: [Option<u64>; 2],
}

impl Core {
    /// For this rank of this generation; what is written to `wake` wakes its watcher.
    pub(super) fn new(
        membership: &Membership,
        aborter: &Aborter,
        flag: Arc<AbortFlag>,
        links: Option<[Link; 2]>,
        wake: PipeWriter,
    ) -> Self {
        let Membership { rank, generation, .. } = *membership;
        let (size, aborter) = (membership.members.len(), aborter.clone());
        let (state, communicator) = (Mutex::default(), Mutex::default());
        Self { rank, generation, aborter, flag, links, size, wake, state, communicator }
    }

    fn communicator(&self) -> Option<Arc<Communicator>> {
        self.communicator.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the communicator that this group's calls go over. Where the group is over already, it is aborted.
    pub(super) fn adopt(&self, communicator: Arc<Communicator>) {
        *self.communicator.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&communicator));
        // Not `ended`: an abort that the watcher has still to carry out finds the communicator.
        if self.is_over() {
            communicator.abort();
        }
    }

    /// Whether it was ended here.
    pub(super) fn is_over(&self) -> bool {
        self.state().ended.is_some()
    }

    /// Whether it has left in order.
    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Aborts the communicator, if there is one.
    pub(super) fn abort(&self) {
        if let Some(communicator) = self.communicator() {
            communicator.abort();
        }
        self.state().aborted = true;
    }

    /// Whether that is done: nothing more of NCCL's will reach the stream.
    pub(super) fn is_aborted(&self) -> bool {
        self.state().aborted
    }

    /// Whether no call is under way, as far as is known.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.state();
        state.finished == state.calls
    }

    /// Why the group is over, if it is.
    pub(super) fn ended(&self) -> Option<Ending> {
        match self.aborter.is_aborted() {
            true => Some(Ending::Aborted),
            false => self.state().ended.clone(),
        }
    }

    /// Counts a call, unless the group is over or a neighbour left before it.
    pub(super) fn begin_call(&self) -> Result<(), Ending> {
        if self.aborter.is_aborted() {
            return Err(Ending::Aborted);
        }
        let mut state = self.state();
        if let Some(ending) = &state.ended {
            return Err(ending.clone());
        }
        let gone = Side::BOTH.into_iter().find(|side| state.left_after[*side as usize] == Some(state.calls));
        state.calls += 1;
        gone.and_then(|side| self.link(side))
            .map_or(Ok(()), |link| Err(Ending::Lost(link.peer, LossCause::Closed)))
    }

    /// The first `calls` calls are finished.
    pub(super) fn finished(&self, calls: u64) {
        let mut state = self.state();
        state.finished = state.finished.max(calls);
    }

    /// A neighbour is gone, with this many calls finished. Where we are in a later one, it will never come to an end.
    pub(super) fn neighbour_left(&self, side: Side, after_calls: u64) {
        let mut state = self.state();
        state.left_after[side as usize] = Some(after_calls);
        let waits_for_it = state.calls > after_calls;
        drop(state);
        if waits_for_it {
            self.lose(side);
        }
    }

    /// Ends the group because this neighbour is gone.
    pub(super) fn lose(&self, side: Side) {
        if let Some(link) = self.link(side) {
            self.end(Ending::Lost(link.peer, LossCause::Closed));
        }
    }

    /// Ends the group, unless it is over already: sets the flag, and tells the neighbours that this rank is still. The
    /// watcher then aborts the communicator.
    pub(super) fn end(&self, ending: Ending) {
        {
            let mut state = self.state();
            if state.ended.is_some() {
                return;
            }
            state.ended = Some(ending);
        }
        self.flag.set();
        let mut still = Ranks::none(self.size);
        still.insert(self.rank);
        self.say(Way::Failing, &still);
        self.wake();
    }

    /// Ends a group whose calls are done and whose communicator has left. What is queued behind the calls is not held up.
    pub(super) fn close(&self) {
        {
            let mut state = self.state();
            if state.ended.is_some() {
                return;
            }
            (state.ended, state.closed) = (Some(Ending::Aborted), true);
        }
        self.say(Way::Leaving, &Ranks::none(self.size));
        self.hang_up();
        self.wake();
    }

    /// Tells both neighbours how far this rank has come, and which ranks it knows to be still.
    pub(super) fn say(&self, way: Way, still: &Ranks) {
        let finished_calls = self.state().finished;
        let bytes = Farewell { way, finished_calls, still: still.clone() }.encode();
        for link in self.links.iter().flatten() {
            // Little into an idle connection always fits. A neighbour that is gone needs none.
            _ = (&link.socket).write(&bytes);
        }
    }

    pub(super) fn hang_up(&self) {
        for link in self.links.iter().flatten() {
            // It may be closed already.
            _ = link.socket.shutdown(Shutdown::Both);
        }
    }

    fn wake(&self) {
        // At most one byte for each group. The reader is gone only when the watcher has ended.
        _ = (&self.wake).write(&[1]);
    }

    /// What `trouble` means for the group, which it ends.
    pub(super) fn end_by(&self, trouble: Trouble) {
        match trouble {
            // Somebody else has ended it and knows why.
            Trouble::Gone => {}
            Trouble::Nccl { doing, code, said } => {
                let (rank, generation) = (self.rank, self.generation);
                self.end(Ending::Failed(GroupError::Nccl { generation, rank, doing, code, said }));
            }
        }
    }

    pub(super) fn link(&self, side: Side) -> Option<&Link> {
        self.links.as_ref().map(|links| &links[side as usize])
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
