//! Opens object stores by URL, retries requests, and classifies failures.
//!
//! Not here: the objects in a store (`snapshots` for snapshots, `data` for data sets), and stores in directories, which
//! those two crates open themselves.
//! Start at [`BucketUrl::parse`] and [`open`]; [`failure`] describes what a store answers when a request fails.
//!
//! - [`bucket_url`]: parses a URL strictly and refuses secrets in it.
//! - [`environment`]: the variables that settings and credentials come from.
//! - [`opening`]: which client a URL has, and its retries.
//! - `s3`, `google`, `azure`: endpoint and credentials of each kind of store, as its own tools find them.
//! - `machine`: credentials that the machine or the pod has.
//! - `retrying`: retries what `object_store` does not.
//! - `secrets`: checks values that become headers; removes secrets from messages.
//! - [`failure`]: the kind of a failed request, and advice.
//! - [`pieces`]: transfers objects that are too large for one request.
//! - [`error`]: errors of opening a store.

#![forbid(unsafe_code)]

mod azure;
pub mod bucket_url;
pub mod environment;
pub mod error;
pub mod failure;
mod google;
mod machine;
pub mod opening;
pub mod pieces;
mod retrying;
mod s3;
mod secrets;

pub use bucket_url::{BucketUrl, Scheme, is_url};
pub use environment::Environment;
pub use error::Error;
pub use failure::{FailureKind, StoreFailure};
pub use lsgan_spec::without_user;
pub use opening::{RetryLimit, open, open_with};
