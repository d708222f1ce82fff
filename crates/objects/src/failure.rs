//! Classifies a failed request and describes it for users.
//!
//! `object_store` keeps the server's answer as text. This module searches that text only for what the protocols of S3, Google's
//! XML API and Azure specify: the HTTP status and the `<Code>` of the error's body.

use std::error::Error;
use std::fmt;

use lsgan_spec::{chain, printable};

use crate::Scheme;
use crate::secrets::scrubbed;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The server cannot be reached or is overloaded. A retry may succeed.
    Away,
    /// The credentials are wrong or do not permit this request.
    Refused,
    /// The bucket, or Azure's container, does not exist.
    NoBucket,
    /// The object does not exist.
    Missing,
    /// A precondition failed: the object exists already, or its content changed.
    Changed,
    /// The server rejects the request as invalid.
    Wrong,
}

/// A failed request. `Display` writes the server's message and the advice in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFailure {
    pub kind: FailureKind,
    /// The server's message, or why there is none.
    pub message: String,
    /// Which store it was, for the advice.
    pub scheme: Scheme,
}

impl StoreFailure {
    #[must_use]
    pub fn of(error: &object_store::Error, scheme: Scheme) -> Self {
        use object_store::Error as E;
        let text = chain(error);
        let code = between(&text, "<Code>", "</Code>");
        let status = between(&text, "status code: ", " ").and_then(|status| status.parse::<u16>().ok());
        let kind = match (error, code, status) {
            (_, Some("NoSuchBucket" | "ContainerNotFound"), _) => FailureKind::NoBucket,
            (E::NotFound { .. }, ..) | (_, _, Some(404)) => FailureKind::Missing,
            (E::PermissionDenied { .. } | E::Unauthenticated { .. }, ..) | (_, _, Some(401 | 403)) => {
                FailureKind::Refused
            }
            (E::Precondition { .. } | E::NotModified { .. } | E::AlreadyExists { .. }, ..) => {
                FailureKind::Changed
            }
            (_, _, Some(408 | 429 | 500..=599)) => FailureKind::Away,
            (_, _, Some(_)) => FailureKind::Wrong,
            // S3 redirects without LOCATION when the bucket lies in another region.
            (E::Generic { .. }, ..) if !text.contains("Received redirect") => FailureKind::Away,
            _ => FailureKind::Wrong,
        };
        let message = one_line(&scrubbed(&message(error, &text, code, status)));
        Self { kind, message: printable(&message).into_owned(), scheme }
    }

    #[must_use]
    pub fn advice(&self) -> &'static str {
        use FailureKind as Kind;
        match (self.kind, self.scheme) {
            (Kind::Away, Scheme::S3) => {
                "Check the network and AWS_ENDPOINT_URL, or wait until the store is back, and try again."
            }
            (Kind::Away, Scheme::Google) => {
                "Check the network and GOOGLE_BASE_URL, or wait until the store is back, and try again."
            }
            (Kind::Away, Scheme::Azure) => {
                "Check the network, AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ENDPOINT, or wait until the store is back, \
                 and try again."
            }
            (Kind::Refused, Scheme::S3) => {
                "Check the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE) and what they may do."
            }
            (Kind::Refused, Scheme::Google) => {
                "Check the credentials (GOOGLE_APPLICATION_CREDENTIALS, or the machine's service account) and what they may do."
            }
            (Kind::Refused, Scheme::Azure) => {
                "Check the credentials (AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, or the machine's identity) and what \
                 they may do."
            }
            (Kind::NoBucket, Scheme::S3) => {
                "Make the bucket, or correct its name; check AWS_ENDPOINT_URL and AWS_REGION."
            }
            (Kind::NoBucket, Scheme::Google) => "Make the bucket, or correct its name.",
            (Kind::NoBucket, Scheme::Azure) => {
                "Make the container, or correct its name; check AZURE_STORAGE_ACCOUNT_NAME."
            }
            (Kind::Missing, _) => "Check the URL.",
            (Kind::Changed, _) => "Another process writes here: give each run a prefix of its own.",
            (Kind::Wrong, Scheme::S3) => "Check the URL, AWS_ENDPOINT_URL and AWS_REGION.",
            (Kind::Wrong, Scheme::Google) => "Check the URL and GOOGLE_BASE_URL.",
            (Kind::Wrong, Scheme::Azure) => {
                "Check the URL, AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ENDPOINT."
            }
        }
    }
}

impl fmt::Display for StoreFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. {}", self.message.trim_end_matches('.'), self.advice())
    }
}

fn message(error: &object_store::Error, text: &str, code: Option<&str>, status: Option<u16>) -> String {
    let tries = between(text, ", after ", " retries").map(|retries| format!(", after {retries} retries"));
    let tries = tries.unwrap_or_default();
    match (code, status) {
        (Some(code), status) => {
            let message = between(text, "<Message>", "</Message>").unwrap_or_default();
            // Azure adds the request's id and the time, which tell a user nothing.
            let message = message.split("\nRequestId:").next().unwrap_or_default().trim_end_matches('.');
            let status = status.map(|status| format!(" (HTTP {status})")).unwrap_or_default();
            let separator = if message.is_empty() { "" } else { ": " };
            format!("{code}{separator}{message}{status}{tries}")
        }
        (None, Some(status)) => format!("HTTP {status}{tries}"),
        // The last cause is the most specific one: "Connection refused".
        (None, None) => match text.split_once(" - ") {
            Some((_, reason)) => format!("{}{tries}", one_line(reason)),
            None => one_line(&last_of(error)),
        },
    }
}

fn last_of(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(begin)?;
    rest.split_once(end).map(|(found, _)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.into() }
    }

    #[test]
    fn an_answer_of_a_server_becomes_a_kind_and_a_line() {
        let body = |code: &str| {
            format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>It is so.</Message></Error>")
        };
        let get = "Error performing GET http://box/b/a in 1.5s";
        for (text, kind, message) in [
            (
                format!(
                    "{get}, after 4 retries, max_retries: 4, retry_timeout: 60s  - Server returned non-2xx status code: 503 Service Unavailable: {}",
                    body("SlowDown")
                ),
                FailureKind::Away,
                "SlowDown: It is so (HTTP 503), after 4 retries",
            ),
            (
                format!(
                    "{get} - Server returned non-2xx status code: 404 Not Found: {}",
                    body("NoSuchBucket")
                ),
                FailureKind::NoBucket,
                "NoSuchBucket: It is so (HTTP 404)",
            ),
            (
                format!(
                    "{get} - Server returned non-2xx status code: 403 Forbidden: {}",
                    body("InvalidAccessKeyId")
                ),
                FailureKind::Refused,
                "InvalidAccessKeyId: It is so (HTTP 403)",
            ),
            (
                format!(
                    "{get} - Server returned non-2xx status code: 404 The specified container does not exist.: \
                     \u{feff}<?xml version=\"1.0\"?><Error><Code>ContainerNotFound</Code><Message>It does not exist.\n\
                     RequestId:6f5b\nTime:2026-01-01</Message></Error>"
                ),
                FailureKind::NoBucket,
                "ContainerNotFound: It does not exist (HTTP 404)",
            ),
            (
                format!("{get} - Server returned non-2xx status code: 400 Bad Request: "),
                FailureKind::Wrong,
                "HTTP 400",
            ),
            (
                format!(
                    "{get}, after 2 retries, max_retries: 2, retry_timeout: 60s  - HTTP error: error sending request"
                ),
                FailureKind::Away,
                "HTTP error: error sending request, after 2 retries",
            ),
            (
                format!("{get} - Received redirect without LOCATION, this"),
                FailureKind::Wrong,
                "Received redirect without LOCATION, this",
            ),
        ] {
            let failure = StoreFailure::of(&generic(&text), Scheme::S3);
            assert_eq!((failure.kind, failure.message.as_str()), (kind, message), "{text}");
            assert!(!failure.to_string().contains('\n'));
        }
    }

    /// A server, or what stands in its place, says anything.
    #[test]
    fn an_answer_does_nothing_to_a_terminal() {
        let answer = "<Code>No\u{1b}[2J</Code><Message>It\n is \u{9b}31m so</Message>";
        let failure = StoreFailure::of(&generic(answer), Scheme::S3);
        assert_eq!(failure.message, "No\\u001b[2J: It is \\u009b31m so");
        let failure = StoreFailure::of(&generic("nobody\u{7}\nlistens"), Scheme::S3);
        assert_eq!(failure.message, "nobody\\u0007 listens");
    }
}
