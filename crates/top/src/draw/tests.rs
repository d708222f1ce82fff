//! Screens as a terminal would show them.

use std::sync::Arc;

use lsgan_pictures::RgbImage;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use serde_json::json;

use super::draw;
use crate::keys::Key;
use crate::rows::{Look, shown};
use crate::screen::Colours;
use crate::state::State;

/// 2026-11-28 20:31:05 UTC.
const NOW_MS: u64 = 1_795_897_865_000;

/// A run with two workers, one of which is gone.
fn look() -> Look {
    let summary = json!({
        "id": "small-1", "name": "small\u{1b}[2J", "state": "stepping", "live": true, "step": 120, "steps": 1000,
        "global_batch": 16, "images_per_s": 1923.4, "s_per_kimg": 0.5199, "eta_s": 7500.0, "goodput": 0.9871,
        "generation": 2, "workers": 1, "memory_bytes": 310 << 20, "sample_step": 100, "tile_px": 4,
        "newest": { "loss_d": 0.25, "loss_g": 0.5, "d_real": 0.75 },
        "alerts": [{ "kind": "stall", "text": "no step for 70 s.\nReally.", "advice": "Look." }],
    });
    let workers = json!({
        "workers": [
            { "incarnation": 2, "name": "second", "gone_ms": 5, "why": "its stream broke" },
            { "incarnation": 1, "name": "first", "load": json!({
                "step_us": 8300, "data_wait_us": 100, "host": "box", "device": "cpu", "memory_bytes": 200 << 20,
            }).to_string() },
        ],
        "generations": [{ "generation": 2 }],
        "members": [{ "generation": 2, "incarnation": 1, "first_virtual_rank": 0, "virtual_rank_count": 4 }],
    });
    let events = json!([
        { "id": 4, "at_ms": NOW_MS, "warning": 1, "text": "alert (stall): no step", "cause": "alert: stall" },
        { "id": 3, "at_ms": NOW_MS, "warning": 1, "text": "second is slow", "cause": "slow: 2" },
        { "id": 2, "at_ms": NOW_MS - 86_400_000, "warning": 0, "text": "generation 2\r\nstarts" },
    ]);
    let curves = json!({
        "steps": [9, 60, 119],
        "scalars": {
            "loss_d": { "mean": [0.5, 0.375, 0.25], "min": [0.5, 0.3, 0.2], "max": [0.5, 0.9, 0.3] },
            "loss_g": { "mean": [0.25, null, 0.5] },
        },
    });
    let series = json!([{ "name": "fid", "steps": [50, 100], "values": [40.0, 30.0], "best_step": 100 }]);
    let workers: crate::rows::Workers = serde_json::from_value(workers).unwrap();
    Look {
        summary: shown(serde_json::from_value(summary).unwrap()),
        curves: serde_json::from_value(curves).unwrap(),
        series: serde_json::from_value(series).unwrap(),
        workers: workers.shown(true),
        events: serde_json::from_value(events).unwrap(),
        picture: Some(Arc::new(RgbImage::new(14, 14))),
    }
}

fn state(colours: Colours) -> State {
    let mut state = State::new(colours);
    state.now_ms = NOW_MS;
    state.take(Ok(look()));
    state
}

/// The screen of a terminal with this many columns and lines.
fn screen(state: &State, (columns, lines): (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    terminal.draw(|frame| draw(frame, state)).unwrap();
    terminal.backend().buffer().clone()
}

/// Its lines.
fn lines(buffer: &Buffer) -> Vec<String> {
    let cells: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
    cells.chunks(usize::from(buffer.area().width)).map(|line| line.concat().trim_end().to_owned()).collect()
}

#[track_caller]
fn assert_has(lines: &[String], words: &str) {
    assert!(lines.iter().any(|line| line.contains(words)), "no line has `{words}`:\n{}", lines.join("\n"));
}

#[track_caller]
fn assert_lacks(lines: &[String], words: &str) {
    assert!(!lines.iter().any(|line| line.contains(words)), "a line has `{words}`:\n{}", lines.join("\n"));
}

const LARGE: (u16, u16) = (140, 45);

#[test]
fn a_run_is_on_one_screen() {
    let lines = lines(&screen(&state(Colours::All), LARGE));
    assert_has(&lines, "small\\u001b[2J");
    assert_has(
        &lines,
        "step 120/1000   12.0 %   1.920 kimg   0.5199 s/kimg   1923 images/s   2 h 5 min left",
    );
    assert_has(&lines, "loss_d 0.2500   loss_g 0.5000   d_real 0.7500");
    assert_has(&lines, "goodput 98.7 %   generation 2   1 worker   310 MiB");
    assert_has(&lines, "▸ losses");
    assert_has(&lines, "samples at 100");
    assert_has(&lines, "workers (1)");
    assert_has(&lines, "0-3");
    assert_has(&lines, "8.300");
    assert_has(&lines, "200 MiB");
    assert_has(&lines, "box, cpu");
    assert_has(&lines, "its stream broke");
    assert_has(&lines, "alert (stall): no step for 70 s.\\nReally. Look.");
    assert_has(&lines, "stands: second is slow");
    assert_lacks(&lines, "stands: alert");
    assert_has(&lines, "20:31:05 UTC  warning: second is slow");
    assert_has(&lines, "2026-11-27 20:31:05 UTC  generation 2\\r\\nstarts");
    assert_has(&lines, "q quit");
}

/// Whatever the texts of others have in them, a cell never has a control character.
#[test]
fn no_control_character_reaches_the_terminal() {
    for whole in [false, true] {
        let mut state = state(Colours::All);
        state.is_whole = whole;
        for _ in 0..4 {
            state.press(Key::Next);
            let buffer = screen(&state, LARGE);
            let is_harmless = |cell: &ratatui::buffer::Cell| !cell.symbol().contains(char::is_control);
            assert!(buffer.content().iter().all(is_harmless));
        }
    }
}

#[test]
fn curves_have_their_range_and_another_one_is_chosen_by_keys() {
    let mut state = state(Colours::All);
    let first = lines(&screen(&state, LARGE));
    // The greatest of a column, which is no mean.
    assert_has(&first, "0.9000");
    assert_has(&first, "119");
    assert!(first.iter().flat_map(|line| line.chars()).any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)));
    state.press(Key::Closer);
    assert_has(&lines(&screen(&state, LARGE)), "losses, the last 1/2 of the steps");
    state.press(Key::Down);
    let second = lines(&screen(&state, LARGE));
    assert_has(&second, "D(x), D(G(z))");
    assert_has(&second, "nothing is measured yet");
    for _ in 0..50 {
        state.press(Key::Down);
    }
    let scores = lines(&screen(&state, LARGE));
    assert_has(&scores, "▸ fid");
    assert_has(&scores, "40.00");
}

#[test]
fn samples_are_shown_where_there_are_colours_for_them() {
    let shown = lines(&screen(&state(Colours::All), LARGE));
    assert_has(&shown, "▀▀▀");
    for colours in [Colours::None, Colours::Few] {
        let lines = lines(&screen(&state(colours), LARGE));
        assert_lacks(&lines, "▀");
        assert_lacks(&lines, "samples");
    }
}

#[test]
fn without_colours_no_cell_has_one() {
    let buffer = screen(&state(Colours::None), LARGE);
    let is_plain = |cell: &ratatui::buffer::Cell| {
        [cell.fg, cell.bg].iter().all(|colour| *colour == ratatui::style::Color::Reset)
    };
    assert!(buffer.content().iter().all(is_plain));
}

#[test]
fn a_pane_can_have_the_screen_and_trouble_and_pauses_are_said() {
    let mut state = state(Colours::All);
    state.press(Key::Back);
    state.press(Key::Whole);
    let events = lines(&screen(&state, LARGE));
    assert_has(&events, "▸ events");
    assert_lacks(&events, "workers (");
    state.press(Key::Pause);
    assert_has(&lines(&screen(&state, LARGE)), "paused; space goes on");
    state.take(Err("the page is away".to_owned()));
    assert_has(&lines(&screen(&state, LARGE)), "nothing new: the page is away");
    state.press(Key::Help);
    assert_has(&lines(&screen(&state, LARGE)), "any key closes this");
}

/// Also before anything is known, and of a run of which little is.
#[test]
fn every_size_of_a_terminal_can_be_drawn_on() {
    let mut empty = State::new(Colours::All);
    let mut little = State::new(Colours::All);
    little.take(Ok(Look::default()));
    let full = state(Colours::All);
    for state in [&mut empty, &mut little, &mut full.clone()] {
        for size in [(1, 1), (2, 3), (10, 4), (20, 8), (40, 12), (80, 24), (300, 100)] {
            for helps in [false, true] {
                state.helps = helps;
                screen(state, size);
            }
        }
    }
    assert_has(&lines(&screen(&State::new(Colours::None), (80, 24))), "waiting for the run");
}
