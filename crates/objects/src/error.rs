//! Why a store cannot be opened, each with its place and what to do.

use std::path::PathBuf;

/// Why a store could not be opened. Nothing has been asked of it yet.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The scheme is none of ours.
    #[error(
        "`{url}` has the scheme `{scheme}`; accepted are s3:// and file:// URLs, and paths. Write s3://BUCKET/PREFIX."
    )]
    Scheme { url: String, scheme: String },
    /// There is a user or a password in the URL. It is not shown.
    #[error(
        "the URL {shown} has a user or a password before its `@`; no secrets in a run's file, which is kept in snapshots \
         and journals. Write s3://BUCKET/PREFIX, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment."
    )]
    Secret { shown: String },
    /// The URL names no bucket, or no object that can be.
    #[error("`{url}` is not a usable URL: {problem}. Write s3://BUCKET/PREFIX.")]
    Url { url: String, problem: String },
    /// A variable of the environment has a value that cannot be.
    #[error(
        "the environment's {name} is `{value}`: {problem}. Accepted: {accepted}. Set it so, or unset it."
    )]
    Variable {
        name: String,
        /// Its value; never a secret.
        value: String,
        problem: String,
        accepted: &'static str,
    },
    /// Half of a pair of keys.
    #[error("{place} has {has} but no {lacks}; both are needed. Set both, or neither.")]
    HalfAKey { place: String, has: &'static str, lacks: &'static str },
    /// A file of credentials or settings cannot be read.
    #[error("{}: {problem}. Accepted is the form that `aws configure` writes. Mend the file, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.", path.display())]
    File { path: PathBuf, problem: String },
    /// The profile is in neither file.
    #[error("AWS_PROFILE is `{profile}`, which is neither in {} nor in {}; there are: {known}. Set it to one of them.", credentials.display(), config.display())]
    NoProfile { profile: String, credentials: PathBuf, config: PathBuf, known: String },
    /// The profile gets its keys in a way that is not ours.
    #[error(
        "the profile `{profile}` gets its credentials by `{way}`; accepted are aws_access_key_id and \
         aws_secret_access_key. Put them into the environment with \
         eval \"$(aws configure export-credentials --profile {profile} --format env)\""
    )]
    ProfileWay { profile: String, way: &'static str },
    /// There are no credentials anywhere.
    #[error(
        "there are no credentials for `{bucket}`: AWS_ACCESS_KEY_ID is not set, {} has no profile `{profile}`, and \
         AWS_EC2_METADATA_DISABLED forbids to ask the machine. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
         AWS_SKIP_SIGNATURE=true for a public bucket.",
        credentials.display()
    )]
    NoCredentials { bucket: String, credentials: PathBuf, profile: String },
    /// The client cannot be built from these settings.
    #[error(
        "the client for `{bucket}` cannot be made: {problem}. Check the AWS_… variables of the environment, and that the system has its certificates (ca-certificates)."
    )]
    Client { bucket: String, problem: String },
}
