//! Runs shown to people and programs: a page, JSON, Prometheus, from their journals, read-only.
//!
//! Not here: what a run decides (`control`), what its journal holds (`journal`); the page's own sources (`crates/observe/page`).
//! Start at [`serve`]; docs/observe.md documents every route.
//!
//! - [`hub`]: the runs below some directories, and what is known of each. `find` finds them.
//! - [`summary`]: a run in a few numbers: state, step, rates, time left.
//! - [`actions`]: what a reader of a live run's page may ask for.
//! - `scores`: scores of snapshots as series. `stepping`: time in which a run was stepping.
//! - `tables`: workers, generations, snapshots, samples, events, as the journal has them. `verify`: whether a snapshot is whole.
//! - [`curves`]: scalars over steps, thinned to what a screen can show; `blocks` keeps the least, the greatest and the sum of many
//!   steps together, `kept` keeps them for the next start, `means` smooths.
//! - [`alerts`]: what a person should look at, and what to do. `signs`: what the journal shows for it; `fork`: the command that goes
//!   back to a snapshot.
//! - [`metrics`]: rows of scalars and events as CSV and JSON Lines. `prometheus`: the newest numbers for a scraper.
//!   [`losses`]: what a coordinator had to drop, for it.
//! - [`tensorboard`]: event files that TensorBoard reads.
//! - [`serve`]: the HTTP server. `connections`: how many it takes, and for how long; `readers`: how many are answered at a time, and
//!   what slow ones miss; `routes`: what it answers; `live`: server-sent events; `page`: the page's files. [`Local`] asks the same
//!   routes from inside a process.

#![forbid(unsafe_code)]

pub mod actions;
pub mod alerts;
mod blocks;
mod connections;
pub mod curves;
mod find;
mod fork;
pub mod hub;
mod kept;
mod live;
mod local;
pub mod losses;
mod means;
pub mod metrics;
mod page;
mod prometheus;
mod readers;
mod routes;
mod scores;
mod serve;
mod signs;
mod stepping;
pub mod summary;
mod tables;
pub mod tensorboard;
mod verify;

pub use hub::Hub;
pub use local::Local;
pub use serve::serve;
