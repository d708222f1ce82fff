//! Users, passwords and queries in URLs: a message shows the URL and hides them.

use std::borrow::Cow;

/// Replaces a secret in a message.
const HIDDEN: &str = "…";

/// What stands behind the host of a URL of which only the host is shown.
pub(crate) const CUT: &str = "/…";

/// A URL of the web up to its host, without user and password: `https://box:8443/…`. None for what is no such URL.
#[must_use]
pub fn web_host(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://").filter(|(scheme, _)| ["http", "https"].contains(scheme))?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let is_line = !rest.chars().any(|c| c.is_whitespace() || c.is_control());
    let hides = host.len() < authority.len() || path.len() > 1;
    (is_line && is_host(host)).then(|| if hides { format!("{scheme}://{host}{CUT}") } else { url.to_owned() })
}

/// Whether a text is `HOST` or `HOST:PORT`, with an address of IPv6 in brackets.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    let of = |text: &str, more: &str, is: fn(&char) -> bool| {
        !text.is_empty() && text.chars().all(|c| is(&c) || more.contains(c))
    };
    let is_host = match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => of(address, ":.", char::is_ascii_hexdigit),
        None => of(name, "._-", char::is_ascii_alphanumeric),
    };
    is_host && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// Hides everything before the last `@` of a URL: a user or a password may contain any character, even `/`.
#[must_use]
pub fn without_user(url: &str) -> String {
    let Some((user, rest)) = url.rsplit_once('@') else { return url.to_owned() };
    match user.split_once("://") {
        Some((scheme, _)) if is_scheme(scheme) => format!("{scheme}://{HIDDEN}@{rest}"),
        Some(_) | None => format!("{HIDDEN}@{rest}"),
    }
}

/// A text in which [`without_user`] was done to each URL.
#[must_use]
pub fn without_users(text: &str) -> Cow<'_, str> {
    let has_user = |word: &str| word.split_once("://").is_some_and(|(_, rest)| rest.contains('@'));
    if !text.split_whitespace().any(has_user) {
        return Cow::Borrowed(text);
    }
    let hidden = |word: &str| if has_user(word) { without_user(word) } else { word.to_owned() };
    Cow::Owned(text.split_inclusive(char::is_whitespace).map(hidden).collect())
}

/// Those that people write. Another word before `://` may be a part of a password.
const SCHEMES: [&str; 6] = ["s3", "gs", "az", "http", "https", "file"];

/// Whether what stands before `://` is a URL's scheme, with quotes and brackets before it.
fn is_scheme(text: &str) -> bool {
    let word = text.trim_start_matches(|c: char| c.is_ascii_punctuation());
    SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// A file's text with asterisks in place of users, passwords and queries in URLs, and each byte where it was.
#[must_use]
pub fn masked(text: &str) -> Cow<'_, str> {
    if !(text.contains("://") && text.contains(['@', '?'])) {
        return Cow::Borrowed(text);
    }
    let hidden = |word: &str, from: usize, until: usize| {
        format!("{}{}{}", &word[..from], "*".repeat(until - from), &word[until..])
    };
    let masked = |word: &str| {
        let Some(scheme) = word.find("://") else { return word.to_owned() };
        let begin = if is_scheme(&word[..scheme]) { scheme + 3 } else { 0 };
        let word = match word.rfind('@') {
            Some(at) if begin < at => hidden(word, begin, at),
            _ => word.to_owned(),
        };
        match word.find('?') {
            Some(query) if scheme < query => hidden(&word, query + 1, word.trim_end().len()),
            _ => word,
        }
    };
    Cow::Owned(text.split_inclusive(char::is_whitespace).map(masked).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_passwords_are_not_shown_wherever_the_password_has_its_slash() {
        for (url, shown) in [
            ("s3://AKIA:hun/ter2@bucket/a", "s3://…@bucket/a"),
            ("http://u:hun@ter/2@box:8333", "http://…@box:8333"),
            ("AKIA:hunter2@box", "…@box"),
            ("http://box:8333", "http://box:8333"),
            ("AKIA:hun://ter2@bucket/a", "…@bucket/a"),
            ("AKIA:hunter2@s3://bucket/a", "…@s3://bucket/a"),
            ("AKIA:hunter2@s3://a@bucket", "…@bucket"),
        ] {
            assert_eq!(without_user(url), shown);
        }
    }

    #[test]
    fn users_are_hidden_in_each_url_of_a_text_once_and_for_all() {
        let text = "`s3://AKIA:hun/ter2@bucket/a`:\n  --coordinator=http://u:hun@ter2@box:1 is wrong";
        let shown = "`s3://…@bucket/a`:\n  …@box:1 is wrong";
        assert_eq!(without_users(text), shown);
        assert_eq!(without_users(shown), shown);
        for plain in ["anna@box asks", "http://box:1/a, me@box", "a://b\n@c"] {
            assert!(matches!(without_users(plain), Cow::Borrowed(same) if same == plain), "{plain}");
        }
    }

    #[test]
    fn a_masked_text_has_each_byte_where_it_was() {
        let text = "to: 's3://ü:hun/t@r2@bucket/a' # me@box\nfrom: http://box\n";
        assert_eq!(masked(text), "to: 's3://***********@bucket/a' # me@box\nfrom: http://box\n");
        assert_eq!(masked(text).len(), text.len());
        assert_eq!(masked("AKIA:hunter2@s3://bucket/a"), "************@s3://bucket/a");
        let text = "webhook: https://u:p@box/a?token=x # what? none\n";
        assert_eq!(masked(text), "webhook: https://***@box/a?******* # what? none\n");
        for plain in ["a@b", "http://box", ""] {
            assert!(matches!(masked(plain), Cow::Borrowed(same) if same == plain));
        }
    }
}
