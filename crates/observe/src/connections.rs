//! The connections of the server: so many at a time, and none that stands still for long: [`Bounded`].
//!
//! A coordinator that shows a page has one process for both. Whoever reaches the page must not use up the files that workers'
//! connections need.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Accepts so many connections at a time. What comes beyond them is hung up on.
pub(crate) struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
    idle_max: Duration,
}

/// A connection that has one of the places. It fails once no byte has passed for too long, either way.
pub(crate) struct Placed {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    idle_max: Duration,
    _place: OwnedSemaphorePermit,
}

impl Bounded {
    /// At most `connections_max` at a time, on which no more than `idle_max` passes without a byte.
    pub fn new(listener: TcpListener, connections_max: usize, idle_max: Duration) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(connections_max)), idle_max }
    }
}

impl Listener for Bounded {
    type Io = Placed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Placed, SocketAddr) {
        loop {
            let (stream, address) = <TcpListener as Listener>::accept(&mut self.listener).await;
            let Ok(place) = self.places.clone().try_acquire_owned() else {
                tracing::debug!(%address, "a connection to the page is refused: there are too many");
                continue;
            };
            let idle_max = self.idle_max;
            let placed = Placed { stream, idle: Box::pin(sleep(idle_max)), idle_max, _place: place };
            return (placed, address);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Placed {
    /// What came of a try to read or write. One that waits does so until it is idle for too long.
    fn watched<T>(&mut self, cx: &mut Context<'_>, tried: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if tried.is_ready() {
            let due = Instant::now() + self.idle_max;
            self.idle.as_mut().reset(due);
            return tried;
        }
        self.idle.as_mut().poll(cx).map(|()| Err(ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Placed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let tried = Pin::new(&mut self.stream).poll_read(cx, into);
        self.watched(cx, tried)
    }
}

impl AsyncWrite for Placed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let tried = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watched(cx, tried)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        all: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let tried = Pin::new(&mut self.stream).poll_write_vectored(cx, all);
        self.watched(cx, tried)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    use super::*;

    /// Far more than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// A server with this many places, whose page is a word.
    async fn serve(connections_max: usize, idle_max: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bounded = Bounded::new(listener, connections_max, idle_max);
        let router = Router::new().route("/", get(|| async { "here" }));
        tokio::spawn(async move { axum::serve(bounded, router).await });
        address
    }

    /// What the server answers on a new connection until it hangs up; nothing where there is no place.
    async fn ask(address: SocketAddr) -> String {
        let asked = async {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, io::Error>(answer)
        };
        timeout(PATIENCE, asked).await.expect("it ends").unwrap_or_default()
    }

    #[tokio::test]
    async fn what_is_beyond_the_places_is_hung_up_on_and_a_place_comes_back() {
        let address = serve(1, PATIENCE).await;
        let silent = TcpStream::connect(address).await.unwrap();
        assert_eq!(ask(address).await, "", "the one place is taken");
        drop(silent);
        let answered = async { while !ask(address).await.ends_with("here") {} };
        timeout(PATIENCE, answered).await.expect("the place is free again");
    }

    #[tokio::test]
    async fn a_connection_that_says_nothing_or_half_a_request_is_hung_up_on() {
        let address = serve(8, Duration::from_millis(100)).await;
        for said in ["", "GET / HTTP/1.1\r\nHost: loc"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(said.as_bytes()).await.unwrap();
            let ended = timeout(PATIENCE, stream.read(&mut [0])).await.expect("it is not waited for");
            assert!(matches!(ended, Ok(0) | Err(_)), "{said:?}: {ended:?}");
        }
        assert!(ask(address).await.ends_with("here"));
    }
}
