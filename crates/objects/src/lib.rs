//! Opens object stores by URL, retries requests, and classifies failures.
//!
//! Not here: the objects in a store (`snapshots` for snapshots, `data` for data sets), and stores in directories, which
//! those two crates open themselves.
//! Start at [`BucketUrl::parse`] and [`open`]; [`failure`] describes what a store answers when a request fails.
//!
//! - [`bucket_url`]: parses a URL strictly and refuses secrets in it.
//! - [`settings`]: endpoint, region and credentials from the environment and the AWS files.
//! - `profile`: reads the AWS files.
//! - `secrets`: checks values that become headers; removes secrets from messages.
//! - [`s3`]: the S3 client with its retries.
//! - [`failure`]: the kind of a failed request, and advice.
//! - [`pieces`]: transfers objects that are too large for one request.
//! - [`error`]: errors of opening a store.
//!
//! gs:// and az:// are not supported: each has its own credentials, which no test here can cover. Google's store speaks
//! S3 with HMAC keys and `AWS_ENDPOINT_URL=https://storage.googleapis.com`.

#![forbid(unsafe_code)]

pub mod bucket_url;
pub mod error;
pub mod failure;
pub mod pieces;
mod profile;
pub mod s3;
mod secrets;
pub mod settings;

pub use bucket_url::{BucketUrl, is_url};
pub use error::Error;
pub use failure::{FailureKind, StoreFailure};
pub use lsgan_spec::without_user;
pub use s3::{RetryLimit, open};
