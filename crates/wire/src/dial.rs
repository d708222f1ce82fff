//! Connecting to a coordinator: the one place that knows its address, time-outs, keep-alive and message limit.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::str::FromStr;
use std::time::Duration;

use lsgan_certs::Credential;
use lsgan_spec::without_user;
use tonic::codegen::http::HeaderMap;
use tonic::metadata::{Ascii, Binary, MetadataMap, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::MESSAGE_LEN_BYTES_MAX;
use crate::connect::{Connector, Sentence};
use crate::v1::coordinator_client::CoordinatorClient;
use crate::v1::sweep_client;

/// How long a connection may take to be accepted.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a silent connection is pinged, and how long the answer may take: a coordinator whose host is lost is
/// noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The header of a call that has a join token, and what is before the token in it.
const TOKEN_HEADER: &str = "authorization";
const TOKEN_SCHEME: &str = "Bearer ";
/// The header beside it that has the run's own token: of a process that was let in before.
const RUN_HEADER: &str = "lsgan-run-bin";

/// A connection whose calls show who makes them.
type Known = InterceptedService<Channel, Bearer>;

/// A client of a coordinator.
pub type Client = CoordinatorClient<Known>;

/// A client of a sweep.
pub type SweepClient = sweep_client::SweepClient<Known>;

/// Shows a join token with each call, where the process has one, and what it was told of the run.
#[derive(Clone, Debug)]
pub struct Bearer(Option<(MetadataValue<Ascii>, Option<MetadataValue<Binary>>)>);

/// What a caller without a certificate shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown {
    /// A join token, it may be any text.
    pub token: String,
    /// The run's own token, as workers are told it.
    pub run: Option<Vec<u8>>,
}

impl Bearer {
    fn of(credential: Option<&Credential>, run: Option<&[u8]>) -> Self {
        Self(credential.and_then(Credential::token).map(|token| {
            let text = format!("{TOKEN_SCHEME}{}", token.reveal());
            let mut value = MetadataValue::try_from(text).expect("hexadecimal digits can be in a header");
            value.set_sensitive(true);
            let run = run.map(|run| {
                let mut run = MetadataValue::from_bytes(run);
                run.set_sensitive(true);
                run
            });
            (value, run)
        }))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some((token, run)) = &self.0 {
            request.metadata_mut().insert(TOKEN_HEADER, token.clone());
            if let Some(run) = run {
                request.metadata_mut().insert_bin(RUN_HEADER, run.clone());
            }
        }
        Ok(request)
    }
}

impl Shown {
    /// What is in the headers of a call; none without a token.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let token = headers.get(TOKEN_HEADER)?.to_str().ok()?.strip_prefix(TOKEN_SCHEME)?.to_owned();
        let metadata = MetadataMap::from_headers(headers.clone());
        let run = metadata.get_bin(RUN_HEADER).and_then(|run| run.to_bytes().ok());
        Some(Self { token, run: run.map(|run| run.to_vec()) })
    }
}

/// The address of a coordinator, `http://HOST:PORT` or `https://HOST:PORT`, and who dials it.
#[derive(Clone, Debug)]
pub struct Address {
    endpoint: Endpoint,
    credential: Option<Credential>,
    run: Option<Vec<u8>>,
}

impl Address {
    /// `HOST:PORT`.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.endpoint.uri().authority().map_or("", |authority| authority.as_str())
    }

    /// The host, without the brackets of an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        self.endpoint.uri().host().unwrap_or("").trim_matches(['[', ']'])
    }

    /// The same address, dialled by this process: with its certificate or its join token over https, without one over http.
    ///
    /// # Errors
    /// There is one and the address says http, or none and it says https; what to do.
    pub fn by(self, credential: Option<Credential>) -> Result<Self, String> {
        match (self.is_tls(), credential) {
            (true, None) => Err(format!(
                "{self} speaks TLS, for which this process needs a certificate: give one with --tls; `lsgan certs init` makes \
                 some"
            )),
            (false, Some(Credential::Certificate(_))) => Err(format!(
                "{self} has no encryption, and a certificate is given with --tls. Write https:// in the address, or leave \
                 --tls out"
            )),
            (false, Some(Credential::Token(_))) => Err(format!(
                "{self} has no encryption, and a join token is given, which everybody on the way would read. Write https:// in \
                 the address; or leave the token out: a coordinator without TLS asks nobody who he is"
            )),
            (_, credential) => Ok(Self { credential, ..self }),
        }
    }

    /// The same address, dialled by a process that the run at it has let in before and told its token. With a join token it is
    /// let in again, also when that has expired.
    #[must_use]
    pub fn of_run(self, token: &[u8]) -> Self {
        Self { run: Some(token.to_vec()), ..self }
    }

    fn is_tls(&self) -> bool {
        self.endpoint.uri().scheme_str() == Some("https")
    }
}

/// What an address begins with, of a coordinator that has a certificate, or none.
#[must_use]
pub fn scheme(has_certificate: bool) -> &'static str {
    if has_certificate { "https://" } else { "http://" }
}

impl FromStr for Address {
    type Err = String;

    /// Fails for what is no `http://HOST:PORT` or `https://HOST:PORT`, with a sentence: trying again would not help.
    fn from_str(text: &str) -> Result<Self, String> {
        let whole = |endpoint: &Endpoint| {
            let uri = endpoint.uri();
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
                && uri.port().is_some()
                && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        };
        match Endpoint::from_shared(text.to_owned()).ok().filter(whole) {
            Some(endpoint) => {
                let endpoint = endpoint
                    .connect_timeout(CONNECT_TIMEOUT)
                    .http2_keep_alive_interval(KEEP_ALIVE)
                    .keep_alive_timeout(KEEP_ALIVE);
                Ok(Self { endpoint, credential: None, run: None })
            }
            None => Err(format!(
                "`{}` is no address of a coordinator; write http://HOST:PORT or https://HOST:PORT, as the coordinator \
                 prints it",
                without_user(text)
            )),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", scheme(self.is_tls()), self.authority())
    }
}

/// Connects to the coordinator at `address`, and waits until it has accepted: over TLS it refuses a certificate only after
/// the client has done its part.
///
/// # Errors
/// Why it cannot be reached, and what to check.
pub async fn dial(address: &Address) -> Result<Client, String> {
    let client = CoordinatorClient::new(connect(address).await?);
    Ok(client
        .max_decoding_message_size(MESSAGE_LEN_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_LEN_BYTES_MAX))
}

/// The same for a sweep, which shows a coordinator's certificate.
///
/// # Errors
/// Why it cannot be reached, and what to check.
pub async fn dial_sweep(address: &Address) -> Result<SweepClient, String> {
    connect(address).await.map(SweepClient::new)
}

async fn connect(address: &Address) -> Result<Known, String> {
    if address.is_tls() && address.credential.is_none() {
        address.clone().by(None)?;
    }
    let connector = Connector::new(address.credential.clone());
    let channel =
        address.endpoint.connect_with_connector(connector).await.map_err(|error| explain(&error))?;
    let bearer = Bearer::of(address.credential.as_ref(), address.run.as_deref());
    Ok(InterceptedService::new(channel, bearer))
}

/// The causes of `error` in a line, and what to check about that kind of failure.
fn explain(error: &(dyn Error + 'static)) -> String {
    if let Some(Sentence(text)) = chain(error).find_map(|error| error.downcast_ref::<Sentence>()) {
        return text.clone();
    }
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
    use std::sync::Arc;

    use lsgan_certs::JoinToken;

    use super::*;

    #[test]
    fn an_address_has_scheme_host_and_port() {
        for text in ["http://127.0.0.1:7070", "http://[::1]:1", "https://node-3:7070"] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "127.0.0.1:7070", "https://host", "http://host", "http://:1", "ftp://host:1"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        for text in ["http://anna:hunter2@host:1", "https://anna:hun/ter2@host:1"] {
            let refused = text.parse::<Address>().expect_err("a coordinator asks for no password");
            assert!(refused.contains("://…@host:1` is no address") && !refused.contains("ter2"), "{refused}");
        }
    }

    #[test]
    fn an_address_says_whether_a_certificate_is_needed() {
        let address = |text: &str| text.parse::<Address>().expect("it is one");
        assert!(address("http://h:1").by(None).is_ok());
        let refused = address("https://h:1").by(None).expect_err("nobody dials");
        assert!(refused.starts_with("https://h:1 speaks TLS"), "{refused}");
        assert_eq!(address("http://[::1]:1").host(), "::1");
    }

    #[test]
    fn a_join_token_is_shown_over_tls_alone_and_in_no_log() {
        let token = JoinToken::new(&vec![1, 2, 3].into()).expect("the system has random bytes");
        let (who, text) = (Credential::Token(Arc::new(token.clone())), token.reveal());
        let address = |text: &str| text.parse::<Address>().expect("it is one");
        let refused = address("http://h:1").by(Some(who.clone())).expect_err("everybody would read it");
        assert!(refused.contains("join token") && !refused.contains(&text), "{refused}");
        address("https://h:1").by(Some(who.clone())).expect("it is encrypted");
        for run in [None, Some(&b"the run's own"[..])] {
            let mut bearer = Bearer::of(Some(&who), run);
            let request = bearer.call(Request::new(())).expect("it is let through");
            let logged = format!("{request:?} {bearer:?} {who:?}");
            assert!(!logged.contains(&text) && logged.contains("Sensitive"), "{logged}");
            let shown = Shown::of(&request.into_parts().0.into_headers()).expect("it has a token");
            assert!(shown == Shown { token: text.clone(), run: run.map(<[u8]>::to_vec) });
        }
        assert!(Shown::of(&HeaderMap::new()).is_none());
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
