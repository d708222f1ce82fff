//! The loop: what is typed and what is new, onto the screen.

use lsgan_console::{Failure, Interrupt, vital};
use tokio::sync::{mpsc, watch};

use crate::draw::draw;
use crate::follow::follow;
use crate::keys::{self, Typed};
use crate::screen::{Colours, Screen};
use crate::source::Source;
use crate::state::State;

/// Shows the run until the reader has seen enough. `now_ms` is the clock, in milliseconds since 1970.
///
/// # Errors
/// A terminal that is gone. With an empty text: a signal that ends it, and its exit code.
pub async fn show(
    source: Source,
    colours: Colours,
    now_ms: impl Fn() -> u64,
    mut interrupts: mpsc::Receiver<Interrupt>,
) -> Result<(), Failure> {
    let mut state = State::new(colours);
    let mut screen = Screen::take()?;
    let mut typed = keys::typed()?;
    let (tell, mut told) = mpsc::channel(1);
    let (want, wanted) = watch::channel(state.wanted(screen.terminal.size()?.width));
    // It ends when nobody takes its news any more.
    vital::task("follower", follow(source, wanted, tell));
    loop {
        state.now_ms = now_ms();
        let drawn = screen.terminal.draw(|frame| draw(frame, &state)).map_err(Failure::not_printed)?;
        let wish = state.wanted(drawn.area.width);
        want.send_if_modified(|known| {
            let is_new = *known != wish;
            *known = wish;
            is_new
        });
        tokio::select! {
            Some(asked) = interrupts.recv() => return Err(Failure::stopped(asked.exit_code())),
            typed = typed.recv() => match typed {
                Some(Typed::Key(key)) => {
                    if !state.press(key) {
                        return Ok(());
                    }
                }
                Some(Typed::Resized) => {}
                Some(Typed::Interrupt) => return Err(Failure::stopped(Interrupt::Person.exit_code())),
                None => return Err(Failure::failed("the terminal is gone")),
            },
            Some(news) = told.recv() => state.take(news),
        }
    }
}
