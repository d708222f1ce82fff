//! A test double of libnccl: the few functions that `lsgan-collective` uses, over local sockets and host memory.
//!
//! A part of the tests and never shipped: a GPU's memory it could not even read. It is loaded as a real libnccl is, by
//! its path. Ranks may live in one process or in several on one host. It is as strict as the real one is dangerous:
//! using a communicator that is gone, or calling while another call is in progress, is counted as misuse.
//!
//! Not here: speed, more than one stream for a communicator, other types and operations than are used.
//!
//! - [`faults`]: what can be made to go wrong.
//! - [`stream`]: a stream is a thread that does one thing after another; `double_stream_*` are what CUDA would offer.
//! - `communicator`: one rank's end. `hub`: what connects the ranks, in the process that made the id.
//! - [`exports`]: the functions with their C names.

mod communicator;
pub mod exports;
pub mod faults;
mod hub;
pub mod stream;
