//! A server to which alerts are posted, over HTTP or HTTPS, or which says nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use lsgan_certs::authority::{Authority, Wanted};
use lsgan_certs::{Files, Role};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::client::runtime;
use crate::wait::until;

/// What came: the whole head of each request, and its body.
type Posted = Arc<Mutex<Vec<(String, Value)>>>;

/// How it answers.
enum Manner {
    Http,
    Https(TlsAcceptor),
    /// Not at all.
    Silent,
}

/// A server at a free port of 127.0.0.1. Dropping it closes it.
pub struct Hook {
    address: SocketAddr,
    scheme: &'static str,
    posted: Posted,
    accepting: JoinHandle<()>,
}

impl Hook {
    pub fn http() -> Self {
        Self::start("http", Manner::Http)
    }

    /// One whose certificate is of an authority that is made in `folder`, in the file `ca.crt`.
    pub fn https(folder: &Path) -> Self {
        let names = vec!["127.0.0.1".parse().expect("a name")];
        Authority::init(folder, &Wanted { names, days: 1 }).expect("an empty folder");
        let files = Files::in_folder(&folder.join(Role::Coordinator.word()));
        let certificate = CertificateDer::from_pem_file(&files.certificate).expect("it was written");
        let key = PrivateKeyDer::from_pem_file(&files.key).expect("it was written");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring speaks them")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("they fit");
        Self::start("https", Manner::Https(TlsAcceptor::from(Arc::new(config))))
    }

    /// One that accepts connections and says nothing.
    pub fn silent() -> Self {
        Self::start("http", Manner::Silent)
    }

    fn start(scheme: &'static str, manner: Manner) -> Self {
        let listener = runtime().block_on(TcpListener::bind("127.0.0.1:0")).expect("there is a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let posted = Posted::default();
        let to = posted.clone();
        let accepting = runtime().spawn(async move {
            let mut silent = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                match &manner {
                    Manner::Http => drop(tokio::spawn(take(stream, to.clone()))),
                    Manner::Https(acceptor) => {
                        let (accepted, to) = (acceptor.accept(stream), to.clone());
                        tokio::spawn(async move {
                            if let Ok(stream) = accepted.await {
                                take(stream, to).await;
                            }
                        });
                    }
                    Manner::Silent => {
                        keep(&to, (String::new(), Value::Null));
                        silent.push(stream);
                    }
                }
            }
        });
        Self { address, scheme, posted, accepting }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// As `127.0.0.1:1234`.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// All that came so far, each with the head of its request; of a silent one the connections.
    pub fn posted(&self) -> Vec<(String, Value)> {
        self.posted.lock().expect("nothing panics while it is locked").clone()
    }

    /// Waits until something came that is as wanted, and returns it with the head of its request.
    #[track_caller]
    pub fn wait_for(&self, awaited: &str, wanted: impl Fn(&Value) -> bool) -> (String, Value) {
        until(&format!("posted: {awaited}"), || {
            let posted = self.posted();
            posted.iter().find(|(_, body)| wanted(body)).cloned().ok_or(posted)
        })
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn keep(posted: &Posted, new: (String, Value)) {
    posted.lock().expect("nothing panics while it is locked").push(new);
}

/// Takes the requests of a connection until it ends.
async fn take(mut stream: impl AsyncRead + AsyncWrite + Unpin, posted: Posted) {
    let mut bytes = Vec::new();
    loop {
        let whole = request(&bytes);
        if let Some((head, body, len)) = whole {
            keep(&posted, (head, body));
            bytes.drain(..len);
            // A client that is gone has its answer.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            let _ = stream.flush().await;
        } else if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
            return;
        }
    }
}

/// The first request in these bytes, if it is whole: its head, its body and its length.
fn request(bytes: &[u8]) -> Option<(String, Value, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let lines = head.to_lowercase();
    let length = lines.lines().find_map(|line| line.strip_prefix("content-length:"))?;
    let len_bytes: usize = length.trim().parse().ok()?;
    let body = bytes.get(end..end + len_bytes)?;
    Some((head, serde_json::from_slice(body).unwrap_or(Value::Null), end + len_bytes))
}
