//! Attackers that connect to the coordinator's port and do not speak as a client does.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use lsgan_fuzz::Random;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConnection;
use tokio_rustls::rustls::pki_types::ServerName;

use super::{Shared, http2, pause};

/// Longer than a coordinator waits for a client that says nothing.
const HANGS_UP_WITHIN: Duration = Duration::from_secs(15);
/// What does not take a write for so long takes none any more.
const TAKES_WITHIN: Duration = Duration::from_secs(1);
/// The most garbage of a connection.
const GARBAGE_BYTES_MAX: u64 = 64 << 10;
/// Connections that are opened and closed in one go.
const BURST: usize = 50;
/// Calls that a client makes whose answers it does not read.
const CALLS: u32 = 16;
/// Calls that are taken back: far more than a server remembers.
const RESETS: u32 = 5_000;

trait Both: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Both for T {}

/// A connection on which HTTP/2 is spoken: in a run with TLS, a viewer's.
async fn connect(shared: &Shared) -> io::Result<Box<dyn Both>> {
    let address = shared.coordinator();
    let socket = TcpStream::connect(address).await?;
    let Some(certificates) = &shared.target.certificates else { return Ok(Box::new(socket)) };
    let connector = TlsConnector::from(certificates.viewer.client());
    Ok(Box::new(connector.connect(ServerName::from(address.ip()), socket).await?))
}

/// Says the beginning of a handshake, and waits until it is hung up on.
pub async fn begin_and_wait(shared: Arc<Shared>, mut random: Random) {
    while !shared.is_over() {
        let begin = beginning(&shared);
        let Ok(mut socket) = TcpStream::connect(shared.coordinator()).await else {
            pause().await;
            continue;
        };
        let some = random.below(begin.len() as u64 + 1) as usize;
        _ = socket.write_all(&begin[..some]).await;
        let mut heard = Vec::new();
        match timeout(HANGS_UP_WITHIN, socket.read_to_end(&mut heard)).await {
            Ok(_) => shared.count("half handshakes"),
            // Whoever has said all that a client of HTTP/2 must say first may wait.
            Err(_) if some == begin.len() && shared.target.certificates.is_none() => {
                shared.count("half handshakes")
            }
            Err(_) if shared.is_over() => {}
            Err(_) => shared.achieved(format!("{some} bytes of a handshake hold a connection")),
        }
    }
}

/// What a client says first.
fn beginning(shared: &Shared) -> Vec<u8> {
    let Some(certificates) = &shared.target.certificates else { return http2::PREFACE.to_vec() };
    let host = ServerName::from(shared.coordinator().ip());
    let client = ClientConnection::new(certificates.viewer.client(), host);
    let mut hello = Vec::new();
    client.expect("the configuration was used before").write_tls(&mut hello).expect("memory takes all");
    hello
}

/// Says anything: at once, or where a client of HTTP/2 has begun.
pub async fn say_garbage(shared: Arc<Shared>, mut random: Random) {
    while !shared.is_over() {
        let mut bytes = vec![0; 1 + random.below(GARBAGE_BYTES_MAX) as usize];
        bytes.iter_mut().for_each(|byte| *byte = random.below(256) as u8);
        let is_at_once = random.below(2) == 0;
        let connected: io::Result<Box<dyn Both>> = if is_at_once {
            TcpStream::connect(shared.coordinator()).await.map(|socket| Box::new(socket) as _)
        } else {
            connect(&shared).await
        };
        if let Ok(mut stream) = connected {
            if !is_at_once {
                _ = stream.write_all(http2::PREFACE).await;
            }
            _ = timeout(TAKES_WITHIN, stream.write_all(&bytes)).await;
            _ = timeout(TAKES_WITHIN, stream.read_to_end(&mut Vec::new())).await;
            shared.count("connections with garbage");
        }
        pause().await;
    }
}

/// Opens connections and closes them, many in one go.
pub async fn open_and_close(shared: Arc<Shared>, _: Random) {
    while !shared.is_over() {
        let mut open = Vec::new();
        for _ in 0..BURST {
            open.extend(TcpStream::connect(shared.coordinator()).await);
            shared.count("connections that are closed at once");
        }
        drop(open);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Asks and pings, and takes no answer.
pub async fn never_read(shared: Arc<Shared>, _: Random) {
    while !shared.is_over() {
        let Ok(mut stream) = connect(&shared).await else {
            pause().await;
            continue;
        };
        let asks: Vec<_> = (0..CALLS).flat_map(http2::ask_status).collect();
        let begin = [http2::PREFACE, &http2::settings_without_room(), &asks].concat();
        _ = stream.write_all(&begin).await;
        let pings = http2::ping().repeat(1_000);
        while let Ok(Ok(())) = timeout(TAKES_WITHIN, stream.write_all(&pings)).await {
            shared.count("pings whose answers are not read, in thousands");
            tokio::time::sleep(TAKES_WITHIN / 10).await;
            if shared.is_over() {
                return;
            }
        }
        // Not read, and not closed for a while.
        tokio::time::sleep(TAKES_WITHIN).await;
        shared.count("connections that read nothing");
    }
}

/// Makes calls and takes them back, faster than they can be served.
pub async fn reset_calls(shared: Arc<Shared>, _: Random) {
    while !shared.is_over() {
        let Ok(mut stream) = connect(&shared).await else {
            pause().await;
            continue;
        };
        let resets: Vec<_> = (0..RESETS).flat_map(http2::ask_and_reset).collect();
        let all = [http2::PREFACE, &http2::settings_without_room(), &resets].concat();
        _ = timeout(TAKES_WITHIN, stream.write_all(&all)).await;
        _ = timeout(TAKES_WITHIN, stream.read_to_end(&mut Vec::new())).await;
        shared.count("connections whose calls are taken back");
        tokio::time::sleep(TAKES_WITHIN / 5).await;
    }
}
