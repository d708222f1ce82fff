//! Servers of tests that show a certificate.

use std::path::Path;
use std::sync::Arc;

use lsgan_certs::authority::{Authority, Wanted};
use lsgan_certs::{Files, Role};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// One for 127.0.0.1, by an authority that is made in `dir`.
pub fn by_an_authority_in(dir: &Path) -> ServerConfig {
    let names = vec!["127.0.0.1".parse().expect("a name")];
    Authority::init(dir, &Wanted { names, days: 1 }).expect("an empty directory");
    let files = Files::in_folder(&dir.join(Role::Coordinator.word()));
    let certificate = CertificateDer::from_pem_file(&files.certificate).expect("it was written");
    let key = PrivateKeyDer::from_pem_file(&files.key).expect("it was written");
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks them")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they fit")
}
