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

/// The exclusive right, and the duty, to fill one batch.
pub(super) struct Claim<'a> {
    window: &'a Window,
    step: Step,
    rank_index: usize,
    filled: bool,
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

    /// Claims the next batch; waits for room. None when the window is stopped.
    pub(super) fn claim(&self) -> Option<Claim<'_>> {
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
                return Some(Claim { window: self, step, rank_index, filled: false });
            }
            state = self.room.wait(state).expect(UNPOISONED);
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

impl Claim<'_> {
    pub(super) fn step(&self) -> Step {
        self.step
    }

    pub(super) fn rank(&self) -> VirtualRank {
        self.window.ranks[self.rank_index]
    }

    pub(super) fn fill(mut self, filled: Filled) {
        self.put(filled);
    }

    fn put(&mut self, filled: Filled) {
        self.filled = true;
        let mut state = self.window.lock();
        // A claimed step stays in the window, because this batch is missing.
        let index = (self.step.0 - state.front.0) as usize;
        let slots = &mut state.steps[index];
        slots.batches[self.rank_index] = Some(filled);
        slots.missing -= 1;
        if index == 0 && slots.is_decided() {
            self.window.decided.notify_all();
        }
    }
}

/// Only a panic drops an unfilled claim. The error wakes the caller, who would wait forever otherwise.
impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.filled {
            let (step, rank) = (self.step, self.rank());
            self.put(Err(LoaderError::Panicked { step, rank }));
        }
    }
}

const UNPOISONED: &str = "nothing panics while the window is locked";
