//! Checks environment values that become headers, and removes secrets from messages.

use lsgan_spec::without_user;

use crate::Error;
use crate::settings::Environment;

/// Variables whose values no message shows.
const SECRET: [&str; 6] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_SSE_CUSTOMER_KEY_BASE64",
    "AWS_PROXY_URL",
];

/// Replaces a secret in a message.
const HIDDEN: &str = "…";

/// Trims white space around the values of the `AWS_…` variables, as secrets from files have it. An empty value counts
/// as unset.
///
/// # Errors
/// A value with a character that no header can carry: the client would panic at the first request.
pub(crate) fn cleaned(environment: &Environment) -> Result<Environment, Error> {
    let mut clean = Environment::new();
    for (name, value) in environment {
        if !name.starts_with("AWS_") {
            clean.insert(name.clone(), value.clone());
            continue;
        }
        let value = value.trim();
        // Paths may contain any letter.
        let is_path = name.ends_with("_FILE") || name.ends_with("_BUNDLE") || name == "AWS_PROFILE";
        if let Some(problem) = unusable(value, is_path) {
            let shown = if SECRET.contains(&name.as_str()) { HIDDEN.to_owned() } else { without_user(value) };
            return Err(Error::Variable {
                name: name.clone(),
                value: shown.escape_debug().to_string(),
                problem,
                accepted: "one line of plain ASCII letters, digits and signs",
            });
        }
        if !value.is_empty() {
            clean.insert(name.clone(), value.to_owned());
        }
    }
    Ok(clean)
}

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

    fn of(name: &str, value: &str) -> Result<Option<String>, Error> {
        cleaned(&Environment::from([(name.to_owned(), value.to_owned())])).map(|mut it| it.remove(name))
    }

    #[test]
    fn what_stands_around_a_value_is_taken_off_and_what_is_inside_is_refused_by_name() {
        for name in [
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_ENDPOINT_URL",
            "AWS_REGION",
        ] {
            assert_eq!(of(name, " value/+=\r\n").unwrap().as_deref(), Some("value/+="));
            assert_eq!(of(name, "\n").unwrap(), None);
            for inside in ["hun\nter2", "hun\u{0}ter2", "hun\u{e9}ter2", "hun\u{7f}ter2"] {
                let error = of(name, inside).unwrap_err().to_string();
                assert!(error.contains(name) && error.contains("character 4 of its 8 is"), "{error}");
                let is_secret = SECRET.contains(&name);
                assert_eq!(error.contains("hun"), !is_secret, "{error}");
            }
        }
        assert_eq!(
            of("AWS_CONFIG_FILE", "/home/andré/config").unwrap().as_deref(),
            Some("/home/andré/config")
        );
        assert_eq!(of("HOME", "/home/andré\n").unwrap().as_deref(), Some("/home/andré\n"), "none of ours");
    }

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
