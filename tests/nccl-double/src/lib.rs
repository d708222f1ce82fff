//! A test double of libnccl: the functions that `lsgan-collective` uses, over local sockets and host memory.
//!
//! It is a part of the tests and never shipped; it cannot read a GPU's memory, but that of `tests/null-gpu`. It is loaded by its path, like the real
//! library. Ranks may be in one process or in several on one host. It counts misuses: the use of a communicator that is
//! gone, and a call while another is in progress.
//!
//! Not here: speed, several streams for a communicator, types and operations that are not used.
//!
//! - [`faults`]: the faults that a test can set.
//! - [`stream`]: a stream is a thread that runs jobs in order; `double_stream_*` replace CUDA's functions.
//! - `communicator`: one rank. `hub`: connects the ranks, in the process that made the id.
//! - [`exports`]: the functions with their C names.

mod communicator;
pub mod exports;
pub mod faults;
mod hub;
pub mod stream;
