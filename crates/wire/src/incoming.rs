//! How a server accepts: bounded in number and time, and in TLS where it has a certificate: [`Incoming`].

use std::collections::BTreeSet;
use std::future::Future;
use std::io::ErrorKind::{ConnectionReset, UnexpectedEof};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use lsgan_certs::{Identity, Role, roles_of};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsStream};
use tokio_stream::Stream as Connections;
use tonic::transport::server::Connected;

use crate::places::{Limits, Place, Places};
use crate::stream::Stream;

/// How long a client may take to agree on the encryption, and again until it has said what comes first.
const SPEAKS_WITHIN: Duration = Duration::from_secs(10);
/// The length of what a client of HTTP/2 says first (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;
/// After accepting failed, as where there are no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections that are accepted and not yet served: the server takes them at once.
const READY_MAX: usize = 64;
/// Between two lines of the log about connections that are refused.
const SAID_EVERY: Duration = Duration::from_secs(1);

/// The connections of a server. It stops listening when it is dropped.
#[derive(Debug)]
pub struct Incoming {
    ready: mpsc::Receiver<io::Result<Accepted>>,
    task: JoinHandle<()>,
}

/// A connection whose client is known as far as it can be.
#[derive(Debug)]
pub struct Accepted {
    stream: Stream,
    peer: Peer,
    /// When a client that has not said what comes first is hung up on, and how many bytes of it are still to come.
    silent: Option<(Pin<Box<Sleep>>, usize)>,
    _place: Place,
}

/// Who is at the other end of a connection: an extension of each of its requests.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// What its certificate says, nothing where it has none; none where nobody is asked for one.
    pub roles: Option<Arc<BTreeSet<Role>>>,
}

impl Incoming {
    /// Accepts on `listener` from now on, in TLS if the server has an identity. Clients without a certificate are taken while
    /// `takes_tokens`: they have no role until they show a join token.
    #[must_use]
    pub fn new(
        listener: TcpListener,
        identity: Option<Arc<Identity>>,
        takes_tokens: Arc<AtomicBool>,
        limits: Limits,
    ) -> Self {
        let (sender, ready) = mpsc::channel(READY_MAX);
        let door = Door { identity, takes_tokens, ready: sender };
        Self { ready, task: tokio::spawn(accept(listener, Places::new(limits), door)) }
    }
}

impl Connections for Incoming {
    type Item = io::Result<Accepted>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(cx)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What every connection goes through.
#[derive(Clone)]
struct Door {
    identity: Option<Arc<Identity>>,
    takes_tokens: Arc<AtomicBool>,
    ready: mpsc::Sender<io::Result<Accepted>>,
}

async fn accept(listener: TcpListener, places: Places, door: Door) {
    // Dropped with this task, which ends those that are at the door.
    let mut at_the_door = JoinSet::new();
    let mut log = Log::default();
    loop {
        let (stream, address) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    log.say(|| format!("connections cannot be accepted: {error}"));
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            Some(ended) = at_the_door.join_next() => {
                if let Ok(Err(why)) = ended {
                    log.say(|| why);
                }
                continue;
            }
        };
        let Some(place) = places.take(address.ip()) else {
            log.say(|| {
                format!("a connection of {address} is refused: there are too many, in all or from there")
            });
            continue;
        };
        at_the_door.spawn(door.clone().let_in(stream, address, place));
    }
}

impl Door {
    /// Hands the connection on once it is known who is there.
    ///
    /// # Errors
    /// Why it is refused, for the log.
    async fn let_in(self, socket: TcpStream, address: SocketAddr, place: Place) -> Result<(), String> {
        // It may be broken already, which reading it shows.
        _ = socket.set_nodelay(true);
        let (stream, roles) = match &self.identity {
            None => (Stream::Plain(socket), None),
            Some(identity) => {
                let config = match self.takes_tokens.load(Ordering::Relaxed) {
                    true => identity.server_for_tokens(),
                    false => identity.server(),
                };
                let shaking = TlsAcceptor::from(config).accept(socket);
                let refused = |why: String| format!("a connection of {address} is refused: {why}");
                let stream = timeout(SPEAKS_WITHIN, shaking).await;
                let stream = stream.map_err(|_| refused("it does not speak TLS in time".to_owned()))?;
                let stream = match stream {
                    Ok(stream) => stream,
                    // As who only tries whether something listens does.
                    Err(error) if [UnexpectedEof, ConnectionReset].contains(&error.kind()) => return Ok(()),
                    Err(error) => return Err(refused(error.to_string())),
                };
                let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let roles = certificate.map(roles_of).unwrap_or_default();
                (Stream::Tls(Box::new(TlsStream::Server(stream))), Some(Arc::new(roles)))
            }
        };
        let silent = Some((Box::pin(sleep(SPEAKS_WITHIN)), PREFACE_BYTES));
        let accepted = Accepted { stream, peer: Peer { address, roles }, silent, _place: place };
        // The server may be ending.
        _ = self.ready.send(Ok(accepted)).await;
        Ok(())
    }
}

/// Says that connections are refused, not more than once in a while: whoever is refused must not fill the log.
#[derive(Default)]
struct Log {
    said: Option<Instant>,
    unsaid: u64,
}

impl Log {
    fn say(&mut self, text: impl FnOnce() -> String) {
        if self.said.is_some_and(|said| said.elapsed() < SAID_EVERY) {
            self.unsaid += 1;
            return;
        }
        let unsaid = std::mem::take(&mut self.unsaid);
        self.said = Some(Instant::now());
        tracing::warn!(unsaid, "{}", text());
    }
}

impl Connected for Accepted {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some((until, _)) = &mut this.silent
            && until.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if let Some((_, missing_bytes)) = &mut this.silent {
            *missing_bytes = missing_bytes.saturating_sub(buffer.filled().len() - before);
            this.silent.take_if(|(_, missing_bytes)| *missing_bytes == 0);
        }
        read
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
