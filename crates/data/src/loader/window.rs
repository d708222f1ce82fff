//! The window of batches between the loader threads and the caller.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};

use lsgan_spec::{Step, VirtualRank};

use super::{LoaderError, RankBatch, Replaced};

/// The result of a claim.
type Filled = Result<(RankBatch, Vec<Replaced>), LoaderError>;
/// A step with all its batches.
type Full = (Step, Vec<(RankBatch, Vec<Replaced>)>);

pub(super) struct Window {
    ranks: Vec<VirtualRank>,
    depth_steps: u64,
    /// Set under the lock of `state`, so that no thread misses it between its check and its wait; read without the lock.
    stopped: AtomicBool,
    state: Mutex<State>,
    /// Signals that the front advanced: threads may claim more.
    room: Condvar,
    /// Signals that the front is decided, or the window is stopped.
    decided: Condvar,
}

struct State {
    /// The step that the caller gets next: `steps[0]`.
    front: Step,
    /// The steps that threads began, in order.
    steps: VecDeque<Slots>,
    /// The batch that is claimed next: its step and its index in `ranks`.
    next: (Step, usize),
}

struct Slots {
    batches: Vec<Option<Filled>>,
    missing: usize,
}

impl Slots {
    /// Whether all batches are there, or one failed. After a failure the other batches may never come, so the caller must
    /// not wait for them.
    fn is_decided(&self) -> bool {
        self.missing == 0 || self.error().is_some()
    }

    fn error(&self) -> Option<&LoaderError> {
        self.batches.iter().flatten().find_map(|filled| filled.as_ref().err())
    }
}

impl Window {
    pub(super) fn new(ranks: Vec<VirtualRank>, from: Step, depth_steps: usize) -> Self {
        Self {
            ranks,
            depth_steps: depth_steps as u64,
            stopped: AtomicBool::new(false),
            state: Mutex::new(State { front: from, steps: VecDeque::new(), next: (from, 0) }),
            room: Condvar::new(),
            decided: Condvar::new(),
        }
    }

    /// Claims the next batch, by its step and its index in `ranks`; waits for room. Who claims it must [`fill`](Self::fill)
    /// it. None when the window is stopped.
    pub(super) fn claim(&self) -> Option<(Step, usize)> {
        let mut state = self.lock();
        loop {
            if self.is_stopped() {
                return None;
            }
            let (step, rank_index) = state.next;
            if step.0 - state.front.0 < self.depth_steps {
                if rank_index == 0 {
                    let batches = self.ranks.iter().map(|_| None).collect();
                    state.steps.push_back(Slots { batches, missing: self.ranks.len() });
                }
                state.next =
                    if rank_index + 1 < self.ranks.len() { (step, rank_index + 1) } else { (step.next(), 0) };
                return Some((step, rank_index));
            }
            state = self.room.wait(state).expect(UNPOISONED);
        }
    }

    pub(super) fn rank(&self, rank_index: usize) -> VirtualRank {
        self.ranks[rank_index]
    }

    pub(super) fn fill(&self, (step, rank_index): (Step, usize), filled: Filled) {
        let mut state = self.lock();
        // A claimed step stays in the window, because this batch is missing.
        let index = (step.0 - state.front.0) as usize;
        let slots = &mut state.steps[index];
        slots.batches[rank_index] = Some(filled);
        slots.missing -= 1;
        if index == 0 && slots.is_decided() {
            self.decided.notify_all();
        }
    }

    /// Waits for the batches of the front, and advances it. An error stays at the front.
    pub(super) fn take_front(&self) -> Result<Full, LoaderError> {
        let mut state = self.lock();
        while !self.is_stopped() && !state.steps.front().is_some_and(Slots::is_decided) {
            state = self.decided.wait(state).expect(UNPOISONED);
        }
        if self.is_stopped() {
            return Err(LoaderError::Stopped);
        }
        if let Some(error) = state.steps[0].error() {
            return Err(error.clone());
        }
        let slots = state.steps.pop_front().expect("it was just looked at");
        let step = state.front;
        state.front = step.next();
        self.room.notify_all();
        drop(state);
        let batches =
            slots.batches.into_iter().flatten().map(|filled| filled.expect("it was just looked at"));
        Ok((step, batches.collect()))
    }

    /// Whether [`Self::take_front`] would not wait.
    pub(super) fn front_is_decided(&self) -> bool {
        let state = self.lock();
        self.is_stopped() || state.steps.front().is_some_and(Slots::is_decided)
    }

    pub(super) fn stop(&self) {
        let _state = self.lock();
        self.stopped.store(true, Ordering::Relaxed);
        self.room.notify_all();
        self.decided.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(UNPOISONED)
    }
}

const UNPOISONED: &str = "nothing panics while the window is locked";
