//! All-reduce and broadcast between workers, abortable at once.
//!
//! Not here: who is in a group and when it ends (`control`, told by the coordinator), tensors (`train`), and
//! security: a run's token keeps runs apart, it does not keep an attacker out.
//! Start at [`Group`]; then [`tcp::connect`] for how one comes to be.
//!
//! - [`group`]: the trait, and what one call is.
//! - [`abort`]: how a call is ended from another thread.
//! - [`error`]: how a call fails. A group that failed once is over; the run goes on in its next generation.
//! - [`facts`]: what errors name. `people`: the same without the words of the inside.
//! - [`tcp`]: a ring of TCP connections between the workers themselves.
//! - [`nccl`]: NVIDIA's library between GPUs, opened at run time. Every `unsafe` of this crate is in there.
//! - [`contract`]: what every implementation must do, as tests that any of them can run.
//!
//! Another implementation is one file like `tcp`, and one line in the table of `tests/contract.rs`.

#[cfg(target_endian = "big")]
compile_error!(
    "the wire carries little-endian values as they lie in memory; a big-endian host would have to convert them"
);

pub mod abort;
pub mod contract;
pub mod error;
pub mod facts;
pub mod group;
pub mod nccl;
mod people;
pub mod tcp;

pub use abort::Aborter;
pub use error::GroupError;
pub use facts::{LossCause, Missing, Peer, Refusal};
pub use group::{Call, CallKind, Group};
