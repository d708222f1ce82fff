//! What a reader of a live run's page may ask for, where its coordinator takes that (`--http-actions`). `lsgan ui` never does.
//!
//! A browser sends what any web site has it send. So an action needs a header that other sites' pages cannot send (the browser
//! asks first whether they may, and this server answers no such question) and the page's own origin. Where other hosts reach the
//! page, or the run has TLS, it needs a key as well, which operators alone are told.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// The header: the key, or anything where none is needed.
pub const HEADER: &str = "x-lsgan-action";
/// What browsers say of where a request comes from.
pub(crate) const SITE: &str = "sec-fetch-site";
/// What an action may wait for: the coordinator takes most of them at once.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);
/// Actions that wait to be taken.
const WAITING_MAX: usize = 16;

/// Their names in addresses.
pub(crate) const NAMES: &[&str] = &["stop", "snapshot", "pause", "resume", "scale"];

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// End the run at the next step boundary, with a snapshot.
    Stop,
    /// Write a snapshot at the next step boundary.
    Snapshot,
    /// Hold the run at the next step boundary, with a snapshot.
    Pause,
    /// Go on with a run that is paused.
    Resume,
    /// Run so many workers.
    Scale {
        /// How many.
        workers: u32,
    },
}

impl Action {
    /// The action of this name; none without the number of workers that `scale` needs.
    pub(crate) fn named(name: &str, workers: Option<u64>) -> Option<Self> {
        Some(match name {
            "stop" => Self::Stop,
            "snapshot" => Self::Snapshot,
            "pause" => Self::Pause,
            "resume" => Self::Resume,
            "scale" => Self::Scale { workers: u32::try_from(workers?).unwrap_or(u32::MAX) },
            _ => return None,
        })
    }
}

/// An action that somebody asked for, and who is told whether it is on its way.
#[derive(Debug)]
pub struct Asked {
    /// What.
    pub action: Action,
    /// Told that the run will do it, or why not.
    pub answer: oneshot::Sender<Result<(), String>>,
}

/// The page's side: who may ask, and where that goes.
#[derive(Clone)]
pub struct Actions {
    asked: mpsc::Sender<Asked>,
    key: Option<String>,
}

impl Actions {
    /// Actions that need `key`, if there is one, and what is asked for.
    #[must_use]
    pub fn new(key: Option<String>) -> (Self, mpsc::Receiver<Asked>) {
        let (asked, orders) = mpsc::channel(WAITING_MAX);
        (Self { asked, key }, orders)
    }

    pub(crate) fn needs_key(&self) -> bool {
        self.key.is_some()
    }

    /// Whether the sender of a request with these headers may ask for something; why not.
    pub(crate) fn allow(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(shown) = text(HEADER) else {
            return Err("an action needs the header X-Lsgan-Action, which the page sends");
        };
        let (origin, host) = (text(ORIGIN.as_str()), text(HOST.as_str()));
        let own = origin.and_then(|origin| origin.strip_prefix("http://"));
        if own.is_none() || own != host || text(SITE).is_some_and(|site| site != "same-origin") {
            return Err(
                "an action is taken from this server's own page alone: Origin must be http:// and what Host says",
            );
        }
        match &self.key {
            // Compared in a time that says nothing of the key.
            Some(key) if blake3::hash(shown.as_bytes()) != blake3::hash(key.as_bytes()) => Err(
                "an action needs the key of this page: `lsgan page`, with an operator's certificate, opens it with its key",
            ),
            Some(_) | None => Ok(()),
        }
    }

    /// Asks for it, and waits until it is on its way.
    pub(crate) async fn ask(&self, action: Action) -> Result<(), String> {
        let ending = || "the coordinator is ending".to_owned();
        let (answer, answered) = oneshot::channel();
        self.asked.try_send(Asked { action, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => "too many actions wait; try again".to_owned(),
            mpsc::error::TrySendError::Closed(_) => ending(),
        })?;
        match timeout(TAKEN_WITHIN, answered).await {
            Ok(answer) => answer.map_err(|_| ending())?,
            Err(_) => Err("the coordinator is busy and has not answered; it may still do it".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |&(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn an_action_needs_the_pages_own_origin_and_header_and_its_key_where_there_is_one() {
        let (open, _orders) = Actions::new(None);
        let (locked, _more) = Actions::new(Some("abc".to_owned()));
        let own = [("host", "localhost:1"), ("origin", "http://localhost:1")];
        let with = |more: &[(&'static str, &'static str)]| headers(&[&own[..], more].concat());
        assert_eq!(open.allow(&with(&[(HEADER, "1")])), Ok(()));
        assert_eq!(open.allow(&with(&[(HEADER, "1"), (SITE, "same-origin")])), Ok(()));
        assert_eq!(locked.allow(&with(&[(HEADER, "abc")])), Ok(()));
        for refused in [
            with(&[]),
            with(&[(HEADER, "1"), (SITE, "cross-site")]),
            headers(&[("host", "localhost:1"), (HEADER, "1")]),
            headers(&[("host", "localhost:1"), ("origin", "http://evil.example"), (HEADER, "1")]),
            headers(&[("host", "localhost:1"), ("origin", "null"), (HEADER, "1")]),
            headers(&[("origin", "http://localhost:1"), (HEADER, "1")]),
        ] {
            open.allow(&refused).expect_err("another site could send it");
        }
        for wrong in ["1", "ab", "abcd", ""] {
            assert!(locked.allow(&with(&[(HEADER, wrong)])).is_err_and(|why| why.contains("lsgan page")));
        }
    }

    #[test]
    fn every_name_is_that_of_an_action_and_scale_needs_a_number() {
        assert!(NAMES.iter().all(|name| Action::named(name, Some(2)).is_some()));
        assert_eq!(Action::named("scale", Some(3)), Some(Action::Scale { workers: 3 }));
        assert_eq!(Action::named("scale", None), None);
        assert_eq!(Action::named("delete", None), None);
    }
}
