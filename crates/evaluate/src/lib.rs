//! Scores a generator: its samples and the real ones become features, and metrics compare them.
//!
//! Not here: the metrics themselves (`metrics`), where snapshots and scores are kept (`snapshots`, `launch`), the terminal
//! (`cli`).
//! Start at [`Evaluation`]: real samples once, then any number of snapshots.
//!
//! What always holds, each tested by name in `tests/`:
//! - **A sample's features are a function of the sample**: pictures are computed in chunks of a fixed size, each by one
//!   thread, so that neither the number of threads nor the other pictures of a chunk change a bit.
//! - **Generated and real pictures are treated alike**: both are rounded to bytes, as picture files are, then scaled.
//!
//! The modules in reading order:
//! - [`evaluation`]: the whole, from a run's file and weights to scores.
//! - [`extractors`]: networks that make features of pictures, a file each, with one contract.
//! - [`chunks`]: pictures as bytes, on their way through an extractor on several threads.
//! - `resize`: how pictures get the size that a network accepts.
//! - `records`: real samples, spread over the data set. [`nearest`]: those nearest to generated ones.
//! - [`kept`]: features of real samples, kept between evaluations.
//! - [`npz`]: statistics in the file that pytorch-fid and clean-fid read and write.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod chunks;
mod error;
pub mod evaluation;
pub mod extractors;
pub mod kept;
pub mod nearest;
pub mod npz;
mod records;
mod resize;

pub use error::EvaluateError;
pub use evaluation::{Evaluation, Plan, Reference};
pub use extractors::{Choice, Extractor};
pub use resize::Resize;
