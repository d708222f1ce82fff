//! Users and passwords in URLs: a message shows the URL and hides them.

use std::borrow::Cow;

/// Replaces a secret in a message.
const HIDDEN: &str = "…";

/// Hides everything before the last `@` of a URL: a user or a password may contain any character, even `/`.
#[must_use]
pub fn without_user(url: &str) -> String {
    let Some((user, rest)) = url.rsplit_once('@') else { return url.to_owned() };
    match user.split_once("://") {
        Some((scheme, _)) if is_scheme(scheme) => format!("{scheme}://{HIDDEN}@{rest}"),
        Some(_) | None => format!("{HIDDEN}@{rest}"),
    }
}

/// Those that people write. Another word before `://` may be a part of a password.
const SCHEMES: [&str; 6] = ["s3", "gs", "az", "http", "https", "file"];

/// Whether what stands before `://` is a URL's scheme, with quotes and brackets before it.
fn is_scheme(text: &str) -> bool {
    let word = text.trim_start_matches(|c: char| c.is_ascii_punctuation());
    SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// A file's text with asterisks in place of users and passwords in URLs, and each byte where it was.
#[must_use]
pub fn masked(text: &str) -> Cow<'_, str> {
    if !(text.contains("://") && text.contains('@')) {
        return Cow::Borrowed(text);
    }
    let masked = |word: &str| match (word.find("://"), word.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 < at || !is_scheme(&word[..scheme]) => {
            let begin = if is_scheme(&word[..scheme]) { scheme + 3 } else { 0 };
            format!("{}{}{}", &word[..begin], "*".repeat(at - begin), &word[at..])
        }
        _ => word.to_owned(),
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
    fn a_masked_text_has_each_byte_where_it_was() {
        let text = "to: 's3://ü:hun/t@r2@bucket/a' # me@box\nfrom: http://box\n";
        assert_eq!(masked(text), "to: 's3://***********@bucket/a' # me@box\nfrom: http://box\n");
        assert_eq!(masked(text).len(), text.len());
        assert_eq!(masked("AKIA:hunter2@s3://bucket/a"), "************@s3://bucket/a");
        for plain in ["a@b", "http://box", ""] {
            assert!(matches!(masked(plain), Cow::Borrowed(same) if same == plain));
        }
    }
}
