//! Ids and the run's specification. Pure: no YAML, no disk.
//!
//! Not here: how a run's file becomes a spec (`lsgan_runfile`), and anything that acts on it. This crate depends on none
//! of the others. Start at [`RunSpec`]: it is the list of everything that a run can say.
//!
//! - [`ids`]: the numbers that have a meaning: steps, reductions, generations, positions.
//! - [`table`], `kind`, `macros`: one row for each field: type, range, default, identity and English in one place.
//! - `run`, `data`, `model`, `objective`, `regularization`, `augment`, `optimizer`, `schedule`, `compute`, `cluster`, `evaluate`,
//!   `alerts`: the rows, with the types that they make.
//! - [`rules`]: what is fine field by field and makes no sense together.
//! - [`chain`]: an error with its causes.
//! - [`printable`]: texts of others, as a terminal and a log may show them.
//! - `metrics`: the words of the metrics by which snapshots are scored.
//! - `modes`: where the modes of a 2-D mixture lie, for the data and for the plots.
//! - [`leaves`]: a spec as a flat list of its fields.
//! - `numerics`: what the bits of a device depend on.
//! - [`scalars`]: the registry of everything that is measured of a step.
//! - `secrets`: users, passwords and queries in URLs, which no message shows.
//! - `tensors`: named tensors, as training and snapshots hand them to each other.
//! - [`identity`]: the hash of what decides the mathematics, and the diff of two specs.
//! - `testing` (feature): strategies for property tests, made from the table.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod alerts;
mod augment;
mod chain;
mod cluster;
mod compute;
mod data;
mod evaluate;
pub mod identity;
pub mod ids;
mod kind;
pub mod leaves;
mod macros;
mod metrics;
pub mod model;
mod modes;
mod numerics;
mod objective;
mod optimizer;
mod printable;
mod regularization;
pub mod rules;
mod run;
pub mod scalars;
mod schedule;
mod secrets;
pub mod table;
mod tensors;
#[cfg(feature = "testing")]
pub mod testing;

pub use alerts::{AlertsSpec, Webhook};
pub use augment::AugmentSpec;
pub use chain::chain;
pub use cluster::*;
pub use compute::*;
pub use data::*;
pub use evaluate::{EvaluateSpec, ScoredWeights, ScoringPlace};
pub use identity::{FieldDiff, Identity};
pub use ids::*;
pub use metrics::Metric;
pub use model::*;
pub use numerics::{DeviceKind, Numerics};
pub use objective::*;
pub use optimizer::*;
pub use printable::{is_printable, printable, printable_lines};
pub use regularization::*;
pub use run::*;
pub use schedule::*;
pub use secrets::{masked, web_host, without_user, without_users};
pub use tensors::{NamedTensor, Part, TensorData};
