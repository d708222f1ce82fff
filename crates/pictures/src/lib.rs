//! Resizing pictures, and drawing samples: grids and density plots as PNG.
//!
//! Not here: where samples come from (`train` makes them, `data` reads them), what a picture is made to fit (`data`).
//!
//! - [`grid`] and [`density`]: many samples as one PNG.
//! - [`scale`]: resizes a picture.
//!
//! `fast_image_resize` is compiled into its caller, which takes a minute. It is called only here, so that a change of
//! `data` does not compile it again.

#![cfg_attr(not(test), forbid(unsafe_code))]

mod plot;
mod resize;

pub use plot::{density, grid};
pub use resize::{Channels, Sides, Target, Window, scale};
