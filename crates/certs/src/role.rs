//! The roles of processes.
//!
//! A certificate says its roles by URIs among the subject's alternative names, as `spiffe://lsgan/worker`. Every authority
//! can put one there: cert-manager by `uris`, openssl by `URI:`. A common name is for people, and a DNS name could be one
//! of a host.

use std::fmt;
use std::str::FromStr;

/// What a URI of a role begins with.
const URI: &str = "spiffe://lsgan/";

/// What a process is in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It leads the run.
    Coordinator,
    /// It trains.
    Worker,
    /// It asks, stops, pauses, scales.
    Operator,
    /// It asks.
    Viewer,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Coordinator, Self::Worker, Self::Operator, Self::Viewer];

    /// Its word on the command line, and the name of its folder.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Worker => "worker",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
        }
    }

    /// The URI that says it in a certificate.
    #[must_use]
    pub fn uri(self) -> String {
        format!("{URI}{}", self.word())
    }

    /// The role that a URI says, if it says one.
    #[must_use]
    pub fn of_uri(uri: &str) -> Option<Self> {
        uri.strip_prefix(URI)?.parse().ok()
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.word() == text);
        found.ok_or_else(|| format!("`{text}` is no role; write coordinator, worker, operator or viewer"))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Roles as people read them: `a worker's`, `an operator's and a viewer's`, `nobody's`.
#[must_use]
pub fn of_whom(roles: impl IntoIterator<Item = Role>) -> String {
    let words: Vec<_> = roles
        .into_iter()
        .map(|role| format!("{} {role}'s", if role == Role::Operator { "an" } else { "a" }))
        .collect();
    if words.is_empty() { "nobody's".to_owned() } else { words.join(" and ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_says_its_role_and_no_other_uri_does() {
        for role in Role::ALL {
            assert_eq!(Role::of_uri(&role.uri()), Some(role));
        }
        for other in [
            "spiffe://lsgan/",
            "spiffe://lsgan/worker/",
            "spiffe://other/worker",
            "worker",
            "spiffe://lsgan/root",
        ] {
            assert_eq!(Role::of_uri(other), None, "{other}");
        }
        assert_eq!(of_whom([Role::Operator, Role::Viewer]), "an operator's and a viewer's");
        assert_eq!(of_whom([]), "nobody's");
    }
}
