//! Join tokens: how a worker without a certificate shows that it may take part, and knows the coordinator: [`JoinToken`].
//!
//! A token is a word, `ID.SECRET.AUTHORITY` in hexadecimal. The coordinator keeps a hash of the secret. The last part is the
//! SHA-256 hash of the certificate that signs the coordinator's, as `openssl x509 -in ca.crt -outform der | sha256sum` prints
//! it: a token is shown to nobody who has no certificate of that authority.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::identity::HTTP2;
use crate::verify::CoordinatorVerifier;

const ID_BYTES: usize = 4;
/// Nobody guesses 128 bits.
const SECRET_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// What is hashed before a secret, so that the hash is of use for nothing else.
const SECRETS: &[u8] = b"lsgan: the secret of a join token\n";

/// What is wrong with a text that is to be a token. Nothing of the text is shown.
const NO_TOKEN: &str = "it is no join token: that is one line, ID.SECRET.AUTHORITY in hexadecimal, as `lsgan token create` prints it";

/// A token. Whoever has it may take part as a worker.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    id: [u8; ID_BYTES],
    secret: [u8; SECRET_BYTES],
    authority: [u8; HASH_BYTES],
}

impl JoinToken {
    /// A new token for the coordinators whose certificates this authority signs.
    ///
    /// # Errors
    /// The system has no random source.
    pub fn new(authority: &CertificateDer<'_>) -> Result<Self, String> {
        let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
        let random = SystemRandom::new();
        let filled = random.fill(&mut id).and_then(|()| random.fill(&mut secret));
        filled.map_err(|_| "the system has no random bytes".to_owned())?;
        Ok(Self { id, secret, authority: sha256(&[authority]) })
    }

    /// What tells it from others of the run, eight hexadecimal digits. It is no secret.
    #[must_use]
    pub fn id(&self) -> String {
        hex(&self.id)
    }

    /// What a coordinator keeps of it, in hexadecimal.
    #[must_use]
    pub fn secret_hash(&self) -> String {
        hex(&sha256(&[SECRETS, &self.secret]))
    }

    /// The token itself, for the one who is to have it.
    #[must_use]
    pub fn reveal(&self) -> String {
        [&self.id[..], &self.secret, &self.authority].map(hex).join(".")
    }

    /// How a process with this token makes connections: without a certificate of its own, to a coordinator of the authority.
    #[must_use]
    pub fn client(&self) -> Arc<ClientConfig> {
        let provider = Arc::new(default_provider());
        let servers = PinnedVerifier::new(self.authority, provider.clone());
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .expect("ring has what TLS 1.3 needs")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(servers))
            .with_no_client_auth();
        client.alpn_protocols = vec![HTTP2.to_vec()];
        client.resumption = Resumption::disabled();
        Arc::new(client)
    }
}

impl FromStr for JoinToken {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = || {
            let mut parts = text.trim().split('.');
            let mut part = || parts.next();
            let (id, secret, authority) = (part()?, part()?, part()?);
            let token = Self { id: unhex(id)?, secret: unhex(secret)?, authority: unhex(authority)? };
            parts.next().is_none().then_some(token)
        };
        parsed().ok_or_else(|| NO_TOKEN.to_owned())
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({})", self.id())
    }
}

fn sha256(parts: &[&[u8]]) -> [u8; HASH_BYTES] {
    digest(&SHA256, &parts.concat()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_hex = text.len() == 2 * N && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok();
    let bytes: Vec<u8> = if is_hex { (0..N).filter_map(byte).collect() } else { Vec::new() };
    bytes.try_into().ok()
}

/// Believes a coordinator's certificate that was signed by the one authority whose hash is known. A coordinator with tokens
/// shows that authority's certificate behind its own.
#[derive(Debug)]
struct PinnedVerifier {
    authority: [u8; HASH_BYTES],
    /// Of no authority until the one with that hash is shown.
    servers: CoordinatorVerifier,
}

impl PinnedVerifier {
    fn new(authority: [u8; HASH_BYTES], provider: Arc<CryptoProvider>) -> Self {
        Self { authority, servers: CoordinatorVerifier { roots: Arc::new(RootCertStore::empty()), provider } }
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = others.iter().find(|other| sha256(&[other]) == self.authority).ok_or_else(|| {
            Error::General(
                "what answers there is not of the authority that the join token names: it is another coordinator, or its \
                 authority was exchanged after the token was made. `lsgan token create` makes a new one"
                    .to_owned(),
            )
        })?;
        let mut roots = RootCertStore::empty();
        roots.add(shown.clone().into_owned())?;
        let servers = CoordinatorVerifier { roots: Arc::new(roots), ..self.servers.clone() };
        servers.verify_server_cert(certificate, others, host, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.servers.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.servers.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.servers.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::{Authority, Wanted};
    use crate::files;

    #[test]
    fn a_token_is_a_word_and_no_other_text_is_one() {
        let authority = CertificateDer::from(vec![1, 2, 3]);
        let token = JoinToken::new(&authority).expect("the system has random bytes");
        let text = token.reveal();
        assert_eq!(text.parse::<JoinToken>().as_ref(), Ok(&token));
        assert_eq!(format!(" {text}\n").parse::<JoinToken>().as_ref(), Ok(&token), "as a file has it");
        assert_eq!(format!("{token:?}"), format!("JoinToken({})", &text[..8]), "logs have no secret");
        assert!(!token.secret_hash().contains(text.split('.').nth(1).expect("the secret")));
        let others = ["", "..", &text[1..], &format!("{text}.00"), &text.replace('.', "-"), &"é".repeat(53)];
        for other in others {
            let why = other.parse::<JoinToken>().expect_err(other);
            assert!(why.contains("lsgan token create") && (other.len() < 3 || !why.contains(other)), "{why}");
        }
    }

    #[test]
    fn a_token_is_shown_to_coordinators_of_its_authority_alone() {
        let [ours, theirs] = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        for dir in [&ours, &theirs] {
            Authority::init(dir.path(), &Wanted { names: Vec::new(), days: 1 }).expect("an empty directory");
        }
        let one = |dir: &tempfile::TempDir, name: &str| {
            files::certificates(&dir.path().join(name)).expect("it was made").remove(0)
        };
        let (authority, host) = (one(&ours, "ca.crt"), ServerName::try_from("box").expect("a name"));
        let token = JoinToken::new(&authority).expect("the system has random bytes");
        let pinned = PinnedVerifier::new(token.authority, Arc::new(default_provider()));
        let believed = |certificate: &CertificateDer<'_>, others: &[CertificateDer<'_>]| {
            pinned.verify_server_cert(certificate, others, &host, &[], UnixTime::now()).map(drop)
        };
        let coordinator = one(&ours, "coordinator/tls.crt");
        believed(&coordinator, std::slice::from_ref(&authority)).expect("it is of this authority");
        believed(&coordinator, &[]).expect_err("it does not show by whom it is signed");
        believed(&one(&ours, "worker/tls.crt"), std::slice::from_ref(&authority)).expect_err("a worker's");
        let stranger = one(&theirs, "coordinator/tls.crt");
        believed(&stranger, &[one(&theirs, "ca.crt")]).expect_err("another authority");
        let both = [authority, one(&theirs, "ca.crt")];
        believed(&stranger, &both).expect_err("it shows ours, which has not signed it");
    }
}
