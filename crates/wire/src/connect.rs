//! Makes the connections to a coordinator, in TLS where this process has a certificate or a join token: [`Connector`].

use std::fmt;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use lsgan_certs::Credential;
use lsgan_certs::explain::WANTS_TLS;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, TlsStream};
use tonic::codegen::Service;
use tonic::transport::Uri;

use crate::stream::Stream;

/// What an alert of TLS begins with, which is the answer to a client that speaks no TLS.
const TLS_ALERT: u8 = 0x15;

/// How a client of HTTP/2 begins.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Longer than a packet takes to a server and back.
const SPEAKS_AT_ONCE: Duration = Duration::from_secs(1);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A failure in words that need no others.
#[derive(Debug)]
pub(crate) struct Sentence(pub(crate) String);

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Sentence {}

/// Connects by TCP; the certificate is the newest for each connection.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    tcp: HttpConnector,
    credential: Option<Credential>,
}

impl Connector {
    pub(crate) fn new(credential: Option<Credential>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        Self { tcp, credential }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let config = self.credential.as_ref().map(Credential::client);
        let connecting = self.tcp.call(uri);
        Box::pin(async move {
            let socket = connecting.await?.into_inner();
            let stream = match config {
                None => plain(socket).await?,
                Some(config) => encrypted(socket, host, config).await?,
            };
            Ok(TokioIo::new(stream))
        })
    }
}

/// A server of HTTP/2 speaks at once. One of TLS says nothing before the client has, and nothing that a client of HTTP/2 would
/// understand after that: a server that is silent is asked on another connection which of both it is.
async fn plain(socket: TcpStream) -> Result<Stream, BoxError> {
    if let Ok(spoken) = timeout(SPEAKS_AT_ONCE, socket.peek(&mut [0])).await {
        return if spoken? == 0 { Err(closed().into()) } else { Ok(Stream::Plain(socket)) };
    }
    if speaks_tls(socket.peer_addr()?).await {
        return Err(Sentence(WANTS_TLS.to_owned()).into());
    }
    Ok(Stream::Plain(socket))
}

/// Whether a server answers to the beginning of HTTP/2 with an alert of TLS.
async fn speaks_tls(address: SocketAddr) -> bool {
    let ask = async {
        let mut socket = TcpStream::connect(address).await?;
        socket.write_all(HTTP2_PREFACE).await?;
        socket.read_u8().await
    };
    matches!(timeout(SPEAKS_AT_ONCE, ask).await, Ok(Ok(TLS_ALERT)))
}

/// Agrees on the encryption, and waits for the first byte: that says whether the server believes the certificate.
async fn encrypted(socket: TcpStream, host: String, config: Arc<ClientConfig>) -> Result<Stream, BoxError> {
    let host = ServerName::try_from(host)?;
    let mut stream = TlsConnector::from(config).connect(host, socket).await.map_err(in_words)?;
    if stream.fill_buf().await.map_err(in_words)?.is_empty() {
        return Err(closed().into());
    }
    Ok(Stream::Tls(Box::new(TlsStream::Client(stream))))
}

fn closed() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "what listens there closed the connection without a word")
}

/// An error of TLS as a sentence, where there is one.
fn in_words(error: io::Error) -> BoxError {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls.and_then(lsgan_certs::explain) {
        Some(text) => Sentence(text).into(),
        None => error.into(),
    }
}
