//! Certificates: who a process is.
//!
//! Not here: connections (`wire`), what a role may do (`coordinator`), the ring of workers (`collective`).
//! Start at [`Identity`], which is what a process is told with `--tls`.
//!
//! - [`role`]: coordinator, worker, operator, viewer, and how a certificate says them.
//! - [`files`]: where certificate, key and authority are.
//! - [`identity`]: them as rustls takes them, read again when the files change.
//! - `verify`: what a client checks of a coordinator's certificate. `facts`: what is written in one.
//! - [`join`]: the lesser way for a worker, without a certificate of its own. [`credential`]: either of both.
//! - [`mod@explain`]: what failed, for people.
//! - [`authority`]: certificates for those without an authority of their own: `lsgan certs`.

#![forbid(unsafe_code)]

pub mod authority;
pub mod credential;
pub mod error;
pub mod explain;
mod facts;
pub mod files;
pub mod identity;
pub mod join;
pub mod role;
mod verify;

pub use authority::Authority;
pub use credential::Credential;
pub use error::Error;
pub use explain::explain;
pub use files::Files;
pub use identity::{Identity, roles_of};
pub use join::JoinToken;
pub use role::Role;
