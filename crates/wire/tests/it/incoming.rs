//! What a server accepts: real sockets, real certificates.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lsgan_certs::authority::{Authority, Wanted};
use lsgan_certs::{Credential, Files, Identity, Role};
use lsgan_wire::{Accepted, Address, Incoming, Limits, dial};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_stream::StreamExt;

const PATIENCE: Duration = Duration::from_secs(20);

async fn serve(identity: Option<Arc<Identity>>, limits: Limits) -> (Incoming, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    (Incoming::new(listener, identity, Arc::default(), limits), address)
}

async fn next(incoming: &mut Incoming) -> Accepted {
    let next = timeout(PATIENCE, incoming.next()).await.expect("it comes in time");
    next.expect("the server goes on").expect("a connection is no error")
}

/// An authority whose coordinator's certificate names localhost, and what it makes.
fn authority(dir: &Path) -> (Authority, Arc<Identity>) {
    let names = vec!["localhost".parse().expect("a name")];
    let authority = Authority::init(dir, &Wanted { names, days: 1 }).expect("an empty directory");
    (authority, Identity::open(Files::in_folder(&dir.join("coordinator"))).expect("it was made"))
}

/// Connects with the certificate in this folder, whatever is wrong with it; what the server has to say to it.
async fn dial_with(folder: &Path, address: SocketAddr) -> std::io::Result<Vec<u8>> {
    let files = Files::in_folder(folder);
    let certificate = CertificateDer::from_pem_file(&files.certificate).expect("it was written");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.authority).expect("it was written")).expect("it is one");
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("ring speaks it")
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![certificate],
            PrivateKeyDer::from_pem_file(&files.key).expect("it was written"),
        )
        .expect("they fit");
    let socket = TcpStream::connect(address).await.expect("it listens");
    let host = ServerName::try_from("localhost").expect("a name");
    let mut stream = TlsConnector::from(Arc::new(config)).connect(host, socket).await?;
    timeout(PATIENCE, stream.fill_buf()).await.expect("it answers in time").map(<[u8]>::to_vec)
}

#[tokio::test]
async fn a_server_knows_its_peers_by_their_certificates_and_refuses_one_that_has_expired() {
    let dir = tempfile::tempdir().expect("a directory");
    let (authority, identity) = authority(dir.path());
    let expired = dir.path().join("expired");
    authority.issue(Role::Worker, &Wanted { names: vec![], days: -1 }, Some(&expired)).expect("a new folder");
    let (mut incoming, address) = serve(Some(identity), Limits::default()).await;

    let refused = dial_with(&expired, address).await.expect_err("it has expired");
    let error =
        refused.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).expect("TLS says so");
    let text = lsgan_certs::explain(error).expect("there are words for it");
    assert!(text.contains("it has expired"), "{text}");

    let worker = dir.path().join("worker");
    let dialled = tokio::spawn(async move { dial_with(&worker, address).await });
    let mut accepted = next(&mut incoming).await;
    let roles = accepted_roles(&accepted);
    assert_eq!(roles, [Role::Worker]);
    accepted.write_all(b"hello").await.expect("it is open");
    accepted.flush().await.expect("it is open");
    assert_eq!(dialled.await.expect("no panic").expect("it is believed"), b"hello");
}

fn accepted_roles(accepted: &Accepted) -> Vec<Role> {
    use tonic::transport::server::Connected;
    accepted.connect_info().roles.expect("it was asked").iter().copied().collect()
}

#[tokio::test]
async fn who_speaks_no_tls_to_one_that_does_is_told_and_the_reverse() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_, identity) = authority(dir.path());
    let (_incoming, encrypted) = serve(Some(identity.clone()), Limits::default()).await;
    let (mut plain_incoming, plain) = serve(None, Limits::default()).await;
    let plainly: Address = format!("http://{encrypted}").parse().expect("an address");
    let refused = timeout(PATIENCE, dial(&plainly)).await.expect("in time").expect_err("it speaks TLS");
    assert!(refused.contains("speaks TLS"), "{refused}");

    let secretly: Address = format!("https://localhost:{}", plain.port()).parse().expect("an address");
    let secretly = secretly.by(Some(Credential::Certificate(identity))).expect("it has a certificate");
    let answering = tokio::spawn(async move {
        // As a server of HTTP/2 begins: with its settings.
        let mut accepted = next(&mut plain_incoming).await;
        accepted.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.expect("it is open");
        accepted
    });
    let refused = timeout(PATIENCE, dial(&secretly)).await.expect("in time").expect_err("it speaks no TLS");
    assert!(refused.contains("speaks no TLS"), "{refused}");
    drop(answering.await);
}

#[tokio::test]
async fn connections_are_bounded_and_places_come_back() {
    let limits = Limits { connections_max: 2, connections_per_address_max: 1 };
    let (mut incoming, address) = serve(None, limits).await;
    let connect = || async { TcpStream::connect(address).await.expect("it listens") };
    let (_first, _second) = (connect().await, connect().await);
    let accepted = (next(&mut incoming).await, next(&mut incoming).await);
    let mut third = connect().await;
    let hung_up = timeout(PATIENCE, third.read(&mut [0])).await.expect("at once");
    assert!(matches!(hung_up, Ok(0) | Err(_)), "there is no place: {hung_up:?}");
    drop(accepted.0);
    let _fourth = connect().await;
    next(&mut incoming).await;
}

#[tokio::test]
async fn who_does_not_say_all_that_a_client_says_first_is_hung_up_on() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let (mut incoming, address) = serve(None, Limits::default()).await;
    let mut waiting = Vec::new();
    for said in [0, 1, preface.len() - 1] {
        let mut client = TcpStream::connect(address).await.expect("it listens");
        let mut accepted = next(&mut incoming).await;
        client.write_all(&preface[..said]).await.expect("it is open");
        // All wait at the same time.
        waiting.push(tokio::spawn(async move {
            let mut heard = vec![0; said];
            accepted.read_exact(&mut heard).await.expect("it was said");
            let outcome = timeout(PATIENCE, accepted.read(&mut [0])).await;
            drop(client);
            (said, outcome)
        }));
    }
    for waits in waiting {
        let (said, outcome) = waits.await.expect("no panic");
        let outcome = outcome.unwrap_or_else(|_| panic!("{said} bytes hold a connection"));
        assert_eq!(outcome.expect_err("nothing was said").kind(), std::io::ErrorKind::TimedOut);
    }
}
