//! Checks environment values that become headers, and removes secrets from messages.

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

/// Hides everything before the last `@` of a URL: a user or a password may contain any character, even `/`.
#[must_use]
pub fn without_user(url: &str) -> String {
    let Some((user, rest)) = url.rsplit_once('@') else { return url.to_owned() };
    match user.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://{HIDDEN}@{rest}"),
        None => format!("{HIDDEN}@{rest}"),
    }
}

/// Hides the users and passwords of all URLs in a text of another program.
pub(crate) fn scrubbed(text: &str) -> String {
    let words = text.split_inclusive(char::is_whitespace);
    words.map(|word| if word.contains("://") { without_user(word) } else { word.to_owned() }).collect()
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
    fn users_and_passwords_are_not_shown_wherever_the_password_has_its_slash() {
        for (url, shown) in [
            ("s3://AKIA:hun/ter2@bucket/a", "s3://…@bucket/a"),
            ("http://u:hun@ter/2@box:8333", "http://…@box:8333"),
            ("AKIA:hunter2@box", "…@box"),
            ("http://box:8333", "http://box:8333"),
        ] {
            assert_eq!(without_user(url), shown);
        }
        let text = "cannot use http://u:hun/ter2@proxy:1, nor http://box.";
        assert_eq!(scrubbed(text), "cannot use http://…@proxy:1, nor http://box.");
    }
}
