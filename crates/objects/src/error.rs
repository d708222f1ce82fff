//! Why a store cannot be opened, each with its place and what to do.

use std::path::PathBuf;

use crate::Scheme;

/// Why a store could not be opened. Nothing has been asked of it yet.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The scheme is none of ours.
    #[error(
        "`{url}` has the scheme `{scheme}`; accepted are s3://, gs://, az:// and file:// URLs, and paths. Write s3://BUCKET/PREFIX."
    )]
    Scheme { url: String, scheme: String },
    /// There is a user or a password in the URL. It is not shown.
    #[error(
        "the URL {shown} has a user or a password before its `@`; no secrets in a run's file, which is kept in snapshots \
         and journals. Write {}, and {} in the environment.", scheme.form(), scheme.how_to_give_keys()
    )]
    Secret { shown: String, scheme: Scheme },
    /// The URL names no bucket, or no object that can be.
    #[error("`{url}` is not a usable URL: {problem}. Write {}.", scheme.form())]
    Url { url: String, problem: String, scheme: Scheme },
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
    /// A file of Google's credentials cannot be used.
    #[error(
        "{place} {problem}. Accepted are the key of a service account, and what `gcloud auth application-default login` writes. Mend it, or set GOOGLE_APPLICATION_CREDENTIALS to another file."
    )]
    GoogleFile {
        /// The file's path, or the variable that has its text.
        place: String,
        problem: String,
    },
    /// An `az://` URL names no account.
    #[error(
        "`{container}` does not say which storage account it is of: AZURE_STORAGE_ACCOUNT_NAME is not set. Set it, or AZURE_STORAGE_CONNECTION_STRING."
    )]
    NoAccount { container: String },
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
        "there are no credentials for `{bucket}`: {looked}. To give some, {}; for a public bucket, set {skip}.",
        scheme.how_to_give_keys()
    )]
    NoCredentials {
        bucket: String,
        scheme: Scheme,
        /// Where they were looked for.
        looked: String,
        skip: &'static str,
    },
    /// The client cannot be built from these settings.
    #[error(
        "the client for `{bucket}` cannot be made: {problem}. Check the {variables} variables of the environment, and that the system has its certificates (ca-certificates)."
    )]
    Client { bucket: String, problem: String, variables: &'static str },
}
