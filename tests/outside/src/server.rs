//! A server to which JSON is posted, over HTTP or HTTPS.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::certified;

/// Much longer than anything here takes.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// What came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Posted {
    /// As `POST /path?query`.
    pub what: String,
    /// The header of this name; empty where there is none.
    pub authorization: String,
    pub body: Value,
}

/// A server, with the files of its authority in `dir`. Dropping it closes it.
pub struct Server {
    pub dir: TempDir,
    pub address: SocketAddr,
    scheme: &'static str,
    posted: mpsc::Receiver<Posted>,
    accepting: AbortHandle,
}

impl Server {
    /// One at `address`, which speaks `http` or `https` and answers with these codes one after the other, and then with 200.
    pub async fn start(scheme: &'static str, address: &str, codes: &[u16]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let acceptor = (scheme == "https")
            .then(|| TlsAcceptor::from(Arc::new(certified::by_an_authority_in(dir.path()))));
        let mut codes: VecDeque<_> = codes.iter().copied().collect();
        Self::listen(dir, scheme, address, |listener, sender| async move {
            loop {
                let (socket, _) = listener.accept().await.expect("it goes on");
                let mut next = || codes.pop_front().unwrap_or(200);
                match &acceptor {
                    None => serve(socket, next(), sender.clone()).await,
                    Some(acceptor) => match acceptor.accept(socket).await {
                        Ok(stream) => serve(stream, next(), sender.clone()).await,
                        Err(_) => continue,
                    },
                }
            }
        })
        .await
    }

    /// One that accepts connections and says nothing. Each of them counts as something that came.
    pub async fn silent(address: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self::listen(dir, "http", address, |listener, sender| async move {
            let mut open = Vec::new();
            loop {
                let (socket, _) = listener.accept().await.expect("it goes on");
                open.push(socket);
                // A test that has seen enough does not listen.
                let _ = sender.send(Posted::default()).await;
            }
        })
        .await
    }

    async fn listen<F>(
        dir: TempDir,
        scheme: &'static str,
        address: &str,
        accept: impl FnOnce(TcpListener, mpsc::Sender<Posted>) -> F,
    ) -> Self
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let listener = TcpListener::bind(address).await.expect("the port is free");
        let address = listener.local_addr().expect("it is bound");
        let (sender, posted) = mpsc::channel(1024);
        let accepting = tokio::spawn(accept(listener, sender)).abort_handle();
        Self { dir, address, scheme, posted, accepting }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub async fn next(&mut self) -> Posted {
        timeout(DEADLINE, self.posted.recv()).await.expect("it comes in time").expect("the server goes on")
    }

    /// All that has come and was not looked at.
    pub fn come(&mut self) -> Vec<Posted> {
        std::iter::from_fn(|| self.posted.try_recv().ok()).collect()
    }

    /// The same of a server to which nothing more is posted.
    pub async fn rest(mut self) -> Vec<Posted> {
        self.posted.close();
        let mut rest = Vec::new();
        while let Some(posted) = self.posted.recv().await {
            rest.push(posted);
        }
        rest
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Answers one request: a client keeps its connection, and the code is that of one answer.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    code: u16,
    posted: mpsc::Sender<Posted>,
) {
    let answer = service_fn(move |request| answer(request, code, posted.clone()));
    // A client that hangs up has its answer.
    let _ = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), answer).await;
}

async fn answer(
    request: Request<Incoming>,
    code: u16,
    posted: mpsc::Sender<Posted>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let place = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let what = format!("{} {place}", request.method());
    let authorization = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let authorization = authorization.unwrap_or_default().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let body = serde_json::from_slice(&body).expect("it is JSON");
    // A test that has seen enough does not listen.
    let _ = posted.send(Posted { what, authorization, body }).await;
    Ok(Response::builder().status(code).body(Full::default()).expect("a right code"))
}
