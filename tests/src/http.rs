//! One request over HTTP, as it stands, and what comes back.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longer than any answer takes.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// The body of what `address` (`127.0.0.1:8090`) answers to `what` (`GET /api/runs`) with these header lines, each with its end.
pub fn ask(address: &str, what: &str, lines: &str) -> Result<String, String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(ANSWERED_WITHIN))?;
        write!(stream, "{what} HTTP/1.1\r\nHost: localhost\r\n{lines}Connection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| error.to_string())?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or_else(|| answer.clone())?;
    Ok(body.to_owned())
}

/// The host and port of the page that a process says it serves, in its line with [`PAGE`].
pub fn page(line: &str) -> String {
    let (_, url) = line.split_once(PAGE).expect("it was waited for");
    url.trim().trim_start_matches("http://").trim_end_matches('/').to_owned()
}

/// The words before a page's address.
pub const PAGE: &str = "the page is at ";
