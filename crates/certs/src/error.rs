//! Why certificates cannot be used or made.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why certificates cannot be used or made.
#[derive(Debug, Error)]
pub enum Error {
    /// `--tls` is neither a directory nor three files.
    #[error("`{text}` is neither a directory nor CA,CERT,KEY: three files, with commas between them")]
    NoFiles { text: String },

    /// A directory without certificates.
    #[error(
        "{} has no tls.crt, and no folder {folders} that has one. Name a directory with ca.crt, tls.crt and tls.key, or the \
         three files as CA,CERT,KEY. `lsgan certs init DIR` makes them.",
        dir.display()
    )]
    NoCertificate { dir: PathBuf, folders: String },

    /// The system does not read or write it.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },

    /// What is in it is not what it is to be.
    #[error("{}: {why}", path.display())]
    Invalid { path: PathBuf, why: String },

    /// It would be overwritten.
    #[error("{} is there, and is not overwritten. {instead}", path.display())]
    Exists { path: PathBuf, instead: &'static str },

    /// A name that no host can have.
    #[error("`{name}` is neither an IP address nor a DNS name")]
    NoName { name: String },

    /// The certificate is no certificate of this authority.
    #[error("{} was not issued by the authority in {}: name its own with --ca DIR", path.display(), ca.display())]
    OtherAuthority { path: PathBuf, ca: PathBuf },

    /// rcgen's.
    #[error("the certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn invalid(path: &Path, why: impl Into<String>) -> Self {
        Self::Invalid { path: path.to_owned(), why: why.into() }
    }
}
