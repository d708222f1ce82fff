//! The screen, a function of the state alone.
//!
//! - `head`: the run in a few numbers. `chart`: curves. `tables`: workers, events and warnings. `help`: the keys.

mod chart;
mod head;
mod help;
mod tables;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Block;

use crate::blocks;
use crate::screen::Colours;
use crate::state::{Pane, State};

/// Lines of the run's numbers, with their frame.
const HEAD_LINES: u16 = 5;
/// The most lines of the workers, with frame and titles.
const WORKERS_LINES_MAX: u16 = 11;
/// Of the middle's columns, samples take this share at most, in percent.
const SAMPLES_PERCENT_MAX: u16 = 40;

/// Draws the whole screen.
pub(crate) fn draw(frame: &mut Frame<'_>, state: &State) {
    let area = frame.area();
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(HEAD_LINES), Constraint::Min(0), Constraint::Length(1)])
            .areas(area);
    head::draw(frame, state, head);
    if state.is_whole {
        draw_pane(frame, state, state.pane, body);
    } else {
        draw_all(frame, state, body);
    }
    frame.render_widget(foot_line(state), foot);
    if state.helps {
        help::draw(frame, area);
    }
}

fn draw_all(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let workers = state.look.as_ref().map_or(0, |look| look.workers.len());
    // With the titles and the frame.
    let lines = u16::try_from(workers).unwrap_or(u16::MAX).saturating_add(3).min(WORKERS_LINES_MAX);
    let [middle, workers, events] =
        Layout::vertical([Constraint::Fill(2), Constraint::Length(lines), Constraint::Fill(1)]).areas(area);
    let [curves, samples] =
        Layout::horizontal([Constraint::Min(0), Constraint::Length(samples_columns(state, middle))])
            .areas(middle);
    draw_pane(frame, state, Pane::Curves, curves);
    draw_pane(frame, state, Pane::Samples, samples);
    draw_pane(frame, state, Pane::Workers, workers);
    draw_pane(frame, state, Pane::Events, events);
}

/// Columns of the samples beside the curves; none where there are no samples, or no colours to show them in.
fn samples_columns(state: &State, middle: Rect) -> u16 {
    let shows = state.look.as_ref().is_some_and(|look| look.picture.is_some());
    if !shows || !blocks::can_be_shown(state.colours) {
        return 0;
    }
    let most = u32::from(middle.width) * u32::from(SAMPLES_PERCENT_MAX) / 100;
    // Without the frame, and with it.
    let wanted = u32::from(blocks::columns(middle.height.saturating_sub(2))) + 2;
    u16::try_from(wanted.min(most)).unwrap_or(0)
}

fn draw_pane(frame: &mut Frame<'_>, state: &State, pane: Pane, area: Rect) {
    match pane {
        Pane::Curves => chart::draw(frame, state, area),
        Pane::Samples => draw_samples(frame, state, area),
        Pane::Workers => tables::draw_workers(frame, state, area),
        Pane::Events => tables::draw_events(frame, state, area),
    }
}

fn draw_samples(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let look = state.look.as_ref();
    let step = look.and_then(|look| look.summary.sample_step);
    let title = step.map_or("samples".to_owned(), |step| format!("samples at {step}"));
    let block = block(state, Pane::Samples, title);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    if let Some((look, picture)) = look.and_then(|look| Some((look, look.picture.as_ref()?))) {
        blocks::draw(picture, look.summary.tile_px, state.colours, inner, frame.buffer_mut());
    }
}

/// The frame of a pane. The one that has the keys is marked, also where there are no colours.
fn block(state: &State, pane: Pane, title: String) -> Block<'static> {
    let has_keys = state.pane == pane;
    let title = if has_keys { format!(" ▸ {title} ") } else { format!(" {title} ") };
    let style = if has_keys { coloured(state, Color::Cyan) } else { faint(state) };
    Block::bordered().title(title).border_style(style)
}

fn coloured(state: &State, colour: Color) -> Style {
    if state.colours == Colours::None { Style::new() } else { Style::new().fg(colour) }
}

fn faint(state: &State) -> Style {
    coloured(state, Color::DarkGray)
}

fn strong() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// What holds the screen, or the keys.
fn foot_line(state: &State) -> Line<'static> {
    if let Some(why) = &state.trouble {
        return Line::styled(format!(" nothing new: {why}"), coloured(state, Color::Red));
    }
    if state.is_paused {
        return Line::styled(" paused; space goes on", coloured(state, Color::Yellow));
    }
    let keys =
        " q quit   ? help   tab pane   ↑↓ curve, scroll   + - range   space pause   enter the pane alone";
    Line::styled(keys, faint(state))
}

#[cfg(test)]
mod tests;
