//! The progress of a run: a bar on a terminal, a line every few seconds elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use lsgan_spec::scalars;
use lsgan_wire::v1;

use crate::{TimeLeft, logging, print, say};

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows a run's status again and again.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    line_at: Option<Instant>,
    notices: Notices,
    /// The newest notice that was shown.
    noticed: u64,
    left: TimeLeft,
}

/// Where a person reads what happens to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notices {
    /// Above the progress.
    Shown,
    /// In this process's log, which is on the same terminal.
    Logged,
}

impl Progress {
    /// A bar if standard error is a terminal, a line every few seconds elsewhere; of the log's form where that is JSON.
    #[must_use]
    pub fn new(notices: Notices) -> Self {
        let bar = if logging::is_json() { None } else { print::bar() };
        let bar = bar.inspect(|bar| {
            let style = ProgressStyle::with_template("{prefix} {wide_bar:.cyan/dim} {pos}/{len} {msg}")
                .expect("the template is right")
                .progress_chars("━╸─");
            bar.set_style(style);
        });
        Self { bar, line_at: None, notices, noticed: 0, left: TimeLeft::default() }
    }

    /// Shows this status, and the notices that are new in it.
    pub fn show(&mut self, status: &v1::RunStatus) {
        let new = status.notices.iter().filter(|n| n.number > self.noticed);
        for notice in new.filter(|_| self.notices == Notices::Shown) {
            say!("{} {}", if notice.warning { "warning:" } else { "·" }, notice.text);
        }
        self.noticed = status.notices.last().map_or(self.noticed, |n| n.number.max(self.noticed));
        let left = self.left.of(status);
        let numbers = numbers(status, left);
        match &self.bar {
            Some(bar) => {
                bar.set_prefix(status.run.clone());
                bar.set_length(status.steps);
                bar.set_position(status.step);
                bar.set_message(numbers);
            }
            None if self.line_at.is_none_or(|at| at.elapsed() >= LINE_EVERY) => {
                self.line_at = Some(Instant::now());
                say!("{} step {}/{} {numbers}", status.run, status.step, status.steps);
            }
            None => {}
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            print::end_bar(bar);
        }
    }
}

fn numbers(status: &v1::RunStatus, left: Option<Duration>) -> String {
    let members = status.workers.iter().filter(|w| w.role() == v1::Role::Member).count();
    let workers = if status.workers.len() == 1 { "worker" } else { "workers" };
    let alive = format!("{members}/{} {workers}", status.workers.len());
    let Some(m) = &status.metrics else { return format!("{} · {alive}", status.phase()) };
    let phase =
        if status.phase() == v1::Phase::Stepping { String::new() } else { format!("{} · ", status.phase()) };
    let left = left.map(|left| format!(" · {} left", clock(left))).unwrap_or_default();
    // A step at which G is not updated has none.
    let loss_g = m.scalars.get(scalars::LOSS_G.name).map_or("–".to_owned(), |loss| format!("{loss:.3}"));
    format!(
        "{phase}{:.0} images/s · loss D {:.3} G {loss_g} · D(x) {:+.2} D(G(z)) {:+.2} · {alive}{left}",
        status.images_per_s,
        m.scalar(scalars::LOSS_D.name),
        m.scalar(scalars::D_REAL.name),
        m.scalar(scalars::D_FAKE.name)
    )
}

/// As a clock shows it: `1:02:03`, `2:03`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}
