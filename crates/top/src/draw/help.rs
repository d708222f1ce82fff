//! The keys.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph};

const KEYS: [(&str, &str); 8] = [
    ("q, Ctrl-C", "end"),
    ("tab, ← →", "the next pane, or the one before; its title has ▸"),
    ("↑ ↓", "curves: another one. Workers, events: scroll"),
    ("+ -", "curves: the last half of the steps, a quarter, …; back"),
    ("space", "hold the screen; go on"),
    ("enter", "the pane alone; all panes"),
    ("?", "this"),
    ("", "Times of workers are milliseconds of a step."),
];

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect) {
    let lines: Vec<_> = KEYS.iter().map(|(key, what)| Line::raw(format!(" {key:<10}  {what} "))).collect();
    let width = lines.iter().map(Line::width).max().unwrap_or(0) + 2;
    let length = |count: usize| Constraint::Length(u16::try_from(count).unwrap_or(u16::MAX));
    let place = area.centered(length(width), length(KEYS.len() + 2));
    frame.render_widget(Clear, place);
    frame.render_widget(
        Paragraph::new(lines).block(Block::bordered().title(" keys; any key closes this ")),
        place,
    );
}
