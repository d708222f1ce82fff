//! Where certificate, key and authority are: [`Files`].

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::{Error, Role};

/// The names of the files in a directory, as cert-manager and Kubernetes have them.
pub(crate) const AUTHORITY: &str = "ca.crt";
pub(crate) const CERTIFICATE: &str = "tls.crt";
pub(crate) const KEY: &str = "tls.key";

/// The largest file that is read: a bundle of hundreds of authorities has less.
const LEN_BYTES_MAX: u64 = 4 << 20;

/// Three files in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Certificates of the authorities that are believed; several while one takes another's place.
    pub authority: PathBuf,
    /// The certificate, followed by those between it and an authority.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Files {
    /// What `--tls` says: `CA,CERT,KEY`, or a directory with `ca.crt`, `tls.crt` and `tls.key`, which may also be in a folder
    /// of it that is named after one of `roles`. The first that is there is taken.
    ///
    /// # Errors
    /// It is neither.
    pub fn of(text: &str, roles: &[Role]) -> Result<Self, Error> {
        if let [authority, certificate, key] = text.split(',').collect::<Vec<_>>()[..] {
            let [authority, certificate, key] = [authority, certificate, key].map(PathBuf::from);
            return Ok(Self { authority, certificate, key });
        }
        let dir = Path::new(text);
        if !dir.is_dir() {
            return Err(Error::NoFiles { text: text.to_owned() });
        }
        let folders = std::iter::once(dir.to_owned()).chain(roles.iter().map(|role| dir.join(role.word())));
        let found = folders.into_iter().find(|folder| folder.join(CERTIFICATE).is_file());
        found.map(|folder| Self::in_folder(&folder)).ok_or_else(|| {
            let folders: Vec<_> = roles.iter().map(|role| role.word()).collect();
            Error::NoCertificate { dir: dir.to_owned(), folders: folders.join(" or ") }
        })
    }

    /// Those of a folder.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            authority: folder.join(AUTHORITY),
            certificate: folder.join(CERTIFICATE),
            key: folder.join(KEY),
        }
    }

    pub(crate) fn all(&self) -> [&Path; 3] {
        [&self.authority, &self.certificate, &self.key]
    }
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    // What is no plain file says no length, and a file may grow.
    let all = File::open(path).and_then(|file| file.take(LEN_BYTES_MAX + 1).read_to_end(&mut bytes));
    all.map_err(Error::io(path))?;
    if bytes.len() as u64 > LEN_BYTES_MAX {
        return Err(Error::invalid(
            path,
            format!("it has more than {LEN_BYTES_MAX} bytes, which are not read"),
        ));
    }
    Ok(bytes)
}

/// The certificates of a file, at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| Error::invalid(path, format!("it is no PEM: {error}")))?;
    if found.is_empty() {
        return Err(Error::invalid(path, "it has no certificate; PEM is read, with BEGIN CERTIFICATE"));
    }
    Ok(found)
}

pub(crate) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let text = read(path)?;
    // Of what is wrong with a key nothing is said that might be part of it.
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
        Error::invalid(path, "it has no private key; PEM is read, with BEGIN PRIVATE KEY, not encrypted")
    })
}

pub(crate) fn authorities(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| Error::invalid(path, format!("it is no authority's: {error}")))?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_without_an_end_is_not_read_to_it() {
        let endless = read(Path::new("/dev/zero")).expect_err("it has no end");
        assert!(matches!(endless, Error::Invalid { .. }), "{endless}");
    }

    #[test]
    fn a_directory_is_searched_for_the_role_and_three_files_are_taken_as_they_are() {
        let dir = tempfile::tempdir().expect("a directory");
        let text = dir.path().to_str().expect("UTF-8");
        let files = Files::of("a,b,c", &[]).expect("three files");
        assert_eq!(files.all(), [Path::new("a"), Path::new("b"), Path::new("c")]);
        assert!(matches!(Files::of("a,b", &[]), Err(Error::NoFiles { .. })));
        let none = Files::of(text, &[Role::Operator, Role::Viewer]).expect_err("it is empty");
        assert!(none.to_string().contains("no folder operator or viewer"), "{none}");
        fs::create_dir(dir.path().join("viewer")).expect("a folder");
        fs::write(dir.path().join("viewer/tls.crt"), "").expect("a file");
        let found = Files::of(text, &[Role::Operator, Role::Viewer]).expect("the viewer's");
        assert_eq!(found.key, dir.path().join("viewer/tls.key"));
        fs::write(dir.path().join("tls.crt"), "").expect("a file");
        let found = Files::of(text, &[Role::Operator]).expect("right there");
        assert_eq!(found.authority, dir.path().join("ca.crt"));
    }
}
