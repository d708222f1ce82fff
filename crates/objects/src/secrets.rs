//! Checks values that become headers, and removes secrets from messages.

use lsgan_spec::without_user;

/// Whether no message shows the value of this variable.
pub(crate) fn is_secret(name: &str) -> bool {
    // A path to a secret is none.
    let parts = ["KEY", "SECRET", "TOKEN", "SAS", "CONNECTION_STRING", "PROXY_URL", "PASSWORD"];
    !name.ends_with("_FILE") && parts.iter().any(|part| name.contains(part))
}

/// Replaces a secret in a message.
pub(crate) const HIDDEN: &str = "…";

/// Describes the first character of `value` that no header can carry.
pub(crate) fn unusable(value: &str, any_letter: bool) -> Option<String> {
    let bad = |c: &char| c.is_control() || !(any_letter || c.is_ascii());
    let (at, found) = value.chars().enumerate().find(|(_, c)| bad(c))?;
    let what = match found {
        '\n' | '\r' => "a line's end".to_owned(),
        '\t' => "a tab".to_owned(),
        c if c.is_control() => "a control character".to_owned(),
        _ => "a letter that is not ASCII".to_owned(),
    };
    Some(format!("character {} of its {} is {what}", at + 1, value.chars().count()))
}

/// Hides the users, passwords and queries of all URLs in a text of another program: the request for a role's keys has a token
/// in its query.
pub(crate) fn scrubbed(text: &str) -> String {
    let scrubbed = |word: &str| {
        if !word.contains("://") {
            return word.to_owned();
        }
        let url = without_user(word);
        let Some((place, query)) = url.split_once('?') else { return url };
        // What closes a bracket, a sentence or a word stays.
        let end = query.trim_end_matches(|c: char| c.is_whitespace() || "):.,;'\"`]>".contains(c)).len();
        format!("{place}?{HIDDEN}{}", &query[end..])
    };
    text.split_inclusive(char::is_whitespace).map(scrubbed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_passwords_and_queries_are_taken_out_of_a_text() {
        let text = "cannot use http://u:hun/ter2@proxy:1, nor http://box.";
        assert_eq!(scrubbed(text), "cannot use http://…@proxy:1, nor http://box.");
        let text = "sending (https://sts.amazonaws.com/?Action=Assume&WebIdentityToken=hun/ter2@x), why?";
        assert_eq!(scrubbed(text), "sending (https://…@x), why?");
        let text = "sending request for url (https://sts/?Action=Assume&WebIdentityToken=hunter2): timed out";
        assert_eq!(scrubbed(text), "sending request for url (https://sts/?…): timed out");
    }
}
