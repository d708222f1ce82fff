//! A server of the user's to which alerts are posted: [`Webhook`], and the [`Outbox`] in which they wait for it.
//!
//! A server that is away, slow or full of errors costs the run nothing: alerts are tried again with growing pauses, of those that
//! wait the oldest are dropped, and what is given up is said once. The URL may have a secret in it: only its host is ever shown.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lsgan_console::Failure;
use lsgan_spec::{Webhook as Named, chain, web_host};
use reqwest::{Certificate, Client, Url};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::post::{self, post};

/// Alerts that wait. A run has a handful in its life; more come where it is on the edge of a rule for days.
const WAITING_MAX: usize = 64;
/// How long an answer may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// How often an alert is posted until it is given up.
const TRIES: u32 = 6;
/// The pause before the second try; each further one is twice as long, so that a server may be away for half a minute.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Where alerts are posted.
pub struct Webhook {
    url: Url,
    /// What may be shown of it.
    shown: String,
    client: Client,
    first_pause: Duration,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhook({})", self.shown)
    }
}

impl Webhook {
    /// The one that the run's file names, or the environment's variable of this value; none where nothing is to be posted.
    ///
    /// # Errors
    /// No URL, with exit code 2; no certificates of authorities on this machine.
    pub fn of(named: &Named, variable: Option<String>) -> Result<Option<Self>, Failure> {
        // A mounted secret has a line's end.
        let Some(text) = named.url(variable.map(|text| text.trim().to_owned())) else {
            if named.is_cut() {
                tracing::warn!(
                    "alerts.webhook is {named}, of which the end was left out where it was written: nothing is posted. Set the \
                     whole URL, or the environment variable {}",
                    Named::VARIABLE
                );
            }
            return Ok(None);
        };
        let (Some(shown), Ok(url)) = (web_host(&text), Url::parse(&text)) else {
            return Err(Failure::bad_input(format!(
                "the URL that alerts are posted to is none; accepted: http:// or https:// with a host. Correct alerts.webhook \
                 in the run's file or the environment variable {}, or set alerts.webhook to off.",
                Named::VARIABLE
            )));
        };
        Self::at(url, shown, (ANSWERED_WITHIN, FIRST_PAUSE)).map(Some)
    }

    fn at(
        url: Url,
        shown: String,
        (answered_within, first_pause): (Duration, Duration),
    ) -> Result<Self, Failure> {
        let client = post::client(answered_within);
        let client = match url.scheme() {
            // A machine without certificates of authorities can do without them here.
            "http" => client.tls_certs_only(Vec::<Certificate>::new()),
            _ => client,
        };
        let client = client.build().map_err(|error| {
            Failure::failed(format!(
                "alerts cannot be posted to {shown}: {}. Install the certificates of authorities (ca-certificates), name a file \
                 of them with SSL_CERT_FILE, or set alerts.webhook to off.",
                chain(&error)
            ))
        })?;
        Ok(Self { url, shown, client, first_pause })
    }

    /// The same with other waits, for tests.
    ///
    /// # Errors
    /// No certificates of authorities on this machine.
    pub fn waiting(self, answered_within: Duration, first_pause: Duration) -> Result<Self, Failure> {
        Self::at(self.url, self.shown, (answered_within, first_pause))
    }

    /// What may be shown of its URL.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Posts what is in the outbox and what comes, until it is closed and empty.
    pub async fn deliver(&self, outbox: &Outbox) {
        while let Some((mut alert, dropped)) = outbox.next().await {
            alert["dropped"] = dropped.into();
            if let Err(why) = self.try_often(&alert).await {
                outbox.lock().given_up += 1;
                tracing::warn!(
                    "an alert is dropped after {TRIES} tries to post it to {}, and the run goes on: {why}",
                    self.shown
                );
            }
        }
    }

    async fn try_often(&self, alert: &Value) -> Result<(), String> {
        let mut pause = self.first_pause;
        for _ in 1..TRIES {
            if self.post(alert).await.is_ok() {
                return Ok(());
            }
            sleep(pause).await;
            pause *= 2;
        }
        self.post(alert).await
    }

    async fn post(&self, alert: &Value) -> Result<(), String> {
        post(self.client.post(self.url.clone()), alert).await
    }
}

/// Alerts that wait to be posted. Putting one in never waits.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    alerts: VecDeque<Value>,
    /// Because too many waited.
    dropped: u64,
    /// Because the server took them in none of all tries.
    given_up: u64,
    is_closed: bool,
}

impl Outbox {
    /// Puts an alert in; in a full outbox it takes the place of the oldest.
    pub fn put(&self, alert: Value) {
        let mut waiting = self.lock();
        if waiting.alerts.len() == WAITING_MAX {
            waiting.alerts.pop_front();
            waiting.dropped += 1;
        }
        waiting.alerts.push_back(alert);
        self.news.notify_one();
    }

    /// How many alerts were dropped so far: because too many waited, or because the server did not take them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let waiting = self.lock();
        waiting.dropped + waiting.given_up
    }

    /// No other alert comes.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.news.notify_one();
    }

    /// The oldest alert, and how many were dropped so far because the outbox was full; none once it is closed and empty.
    async fn next(&self) -> Option<(Value, u64)> {
        loop {
            {
                let mut waiting = self.lock();
                if let Some(alert) = waiting.alerts.pop_front() {
                    return Some((alert, waiting.dropped));
                }
                if waiting.is_closed {
                    return None;
                }
            }
            self.news.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here is half done when something panics.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
