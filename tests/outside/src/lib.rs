//! What stands outside of a run in tests.
//!
//! - [`server`]: a server to which JSON is posted, as a webhook's or Kubeflow Trainer's.
//! - [`certified`]: the certificate that such a server shows.
//! - [`http2`]: frames by hand, for clients that no library is.

#![forbid(unsafe_code)]

pub mod certified;
pub mod http2;
pub mod server;

pub use server::{DEADLINE, Posted, Server};
