//! The progress of one task that counts something: a bar on a terminal, a line every few seconds elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Between two lines where there is no terminal; nothing is said of what takes less.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Shows how far a task has come. May be told from any thread; takes its bar away when it is dropped.
#[derive(Debug)]
pub struct Counted {
    what: &'static str,
    bar: Option<ProgressBar>,
    line_at: Mutex<Instant>,
}

impl Counted {
    /// Of the task `what`: "reading the index".
    #[must_use]
    pub fn new(what: &'static str) -> Self {
        let bar = std::io::stderr()
            .is_terminal()
            .then(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10)));
        Self { what, bar, line_at: Mutex::new(Instant::now() + LINE_EVERY) }
    }

    /// `done` of `total` `unit`s (`records`, `MiB`) are done; without a total nobody knows of how many.
    pub fn show(&self, done: u64, total: Option<u64>, unit: &str) {
        match &self.bar {
            Some(bar) => {
                if bar.position() == 0 {
                    bar.set_style(style(total.is_some()));
                    bar.set_prefix(self.what);
                    bar.set_message(unit.to_owned());
                    bar.set_length(total.unwrap_or(0));
                }
                bar.set_position(done);
            }
            None => {
                let mut line_at = self.line_at.lock().expect("nothing panics while it is locked");
                if *line_at <= Instant::now() {
                    *line_at = Instant::now() + LINE_EVERY;
                    let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
                    eprintln!("{}: {done}{of} {unit}", self.what);
                }
            }
        }
    }
}

fn style(bounded: bool) -> ProgressStyle {
    let template = if bounded {
        "{prefix} {wide_bar:.cyan/dim} {human_pos}/{human_len} {msg} {eta} left"
    } else {
        "{prefix} {spinner} {human_pos} {msg} {elapsed}"
    };
    ProgressStyle::with_template(template).expect("the template is right").progress_chars("━╸─")
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
