//! When the machine wants to be woken, and for what.

use std::collections::BTreeMap;

use lsgan_spec::Millis;
use serde::{Deserialize, Serialize};

/// What the machine is woken for. Where several are due, this is the order in which they are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Timer {
    /// An attached worker may have been silent for too long.
    Silence,
    /// The first generation is not delayed any longer for more workers than it needs.
    Gather,
    /// A run that no attached worker can keep is refused, or waits no longer for one that can.
    Keeper,
    /// Workers that have not proved whether they see the store are not waited for any longer.
    Proof,
    /// The next generation may be formed, after others that failed.
    Retry,
    /// Workers that should have parked are retired.
    Park,
    /// The generation that forms, or that a restarted coordinator adopts, is given up.
    Phase,
    /// Connections are tried, or the answers about them are not waited for any longer.
    Reach,
}

/// The times that are set, at most one of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Timers(BTreeMap<Timer, Millis>);

impl Timers {
    /// Wakes the machine at `at` for this, and not at another time that was set before.
    pub fn set(&mut self, timer: Timer, at: Millis) {
        self.0.insert(timer, at);
    }

    /// The same, unless a time is set.
    pub fn set_once(&mut self, timer: Timer, at: Millis) {
        self.0.entry(timer).or_insert(at);
    }

    /// Sets it or cancels it.
    pub fn put(&mut self, timer: Timer, at: Option<Millis>) {
        match at {
            Some(at) => self.set(timer, at),
            None => self.cancel(timer),
        }
    }

    pub fn cancel(&mut self, timer: Timer) {
        self.0.remove(&timer);
    }

    pub fn at(&self, timer: Timer) -> Option<Millis> {
        self.0.get(&timer).copied()
    }

    /// The earliest time that is set.
    pub fn next(&self) -> Option<Millis> {
        self.0.values().copied().min()
    }

    /// Takes out those that are due at `now`.
    pub fn take_due(&mut self, now: Millis) -> Vec<Timer> {
        let due: Vec<Timer> = self.0.iter().filter(|(_, at)| **at <= now).map(|(timer, _)| *timer).collect();
        self.0.retain(|_, at| *at > now);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_due_are_taken_out_in_their_order_and_the_others_stay() {
        let mut timers = Timers::default();
        timers.set(Timer::Reach, Millis(5));
        timers.set(Timer::Park, Millis(7));
        timers.set(Timer::Silence, Millis(7));
        timers.set(Timer::Phase, Millis(8));
        assert_eq!(timers.next(), Some(Millis(5)));
        assert_eq!(timers.take_due(Millis(7)), [Timer::Silence, Timer::Park, Timer::Reach]);
        assert_eq!((timers.next(), timers.take_due(Millis(7))), (Some(Millis(8)), vec![]));
    }

    #[test]
    fn a_time_that_is_set_once_stays() {
        let mut timers = Timers::default();
        timers.set_once(Timer::Gather, Millis(3));
        timers.set_once(Timer::Gather, Millis(9));
        assert_eq!(timers.at(Timer::Gather), Some(Millis(3)));
        timers.put(Timer::Gather, None);
        assert_eq!(timers.at(Timer::Gather), None);
    }
}
