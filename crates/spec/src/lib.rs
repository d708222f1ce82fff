//! Ids and the run's specification.
//!
//! Not here: anything that acts on it. This crate depends on none of the others.
//! Start at [`RunSpec`].
//!
//! - [`ids`]: the numbers that have a meaning: steps, reductions, generations, positions.
//! - [`run`]: the types of a run's YAML file.

pub mod ids;
pub mod run;

pub use ids::*;
pub use run::*;
