//! The run in a few numbers.

use lsgan_console::mebibytes;
use lsgan_observe::summary::Summary;
use lsgan_spec::scalars::{self, Scalar};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Color;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};

use crate::draw::{coloured, faint, strong};
use crate::state::State;
use crate::words::{duration, percent, short};

/// Between two numbers.
const GAP: &str = "   ";

pub(crate) fn draw(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let title = match &state.look {
        Some(look) => Line::from(vec![
            Span::styled(format!(" {} ", look.summary.name), strong()),
            Span::styled(format!("{} ", look.summary.state), coloured(state, colour_of(&look.summary.state))),
        ]),
        None => Line::raw(" lsgan top "),
    };
    let lines = state.look.as_ref().map_or_else(
        || vec![Line::raw("waiting for the run")],
        |look| lines(&look.summary).map(Line::raw).to_vec(),
    );
    let block = Block::bordered().title(title).border_style(faint(state));
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn colour_of(state: &str) -> Color {
    match state {
        "stepping" | "complete" => Color::Green,
        "failed" | "refused" | "interrupted" | "unreadable" => Color::Red,
        _ => Color::Yellow,
    }
}

/// Progress and speed; what is learned; what it takes.
fn lines(summary: &Summary) -> [String; 3] {
    let known = |parts: Vec<Option<String>>| parts.into_iter().flatten().collect::<Vec<_>>().join(GAP);
    let of = summary.steps.map_or(String::new(), |steps| format!("/{steps}"));
    let share = summary.steps.filter(|steps| *steps > 0).map(|steps| summary.step as f64 / steps as f64);
    let images = summary.global_batch.map(|batch| summary.step as f64 * batch as f64);
    let progress = known(vec![
        Some(format!("step {}{of}", summary.step)),
        share.map(percent),
        images.map(|images| format!("{} kimg", short(images / 1000.0))),
        summary.s_per_kimg.map(|seconds| format!("{} s/kimg", short(seconds))),
        summary.images_per_s.map(|rate| format!("{} images/s", short(rate))),
        summary.eta_s.map(|left| format!("{} left", duration(left))),
    ]);
    let workers = if summary.workers == 1 { "worker" } else { "workers" };
    let takes = known(vec![
        summary.goodput.map(|share| format!("goodput {}", percent(share))),
        Some(format!("generation {}", summary.generation)),
        summary.live.then(|| format!("{} {workers}", summary.workers)),
        summary.memory_bytes.map(mebibytes),
        summary.snapshot_step.map(|step| format!("snapshot at {step}")),
        best(summary),
    ]);
    let takes = if summary.why.is_empty() { takes } else { format!("{}{GAP}{takes}", summary.why) };
    [progress, learned(summary), takes]
}

/// Losses and what D says, of the newest row.
fn learned(summary: &Summary) -> String {
    let shown = |scalar: &Scalar| {
        let value = summary.newest.get(scalar.name)?;
        Some(format!("{} {}", scalar.name, short(*value)))
    };
    let all = [scalars::LOSS_D, scalars::LOSS_G, scalars::D_REAL, scalars::D_FAKE, scalars::FAKE_STD];
    all.iter().filter_map(shown).collect::<Vec<_>>().join(GAP)
}

fn best(summary: &Summary) -> Option<String> {
    let best = summary.best.as_ref()?;
    let score = best.scores.first()?;
    Some(format!("best {} {} at {}", score.metric.word(), short(score.value), best.step.0))
}
