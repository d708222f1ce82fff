//! What is typed, and that the terminal has another size.

use lsgan_console::vital;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Quit,
    Help,
    /// To the next pane, or the one before.
    Next,
    Back,
    Up,
    Down,
    /// Fewer steps, or more.
    Closer,
    Wider,
    Pause,
    /// The pane alone, or all.
    Whole,
    Other,
}

/// What comes from the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    Key(Key),
    /// Ctrl-C, which is no signal while the terminal hands over each key.
    Interrupt,
    /// It has another size: the screen is to be drawn.
    Resized,
}

/// What the terminal sends, until it is gone.
///
/// # Errors
/// The system has no room for a thread.
pub(crate) fn typed() -> std::io::Result<mpsc::Receiver<Typed>> {
    let (tell, told) = mpsc::channel(64);
    // It waits in the system's call for as long as the process lives.
    vital::thread("keyboard", move || {
        while let Ok(event) = event::read() {
            if let Some(typed) = of(&event)
                && tell.blocking_send(typed).is_err()
            {
                return;
            }
        }
    })?;
    Ok(told)
}

fn of(event: &Event) -> Option<Typed> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => Some(pressed(key)),
        Event::Resize(..) => Some(Typed::Resized),
        _ => None,
    }
}

fn pressed(key: &KeyEvent) -> Typed {
    let has_control = key.modifiers.contains(KeyModifiers::CONTROL);
    Typed::Key(match key.code {
        KeyCode::Char('c') if has_control => return Typed::Interrupt,
        KeyCode::Char(_) if has_control => Key::Other,
        KeyCode::Char('q') => Key::Quit,
        KeyCode::Char('?' | 'h') => Key::Help,
        KeyCode::Tab | KeyCode::Right => Key::Next,
        KeyCode::BackTab | KeyCode::Left => Key::Back,
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::Char('+' | '=') => Key::Closer,
        KeyCode::Char('-') => Key::Wider,
        KeyCode::Char(' ') => Key::Pause,
        KeyCode::Enter => Key::Whole,
        _ => Key::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_and_ctrl_c_is_no_letter() {
        let key = |code, modifiers| pressed(&KeyEvent::new(code, modifiers));
        assert_eq!(key(KeyCode::Char('q'), KeyModifiers::NONE), Typed::Key(Key::Quit));
        assert_eq!(key(KeyCode::Char('?'), KeyModifiers::SHIFT), Typed::Key(Key::Help));
        assert_eq!(key(KeyCode::BackTab, KeyModifiers::SHIFT), Typed::Key(Key::Back));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Typed::Interrupt);
        assert_eq!(key(KeyCode::Char('d'), KeyModifiers::CONTROL), Typed::Key(Key::Other));
        assert_eq!(of(&Event::Resize(80, 24)), Some(Typed::Resized));
        assert_eq!(of(&Event::FocusGained), None);
    }
}
