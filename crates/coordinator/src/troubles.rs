//! Why workers cannot start, as they report before they attach. It is only shown.
//!
//! Any process that reaches the port can report. A report is cut to a few lines, a name that is shown already is only
//! counted, and new names are taken at a bounded rate, so that reports cannot fill the journal or displace other notices.

use std::time::{Duration, Instant};

use crate::causes::{Cause, Lasts};
use crate::notices::Telling;
use crate::shell::Shell;

/// The longest name of a worker that is shown.
const NAME_CHARS_MAX: usize = 100;
/// The longest reason that is shown.
const WHY_CHARS_MAX: usize = 1_000;
/// How many new names are taken at once; after that, one in each [`NEW_EVERY`].
const NEW_AT_ONCE: u32 = 32;
/// See [`NEW_AT_ONCE`].
const NEW_EVERY: Duration = Duration::from_secs(2);

/// Bounds the rate of new reports.
#[derive(Debug)]
pub(crate) struct Rate {
    left: u32,
    since: Instant,
}

impl Rate {
    pub(crate) fn new() -> Self {
        Self { left: NEW_AT_ONCE, since: Instant::now() }
    }

    /// Whether one more is taken at `now`.
    pub(crate) fn takes(&mut self, now: Instant) -> bool {
        let more = now.duration_since(self.since).as_secs() / NEW_EVERY.as_secs();
        if more > 0 {
            self.left = self.left.saturating_add(u32::try_from(more).unwrap_or(u32::MAX)).min(NEW_AT_ONCE);
            self.since = now;
        }
        let takes = self.left > 0;
        self.left = self.left.saturating_sub(1);
        takes
    }
}

impl Shell {
    /// A worker says why it cannot start.
    pub(crate) fn trouble(&mut self, name: &str, why: &str) {
        let (name, why) = (shown(name, NAME_CHARS_MAX), shown(why, WHY_CHARS_MAX));
        // An attached worker has started.
        let attached = self.run.workers().values().any(|worker| worker.name == name);
        let cause = Cause::CannotStart { name: name.clone() };
        if name.is_empty() || why.is_empty() || attached || self.outcome.is_some() {
            return;
        }
        if !self.notices.stands(&cause) && !self.trouble_rate.takes(Instant::now()) {
            tracing::debug!(name, why, "a worker cannot start; too many do for each to be shown");
            return;
        }
        let text = format!("{name} cannot start: {why}");
        self.tell(Telling { warning: true, worker: name, lasts: Lasts::Until(cause), text })
    }
}

/// The first characters of a text, without what would do more to a terminal than show a text.
fn shown(text: &str, chars_max: usize) -> String {
    let shown: String = text.chars().filter(|c| *c == '\n' || !c.is_control()).take(chars_max).collect();
    shown.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_reports_are_taken_at_a_bounded_rate() {
        let mut rate = Rate::new();
        let begin = rate.since;
        let taken = (0..1_000).filter(|_| rate.takes(begin)).count();
        assert_eq!(taken, NEW_AT_ONCE as usize);
        let later = begin + 3 * NEW_EVERY;
        assert_eq!((0..1_000).filter(|_| rate.takes(later)).count(), 3);
        let much_later = later + 1_000 * NEW_EVERY;
        assert_eq!((0..1_000).filter(|_| rate.takes(much_later)).count(), NEW_AT_ONCE as usize);
    }

    #[test]
    fn a_report_is_cut_and_cannot_steer_a_terminal() {
        assert_eq!(shown(" a\u{1b}[2J\nb\r ", 100), "a[2J\nb");
        assert_eq!(shown(&"x".repeat(10_000), WHY_CHARS_MAX).len(), WHY_CHARS_MAX);
    }
}
