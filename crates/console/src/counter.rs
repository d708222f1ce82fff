//! The progress of work that is counted: a bar on a terminal, a line every few seconds elsewhere.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{print, say};

/// Before the first line, and between two, where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows how far something has come; may be told from any thread.
#[derive(Debug)]
pub struct Counter {
    title: &'static str,
    bar: Option<ProgressBar>,
    line_at: Mutex<Instant>,
}

impl Counter {
    /// A bar if standard error is a terminal, otherwise lines; `title` is what is being done.
    #[must_use]
    pub fn new(title: &'static str) -> Self {
        let bar = print::bar().inspect(|bar| {
            let style = ProgressStyle::with_template("{prefix} {wide_bar:.cyan/dim} {pos}/{len} {msg} {eta}")
                .expect("the template is right")
                .progress_chars("━╸─");
            bar.set_style(style);
            bar.set_prefix(title);
        });
        Self { title, bar, line_at: Mutex::new(Instant::now()) }
    }

    /// So many `unit` of so many are done; none where the total is not known.
    pub fn show(&self, unit: &'static str, done: u64, total: Option<u64>) {
        if let Some(bar) = &self.bar {
            bar.set_length(total.unwrap_or(done));
            bar.set_position(done);
            bar.set_message(unit);
            return;
        }
        let mut line_at = self.line_at.lock().unwrap_or_else(PoisonError::into_inner);
        if line_at.elapsed() >= LINE_EVERY {
            *line_at = Instant::now();
            let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
            say!("{}: {done}{of} {unit}", self.title);
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            print::end_bar(bar);
        }
    }
}
