//! Ids and the run's specification: parsed strictly, checked, every error at once.
//!
//! Not here: anything that acts on it. This crate depends on none of the others.
//! Start at [`RunSpec::load`]; [`RunSpec`] itself is the list of everything that a run can say.
//!
//! - [`ids`]: the numbers that have a meaning: steps, reductions, generations, positions.
//! - [`run`]: the types of a run's YAML file, with the range of every field.
//! - `modes`: where the modes of a 2-D mixture lie, for the data and for the plots.
//! - [`fields`]: the table of all fields: what each accepts, and whether it decides the mathematics.
//! - `load`, `draft`: from a file and its `--set`s to a spec or to all errors.
//! - [`chain`]: an error with its causes.
//! - [`errors`]: what can be wrong, and how it is shown.
//! - `tree`, `overrides`, `de`: YAML with places, `--set` written into it, and the way from there to the types.
//! - `suggest`: what other trainers call our fields, and what was meant by a value in another form.
//! - `ranges`, `check`: single values, values together, and files that must exist.
//! - [`identity`]: the hash of what decides the mathematics, and the diff of two specs.
//! - `testing` (feature): strategies for property tests.

#![warn(missing_docs)]

mod chain;
mod check;
mod de;
mod draft;
pub mod errors;
mod failure_timeout;
pub mod fields;
pub mod identity;
pub mod ids;
mod leaves;
mod load;
mod modes;
mod overrides;
mod ranges;
pub mod run;
mod suggest;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod tree;

#[cfg(test)]
mod tests;

pub use chain::chain;
pub use errors::{EXIT_BAD_INPUT, Problem, SpecError, SpecErrors};
pub use failure_timeout::FailureTimeout;
pub use identity::{FieldDiff, Identity};
pub use ids::*;
pub use load::MAX_FILE_BYTES;
pub use overrides::Override;
pub use ranges::checked_name;
pub use run::*;
