//! The terminal: taken for the screen, and given back in any case.

use std::io::{self, IsTerminal as _, Stdout};
use std::sync::Once;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

/// The colours that a terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// None: nothing is coloured, and pictures are not shown.
    None,
    /// The 16 of the first terminals with colours. Pictures are not shown.
    Few,
    /// The 256 of a table.
    Table,
    /// 24 bits.
    All,
}

impl Colours {
    /// As the environment says it.
    #[must_use]
    pub fn of_environment() -> Self {
        let of = |name: &str| std::env::var(name).unwrap_or_default();
        Self::of(&of("TERM"), &of("COLORTERM"), &of("NO_COLOR"))
    }

    /// From `TERM`, `COLORTERM` and `NO_COLOR`; empty where they are not set.
    fn of(term: &str, colorterm: &str, no_color: &str) -> Self {
        match (term, colorterm) {
            _ if !no_color.is_empty() => Self::None,
            ("" | "dumb", _) => Self::None,
            (_, "truecolor" | "24bit") => Self::All,
            (term, _) if term.ends_with("-direct") => Self::All,
            (term, _) if term.contains("256color") => Self::Table,
            _ => Self::Few,
        }
    }
}

/// Refuses to begin where there is no terminal.
///
/// # Errors
/// What there is not, and what to do instead.
pub fn check() -> Result<(), String> {
    if io::stdout().is_terminal() && io::stdin().is_terminal() {
        return Ok(());
    }
    Err("lsgan top draws on a whole terminal, and standard input or output is none. `lsgan status` prints how a run is, and \
         `lsgan metrics --run DIR --follow` its scalars as they come."
        .to_owned())
}

/// The terminal while it is taken. Dropping it gives the terminal back.
pub(crate) struct Screen {
    pub terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal. A panic of any thread gives it back first, so that its message can be read.
    ///
    /// # Errors
    /// It cannot be taken.
    pub(crate) fn take() -> io::Result<Self> {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                before(panic);
            }));
        });
        let taken = enable_raw_mode().and_then(|()| {
            execute!(io::stdout(), EnterAlternateScreen)?;
            Terminal::new(CrosstermBackend::new(io::stdout()))
        });
        match taken {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// As well as it can be: a terminal that is gone takes nothing back.
fn give_back() {
    let _ = disable_raw_mode();
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
}

#[cfg(test)]
mod tests {
    use super::Colours;

    #[test]
    fn colours_are_those_that_the_environment_promises() {
        assert_eq!(Colours::of("xterm-256color", "truecolor", ""), Colours::All);
        assert_eq!(Colours::of("xterm-direct", "", ""), Colours::All);
        assert_eq!(Colours::of("screen-256color", "", ""), Colours::Table);
        assert_eq!(Colours::of("xterm", "", ""), Colours::Few);
        for none in [("", "", ""), ("dumb", "truecolor", ""), ("xterm-256color", "truecolor", "1")] {
            assert_eq!(Colours::of(none.0, none.1, none.2), Colours::None);
        }
    }
}
