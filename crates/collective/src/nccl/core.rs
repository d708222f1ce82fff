//! What a group and its watcher share: the communicator, the side channel, and why the group is over.

use std::collections::BTreeSet;
use std::io::{PipeWriter, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lsgan_spec::Generation;
use nix::poll::{PollFd, PollFlags};

use super::communicator::{Communicator, CommunicatorError};
use super::flag::AbortFlag;
use super::message::{Message, MessageKind};
use super::trust::Trust;
use crate::tcp::{Link, Membership, Side, poll_until};
use crate::{Aborter, Call, GroupError, LossCause, Peer};

/// Why a group is over.
#[derive(Clone, Debug)]
pub(super) enum EndReason {
    Aborted,
    /// A neighbour's connection closed, or the neighbour left or failed before this rank's call.
    Lost(Peer, LossCause),
    /// A neighbour sent bytes that are no message.
    Garbled(Peer),
    /// NCCL, the device or the system failed.
    Failed(GroupError),
}

impl EndReason {
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
    pub(super) trust: Arc<Trust>,
    /// The connections to the left and the right neighbour. None in a group of one.
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
    ended: Option<EndReason>,
    /// The group has left in order: there is nothing to abort.
    closed: bool,
    /// NCCL has returned from aborting the communicator.
    aborted: bool,
    /// Calls begun, and calls known to be finished.
    calls: u64,
    finished: u64,
    /// How many calls each neighbour had finished when it left or failed, by [`Side`].
    left_after: [Option<u64>; 2],
}

impl Core {
    /// A byte in `wake` wakes the watcher.
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
        let trust = Arc::default();
        Self { rank, generation, aborter, flag, trust, links, size, wake, state, communicator }
    }

    fn communicator(&self) -> Option<Arc<Communicator>> {
        self.communicator.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the group's communicator; aborts it if the group is over already.
    pub(super) fn adopt(&self, communicator: Arc<Communicator>) {
        *self.communicator.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&communicator));
        // Not `ended`: the watcher finds the communicator when it handles an abort of the aborter.
        if self.is_over() {
            communicator.abort();
        }
    }

    /// Whether [`Core::end`] or [`Core::close`] was called.
    pub(super) fn is_over(&self) -> bool {
        self.state().ended.is_some()
    }

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

    /// Whether NCCL will put nothing more on the stream.
    pub(super) fn is_aborted(&self) -> bool {
        self.state().aborted
    }

    /// Whether all calls are known to be finished.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.state();
        state.finished == state.calls
    }

    pub(super) fn ended(&self) -> Option<EndReason> {
        match self.aborter.is_aborted() {
            true => Some(EndReason::Aborted),
            false => self.state().ended.clone(),
        }
    }

    /// Counts a call. Fails if the group is over, or if a neighbour left before this call.
    pub(super) fn begin_call(&self) -> Result<(), EndReason> {
        if self.aborter.is_aborted() {
            return Err(EndReason::Aborted);
        }
        let mut state = self.state();
        if let Some(reason) = &state.ended {
            return Err(reason.clone());
        }
        let gone = Side::BOTH.into_iter().find(|side| state.left_after[*side as usize] == Some(state.calls));
        state.calls += 1;
        gone.and_then(|side| self.link(side))
            .map_or(Ok(()), |link| Err(EndReason::Lost(link.peer, LossCause::Closed)))
    }

    /// Marks the first `calls` calls as finished.
    pub(super) fn finished(&self, calls: u64) {
        let mut state = self.state();
        state.finished = state.finished.max(calls);
    }

    /// Notes that a neighbour left or failed after this many calls. A later call of this rank can never finish and
    /// ends the group.
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
            self.end(EndReason::Lost(link.peer, LossCause::Closed));
        }
    }

    /// Ends the group, unless it is over already: sets the flag and tells the neighbours that this rank is stopped. The
    /// watcher then aborts the communicator.
    pub(super) fn end(&self, reason: EndReason) {
        {
            let mut state = self.state();
            if state.ended.is_some() {
                return;
            }
            state.ended = Some(reason);
        }
        self.flag.set();
        self.send(MessageKind::Failing, &[self.rank].into());
        self.wake();
    }

    /// Ends a group whose calls are done and whose communicator is destroyed, without setting the flag: updates queued
    /// behind the calls still run.
    pub(super) fn close(&self) {
        {
            let mut state = self.state();
            if state.ended.is_some() {
                return;
            }
            (state.ended, state.closed) = (Some(EndReason::Aborted), true);
        }
        self.send(MessageKind::Leaving, &BTreeSet::new());
        self.close_links();
        self.wake();
    }

    /// Sends both neighbours a message with the ranks that are known to be stopped.
    pub(super) fn send(&self, kind: MessageKind, stopped: &BTreeSet<usize>) {
        let finished_calls = self.state().finished;
        let bytes = Message { kind, finished_calls, stopped: stopped.clone() }.encode(self.size);
        for link in self.links.iter().flatten() {
            // A short message always fits into an idle connection. A neighbour that is gone needs none.
            _ = (&link.socket).write(&bytes);
        }
    }

    /// Whether a neighbour has said something, or is gone, and the watcher has not acted on it yet.
    pub(super) fn has_unheard(&self) -> bool {
        let left = self.state().left_after;
        let open = Side::BOTH.into_iter().filter(|side| left[*side as usize].is_none());
        let links = open.filter_map(|side| self.link(side));
        let mut fds: Vec<_> = links.map(|link| PollFd::new(link.socket.as_fd(), PollFlags::POLLIN)).collect();
        poll_until(&mut fds, Some(Instant::now())).unwrap_or(false)
    }

    pub(super) fn close_links(&self) {
        for link in self.links.iter().flatten() {
            // It may be closed already.
            _ = link.socket.shutdown(Shutdown::Both);
        }
    }

    fn wake(&self) {
        // At most one byte for each group. The reader is gone only when the watcher has ended.
        _ = (&self.wake).write(&[1]);
    }

    /// Ends the group because of `error`; returns why the group is over.
    pub(super) fn end_by(&self, error: CommunicatorError) -> EndReason {
        match error {
            // The group's end took the communicator away.
            CommunicatorError::Gone => {}
            CommunicatorError::Nccl { doing, code, said } => {
                let (rank, generation) = (self.rank, self.generation);
                self.end(EndReason::Failed(GroupError::Nccl { generation, rank, doing, code, said }));
            }
        }
        self.ended().expect("a communicator is gone only after its group's end")
    }

    pub(super) fn link(&self, side: Side) -> Option<&Link> {
        self.links.as_ref().map(|links| &links[side as usize])
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
