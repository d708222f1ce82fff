//! How far generated samples are from real ones, as numbers.
//!
//! Not here: the networks that make features of pictures (`evaluate`), samples (`train`), where scores are kept (`launch`).
//! This crate knows neither libtorch nor files.
//! Start at [`scores`]: the table of metrics, applied to two sets.
//!
//! What always holds, each tested by name in `tests/`:
//! - **A score is a function of the two sets and the options alone.** Every sum is taken in the order of the samples, and
//!   threads share whole blocks of that order: any number of threads gives the same bits.
//! - **The numbers are those of the field's usual programs** on the same features: torch-fidelity, clean-fid, prdc.
//!
//! The modules in reading order:
//! - [`set`]: features or points, one row for each sample.
//! - [`table`]: which metrics there are, and what each family of them computes together.
//! - [`fid`], [`kid`], [`precision_recall`], [`density_coverage`], [`modes`], [`modes_kde`]: a file for each family.
//! - [`statistics`]: mean and covariance.
//! - `neighbours`: distances to the nearest neighbours. `blocks`: blocks of work, shared by threads.
//! - `linear_algebra`: products and decompositions.
//!
//! `faer` is compiled into its caller, which takes a minute. It is called only here, so that a change of `evaluate` does not
//! compile it again.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod blocks;
pub mod density_coverage;
mod error;
pub mod fid;
pub mod kid;
mod linear_algebra;
pub mod modes;
pub mod modes_kde;
mod neighbours;
pub mod precision_recall;
pub mod set;
pub mod statistics;
pub mod table;

pub use error::MetricError;
pub use set::Set;
pub use statistics::Statistics;
pub use table::{Options, Score, Subject, scores};
