//! What a worker tells the process that supervises it: one line on standard output for each turn in its life.

use serde::{Deserialize, Serialize};

use crate::print;

/// A turn in a worker's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    /// The coordinator cannot be reached; the worker tries on.
    Unreachable {
        /// Why, and what to check.
        why: String,
    },
    /// The coordinator could not be reached for so long that the worker gives up.
    GaveUp,
    /// It takes part in the run.
    Attached {
        /// The run's name.
        run: String,
        /// The worker's number in it.
        incarnation: u64,
        /// It was attached before.
        again: bool,
    },
    /// Its connection to the coordinator broke; it goes on, and tries to come back.
    CutOff {
        why: String,
    },
    RunEnded {
        how: RunEnd,
    },
}

/// How a run ended, as its workers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunEnd {
    /// All steps are done.
    Complete,
    /// It was stopped before.
    Stopped,
    /// It cannot go on.
    Failed,
}

impl News {
    /// Prints it for the supervisor, which may be gone.
    pub fn tell(&self) {
        let object = serde_json::to_value(self).expect("words and numbers turn into JSON");
        print::announce_as(&object, format_args!("{object}"));
    }

    /// Reads a line that a worker printed; none if it is no news.
    #[must_use]
    pub fn of(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_told_and_other_lines_are_no_news() {
        let news = News::Unreachable { why: "it is\naway".to_owned() };
        let line = serde_json::to_string(&news).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(News::of(&line), Some(news));
        assert_eq!(News::of("listening on http://127.0.0.1:7070"), None);
    }
}
