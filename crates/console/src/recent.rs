//! The newest lines that this process has printed on standard error, kept for whoever asks for them from elsewhere.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use console::strip_ansi_codes;
use lsgan_spec::printable;

/// Lines that are kept until somebody takes them.
const LINES_MAX: usize = 256;
/// Of a line that is longer the beginning is kept.
const LINE_LEN_BYTES_MAX: usize = 1000;

#[derive(Default)]
struct Recent {
    /// Somebody will take them.
    wanted: bool,
    lines: VecDeque<String>,
    lost: u64,
}

/// From now on lines are kept.
pub fn keep() {
    recent().wanted = true;
}

/// Takes the oldest lines that nobody has taken, so many at most, and the number of those before them that were not kept.
#[must_use]
pub fn take(most: usize) -> (u64, Vec<String>) {
    let mut recent = recent();
    let count = most.min(recent.lines.len());
    (std::mem::take(&mut recent.lost), recent.lines.drain(..count).collect())
}

/// Text that is printed on standard error.
pub(crate) fn printed(bytes: &[u8]) {
    let mut recent = recent();
    if recent.wanted {
        recent.add(&String::from_utf8_lossy(bytes));
    }
}

impl Recent {
    fn add(&mut self, text: &str) {
        for line in strip_ansi_codes(text).lines().filter(|line| !line.is_empty()) {
            if self.lines.len() == LINES_MAX {
                self.lines.pop_front();
                self.lost += 1;
            }
            self.lines.push_back(shortened(&printable(line)));
        }
    }
}

/// The beginning of a line that is too long, which says so.
fn shortened(line: &str) -> String {
    match line.len() {
        0..=LINE_LEN_BYTES_MAX => line.to_owned(),
        _ => format!("{}…", &line[..line.floor_char_boundary(LINE_LEN_BYTES_MAX)]),
    }
}

fn recent() -> MutexGuard<'static, Recent> {
    static RECENT: Mutex<Recent> = Mutex::new(Recent { wanted: false, lines: VecDeque::new(), lost: 0 });
    RECENT.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept_without_colours_and_not_longer_than_they_may_be() {
        let mut recent = Recent::default();
        recent.add("\u{1b}[32m INFO\u{1b}[0m attached\n\n  further\n");
        assert_eq!(recent.lines, [" INFO attached", "  further"]);
        (0..LINES_MAX).for_each(|number| recent.add(&format!("line {number}\n")));
        assert_eq!((recent.lines.len(), recent.lost), (LINES_MAX, 2));
        recent.add(&"ä".repeat(LINE_LEN_BYTES_MAX));
        let last = recent.lines.back().expect("it was added");
        assert!(last.len() <= LINE_LEN_BYTES_MAX + 3 && last.ends_with("ä…"), "{last}");
    }
}
