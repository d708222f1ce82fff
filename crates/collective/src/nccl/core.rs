//! What a group and its watcher share: the communicator, the side channel, and whether it is over.

use std::io::Write;
use std::net::Shutdown;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lsgan_spec::Generation;

use super::communicator::{Communicator, Trouble};
use super::farewell::Farewell;
use super::flag::AbortFlag;
use crate::tcp::Link;
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
    state: Mutex<State>,
    /// None until it is begun, and in a group of one that needs none.
    communicator: Mutex<Option<Arc<Communicator>>>,
}

#[derive(Default)]
struct State {
    ended: Option<Ending>,
    /// How many calls were begun, and how many of them are known to be finished.
    calls: u64,
    finished: u64,
    /// How many calls each neighbour had finished when it left or failed, by [`Side`].
    left_after: [Option<u64>; 2],
}

impl Core {
    pub(super) fn new(
        rank: usize,
        generation: Generation,
        aborter: &Aborter,
        flag: Arc<AbortFlag>,
        links: Option<[Link; 2]>,
    ) -> Self {
        let aborter = aborter.clone();
        let (state, communicator) = (Mutex::default(), Mutex::default());
        Self { rank, generation, aborter, flag, links, state, communicator }
    }

    pub(super) fn communicator(&self) -> Option<Arc<Communicator>> {
        self.communicator.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the communicator that this group's calls go over. Where the group ended meanwhile, it is aborted.
    pub(super) fn adopt(&self, communicator: Arc<Communicator>) {
        *self.communicator.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&communicator));
        // Not `ended`: an abort that the watcher has still to carry out finds the communicator.
        if self.state().ended.is_some() {
            communicator.abort();
        }
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

    /// Ends the group, unless it is over already: flag, side channel, communicator, in this order. The flag first, so
    /// that no update follows a sum that the abort cut short. Then the side channel, so that the neighbours abort as
    /// well: on one host NCCL's aborts wait for each other.
    pub(super) fn end(&self, ending: Ending) {
        if !self.is_ended_by(ending) {
            return;
        }
        self.flag.set();
        self.hang_up(Farewell::Failing);
        if let Some(communicator) = self.communicator() {
            communicator.abort();
        }
    }

    /// Ends a group whose calls are done and whose communicator has left. What is queued behind the calls is not held up.
    pub(super) fn close(&self) {
        if self.is_ended_by(Ending::Aborted) {
            self.hang_up(Farewell::Leaving);
        }
    }

    /// False if it was over already.
    fn is_ended_by(&self, ending: Ending) -> bool {
        let mut state = self.state();
        let first = state.ended.is_none();
        state.ended.get_or_insert(ending);
        first
    }

    /// Tells both neighbours how far this rank has come, and closes the side channel.
    fn hang_up(&self, farewell: Farewell) {
        let bytes = farewell.encode(self.state().finished);
        for link in self.links.iter().flatten() {
            // A few bytes into an idle connection always fit. A neighbour that is gone needs none.
            _ = (&link.socket).write(&bytes).and_then(|_| link.socket.shutdown(Shutdown::Both));
        }
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
