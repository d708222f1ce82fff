//! Attackers of the ports that the coordinator has beside its own, both in plain: its page (`--http`) and its health service
//! (`--health-listen`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lsgan_fuzz::Random;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{ANSWERS_WITHIN, Shared, http2, pause};

/// How long a connection with half a request is held: many are open at a time, and others get a turn.
const HOLDS: Duration = Duration::from_millis(500);
/// Between two requests of an attacker: each has the page read a journal.
const ASKS_EVERY: Duration = Duration::from_millis(20);
/// The most of an answer that is looked at.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// Far more than a server keeps of the headers of a request.
const HEADER_BYTES: usize = 2 << 20;
/// Calls of a connection to the health port: far more than a server takes at a time.
const CALLS: u32 = 2_000;

/// Reads whatever it likes, and does what readers may not. `{run}` stands for the run's id.
const REQUESTS: &[&str] = &[
    "GET /../../../../../../etc/passwd",
    "GET /%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "GET //etc/passwd",
    "GET /api/runs/..%2f..%2f..%2fetc%2fpasswd",
    "GET /api/runs/{run}/samples/..%2f..%2fjournal.db",
    "GET /api/runs/{run}/samples/18446744073709551615",
    "GET /api/runs/{run}/snapshots/18446744073709551615/verify",
    "GET /api/runs/{run}/curves?pixels=18446744073709551615&window=18446744073709551615",
    "GET /api/runs/{run}/curves?from=18446744073709551615&until=0&pixels=0",
    "GET /api/runs/{run}/curves?names=loss_d,loss_d,loss_d,'%20or%201=1--,%00,loss_d&pixels=1",
    "GET /api/runs/{run}/curves?pixels=-1",
    "GET /api/runs/{run}/events?limit=4294967295&before=18446744073709551615&search=%25%25%25_%27%22",
    "GET /api/runs/{run}/events?limit=0&search=%00%ff%fe",
    "GET /api/runs/%00%ff/workers",
    "GET /metrics?%25=%25&&&&&=",
    "POST /api/runs/{run}/actions/stop",
    "POST /api/runs/{run}/actions/scale?workers=4294967295",
    "DELETE /api/runs/{run}",
    "PUT /",
    "OPTIONS *",
    "TRACE /",
];

/// Says nothing, or the beginning of a request, and waits.
pub async fn say_half(shared: Arc<Shared>, mut random: Random) {
    let request: &[u8] = b"GET /api/runs HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n";
    while !shared.is_over() {
        let (port, begin, what) = match random.below(2) {
            0 => (shared.target.page, request, "half requests to the page"),
            _ => (shared.target.health, http2::PREFACE, "half handshakes at the health port"),
        };
        if let Ok(mut socket) = TcpStream::connect(port).await {
            let some = random.below(begin.len() as u64) as usize;
            _ = socket.write_all(&begin[..some]).await;
            _ = timeout(HOLDS, socket.read_to_end(&mut Vec::new())).await;
            shared.count(what);
        }
        pause().await;
    }
}

/// Sends the page a request with headers that are too long, or too many.
pub async fn say_huge_headers(shared: Arc<Shared>, mut random: Random) {
    while !shared.is_over() {
        let headers = match random.below(2) {
            0 => format!("X-Long: {}\r\n", "x".repeat(HEADER_BYTES)),
            _ => "X-Many: x\r\n".repeat(HEADER_BYTES / 16),
        };
        let lines = format!("Host: localhost\r\n{headers}");
        let asked = ask(shared.target.page, "GET /api/runs", &lines).await;
        if asked.is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            shared.achieved("the page answers a request with huge headers");
        }
        shared.count("requests to the page with huge headers");
        tokio::time::sleep(ASKS_EVERY).await;
    }
}

/// Asks the page for what it does not show, with parameters that cannot be, and as a page of another site does.
pub async fn ask_for_anything(shared: Arc<Shared>, mut random: Random) {
    let mut run = None;
    while !shared.is_over() {
        if run.is_none() {
            run = ask(shared.target.page, "GET /api/runs", "Host: localhost\r\n").await.and_then(id_of_first);
        }
        let chosen = REQUESTS[random.below(REQUESTS.len() as u64) as usize];
        let what = chosen.replace("{run}", run.as_deref().unwrap_or("none"));
        let is_of_another_site = random.below(4) == 0;
        let host = if is_of_another_site { "evil.example" } else { "localhost" };
        if let Some(answer) = ask(shared.target.page, &what, &format!("Host: {host}\r\n")).await {
            let is_granted = answer.starts_with("HTTP/1.1 2");
            if is_granted && (is_of_another_site || !what.starts_with("GET ")) {
                shared.achieved(format!("the page grants `{what}` to {host}"));
            }
            if answer.contains("root:") || answer.contains("SQLite format 3") {
                shared.achieved(format!("the page shows a file of its host: `{what}`"));
            }
            shared.count("hostile requests to the page");
        }
        tokio::time::sleep(ASKS_EVERY).await;
    }
}

/// Asks the page for what changes, and does not read it.
pub async fn never_read_the_page(shared: Arc<Shared>, _: Random) {
    while !shared.is_over() {
        if let Ok(mut socket) = TcpStream::connect(shared.target.page).await {
            let asks = "GET /api/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
            _ = socket.write_all(asks.repeat(100).as_bytes()).await;
            tokio::time::sleep(4 * HOLDS).await;
            shared.count("readers of the page that do not read");
        }
        pause().await;
    }
}

/// Watches the health service in thousands of calls of one connection, some with headers of any length, and reads nothing.
pub async fn watch_without_end(shared: Arc<Shared>, mut random: Random) {
    while !shared.is_over() {
        if let Ok(mut socket) = TcpStream::connect(shared.target.health).await {
            let long = random.below(2) == 0;
            let count = if long { CALLS / 20 } else { CALLS };
            let calls: Vec<_> = (0..count).flat_map(|number| http2::watch_health(number, long)).collect();
            let all = [http2::PREFACE, &http2::settings_without_room(), &calls].concat();
            _ = timeout(HOLDS, socket.write_all(&all)).await;
            tokio::time::sleep(HOLDS).await;
            shared.count("connections that watch the health port without end");
        }
        pause().await;
    }
}

/// The beginning of what the page answers to `what` with these header lines, each with its end; none if it hangs up or takes too
/// long.
async fn ask(page: SocketAddr, what: &str, lines: &str) -> Option<String> {
    let mut socket = TcpStream::connect(page).await.ok()?;
    let request = format!("{what} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n");
    // It may hang up in the middle of the request.
    _ = timeout(ANSWERS_WITHIN, socket.write_all(request.as_bytes())).await;
    let mut answer = Vec::new();
    _ = timeout(ANSWERS_WITHIN, socket.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)).await;
    (!answer.is_empty()).then(|| String::from_utf8_lossy(&answer).into_owned())
}

/// The id of the first run in what `/api/runs` answers.
fn id_of_first(answer: String) -> Option<String> {
    let (_, rest) = answer.split_once("\"id\":\"")?;
    rest.split_once('"').map(|(id, _)| id.to_owned())
}
