//! The LSGAN paper's claims (Mao et al., arXiv 1611.04076) as figures: the mathematics of those that need no training, and
//! charts as SVG, PNG and CSV.
//!
//! Not here: figures that are made of runs, and files (`cli`). This crate knows neither libtorch nor the run's file.
//! Functions are those of the `libm` crate: a trained D, and so the committed SVG, is the same on every machine.
//! Start at [`FIGURES`]: the table of figures. A new one is a file beside these, and its line there.
//!
//! - [`figure`]: what a figure consists of: charts, a table of numbers, what they say.
//! - [`losses`], [`boundary`], [`pearson`]: a file for each figure.
//! - `network`: a small D with one hidden layer, trained without a library. `density`: densities on a line.
//! - [`draw`]: the charts drawn; `clip`: lines cut off at a chart's edges. The font is part of the program, so that a PNG looks the same on every machine.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod boundary;
mod clip;
mod density;
pub mod draw;
pub mod figure;
pub mod losses;
mod network;
pub mod pearson;

pub use draw::{DrawError, png, svg};
pub use figure::{Axis, Chart, Corner, Figure, Mark, Series, Table};

/// A figure that needs no training.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// Its word, as `lsgan figure` takes it.
    pub name: &'static str,
    /// What it shows, in a sentence.
    pub about: &'static str,
    /// Computes it, within seconds.
    pub make: fn() -> Figure,
}

/// All of them, in the order of the paper.
pub const FIGURES: &[Named] = &[
    Named { name: "boundary", about: boundary::ABOUT, make: boundary::figure },
    Named { name: "losses", about: losses::ABOUT, make: losses::figure },
    Named { name: "pearson", about: pearson::ABOUT, make: pearson::figure },
];
