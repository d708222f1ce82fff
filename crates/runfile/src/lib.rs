//! From a run's YAML file to its specification, or to every error at once.
//!
//! Not here: the fields and their ranges (`lsgan_spec`), and anything that acts on a run.
//! Start at [`load`].
//!
//! - `load`: from a file and its `--set`s to a spec or to all errors; and back to YAML.
//! - [`errors`]: what can be wrong, and how it is shown.
//! - `tree`, `overrides`: YAML with places, and `--set` written into it.
//! - `draft`: the tree held against the table of fields.
//! - `suggest`: what was meant by a name or a value that is not accepted.
//! - `files`: files that must exist.
//! - `reference`, `schema`: the table as `configs/reference.yaml` and as a JSON schema for editors.

#![forbid(unsafe_code)]

mod draft;
pub mod errors;
mod files;
mod load;
mod overrides;
mod reference;
mod schema;
mod suggest;
mod tree;

pub use errors::{Problem, SpecError, SpecErrors};
pub use load::{RunFile, load, parse, to_yaml};
pub use overrides::Override;
pub use reference::reference;
pub use schema::schema;
