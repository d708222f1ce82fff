//! The progress of a run: a bar on a terminal, a line every few seconds elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use lsgan_spec::scalars;
use lsgan_wire::v1;

use crate::{TimeLeft, digits, logging, mebibytes, print, say};

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows a run's status again and again.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    /// Notices alone are shown.
    is_quiet: bool,
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
        Self { bar, is_quiet: false, line_at: None, notices, noticed: 0, left: TimeLeft::default() }
    }

    /// No bar and no lines: what happens to a run, and nothing else.
    #[must_use]
    pub fn quiet(notices: Notices) -> Self {
        Self { bar: None, is_quiet: true, line_at: None, notices, noticed: 0, left: TimeLeft::default() }
    }

    /// Shows this status, and the notices that are new in it.
    pub fn show(&mut self, status: &v1::RunStatus) {
        let new = status.notices.iter().filter(|n| n.number > self.noticed);
        for notice in new.filter(|_| self.notices == Notices::Shown) {
            say!("{} {}", if notice.warning { "warning:" } else { "·" }, notice.text);
        }
        self.noticed = status.notices.last().map_or(self.noticed, |n| n.number.max(self.noticed));
        if self.is_quiet {
            return;
        }
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
    let kimg = (status.step * u64::from(status.global_batch)) as f64 / 1000.0;
    let pace = if status.images_per_s > 0.0 { 1000.0 / status.images_per_s } else { 0.0 };
    let score = status.score.as_ref().map(|score| format!(" · {}", scored(score))).unwrap_or_default();
    let memory = status.memory_bytes().map(|bytes| format!(" · {}", mebibytes(bytes))).unwrap_or_default();
    format!(
        "{phase}{kimg:.1} kimg · {pace:.1} s/kimg · {:.0} images/s · loss D {:.3} G {loss_g} · D(x) {:+.2} D(G(z)) {:+.2}{score}{memory} · {alive}{left}",
        status.images_per_s,
        m.scalar(scalars::LOSS_D.name),
        m.scalar(scalars::D_REAL.name),
        m.scalar(scalars::D_FAKE.name)
    )
}

/// The newest score, and the best one if that is another: `fid 83.21 (best 80.12 at step 500)`.
#[must_use]
pub fn scored(score: &v1::SnapshotScore) -> String {
    let newest = format!("{} {}", score.metric, digits(score.value));
    if score.best_step == score.step {
        return format!("{newest} (the best)");
    }
    format!("{newest} (best {} at step {})", digits(score.best_value), score.best_step)
}

/// As a clock shows it: `1:02:03`, `2:03`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: &str =
        "16.0 kimg · 12.5 s/kimg · 80 images/s · loss D 0.500 G 0.250 · D(x) +0.75 D(G(z)) -0.50";

    #[test]
    fn the_line_has_what_people_put_into_reports() {
        let scalars = [
            (scalars::LOSS_D, 0.5),
            (scalars::LOSS_G, 0.25),
            (scalars::D_REAL, 0.75),
            (scalars::D_FAKE, -0.5),
        ];
        let metrics = v1::StepMetrics {
            scalars: scalars.map(|(scalar, value)| (scalar.name.to_owned(), value)).into_iter().collect(),
            ..v1::StepMetrics::default()
        };
        let status = v1::RunStatus {
            phase: v1::Phase::Stepping.into(),
            step: 250,
            global_batch: 64,
            images_per_s: 80.0,
            metrics: Some(metrics),
            ..v1::RunStatus::default()
        };
        assert_eq!(numbers(&status, None), format!("{NUMBERS} · 0/0 workers"));

        let score = v1::SnapshotScore {
            metric: "fid".to_owned(),
            value: 83.214,
            step: 240,
            best_value: 80.0,
            best_step: 120,
        };
        let worker = |memory_bytes| v1::WorkerStatus {
            role: v1::Role::Member.into(),
            memory_bytes,
            ..v1::WorkerStatus::default()
        };
        let workers = vec![worker(Some(300 << 20)), worker(None), worker(Some(10 << 20))];
        let status = v1::RunStatus { workers, score: Some(score.clone()), ..status };
        let score_and_memory = "fid 83.21 (best 80.00 at step 120) · 310 MiB";
        let line = format!("{NUMBERS} · {score_and_memory} · 3/3 workers · 1:05 left");
        assert_eq!(numbers(&status, Some(Duration::from_secs(65))), line);
        assert_eq!(scored(&v1::SnapshotScore { best_step: 240, ..score }), "fid 83.21 (the best)");
    }
}
