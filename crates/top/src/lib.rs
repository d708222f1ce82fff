//! A run on the whole of a terminal: `lsgan top`.
//!
//! Not here: which run is meant (`cli`), and what is read of it (`observe`): all that is shown comes through the JSON routes of
//! docs/observe.md, and is asked for again when `/api/live` says that there is more, as the page does it.
//! Start at [`show()`].
//!
//! - [`Source`]: the routes, in this process for a directory, over HTTP for a page elsewhere. `sse`: server-sent events, read.
//! - `follow`: what is asked when. `rows`: what the routes answer, with all texts as a terminal may show them.
//! - `state`: what is on the screen, and what a key does to it. `plots`: what can be drawn as a curve.
//! - `draw`: the screen, a function of the state alone. `blocks`: a picture as half blocks. `words`: numbers for people.
//! - `keys`: what is typed. `screen`: the terminal, given back in any case.

#![forbid(unsafe_code)]

mod blocks;
mod draw;
mod follow;
mod keys;
mod plots;
mod rows;
mod screen;
mod show;
mod source;
mod sse;
mod state;
mod words;

pub use screen::{Colours, check};
pub use show::show;
pub use source::Source;
