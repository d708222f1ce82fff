//! Object stores by URL: where one is, how it is reached, and what its answers mean.
//!
//! Not here: what is kept in a store (`snapshots` for snapshots, `data` for data sets), and stores that are
//! directories, which those two open themselves.
//! Start at [`Place::parse`] and [`open`]; then [`answer`] for what is told when a store does not do what it is asked.
//!
//! - [`place`]: a URL, read strictly. No secrets in it.
//! - [`settings`]: endpoint, region and credentials, as the AWS tools find them: environment, then the usual files.
//! - `profile`: those files.
//! - `secrets`: values that become headers, and texts that may hold a secret.
//! - [`s3`]: the client, with its patience.
//! - [`answer`]: what a store's failure means, and what to do about it.
//! - [`pieces`]: objects too large for one request.
//! - [`error`]: why a store cannot be opened.
//!
//! gs:// and az:// are left out: each brings its own way to credentials, which nothing here could try. Google's store
//! speaks S3 with HMAC keys and `AWS_ENDPOINT_URL=https://storage.googleapis.com`.

pub mod answer;
pub mod error;
pub mod pieces;
pub mod place;
mod profile;
pub mod s3;
mod secrets;
pub mod settings;

pub use answer::{Answer, Meaning};
pub use error::Error;
pub use place::{Place, is_url};
pub use s3::{Patience, open};
pub use secrets::without_user;
