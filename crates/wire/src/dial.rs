//! Connecting to a coordinator: the one place that knows its address, time-outs, keep-alive and message limit.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::str::FromStr;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use crate::MESSAGE_LEN_BYTES_MAX;
use crate::v1::coordinator_client::CoordinatorClient;

/// How long a connection may take to be accepted.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a silent connection is pinged, and how long the answer may take: a coordinator whose host is lost is
/// noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A client of a coordinator.
pub type Client = CoordinatorClient<Channel>;

/// The address of a coordinator, `http://HOST:PORT`.
#[derive(Clone, Debug)]
pub struct Address(Endpoint);

impl Address {
    /// `HOST:PORT`.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.0.uri().authority().map_or("", |authority| authority.as_str())
    }
}

impl FromStr for Address {
    type Err = String;

    /// Fails for what is no `http://HOST:PORT`, with a sentence: trying again would not help.
    fn from_str(text: &str) -> Result<Self, String> {
        let whole = |endpoint: &Endpoint| {
            let uri = endpoint.uri();
            uri.scheme_str() == Some("http")
                && uri.host().is_some_and(|host| !host.is_empty())
                && uri.port().is_some()
        };
        match Endpoint::from_shared(text.to_owned()).ok().filter(whole) {
            Some(endpoint) => Ok(Self(
                endpoint
                    .connect_timeout(CONNECT_TIMEOUT)
                    .tcp_nodelay(true)
                    .http2_keep_alive_interval(KEEP_ALIVE)
                    .keep_alive_timeout(KEEP_ALIVE),
            )),
            None => Err(format!(
                "`{text}` is no address of a coordinator; write http://HOST:PORT, as the coordinator prints it"
            )),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority())
    }
}

/// Connects to the coordinator at `address`.
///
/// # Errors
/// Why it cannot be reached, and what to check.
pub async fn dial(address: &Address) -> Result<Client, String> {
    let channel = address.0.connect().await.map_err(|error| explain(&error))?;
    Ok(CoordinatorClient::new(channel)
        .max_decoding_message_size(MESSAGE_LEN_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_LEN_BYTES_MAX))
}

/// The causes of `error` in a line, and what to check about that kind of failure.
fn explain(error: &(dyn Error + 'static)) -> String {
    let said = causes(error);
    let kind = kind(error);
    let is = |kinds: &[ErrorKind]| kind.is_some_and(|kind| kinds.contains(&kind));
    let unresolved = ["dns error", "failed to lookup", "Name or service not known"];
    let check = if unresolved.iter().any(|words| said.contains(words)) {
        "The name is not known here: check its spelling, or write the IP address"
    } else if is(&[ErrorKind::ConnectionRefused]) {
        "Nothing listens there: check that the coordinator runs, the port, and that it listens on an address which other \
         machines reach (--listen [::]:7070, not 127.0.0.1)"
    } else if is(&[ErrorKind::HostUnreachable, ErrorKind::NetworkUnreachable]) {
        "No network leads there from here: check the address"
    } else if is(&[ErrorKind::TimedOut]) || said.contains("timed out") || said.contains("deadline") {
        "Nothing answers there: check the address, and whether a firewall lets the port through"
    } else {
        "Check that the coordinator runs and that the address is right"
    };
    format!("{said}. {check}")
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

/// Each cause once: several layers repeat the words of the one below.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut said = String::new();
    for text in chain(error).map(ToString::to_string) {
        if !said.contains(&text) && text != "transport error" {
            said.push_str(if said.is_empty() { "" } else { ": " });
            said.push_str(&text);
        }
    }
    if said.is_empty() { error.to_string() } else { said }
}

fn kind(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    chain(error).find_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_scheme_host_and_port() {
        for text in ["http://127.0.0.1:7070", "http://[::1]:1", "http://node-3:7070"] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "127.0.0.1:7070", "https://host:1", "http://host", "http://:1", "ftp://host:1"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn each_kind_of_failure_says_what_to_check() {
        for (kind, words) in [
            (ErrorKind::ConnectionRefused, "Nothing listens there"),
            (ErrorKind::TimedOut, "firewall"),
            (ErrorKind::NetworkUnreachable, "No network leads there"),
        ] {
            let text = explain(&io::Error::from(kind));
            assert!(text.contains(words), "{text}");
        }
        let text = explain(&io::Error::other("failed to lookup address information: no"));
        assert!(text.contains("check its spelling"), "{text}");
    }
}
