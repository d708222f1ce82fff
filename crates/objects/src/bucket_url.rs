//! A bucket's URL, parsed strictly.

use std::fmt;

use lsgan_spec::without_user;
use object_store::path::Path;

use crate::Error;

/// Whether `text` is a URL rather than a path.
#[must_use]
pub fn is_url(text: &str) -> bool {
    text.contains("://")
}

/// A bucket, and an object or a prefix in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BucketUrl {
    pub bucket: String,
    /// The key or prefix as written in the URL. It is not percent-encoded, as with the AWS tools. Empty for the whole
    /// bucket.
    pub path: Path,
}

impl BucketUrl {
    /// Parses `s3://BUCKET/PREFIX`.
    ///
    /// # Errors
    /// Another scheme; a user or password; no bucket; an invalid key.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let unusable = |problem: &str| Error::Url { url: without_user(url), problem: problem.to_owned() };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| unusable("it has no scheme"))?;
        // Part of a secret as well, where a user comes first and its password has `://` in it.
        if url.contains('@') && !scheme.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(Error::Secret { shown: format!("`{}`", without_user(url)) });
        }
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        // A secret key may contain a slash, which then looks like the end of the bucket's name.
        if bucket.contains('@') || bucket.contains(':') && rest.contains('@') {
            return Err(Error::Secret { shown: format!("`{}`", without_user(url)) });
        }
        if scheme != "s3" {
            return Err(Error::Scheme { url: without_user(url), scheme: scheme.to_owned() });
        }
        if bucket.contains(':') {
            return Err(unusable("a host and a port are no bucket; they belong into AWS_ENDPOINT_URL"));
        }
        let is_usual = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(is_usual) {
            return Err(unusable("a bucket's name has 3 to 63 letters, digits, dots and dashes"));
        }
        let path = Path::parse(key).map_err(|error| match key.contains('@') {
            // The error's text has all of the key, and a secret key with a slash begins in it.
            true => unusable("its key has an empty part, `.` or `..`, or a character that no key has"),
            false => unusable(&error.to_string()),
        })?;
        Ok(Self { bucket: bucket.to_owned(), path })
    }
}

impl fmt::Display for BucketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_ref() {
            "" => write!(f, "s3://{}", self.bucket),
            path => write!(f, "s3://{}/{path}", self.bucket),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_bucket_and_a_key_as_it_is_written() {
        for (url, bucket, path, shown) in [
            ("s3://data/train/a b#1%20.tar", "data", "train/a b#1%20.tar", "s3://data/train/a b#1%20.tar"),
            ("s3://my.bucket-2/runs/x/", "my.bucket-2", "runs/x", "s3://my.bucket-2/runs/x"),
            ("s3://bucket", "bucket", "", "s3://bucket"),
            ("s3://bucket/", "bucket", "", "s3://bucket"),
        ] {
            let place = BucketUrl::parse(url).unwrap();
            assert_eq!((place.bucket.as_str(), place.path.as_ref()), (bucket, path), "{url}");
            assert_eq!(place.to_string(), shown);
        }
    }

    #[test]
    fn another_url_is_refused_and_a_password_is_not_shown() {
        for url in ["gs://bucket/a", "az://bucket/a", "S3://bucket/a", "https://s3.amazonaws.com/b/a"] {
            let error = BucketUrl::parse(url).unwrap_err();
            assert!(matches!(error, Error::Scheme { .. }), "{error}");
        }
        for url in ["s3://", "s3:///a", "s3://ab/c", "s3://bucket/a//b", "s3://bucket/../a", "s3://a b c/d"] {
            assert!(matches!(BucketUrl::parse(url), Err(Error::Url { .. })), "{url}");
        }
        let port = BucketUrl::parse("s3://127.0.0.1:8333/bucket").unwrap_err().to_string();
        assert!(port.contains("AWS_ENDPOINT_URL"), "{port}");
        for url in [
            "s3://AKIA:hunter2@bucket/a",
            "s3://AKIA:hun/hunter2@bucket/a",
            "s3://AKIA:hunter2@hun/x@bucket/a",
            "https://u:hun/hunter2@s3.amazonaws.com/a",
            "s3://hunter2@bucket",
            "gs://u:hunter2@bucket/a",
            "AKIA:hunter2@s3://bucket/a",
            "AKIA:hun://ter2@bucket/a",
        ] {
            let error = BucketUrl::parse(url).unwrap_err();
            assert!(matches!(error, Error::Secret { .. }), "{error}");
            assert!(!format!("{error} {error:?}").contains("hun"), "{error:?}");
        }
    }

    #[test]
    fn a_secret_that_looks_like_a_key_is_not_shown() {
        let error = BucketUrl::parse("s3://AKIA/hunter2 \u{7}@bucket/a").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }

    /// What stands before an `@` is in no message, and a URL that is accepted is shown as one that is accepted.
    #[test]
    fn fuzz_bucket_url() {
        let examples = [
            "s3://bucket/run/a",
            "s3://AKIA:hun/ter2@bucket/a",
            "https://u:hun/ter2@s3.amazonaws.com/b",
            "s3://b-1.c",
        ];
        let examples = examples.map(|text| text.as_bytes().to_vec());
        lsgan_fuzz::Fuzz::new("bucket_url", examples).run(|bytes| {
            let Ok(text) = std::str::from_utf8(bytes) else { return "not UTF-8".to_owned() };
            match BucketUrl::parse(text) {
                Ok(place) => {
                    assert_eq!(BucketUrl::parse(&place.to_string()).ok(), Some(place));
                    "ok".to_owned()
                }
                Err(error) => {
                    let shown = format!("{error} {error:?}");
                    let is_shown = text.rsplit_once('@').is_some_and(|(user, rest)| {
                        let is_secret = |word: &&str| user.contains(word) && !rest.contains(word);
                        ["hun/", "ter2"]
                            .iter()
                            .filter(|word| is_secret(word))
                            .any(|word| shown.contains(word))
                    });
                    assert!(!is_shown, "{shown}");
                    error.to_string().replace(text, "")
                }
            }
        });
    }
}
