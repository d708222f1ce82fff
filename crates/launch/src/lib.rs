//! What the binaries share before a run is up: which run is meant, where it keeps its files, its data and snapshots
//! opened, a branch of it.
//!
//! Not here: the journal and the running run (`coordinator`), training (`train`).
//!
//! - [`RunArgs`]: the arguments that say which run, the same for `coordinator` and `lsgan up`.
//! - [`load_file`]: the run's file with its overrides.
//! - [`Places`]: run directory and store.
//! - [`open_data`]: the data set, with progress shown.
//! - [`TlsArgs`], [`JoinArgs`], [`ListenArgs`]: who a process is, and where it may listen without showing that.
//! - [`ScoreRow`]: scores of snapshots, kept in the run's directory.
//! - [`sibling`]: the other binaries.
//! - [`newest_snapshot`]: the snapshot that a run goes on from. [`branch_off`]: `--fork`.

#![forbid(unsafe_code)]

mod args;
mod branch;
mod data;
mod file;
mod places;
mod scores;
mod sibling;
mod snapshot;
mod tls;

pub use args::{From, RunArgs};
pub use branch::branch_off;
pub use data::{data_fingerprint, open_data};
pub use file::{keep_mix, load_file, other_identity};
pub use places::Places;
pub use scores::{
    Basis, SCORES, ScoreRow, Value, append_score, best_score, best_snapshot, has_all_scores, newest_score,
    read_scores,
};
pub use sibling::sibling;
pub use snapshot::{Newest, newest_snapshot, something_to_train};
pub use tls::{JoinArgs, ListenArgs, TlsArgs};

/// The words before the address in the coordinator's first line on standard output. With `--log json` that line is
/// `{"listening":"http://…"}` or `https`, and the last one an object with the field `outcome`.
pub const LISTENING: &str = "listening on ";
/// The words before the page's address, in the line after it if a page is served; with `--log json` it is `{"page":"http://…"}`.
pub const PAGE: &str = "the page is at ";
/// The coordinator's log, in the run's directory.
pub const LOG: &str = "coordinator.log";
