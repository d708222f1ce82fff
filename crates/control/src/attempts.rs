//! A back-off for generations that come to nothing: what ends one at once often ends the next one too, and each
//! is journaled and told to everybody.

use lsgan_spec::{Millis, Reduction};
use serde::{Deserialize, Serialize};

/// So many generations in a row may come to nothing before the next one waits: a second death while the first one's
/// survivors form must not cost time.
const AT_ONCE: u32 = 3;
/// The first wait; each further one is twice as long.
const FIRST_MS: u64 = 50;
/// The longest wait.
const LONGEST_MS: u64 = 3_200;

/// Generations in a row that started from the same reduction, so that none of them applied one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempts {
    from: Option<Reduction>,
    count: u32,
    wait: Wait,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Wait {
    #[default]
    NotBegun,
    Until(Millis),
    Over,
}

impl Attempts {
    /// Whether a generation that starts from `from` may be formed at `now`; if not, [`Self::waits_until`] says when.
    pub fn may_form(&mut self, now: Millis, from: Reduction) -> bool {
        let wait_ms = if self.from == Some(from) { wait_ms(self.count) } else { 0 };
        if wait_ms > 0 && self.wait == Wait::NotBegun {
            self.wait = Wait::Until(now.plus(wait_ms));
        }
        self.pass(now);
        wait_ms == 0 || self.wait == Wait::Over
    }

    /// Ends the wait when its time has come.
    pub fn pass(&mut self, now: Millis) {
        if self.waits_until().is_some_and(|until| until <= now) {
            self.wait = Wait::Over;
        }
    }

    /// A generation that starts from `from` is formed.
    pub fn formed(&mut self, from: Reduction) {
        self.count = if self.from == Some(from) { self.count.saturating_add(1) } else { 1 };
        self.from = Some(from);
        self.wait = Wait::NotBegun;
    }

    /// While the next generation waits: until when.
    pub fn waits_until(&self) -> Option<Millis> {
        match self.wait {
            Wait::Until(at) => Some(at),
            Wait::NotBegun | Wait::Over => None,
        }
    }
}

/// How long the next generation waits after `count` that came to nothing.
fn wait_ms(count: u32) -> u64 {
    match count.checked_sub(AT_ONCE) {
        None => 0,
        Some(more) => (FIRST_MS << more.min(10)).min(LONGEST_MS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ones_come_at_once_and_each_further_one_waits_twice_as_long() {
        let mut attempts = Attempts::default();
        let mut now = Millis(0);
        let mut waits_ms = vec![];
        for _ in 0..12 {
            let begin = now;
            if !attempts.may_form(now, Reduction(4)) {
                now = attempts.waits_until().expect("it says when");
                assert!(attempts.may_form(now, Reduction(4)));
            }
            waits_ms.push(now.0 - begin.0);
            attempts.formed(Reduction(4));
        }
        assert_eq!(waits_ms, [0, 0, 0, 50, 100, 200, 400, 800, 1600, 3200, 3200, 3200]);
    }

    #[test]
    fn one_that_applied_something_ends_the_waiting() {
        let mut attempts = Attempts::default();
        for _ in 0..9 {
            attempts.formed(Reduction(4));
        }
        assert!(!attempts.may_form(Millis(7), Reduction(4)));
        assert!(attempts.may_form(Millis(7), Reduction(5)));
        attempts.formed(Reduction(5));
        assert_eq!(attempts.waits_until(), None);
        assert!(attempts.may_form(Millis(8), Reduction(5)));
    }
}
