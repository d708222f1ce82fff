//! Why workers cannot start, as they report before they attach. It is only shown.
//!
//! Any process that reaches the port can report. A report is cut to a few lines, a name that is shown already is only
//! counted, and new names are taken at a bounded rate, so that reports cannot fill the journal or displace other notices.

use std::time::{Duration, Instant};

use lsgan_spec::is_printable;

use crate::allowance::Bucket;
use crate::causes::{Cause, Lasts};
use crate::notices::Telling;
use crate::shell::Shell;

/// The longest name of a worker that is shown.
const NAME_CHARS_MAX: usize = 100;
/// The longest reason that is shown.
const WHY_CHARS_MAX: usize = 1_000;
/// How many new names are taken at once; after that, one in each [`NEW_EVERY`].
const NEW_AT_ONCE: u64 = 32;
/// See [`NEW_AT_ONCE`].
const NEW_EVERY: Duration = Duration::from_secs(2);

/// Bounds the rate of new reports.
pub(crate) fn rate() -> Bucket {
    Bucket::full(NEW_AT_ONCE, NEW_EVERY, Instant::now())
}

impl Shell {
    /// A worker says why it cannot start.
    pub(crate) fn trouble(&mut self, name: &str, why: &str) {
        let (name, why) = (shown(name, NAME_CHARS_MAX).replace('\n', " "), shown(why, WHY_CHARS_MAX));
        // An attached worker has started.
        let attached = self.run.workers().values().any(|worker| worker.name == name);
        let cause = Cause::CannotStart { name: name.clone() };
        if name.is_empty() || why.is_empty() || attached || self.outcome.is_some() {
            return;
        }
        if !self.notices.stands(&cause) && !self.trouble_rate.takes(1, Instant::now()) {
            tracing::debug!(name, why, "a worker cannot start; too many do for each to be shown");
            return;
        }
        let text = format!("{name} cannot start: {why}");
        self.tell(Telling { warning: true, worker: name, lasts: Lasts::Until(cause), text })
    }
}

/// The first characters of a text, without what would do more to a terminal than show a text. A reason may have lines.
fn shown(text: &str, chars_max: usize) -> String {
    let shown: String = text.chars().filter(|c| *c == '\n' || is_printable(*c)).take(chars_max).collect();
    shown.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_cut_and_cannot_steer_a_terminal() {
        assert_eq!(shown(" a\u{1b}[2J\nb\r \u{202e}", 100), "a[2J\nb");
        assert_eq!(shown(&"x".repeat(10_000), WHY_CHARS_MAX).len(), WHY_CHARS_MAX);
    }
}
