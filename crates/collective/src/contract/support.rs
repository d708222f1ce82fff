//! Ranks on threads, and the values that they sum. Every wait has a deadline.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::Implementation;
use crate::{Group, GroupError};

/// Long enough for any case on a loaded machine; a case that passes takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ranks that run on threads.
pub(super) struct Running<R> {
    results: Receiver<(usize, R)>,
    count: usize,
}

/// Runs `body` on a thread for each of these groups.
pub(super) fn start<R: Send + 'static>(
    groups: Vec<Box<dyn Group>>,
    body: impl Fn(Box<dyn Group>) -> R + Send + Sync + 'static,
) -> Running<R> {
    let body = Arc::new(body);
    let (sender, results) = channel();
    let count = groups.len();
    for group in groups {
        let (body, sender) = (Arc::clone(&body), sender.clone());
        thread::spawn(move || {
            let rank = group.rank();
            // The receiver is gone after the case has failed.
            _ = sender.send((rank, body(group)));
        });
    }
    Running { results, count }
}

impl<R> Running<R> {
    /// Returns all results, by rank. Panics if a rank panics or hangs.
    pub(super) fn finish(self) -> Vec<R> {
        let deadline = Instant::now() + PATIENCE;
        let mut by_rank = Vec::new();
        while by_rank.len() < self.count {
            match self.results.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(result) => by_rank.push(result),
                Err(problem) => {
                    let mut ended: Vec<_> = by_rank.iter().map(|(rank, _)| rank).collect();
                    ended.sort();
                    let how = match problem {
                        RecvTimeoutError::Timeout => "hang",
                        RecvTimeoutError::Disconnected => "panicked",
                    };
                    panic!("of {} ranks only {ended:?} ended; the others {how}", self.count);
                }
            }
        }
        by_rank.sort_by_key(|(rank, _)| *rank);
        by_rank.into_iter().map(|(_, result)| result).collect()
    }
}

/// Runs `body` on each rank; returns all results, by rank.
pub(super) fn run<R: Send + 'static>(
    groups: Vec<Box<dyn Group>>,
    body: impl Fn(Box<dyn Group>) -> R + Send + Sync + 'static,
) -> Vec<R> {
    start(groups, body).finish()
}

/// Waits for `count` events.
pub(super) fn await_events(events: &Receiver<()>, count: usize, what: &str) {
    for seen in 0..count {
        if events.recv_timeout(PATIENCE).is_err() {
            panic!("awaited {count} times that {what}, saw it {seen} times");
        }
    }
}

/// A group of `size`, or of `size_max` if that is less.
pub(super) fn up_to(implementation: &Implementation, size: usize) -> Vec<Box<dyn Group>> {
    (implementation.make)(size.min(implementation.size_max))
}

/// A value that differs for each rank, call and index. The sum over 8 ranks fits into i64 and far exceeds the 53 exact
/// bits of f64.
pub(super) fn value(rank: usize, call: usize, index: usize) -> i64 {
    let mut bits = (rank as u64) << 56 ^ (call as u64) << 32 ^ index as u64;
    // The finalizer of MurmurHash3: every bit of the input changes half of the output's.
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        bits = (bits ^ (bits >> 33)).wrapping_mul(factor);
    }
    (bits ^ (bits >> 33)) as i64 >> 4
}

pub(super) fn values(rank: usize, call: usize, length: usize) -> Vec<i64> {
    (0..length).map(|index| value(rank, call, index)).collect()
}

/// The sums over all ranks, by plain addition.
pub(super) fn sums(size: usize, call: usize, length: usize) -> Vec<i64> {
    (0..length).map(|index| (0..size).map(|rank| value(rank, call, index)).sum()).collect()
}

/// The same values in 32 bits; sums wrap.
pub(super) fn narrow(values: Vec<i64>) -> Vec<i32> {
    values.into_iter().map(|value| value as i32).collect()
}

pub(super) fn floats(rank: usize, call: usize, length: usize) -> Vec<f32> {
    // Of the order of 1, so that rounding shows in nearly every sum.
    (0..length).map(|index| value(rank, call, index) as f32 / (1_u64 << 58) as f32).collect()
}

/// Sums until the group fails, and returns the error. Every sum before must be exact; calls `done` with their number.
pub(super) fn sum_until_error(
    group: &mut dyn Group,
    length: usize,
    mut done: impl FnMut(usize),
) -> GroupError {
    for call in 0.. {
        let mut values = values(group.rank(), call, length);
        if let Err(error) = group.all_reduce_i64(&mut values) {
            return error;
        }
        assert_eq!(
            values,
            sums(group.size(), call, length),
            "call {call} of rank {} is not exact",
            group.rank()
        );
        done(call + 1);
    }
    unreachable!("calls do not run out")
}
