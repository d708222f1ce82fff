//! Snapshots of a run: safetensors parts and a manifest with BLAKE3 hashes, in a directory or any object store.
//!
//! Not here: when a snapshot is due (`control`), what is in one (`train`), reading the run's file (`spec`), reaching a
//! bucket (`objects`).
//! Start at [`Store::open`]; then [`Store::write`] for how a snapshot comes to be, [`Store::newest_valid`] for
//! how a run finds the one to go on from.
//!
//! ```text
//! <to>/snapshots/step-0000000100/generator.safetensors …   the parts, written first
//! <to>/snapshots/step-0000000100/manifest.json             written last; without it there is no snapshot
//! <to>/final/generator.safetensors …                       what a finished run hands over
//! <to>/journal/pieces/…                                    a copy of the journal, in numbered objects
//! ```
//!
//! What always holds, each tested by name in `tests/`:
//! - **Equal states give equal bytes**, of every part and of the manifest: no time, no host, no map in random
//!   order gets into them.
//! - **A snapshot is whole or is not there**: a crash or a full disk between any two operations leaves the
//!   older snapshots as they were, and the same write can be done again.
//! - **A published snapshot stays as it is**: parts and manifest are created, not overwritten; a part whose
//!   name is taken by other bytes gets a name with its hash.
//!   Parts of more than 16 MiB in a bucket have it always: they are put in pieces, which may overwrite.
//! - **Damage has a name**: each kind is its own [`Error`] variant with the path and what to do, and
//!   [`Store::newest_valid`] says what it passed over. A store that does not answer is not damage.
//! - **Nothing that deletes or moves follows a link**: a linked snapshot is read as all others and otherwise left alone;
//!   `links` says what that means for each kind of link.
//!
//! In a bucket there is no lock: [`RunLock`] is one coordinator's for its run directory, which is always local. Of two
//! coordinators of one run with the same prefix the later one leads, by the [`Log`] of the journal; where both had workers for a
//! moment, these train the same bits and publish equal snapshots. Of two different runs the one that starts later finds the other's snapshot
//! and is refused; started at the same moment, each step's snapshot is that of the first to publish it, the other's
//! write fails as [`Error::OtherSnapshot`], and the next start of either is refused.
//!
//! The modules in reading order:
//! - [`snapshot`]: a run's state on the host, and the way of its parts to bytes and back.
//! - [`manifest`]: the file that makes a snapshot.
//! - [`store`]: opening, and the few things that are asked of an object store.
//! - [`witness`]: whether two processes see the same store.
//! - `write`, `read`, `keep`: the methods of [`Store`]: publishing, finding and loading, retention.
//! - `links`: links to other disks, and what is deleted or moved as a whole folder.
//! - [`log`]: numbered objects of which each is created once, for the copy of the journal.
//! - [`lock`]: one live coordinator for a run directory, and moving an old run aside.
//! - [`error`]: everything that can go wrong.

#![forbid(unsafe_code)]

pub mod error;
pub mod lock;
pub mod log;
pub mod manifest;
pub mod snapshot;
pub mod store;
pub mod witness;

#[cfg(test)]
mod fuzz;
mod keep;
mod layout;
mod links;
mod read;
mod write;

pub use error::Error;
pub use keep::LEFTOVER_AGE;
pub use lock::{Holder, RunLock, host_name, move_aside};
pub use log::{Listing, Log};
pub use lsgan_spec::{NamedTensor, Part, TensorData};
pub use manifest::{Manifest, PartEntry};
pub use read::{Entry, Found, Skipped};
pub use snapshot::{Snapshot, parse_part};
pub use store::Store;
pub use write::FinalPart;
