//! A double of Google's XML API: what differs from S3 is translated, and moto does the rest.
//!
//! Google's differs in how a request is signed (a token), and in the condition under which an object is created
//! (<https://cloud.google.com/storage/docs/xml-api/reference-headers#xgoogifgenerationmatch>). Lists, pieces of large objects
//! and errors have S3's form. So this shows what our client sends and makes of the answers, and not how Google's service
//! behaves.

use std::net::SocketAddr;
use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{BucketServer, Kind, Who, moto};
use crate::client::runtime;
use crate::weather::{header, read_head};

/// What stands for a signature: moto looks whose key it is, and not at the signature.
const SIGNED: &str =
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

fn token(who: Who) -> &'static str {
    match who {
        Who::Admin => "admin-token",
        Who::Writer => "writer-token",
        Who::Reader => "reader-token",
    }
}

struct Double(JoinHandle<()>);

impl Drop for Double {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) fn start(python: &Path, host: &str) -> BucketServer {
    let mut server = moto::start(python, host);
    let listener = runtime().block_on(TcpListener::bind((host, 0))).expect("there is a free port");
    let (target, address) = (server.address, listener.local_addr().expect("a listener has an address"));
    let accepting = async move {
        while let Ok((asker, _)) = listener.accept().await {
            tokio::spawn(translate(asker, target));
        }
    };
    let double = Double(runtime().spawn(accepting));
    (server.kind, server.address) = (Kind::Google, address);
    server.with(double)
}

pub(super) fn environment(endpoint: &str, who: Who) -> Vec<(&'static str, String)> {
    let variables = [
        ("GOOGLE_BASE_URL", endpoint),
        ("GOOGLE_BEARER_TOKEN", token(who)),
        ("CLOUDSDK_CONFIG", "/nonexistent"),
        ("NO_GCE_CHECK", "true"),
    ];
    variables.map(|(name, value)| (name, value.to_owned())).to_vec()
}

/// Translates one request and hands back its answer.
async fn translate(mut asker: TcpStream, target: SocketAddr) -> Option<()> {
    let (head, mut body) = read_head(&mut asker).await?;
    let there = body.len();
    body.resize(header(&head, "content-length").and_then(|len| len.parse().ok()).unwrap_or(0_usize), 0);
    asker.read_exact(&mut body[there..]).await.ok()?;
    let (method, path) = head.split_once(' ')?;
    // Buckets are made by the tests themselves, without a token.
    let makes_bucket = method == "PUT" && path.split(' ').next()?.matches('/').count() == 1;
    let answer = match (allowed(&head, method), makes_bucket) {
        (Err(code), false) => {
            let text = format!(
                "<?xml version='1.0'?><Error><Code>{code}</Code><Message>Not with this token.</Message></Error>"
            );
            let status = if code == "AccessDenied" { "403 Forbidden" } else { "401 Unauthorized" };
            let text = if method == "HEAD" { String::new() } else { text };
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len())
                .into_bytes()
        }
        (Ok(()), _) | (_, true) => {
            let mut server = TcpStream::connect(target).await.ok()?;
            server.write_all(as_s3(&head).as_bytes()).await.ok()?;
            server.write_all(&body).await.ok()?;
            let mut answer = Vec::new();
            server.read_to_end(&mut answer).await.ok()?;
            answer
        }
    };
    asker.write_all(&answer).await.ok()?;
    asker.shutdown().await.ok()
}

/// Whether this token may do that, or the code of the refusal.
fn allowed(head: &str, method: &str) -> Result<(), &'static str> {
    let token_of = header(head, "authorization").and_then(|value| value.strip_prefix("Bearer "));
    let who = [Who::Admin, Who::Writer, Who::Reader].into_iter().find(|who| Some(token(*who)) == token_of);
    match who {
        None => Err("AuthenticationRequired"),
        Some(Who::Reader) if !["GET", "HEAD"].contains(&method) => Err("AccessDenied"),
        Some(_) => Ok(()),
    }
}

fn as_s3(head: &str) -> String {
    let line = |line: &str| {
        // The client escapes what need not be escaped, and moto takes the name of a bucket as it is written.
        let Some((name, value)) = line.split_once(':') else {
            return format!("{}\r\n", line.replace("%2D", "-"));
        };
        match (name.to_ascii_lowercase().as_str(), value.trim()) {
            ("authorization" | "connection", _) => String::new(),
            ("x-goog-if-generation-match", "0") => "If-None-Match: *\r\n".to_owned(),
            ("x-goog-copy-source", from) => format!("x-amz-copy-source: {}\r\n", from.replace("%2D", "-")),
            _ => format!("{line}\r\n"),
        }
    };
    let lines: String = head.trim_end().lines().map(line).collect();
    format!("{lines}Authorization: {SIGNED}\r\nConnection: close\r\n\r\n")
}
