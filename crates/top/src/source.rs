//! Where the routes are asked: in this process, or at a page elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt as _};
use lsgan_observe::{Hub, Local};
use lsgan_spec::{chain, printable};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// How long a page may take to take a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// A page that sends nothing for so long is gone: streams of events have a sign of life every 15 s.
const SILENT_MAX: Duration = Duration::from_secs(45);
/// The largest answer that is read; a grid of samples as PNG is far smaller.
const ANSWER_LEN_BYTES_MAX: usize = 64 << 20;

/// The routes of docs/observe.md, and who answers them.
#[derive(Debug)]
pub struct Source(Place);

#[derive(Debug)]
enum Place {
    Directory(Local),
    Page {
        client: Client,
        /// As `http://127.0.0.1:8090`.
        url: String,
        /// Of the run that must be there.
        identity: String,
    },
}

impl Source {
    /// The run in this directory, live or finished, read-only. Must be called inside a runtime.
    #[must_use]
    pub fn directory(dir: PathBuf) -> Self {
        Self(Place::Directory(Local::new(Hub::new(vec![dir]))))
    }

    /// The run with this identity on the page at this URL, which its coordinator serves.
    ///
    /// # Errors
    /// No client can be made on this machine.
    pub fn page(url: &str, identity: &str) -> Result<Self, String> {
        // An error means that there is one, which will do. Pages speak plain HTTP.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .redirect(Policy::none())
            // It is reached as the coordinator is, directly.
            .no_proxy()
            .tls_certs_only(Vec::<Certificate>::new())
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(SILENT_MAX);
        let client = client.build().map_err(|error| chain(&error))?;
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self(Place::Page { client, url, identity: identity.to_owned() }))
    }

    /// What a route answers.
    ///
    /// # Errors
    /// It cannot be reached, or says that it cannot answer.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let body = self.bytes(path).await?;
        serde_json::from_slice(&body).map_err(|error| format!("{path}: {error}"))
    }

    /// The same of a route that answers with something else than JSON.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) async fn bytes(&self, path: &str) -> Result<Vec<u8>, String> {
        let (status, body) = match &self.0 {
            Place::Directory(local) => local.get(path).await?,
            Place::Page { client, url, .. } => whole(ask(client, url, path).await?).await?,
        };
        if status.is_success() {
            return Ok(body);
        }
        let said = serde_json::from_slice::<Value>(&body).ok();
        let said = said.as_ref().and_then(|value| value["error"].as_str());
        Err(said.map_or_else(|| format!("{path}: {status}"), |said| printable(said).into_owned()))
    }

    /// The pieces of what `/api/live` tells.
    ///
    /// # Errors
    /// It cannot be reached.
    pub(crate) async fn live(&self) -> Result<Pieces, String> {
        const PATH: &str = "/api/live";
        match &self.0 {
            Place::Directory(local) => Ok(Pieces::Here(local.follow(PATH).await?)),
            Place::Page { client, url, .. } => Ok(Pieces::There(ask(client, url, PATH).await?)),
        }
    }

    /// Whether the run with this id is the one that is meant. What answers at a page's address may be another run's page: the
    /// address is one of the coordinator's host.
    ///
    /// # Errors
    /// It is another one, or does not answer.
    pub(crate) async fn check(&self, id: &str) -> Result<(), String> {
        let Place::Page { url, identity, .. } = &self.0 else { return Ok(()) };
        let run: Value = self.get(&format!("/api/runs/{id}")).await?;
        match run["identity"].as_str() == Some(identity) {
            true => Ok(()),
            false => Err(format!("the page at {url} is of another run than the coordinator's")),
        }
    }
}

/// Pieces of an answer, as they come.
pub(crate) enum Pieces {
    Here(BoxStream<'static, Result<Vec<u8>, String>>),
    There(Response),
}

impl Pieces {
    /// The next one. Nothing is lost where it is not waited for to the end.
    ///
    /// # Errors
    /// There are no more.
    pub(crate) async fn next(&mut self) -> Result<Vec<u8>, String> {
        const ENDED: &str = "the page has ended its answer";
        match self {
            Self::Here(pieces) => pieces.next().await.unwrap_or_else(|| Err(ENDED.to_owned())),
            Self::There(response) => match response.chunk().await {
                Ok(Some(piece)) => Ok(piece.to_vec()),
                Ok(None) => Err(ENDED.to_owned()),
                Err(error) => Err(chain(&error)),
            },
        }
    }
}

async fn ask(client: &Client, url: &str, path: &str) -> Result<Response, String> {
    client.get(format!("{url}{path}")).send().await.map_err(|error| chain(&error))
}

async fn whole(mut response: Response) -> Result<(StatusCode, Vec<u8>), String> {
    let status = response.status();
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| chain(&error))? {
        body.extend_from_slice(&piece);
        if body.len() > ANSWER_LEN_BYTES_MAX {
            return Err("the page's answer is too long".to_owned());
        }
    }
    Ok((status, body))
}
