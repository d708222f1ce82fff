//! Workers with where a step goes, and what happened.

use lsgan_console::{clock, mebibytes};
use lsgan_observe::alerts::Alert;
use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Color;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table};

use crate::draw::{block, coloured, faint, strong};
use crate::rows::{Event, Look, Worker};
use crate::state::{Pane, State};
use crate::words::ms;

/// Titles of the columns, and their widths. Times are milliseconds of a step.
const COLUMNS: [(&str, Constraint); 12] = [
    ("worker", Constraint::Length(6)),
    ("name", Constraint::Fill(1)),
    ("state", Constraint::Length(8)),
    ("virtual ranks", Constraint::Length(13)),
    ("step ms", Constraint::Length(7)),
    ("data", Constraint::Length(6)),
    ("D", Constraint::Length(6)),
    ("G", Constraint::Length(6)),
    ("sum", Constraint::Length(6)),
    ("update", Constraint::Length(6)),
    ("memory", Constraint::Length(9)),
    ("host, device", Constraint::Fill(2)),
];

pub(super) fn draw_workers(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let workers = state.look.as_ref().map_or(&[][..], |look| &look.workers[..]);
    let rows = workers.iter().skip(state.workers_past).map(|worker| {
        let row = Row::new(cells(worker));
        if worker.is_here { row } else { row.style(faint(state)) }
    });
    let here = workers.iter().filter(|worker| worker.is_here).count();
    let table = Table::new(rows, COLUMNS.map(|(_, width)| width))
        .header(Row::new(COLUMNS.map(|(title, _)| title)).style(strong()))
        .block(block(state, Pane::Workers, format!("workers ({here})")));
    frame.render_widget(table, area);
}

fn cells(worker: &Worker) -> [String; 12] {
    let (state, ranks) = match (worker.is_here, worker.ranks) {
        (true, Some((first, last))) => ("member", format!("{first}-{last}")),
        (true, None) => ("attached", String::new()),
        (false, _) => ("gone", String::new()),
    };
    let load = worker.load.as_ref();
    let time = |of: fn(&crate::rows::Load) -> u64| load.map_or(String::new(), |load| ms(of(load)));
    let place = load.map(|load| format!("{}, {}", load.host, load.device));
    [
        worker.incarnation.to_string(),
        worker.name.clone(),
        state.to_owned(),
        ranks,
        time(|load| load.step_us),
        time(|load| load.data_wait_us),
        time(|load| load.discriminator_us),
        time(|load| load.generator_us),
        time(|load| load.reduce_us),
        time(|load| load.apply_us),
        load.map_or(String::new(), |load| mebibytes(load.memory_bytes)),
        // Of a worker that is gone, why.
        place.unwrap_or_else(|| worker.why.clone()),
    ]
}

/// Alerts and warnings that stand, and then what happened, the newest first.
pub(super) fn draw_events(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let mut lines = Vec::new();
    if let Some(look) = &state.look {
        let alerts = &look.summary.alerts;
        let standing: Vec<_> = standing(look).collect();
        lines.extend(alerts.iter().map(|alert| Line::styled(alert.line(), coloured(state, Color::Red))));
        let line =
            |event: &&Event| Line::styled(format!("stands: {}", event.text), coloured(state, Color::Yellow));
        lines.extend(standing.iter().map(line));
        lines.extend(look.events.iter().skip(state.events_past).map(|event| happened(state, event)));
    }
    let block = block(state, Pane::Events, "events".to_owned());
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// Warnings whose cause has not ended. What is an alert of this moment is shown as such; where no coordinator is live, nothing stands.
fn standing(look: &Look) -> impl Iterator<Item = &Event> {
    let is_told = move |event: &Event| {
        let begins = |alert: &Alert| event.text.starts_with(&alert.kind.heading());
        look.summary.alerts.iter().any(begins)
    };
    look.events.iter().filter(move |event| look.summary.live && event.stands() && !is_told(event))
}

fn happened(state: &State, event: &Event) -> Line<'static> {
    let style =
        if event.warning == 0 { ratatui::style::Style::new() } else { coloured(state, Color::Yellow) };
    let warning = if event.warning == 0 { "" } else { "warning: " };
    Line::from(vec![
        Span::styled(format!("{}  ", clock(event.at_ms, state.now_ms)), faint(state)),
        Span::styled(format!("{warning}{}", event.text), style),
    ])
}
