//! The variables that settings and credentials of a store come from.

use std::collections::BTreeMap;

use lsgan_spec::without_user;
use url::Url;

use crate::Error;
use crate::secrets::{HIDDEN, is_secret, unusable};

/// Environment variables, passed as an argument so that tests need not change the process's own.
pub type Environment = BTreeMap<String, String>;

/// The process's environment. Bytes that are not UTF-8 become U+FFFD, which `cleaned` refuses.
#[must_use]
pub fn environment() -> Environment {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    };
    // An empty variable counts as unset, as with the stores' own tools.
    std::env::vars_os().filter_map(text).filter(|(_, value)| !value.is_empty()).collect()
}

/// Trims white space around the values of the variables that begin so, as secrets from files have it. An empty value
/// counts as unset.
///
/// # Errors
/// A value with a character that no header can carry: the client would panic at the first request.
pub(crate) fn cleaned(environment: &Environment, prefixes: &[&str]) -> Result<Environment, Error> {
    let mut clean = Environment::new();
    for (name, value) in environment {
        if !prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            clean.insert(name.clone(), value.clone());
            continue;
        }
        let value = value.trim();
        if let Some(problem) = unusable(value, is_path(name)).filter(|_| name != KEY_FILE_AS_TEXT) {
            let shown = if is_secret(name) { HIDDEN.to_owned() } else { without_user(value) };
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

/// All of a key file, with its line ends. Nothing of it becomes a header as it stands here.
pub(crate) const KEY_FILE_AS_TEXT: &str = "GOOGLE_SERVICE_ACCOUNT_KEY";

/// Paths may contain any letter.
fn is_path(name: &str) -> bool {
    let paths = [
        "AWS_PROFILE",
        "CLOUDSDK_CONFIG",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_PATH",
    ];
    name.ends_with("_FILE") || name.ends_with("_BUNDLE") || paths.contains(&name)
}

/// The first of these variables that is set.
pub(crate) fn first<'a>(
    environment: &'a Environment,
    names: &[&'static str],
) -> Option<(&'static str, &'a str)> {
    names.iter().find_map(|&name| Some((name, environment.get(name)?.as_str())))
}

/// Whether a variable is set to yes.
pub(crate) fn is_on(environment: &Environment, name: &str) -> bool {
    environment.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// The URL of an endpoint, from the variable or setting `name`.
pub(crate) fn endpoint(name: &str, value: &str) -> Result<Url, Error> {
    const ACCEPTED: &str = "http://HOST:PORT or https://HOST";
    let wrong = |problem: String| Error::Variable {
        name: name.to_owned(),
        value: without_user(value),
        problem,
        accepted: ACCEPTED,
    };
    // Checked before parsing: a password with a slash would parse as another URL.
    if value.contains('@') {
        return Err(wrong("it has a user or a password".to_owned()));
    }
    let url = Url::parse(value).map_err(|error| wrong(error.to_string()))?;
    if !["http", "https"].contains(&url.scheme()) || url.host_str().is_none() {
        return Err(wrong("it is no URL of a web server".to_owned()));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, value: &str) -> Result<Option<String>, Error> {
        let environment = Environment::from([(name.to_owned(), value.to_owned())]);
        cleaned(&environment, &["AWS_", "AZURE_", "GOOGLE_"]).map(|mut it| it.remove(name))
    }

    #[test]
    fn what_stands_around_a_value_is_taken_off_and_what_is_inside_is_refused_by_name() {
        for (name, is_hidden) in [
            ("AWS_ACCESS_KEY_ID", true),
            ("AWS_SECRET_ACCESS_KEY", true),
            ("AWS_SESSION_TOKEN", true),
            ("AWS_PROXY_URL", true),
            ("AWS_ENDPOINT_URL", false),
            ("AWS_REGION", false),
            ("AZURE_STORAGE_ACCOUNT_KEY", true),
            ("AZURE_STORAGE_CONNECTION_STRING", true),
            ("AZURE_STORAGE_SAS_TOKEN", true),
            ("AZURE_CLIENT_SECRET", true),
            ("AZURE_STORAGE_ACCOUNT_NAME", false),
            ("GOOGLE_BEARER_TOKEN", true),
        ] {
            assert_eq!(of(name, " value/+=\r\n").unwrap().as_deref(), Some("value/+="));
            assert_eq!(of(name, "\n").unwrap(), None);
            for inside in ["hun\nter2", "hun\u{0}ter2", "hun\u{e9}ter2", "hun\u{7f}ter2"] {
                let error = of(name, inside).unwrap_err().to_string();
                assert!(error.contains(name) && error.contains("character 4 of its 8 is"), "{error}");
                assert_eq!(error.contains("hun"), !is_hidden, "{error}");
            }
        }
        for path in ["AWS_CONFIG_FILE", "GOOGLE_APPLICATION_CREDENTIALS", "AZURE_FEDERATED_TOKEN_FILE"] {
            assert_eq!(of(path, "/home/andré/config").unwrap().as_deref(), Some("/home/andré/config"));
        }
        assert_eq!(of("HOME", "/home/andré\n").unwrap().as_deref(), Some("/home/andré\n"), "none of ours");
    }
}
