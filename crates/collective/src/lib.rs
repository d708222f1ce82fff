//! All-reduce and broadcast between workers, abortable at once.
//!
//! Not here: the members of a group and its end (the coordinator decides both, in `control`), tensors (`train`), and
//! where keys come from. Over TCP only who knows a generation's key is a member; NCCL has no such thing.
//! Start at [`Group`]; then [`tcp::connect`], which forms one.
//!
//! - [`group`]: the trait, and the description of a call.
//! - [`abort`]: ends a call from another thread.
//! - [`error`]: why a call fails. A group that failed once is over; the run continues in its next generation.
//! - [`facts`]: parts of errors. `people`: messages for users, without ranks and calls.
//! - [`tcp`]: a ring of TCP connections between the workers.
//! - [`nccl`]: NVIDIA's library between GPUs, opened at run time. It holds every `unsafe` of this crate.
//! - [`contract`]: tests that every implementation must pass.
//!
//! A new implementation is a module like `tcp` and a row in the table of `tests/implementations.rs`.

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
