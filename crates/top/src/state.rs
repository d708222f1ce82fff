//! What is on the screen, and what a key does to it. Nothing here waits, reads or draws.

use lsgan_spec::printable;

use crate::keys::Key;
use crate::plots::{Plot, plots};
use crate::rows::{Look, Series};
use crate::screen::Colours;

/// The curve shows the last 1/2^12 of the steps at least.
const ZOOM_MAX: u32 = 12;

/// Parts of the screen, in the order in which the keys go through them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pane {
    #[default]
    Curves,
    Samples,
    Workers,
    Events,
}

impl Pane {
    const ALL: [Self; 4] = [Self::Curves, Self::Samples, Self::Workers, Self::Events];

    /// The one so many places further.
    fn further(self, count: usize) -> Self {
        Self::ALL[(self as usize + count) % Self::ALL.len()]
    }
}

/// What is asked for again and again, besides what is always asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Scalars.
    pub names: Vec<&'static str>,
    /// Of the last 1/2^zoom of the steps.
    pub zoom: u32,
    /// Columns.
    pub pixels: u64,
    /// Nothing is wanted at the moment.
    pub is_paused: bool,
}

/// What is chosen to be drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Chosen<'a> {
    Scalars(&'a Plot),
    Score(&'a Series),
}

/// The whole of the screen.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub colours: Colours,
    /// The run; none before anything is known of it.
    pub look: Option<Look>,
    /// Why nothing new is known.
    pub trouble: Option<String>,
    /// The time, in milliseconds since 1970.
    pub now_ms: u64,
    pub pane: Pane,
    /// The pane has the screen to itself.
    pub is_whole: bool,
    pub is_paused: bool,
    pub helps: bool,
    pub zoom: u32,
    plots: Vec<Plot>,
    /// Place in the plots, and behind them in the series of scores.
    plot: usize,
    /// Lines that are scrolled past, of workers and of events.
    pub workers_past: usize,
    pub events_past: usize,
}

impl State {
    pub(crate) fn new(colours: Colours) -> Self {
        Self {
            colours,
            look: None,
            trouble: None,
            now_ms: 0,
            pane: Pane::default(),
            is_whole: false,
            is_paused: false,
            helps: false,
            zoom: 0,
            plots: plots(),
            plot: 0,
            workers_past: 0,
            events_past: 0,
        }
    }

    fn series(&self) -> &[Series] {
        self.look.as_ref().map_or(&[][..], |look| &look.series[..])
    }

    pub(crate) fn chosen(&self) -> Chosen<'_> {
        let score = self.plot.checked_sub(self.plots.len()).and_then(|place| self.series().get(place));
        match score {
            Some(series) => Chosen::Score(series),
            None => Chosen::Scalars(&self.plots[self.plot.min(self.plots.len() - 1)]),
        }
    }

    /// What is to be asked for, for a screen of so many columns.
    pub(crate) fn wanted(&self, columns: u16) -> Wanted {
        let names = match self.chosen() {
            Chosen::Scalars(plot) => plot.names.clone(),
            Chosen::Score(_) => Vec::new(),
        };
        // A sign of the chart has two dots beside each other.
        Wanted { names, zoom: self.zoom, pixels: 2 * u64::from(columns), is_paused: self.is_paused }
    }

    /// What is known now. A screen that is paused stays as it is.
    pub(crate) fn take(&mut self, news: Result<Look, String>) {
        match news {
            Ok(_) if self.is_paused => {}
            Ok(look) => {
                self.trouble = None;
                self.workers_past = self.workers_past.min(look.workers.len().saturating_sub(1));
                self.look = Some(look);
            }
            Err(why) => self.trouble = Some(printable(&why).into_owned()),
        }
    }

    /// Does what a key says; false for the end.
    pub(crate) fn press(&mut self, key: Key) -> bool {
        if self.helps && key != Key::Quit {
            self.helps = false;
            return true;
        }
        match key {
            Key::Quit => return false,
            Key::Help => self.helps = true,
            Key::Next => self.pane = self.pane.further(1),
            Key::Back => self.pane = self.pane.further(Pane::ALL.len() - 1),
            Key::Whole => self.is_whole = !self.is_whole,
            Key::Pause => self.is_paused = !self.is_paused,
            Key::Closer => self.zoom = (self.zoom + 1).min(ZOOM_MAX),
            Key::Wider => self.zoom = self.zoom.saturating_sub(1),
            Key::Up => self.step(false),
            Key::Down => self.step(true),
            Key::Other => {}
        }
        true
    }

    /// One line up or down in the pane that has the keys.
    fn step(&mut self, is_down: bool) {
        let moved = |place: usize, count: usize| match is_down {
            true => (place + 1).min(count.saturating_sub(1)),
            false => place.saturating_sub(1),
        };
        let counts = self.look.as_ref().map_or((0, 0), |look| (look.workers.len(), look.events.len()));
        match self.pane {
            Pane::Curves => self.plot = moved(self.plot, self.plots.len() + self.series().len()),
            Pane::Workers => self.workers_past = moved(self.workers_past, counts.0),
            Pane::Events => self.events_past = moved(self.events_past, counts.1),
            Pane::Samples => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let series = Series { name: "fid".to_owned(), ..Series::default() };
        let mut state = State::new(Colours::All);
        state.take(Ok(Look { series: vec![series], ..Look::default() }));
        state
    }

    #[test]
    fn keys_choose_what_is_drawn_from_the_losses_to_the_scores() {
        let mut state = state();
        assert_eq!(state.wanted(80).names, ["loss_d", "loss_g"]);
        assert_eq!(state.wanted(80).pixels, 160);
        assert!(state.press(Key::Up) && state.press(Key::Down));
        assert_eq!(state.wanted(80).names, ["d_real", "d_fake", "d_fake_in_g"]);
        for _ in 0..100 {
            state.press(Key::Down);
        }
        assert!(matches!(state.chosen(), Chosen::Score(series) if series.name == "fid"));
        assert!(state.wanted(80).names.is_empty());
        // Of another look, which has no scores, it is a scalar.
        state.take(Ok(Look::default()));
        assert!(matches!(state.chosen(), Chosen::Scalars(_)));
    }

    #[test]
    fn a_paused_screen_stays_as_it_is_until_it_goes_on() {
        let mut state = state();
        state.press(Key::Pause);
        assert!(state.wanted(80).is_paused);
        state.take(Ok(Look::default()));
        assert_eq!(state.series().len(), 1);
        state.press(Key::Pause);
        state.take(Ok(Look::default()));
        assert_eq!(state.series().len(), 0);
    }

    #[test]
    fn panes_are_gone_through_in_both_directions_and_help_goes_by_any_key() {
        let mut state = state();
        state.press(Key::Back);
        assert_eq!(state.pane, Pane::Events);
        state.press(Key::Next);
        assert_eq!(state.pane, Pane::Curves);
        state.press(Key::Help);
        assert!(state.helps);
        assert!(state.press(Key::Next));
        assert_eq!((state.helps, state.pane), (false, Pane::Curves));
        state.press(Key::Help);
        assert!(!state.press(Key::Quit));
    }

    #[test]
    fn the_range_ends_at_all_steps_and_at_few() {
        let mut state = state();
        state.press(Key::Wider);
        assert_eq!(state.zoom, 0);
        for _ in 0..100 {
            state.press(Key::Closer);
        }
        assert_eq!(state.zoom, ZOOM_MAX);
    }

    #[test]
    fn trouble_keeps_what_is_known_and_goes_with_news() {
        let mut state = state();
        state.take(Err("away".to_owned()));
        assert_eq!((state.trouble.as_deref(), state.series().len()), (Some("away"), 1));
        state.take(Ok(Look::default()));
        assert_eq!(state.trouble, None);
    }
}
