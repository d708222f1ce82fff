//! Why a coordinator cannot be reached, and what to check.

use std::error::Error;
use std::io::{self, ErrorKind};

/// The causes of `error` in a line, and what to check about that kind of failure.
#[must_use]
pub fn explain(error: &(dyn Error + 'static)) -> String {
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

/// Each cause once: several layers say the words of the one below again.
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
