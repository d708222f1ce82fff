//! An HTTP proxy before an object store that makes trouble: it answers 503, breaks bodies off, loses answers, refuses
//! connections.
//!
//! Each request has a connection of its own (`Connection: close` is added to it), so that the end of the connection is the
//! end of the answer, which need not be parsed. Signatures stay valid: they cover `Host`, which is unchanged.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::client::runtime;
use crate::until;

/// The largest head of a request or an answer.
const HEAD_MAX_BYTES: usize = 64 << 10;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The server is not asked; the answer is 503 with S3's SlowDown.
    SlowDown,
    /// The server is asked; its answer breaks off after so many bytes of its body.
    CutAfter(usize),
    /// The server does what it is asked, and its answer is lost.
    LoseAnswer,
}

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// With its query, and without percent signs.
    pub path: String,
    /// Its trouble, if there was any.
    pub trouble: Option<Trouble>,
}

struct Rule {
    method: &'static str,
    path: String,
    trouble: Trouble,
    times: usize,
}

#[derive(Default)]
struct Sky {
    rules: Vec<Rule>,
    requests: Vec<Request>,
}

/// The proxy. Dropping it closes everything.
pub struct Weather {
    address: SocketAddr,
    sky: Arc<Mutex<Sky>>,
    open: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Weather {
    /// Fair weather at a free port of `host`, before `target`.
    pub fn before(target: SocketAddr, host: &str) -> Self {
        let listener = runtime().block_on(TcpListener::bind((host, 0))).expect("there is a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let sky = Arc::new(Mutex::new(Sky::default()));
        let (open, is_open) = watch::channel(true);
        let accepting = runtime().spawn(accept(listener, target, sky.clone(), is_open));
        Self { address, sky, open, accepting }
    }

    /// Where it listens, as `http://127.0.0.1:8333`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next `times` requests of this method whose path contains `path` have this trouble. Earlier rules go first.
    pub fn make(&self, trouble: Trouble, times: usize, method: &'static str, path: &str) {
        self.sky().rules.push(Rule { method, path: path.to_owned(), trouble, times });
    }

    /// Refuses connections from now on, or takes them again.
    pub fn refuse(&self, refuse: bool) {
        self.open.send_replace(!refuse);
        // The task that accepts hears of it a moment later.
        until("connections are refused, or taken", || {
            match std::net::TcpStream::connect(self.address).is_err() == refuse {
                true => Ok(()),
                false => Err("not yet"),
            }
        });
    }

    /// The requests whose path contains `path`, in order.
    pub fn requests(&self, path: &str) -> Vec<Request> {
        self.sky().requests.iter().filter(|request| request.path.contains(path)).cloned().collect()
    }

    /// How many of them had trouble.
    pub fn troubled(&self, path: &str) -> usize {
        self.requests(path).iter().filter(|request| request.trouble.is_some()).count()
    }

    fn sky(&self) -> std::sync::MutexGuard<'_, Sky> {
        self.sky.lock().expect("nothing panics while it is locked")
    }
}

impl Drop for Weather {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    sky: Arc<Mutex<Sky>>,
    mut is_open: watch::Receiver<bool>,
) {
    let address = listener.local_addr().expect("a listener has an address");
    let mut listener = Some(listener);
    loop {
        let Some(open) = &listener else {
            if is_open.wait_for(|open| *open).await.is_err() {
                return;
            }
            listener = TcpListener::bind(address).await.ok();
            continue;
        };
        tokio::select! {
            accepted = open.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                tokio::spawn(carry(stream, target, sky.clone()));
            }
            closed = is_open.wait_for(|open| !*open) => {
                if closed.is_err() {
                    return;
                }
                listener = None;
            }
        }
    }
}

/// Carries one request and its answer.
async fn carry(mut asker: TcpStream, target: SocketAddr, sky: Arc<Mutex<Sky>>) -> Option<()> {
    let (head, rest) = read_head(&mut asker).await?;
    let line = head.lines().next()?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), decoded(words.next()?));
    let len_bytes = header(&head, "content-length").and_then(|len| len.parse().ok()).unwrap_or(0_usize);
    let trouble = fate(&sky, &method, &path);

    let mut body = rest;
    let there = body.len();
    body.resize(len_bytes, 0);
    asker.read_exact(&mut body[there..]).await.ok()?;
    if trouble == Some(Trouble::SlowDown) {
        let text = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
        let head = format!(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            text.len()
        );
        asker.write_all(head.as_bytes()).await.ok()?;
        return asker.write_all(text.as_bytes()).await.ok();
    }
    let mut server = TcpStream::connect(target).await.ok()?;
    let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    server.write_all(head.as_bytes()).await.ok()?;
    server.write_all(&body).await.ok()?;
    let (head, first) = read_head(&mut server).await?;
    match trouble {
        Some(Trouble::LoseAnswer) => asker.set_zero_linger().ok(),
        Some(Trouble::CutAfter(bytes)) => {
            asker.write_all(head.as_bytes()).await.ok()?;
            let mut begin = first;
            (&mut server).take(bytes as u64).read_to_end(&mut begin).await.ok()?;
            asker.write_all(&begin[..bytes.min(begin.len())]).await.ok()?;
            // Closed in the middle, as a server does that is killed.
            asker.shutdown().await.ok()
        }
        Some(Trouble::SlowDown) | None => {
            asker.write_all(head.as_bytes()).await.ok()?;
            asker.write_all(&first).await.ok()?;
            tokio::io::copy(&mut server, &mut asker).await.ok()?;
            asker.shutdown().await.ok()
        }
    }
}

/// The head with its empty line, and what came after it in the same piece.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 || bytes.len() > HEAD_MAX_BYTES + (1 << 20) {
            return None;
        }
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Some((String::from_utf8(bytes).ok()?, rest));
        }
    }
}

pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// A path without percent signs: stores' clients escape different signs.
fn decoded(path: &str) -> String {
    let mut parts = path.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend_from_slice(&part.as_bytes()[2..]);
            }
            None => {
                bytes.push(b'%');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Records the request, and returns the trouble that the next rule has for it.
fn fate(sky: &Mutex<Sky>, method: &str, path: &str) -> Option<Trouble> {
    let mut sky = sky.lock().expect("nothing panics while it is locked");
    let rule = sky
        .rules
        .iter_mut()
        .find(|rule| rule.times > 0 && rule.method == method && path.contains(&rule.path));
    let trouble = rule.map(|rule| {
        rule.times -= 1;
        rule.trouble
    });
    sky.requests.push(Request { method: method.to_owned(), path: path.to_owned(), trouble });
    trouble
}
