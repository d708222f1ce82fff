//! Who a process is, and whom it believes: [`Identity`].

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::facts::Facts;
use crate::verify::CoordinatorVerifier;
use crate::{Error, Files, Role, files};

/// The protocol that is spoken over TLS.
pub(crate) const HTTP2: &[u8] = b"h2";

/// Of a certificate that ends within so long the log warns.
const ENDS_SOON_S: i64 = 7 * 24 * 60 * 60;

/// A certificate with its key, and the authorities that are believed. Files that change are read again for the next
/// connection; while they are half written, or wrong, what was read before stays.
pub struct Identity {
    files: Files,
    state: Mutex<State>,
}

struct State {
    /// Of the files when they were read last, well or not.
    stamps: Stamps,
    configs: Configs,
}

/// What tells two states of the files apart: device, inode, length, and time of change in seconds and nanoseconds.
type Stamps = [Option<(u64, u64, u64, i64, i64)>; 3];

#[derive(Clone)]
struct Configs {
    server: Arc<ServerConfig>,
    /// Takes clients without a certificate too.
    open: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    /// The one that has signed the certificate, where that is among those that are believed.
    authority: Option<CertificateDer<'static>>,
}

impl Identity {
    /// Reads the files.
    ///
    /// # Errors
    /// A file that is missing or is not what it is to be; a key that is not the certificate's; a certificate that is not
    /// valid today, or says no role.
    pub fn open(files: Files) -> Result<Arc<Self>, Error> {
        let stamps = stamps(&files);
        let configs = load(&files)?;
        Ok(Arc::new(Self { files, state: Mutex::new(State { stamps, configs }) }))
    }

    /// For the next connection that is accepted: the client must have a certificate of the authority.
    #[must_use]
    pub fn server(&self) -> Arc<ServerConfig> {
        self.configs().server
    }

    /// The same where a client may be without a certificate: it is to show a join token ([`crate::JoinToken`]).
    #[must_use]
    pub fn server_for_tokens(&self) -> Arc<ServerConfig> {
        self.configs().open
    }

    /// The authority's certificate that has signed this one; none where it is not among those in `ca.crt`.
    #[must_use]
    pub fn authority(&self) -> Option<CertificateDer<'static>> {
        self.configs().authority
    }

    /// For the next connection that is made: the server must have a coordinator's certificate of the authority.
    #[must_use]
    pub fn client(&self) -> Arc<ClientConfig> {
        self.configs().client
    }

    fn configs(&self) -> Configs {
        let mut state = self.state.lock().expect("nothing panics while the files are read");
        let stamps = stamps(&self.files);
        if state.stamps != stamps {
            match load(&self.files) {
                Ok(configs) => {
                    state.configs = configs;
                    tracing::info!(certificate = %self.files.certificate.display(), "the certificate was read again");
                }
                Err(error) => {
                    tracing::warn!("the changed certificate is not used, that from before is: {error}");
                }
            }
            state.stamps = stamps;
        }
        state.configs.clone()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.files.certificate.display())
    }
}

fn stamps(files: &Files) -> Stamps {
    files.all().map(|path| {
        let found = fs::metadata(path).ok()?;
        Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
    })
}

fn load(files: &Files) -> Result<Configs, Error> {
    let (chain, key) = (files::certificates(&files.certificate)?, files::key(&files.key)?);
    let roots = Arc::new(files::authorities(&files.authority)?);
    check(files, &Facts::of(&chain[0]).map_err(|why| Error::invalid(&files.certificate, why))?)?;
    let provider = Arc::new(ring::default_provider());
    let wrong = |error: &dyn fmt::Display| Error::invalid(&files.certificate, error.to_string());

    let clients = || WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
    let invalid = |error: VerifierBuilderError| Error::invalid(&files.authority, error.to_string());
    let authority = signer(&chain, &files::certificates(&files.authority)?, &provider);
    // Who has a join token knows the authority by its hash alone, and has to be shown it.
    let shown: Vec<_> = chain.iter().chain(&authority).cloned().collect();
    let server = |clients| {
        server_config(&provider, clients, (shown.clone(), key.clone_key())).map_err(|error| wrong(&error))
    };
    let closed = server(clients().build().map_err(invalid)?)?;
    let open = server(clients().allow_unauthenticated().build().map_err(invalid)?)?;

    let mut client = client_config(&provider, roots.clone())
        .map_err(|error| wrong(&error))?
        .with_client_auth_cert(chain, key)
        .map_err(|error| wrong(&error))?;
    client.alpn_protocols = vec![HTTP2.to_vec()];
    client.resumption = Resumption::disabled();
    Ok(Configs { server: closed, open, client: Arc::new(client), authority })
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    clients: Arc<dyn ClientCertVerifier>,
    (chain, key): (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)?;
    server.alpn_protocols = vec![HTTP2.to_vec()];
    // A connection that is resumed is not asked for its certificate again, which may have ended meanwhile.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok(Arc::new(server))
}

/// Which of these authorities has signed the first certificate of a chain.
fn signer(
    chain: &[CertificateDer<'static>],
    authorities: &[CertificateDer<'static>],
    provider: &CryptoProvider,
) -> Option<CertificateDer<'static>> {
    let leaf = ParsedCertificate::try_from(&chain[0]).ok()?;
    let algorithms = provider.signature_verification_algorithms.all;
    let has_signed = |authority: &&CertificateDer<'static>| {
        let mut roots = RootCertStore::empty();
        roots.add((*authority).clone()).is_ok()
            && verify_server_cert_signed_by_trust_anchor(
                &leaf,
                &roots,
                &chain[1..],
                UnixTime::now(),
                algorithms,
            )
            .is_ok()
    };
    authorities.iter().find(has_signed).cloned()
}

type NoCertificateYet = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn client_config(
    provider: &Arc<CryptoProvider>,
    roots: Arc<rustls::RootCertStore>,
) -> Result<NoCertificateYet, rustls::Error> {
    let servers = CoordinatorVerifier { roots, provider: provider.clone() };
    Ok(ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(servers)))
}

/// What the user can see to at once. The other side checks the same.
fn check(files: &Files, facts: &Facts) -> Result<(), Error> {
    let path = &files.certificate;
    if facts.roles.is_empty() {
        return Err(Error::invalid(
            path,
            format!(
                "it says no role. One of these URIs must be among its alternative names: {}",
                Role::ALL.map(Role::uri).join(", ")
            ),
        ));
    }
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let now_s = i64::try_from(now_s).unwrap_or(i64::MAX);
    let (begin_s, end_s) = facts.valid_s;
    if now_s > end_s {
        return Err(Error::invalid(
            path,
            "it has expired; renew it, with `lsgan certs renew FILE` or by its authority",
        ));
    }
    if now_s < begin_s {
        return Err(Error::invalid(path, "it is not valid yet; check the clock of this host"));
    }
    if end_s - now_s < ENDS_SOON_S {
        tracing::warn!(certificate = %path.display(), "the certificate expires in {} h: renew it", (end_s - now_s) / 3600);
    }
    Ok(())
}

/// The roles that a certificate says, which was checked before.
#[must_use]
pub fn roles_of(certificate: &CertificateDer<'_>) -> BTreeSet<Role> {
    Facts::of(certificate).map(|facts| facts.roles).unwrap_or_default()
}
