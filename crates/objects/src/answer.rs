//! What a store's failure means, in words for people.
//!
//! `object_store` keeps the server's answer as text only: what is looked for in it is what the S3 protocol fixes, the
//! status and the `<Code>` of an error's body.

use std::error::Error;
use std::fmt;

use lsgan_spec::chain;

use crate::secrets::scrubbed;

/// What a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The server cannot be reached, or cannot serve now. Asking again may help.
    Away,
    /// The credentials are wrong, or may not do this.
    Refused,
    /// The bucket does not exist.
    NoBucket,
    /// The object does not exist.
    Missing,
    /// The object is there already, or is another one than was asked for.
    Changed,
    /// The server answers that the request is wrong.
    Wrong,
}

/// A store's failure. `Display` says what happened and what to do, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it means.
    pub meaning: Meaning,
    /// What the server said, or why it could not say anything.
    pub words: String,
}

impl Answer {
    /// Reads a failure.
    #[must_use]
    pub fn of(error: &object_store::Error) -> Self {
        use object_store::Error as E;
        let text = chain(error);
        let code = between(&text, "<Code>", "</Code>");
        let status = between(&text, "status code: ", " ").and_then(|status| status.parse::<u16>().ok());
        let meaning = match (error, code, status) {
            (_, Some("NoSuchBucket"), _) => Meaning::NoBucket,
            (E::NotFound { .. }, ..) | (_, _, Some(404)) => Meaning::Missing,
            (E::PermissionDenied { .. } | E::Unauthenticated { .. }, ..) | (_, _, Some(401 | 403)) => {
                Meaning::Refused
            }
            (E::Precondition { .. } | E::NotModified { .. } | E::AlreadyExists { .. }, ..) => {
                Meaning::Changed
            }
            (_, _, Some(408 | 429 | 500..=599)) => Meaning::Away,
            (_, _, Some(_)) => Meaning::Wrong,
            // Without LOCATION a redirect is S3's word for another region.
            (E::Generic { .. }, ..) if !text.contains("Received redirect") => Meaning::Away,
            _ => Meaning::Wrong,
        };
        Self { meaning, words: scrubbed(&words(error, &text, code, status)) }
    }

    /// What to do.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self.meaning {
            Meaning::Away => {
                "Check the network and AWS_ENDPOINT_URL, or wait until the store is back, and try again."
            }
            Meaning::Refused => {
                "Check the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE) and what they may do."
            }
            Meaning::NoBucket => {
                "Make the bucket, or correct its name; check AWS_ENDPOINT_URL and AWS_REGION."
            }
            Meaning::Missing => "Check the URL.",
            Meaning::Changed => "Somebody else writes here: give each run a prefix of its own.",
            Meaning::Wrong => "Check the URL, AWS_ENDPOINT_URL and AWS_REGION.",
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. {}", self.words.trim_end_matches('.'), self.advice())
    }
}

fn words(error: &object_store::Error, text: &str, code: Option<&str>, status: Option<u16>) -> String {
    let tries = between(text, ", after ", " retries").map(|retries| format!(", after {retries} retries"));
    let tries = tries.unwrap_or_default();
    match (code, status) {
        (Some(code), status) => {
            let message = between(text, "<Message>", "</Message>").unwrap_or_default().trim_end_matches('.');
            let status = status.map(|status| format!(" (HTTP {status})")).unwrap_or_default();
            let separator = if message.is_empty() { "" } else { ": " };
            format!("{code}{separator}{message}{status}{tries}")
        }
        (None, Some(status)) => format!("HTTP {status}{tries}"),
        // The last cause says most: "Connection refused".
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
    fn what_a_server_says_becomes_a_meaning_and_a_line() {
        let body = |code: &str| {
            format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>It is so.</Message></Error>")
        };
        let get = "Error performing GET http://box/b/a in 1.5s";
        for (text, meaning, words) in [
            (
                format!(
                    "{get}, after 4 retries, max_retries: 4, retry_timeout: 60s  - Server returned non-2xx status code: 503 Service Unavailable: {}",
                    body("SlowDown")
                ),
                Meaning::Away,
                "SlowDown: It is so (HTTP 503), after 4 retries",
            ),
            (
                format!(
                    "{get} - Server returned non-2xx status code: 404 Not Found: {}",
                    body("NoSuchBucket")
                ),
                Meaning::NoBucket,
                "NoSuchBucket: It is so (HTTP 404)",
            ),
            (
                format!(
                    "{get} - Server returned non-2xx status code: 403 Forbidden: {}",
                    body("InvalidAccessKeyId")
                ),
                Meaning::Refused,
                "InvalidAccessKeyId: It is so (HTTP 403)",
            ),
            (
                format!("{get} - Server returned non-2xx status code: 400 Bad Request: "),
                Meaning::Wrong,
                "HTTP 400",
            ),
            (
                format!(
                    "{get}, after 2 retries, max_retries: 2, retry_timeout: 60s  - HTTP error: error sending request"
                ),
                Meaning::Away,
                "HTTP error: error sending request, after 2 retries",
            ),
            (
                format!("{get} - Received redirect without LOCATION, this"),
                Meaning::Wrong,
                "Received redirect without LOCATION, this",
            ),
        ] {
            let answer = Answer::of(&generic(&text));
            assert_eq!((answer.meaning, answer.words.as_str()), (meaning, words), "{text}");
            assert!(!answer.to_string().contains('\n'));
        }
    }
}
