//! The rows about alerts: by which rules a run is watched while it trains, and where alerts are posted.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::macros::section;
use crate::secrets::{CUT, web_host};
use crate::table::{Form, Kind, field, number, text, whole};

section! {
    /// What a person is told of while the run trains.
    AlertsSpec {
        /// Whether the run is watched. The rules read what the run has journaled; training does not wait for them, and the
        /// weights do not depend on them. A rule whose number is 0 is off. docs/observe.md has what to do about each alert.
        enabled: bool => field(Kind::YesNo).default("true"),
        /// The samples have collapsed: they differ by less than this share of what they once did (fake_std, means of 100 rows).
        collapse: f64 => number(0.0, 1.0).default("0.1"),
        /// D is saturated: its loss is less than this (a mean of 100 rows), so that G learns nothing from it.
        saturated: f64 => number(0.0, 1.0).default("0.002"),
        /// The newest score is more than so many times the best one, of scores of which less is better.
        score: f64 => number(0.0, 1e6).default("2.0"),
        /// No step has ended for so many seconds, and for the time of 20 steps.
        stall_s: u64 => whole(0, 604_800).default("60"),
        /// A worker takes longer for a virtual rank than so many times the median of the others. What then happens to it says
        /// cluster.stragglers.
        straggler: f64 => number(0.0, 100.0).default("2.0"),
        /// A worker has ended so often in ten minutes.
        flapping: u64 => whole(0, 1000).default("5"),
        /// So large a share of the records does not decode. At data.max_corrupt the run stops.
        corrupt: f64 => number(0.0, 1.0).default("0.0005"),
        /// No snapshot was written for so many times checkpoint.every, or the newest one could not be written.
        snapshot: u64 => whole(0, 1000).default("3"),
        /// Where alerts are posted as JSON when they begin and when they end. auto: to the URL in the environment variable
        /// LSGAN_WEBHOOK of the coordinator, if it is set. off: nowhere, whatever the variable says. A URL here counts before
        /// the variable. Journal, page and logs show its host alone: what stands behind it may be a secret.
        webhook: Webhook => text(WEBHOOK).default("auto"),
    }
}

const WEBHOOK: Form = Form {
    accepts: "auto, off, or a URL with http:// or https://",
    takes: |text| text == AUTO || text == OFF || web_host(text).is_some(),
    pattern: r"^(auto|off|https?://([^\s/?#]+@)?([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(:[0-9]+)?([/?#]\S*)?)$",
    list: false,
    file: None,
};

const AUTO: &str = "auto";
const OFF: &str = "off";

/// Where alerts are posted, as the run's file says. Whatever is written of it (journal, manifests, arguments of processes,
/// `{:?}`) has a URL's host and no more: only the process that has read the file can post.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Webhook(String);

impl Webhook {
    /// The environment variable that has the URL where the file does not.
    pub const VARIABLE: &str = "LSGAN_WEBHOOK";

    /// The URL to post to, where the environment variable has this value; none where nothing is posted.
    #[must_use]
    pub fn url(&self, variable: Option<String>) -> Option<String> {
        match self.0.as_str() {
            OFF => None,
            AUTO => variable.filter(|url| !url.is_empty()),
            // The process that has read the file has handed the whole URL on.
            _ if self.is_cut() => variable.filter(|url| !url.is_empty()),
            url => Some(url.to_owned()),
        }
    }

    /// Whether it is what was written of a URL, without what stood behind its host.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.0.ends_with(CUT)
    }
}

/// What may be shown of it.
impl fmt::Display for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&web_host(&self.0).unwrap_or_else(|| self.0.clone()))
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhook({self})")
    }
}

impl From<String> for Webhook {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<Webhook> for String {
    fn from(webhook: Webhook) -> Self {
        webhook.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_of_a_webhook_has_its_host_alone_and_the_variable_brings_the_rest() {
        let url = "https://user:hunter2@hooks.example:8443/services/T0?token=x";
        let webhook = Webhook::from(url.to_owned());
        assert_eq!(webhook.url(Some("http://other".to_owned())).as_deref(), Some(url));
        let written = serde_json::to_string(&webhook).expect("it is a text");
        assert_eq!(written, "\"https://hooks.example:8443/…\"");
        assert_eq!(format!("{webhook:?}"), "Webhook(https://hooks.example:8443/…)");
        let read: Webhook = serde_json::from_str(&written).expect("it was written by us");
        assert!(read.is_cut() && !webhook.is_cut());
        assert_eq!(read.url(None), None);
        assert_eq!(read.url(Some(url.to_owned())).as_deref(), Some(url));
    }

    #[test]
    fn a_url_in_the_file_comes_before_the_variable_and_off_before_both() {
        let url = |text: &str, variable: &str| Webhook::from(text.to_owned()).url(Some(variable.to_owned()));
        assert_eq!(url("auto", "http://a").as_deref(), Some("http://a"));
        assert_eq!(url("http://b", "http://a").as_deref(), Some("http://b"));
        assert_eq!(url("off", "http://a"), None);
        assert_eq!(url("auto", ""), None);
    }

    #[test]
    fn only_urls_of_the_web_are_taken() {
        let good =
            ["http://box", "https://box:1/", "http://[::1]:80/a?b#c", "http://u:p@box?x", "https://b/…"];
        for text in good.into_iter().chain(["auto", "off"]) {
            assert!((WEBHOOK.takes)(text), "{text}");
        }
        let bad =
            ["ftp://box", "http://", "http://box:x", "http://u:pa/ss@box", "http://a b", "http://b:99999"];
        for text in bad.into_iter().chain(["", "on", "box"]) {
            assert!(!(WEBHOOK.takes)(text), "{text}");
        }
    }
}
