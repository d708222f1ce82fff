//! Resizing pictures, and drawing samples: grids and density plots as PNG.
//!
//! Not here: where samples come from (`train` makes them, `data` reads them), what a picture is made to fit (`data`).
//!
//! - [`grid`] and [`density`]: many samples as one PNG.
//! - [`single`]: one sample. [`animation`]: pictures one after another, as PNG or WebP.
//! - [`scale`]: resizes a picture.
//!
//! `fast_image_resize` is compiled into its caller, which takes a minute. It is called only here, so that a change of
//! `data` does not compile it again.

#![cfg_attr(not(test), forbid(unsafe_code))]

mod animated_webp;
mod animation;
mod plot;
mod resize;

pub use animation::{AnimationFormat, animation};
pub use image::{ImageError, RgbImage};
pub use plot::{density, grid, grid_image, read, single};
pub use resize::{Channels, Sides, Target, Window, scale};
