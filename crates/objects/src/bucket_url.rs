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

/// What a store speaks, by the URL's scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// `s3://`: AWS, and any server that speaks S3.
    S3,
    /// `gs://`: Google Cloud Storage.
    Google,
    /// `az://`: Azure Blob Storage. Its buckets are called containers, and the account is a setting.
    Azure,
}

impl Scheme {
    const ALL: [Self; 3] = [Self::S3, Self::Google, Self::Azure];

    /// What stands before `://`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Google => "gs",
            Self::Azure => "az",
        }
    }

    /// The form of a URL, for messages.
    #[must_use]
    pub fn form(self) -> &'static str {
        match self {
            Self::S3 => "s3://BUCKET/PREFIX",
            Self::Google => "gs://BUCKET/PREFIX",
            Self::Azure => "az://CONTAINER/PREFIX",
        }
    }

    /// How credentials are given, for messages.
    #[must_use]
    pub fn how_to_give_keys(self) -> &'static str {
        match self {
            Self::S3 => "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            Self::Google => "set GOOGLE_APPLICATION_CREDENTIALS to a file of credentials",
            Self::Azure => "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
        }
    }

    /// How a bucket's name looks: its longest length, and whether a character may be in it.
    fn names(self) -> (usize, fn(char) -> bool, &'static str) {
        match self {
            Self::S3 => (
                63,
                |c| c.is_ascii_alphanumeric() || "._-".contains(c),
                "a bucket's name has 3 to 63 letters, digits, dots and dashes",
            ),
            Self::Google => (
                222,
                |c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c),
                "a bucket's name has 3 to 222 small letters, digits, dots and dashes",
            ),
            Self::Azure => (
                63,
                |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-',
                "a container's name has 3 to 63 small letters, digits and dashes",
            ),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A bucket, and an object or a prefix in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BucketUrl {
    pub scheme: Scheme,
    /// The bucket's name; with Azure the container's.
    pub bucket: String,
    /// The key or prefix as written in the URL. It is not percent-encoded, as with the AWS tools. Empty for the whole
    /// bucket.
    pub path: Path,
}

impl BucketUrl {
    /// Parses `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`.
    ///
    /// # Errors
    /// Another scheme; a user or password; no bucket; an invalid key.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let shown = || without_user(url);
        let secret = |scheme| Error::Secret { shown: format!("`{}`", shown()), scheme };
        let known = |name: &str| Scheme::ALL.into_iter().find(|scheme| scheme.name() == name);
        let (name, rest) =
            url.split_once("://").ok_or_else(|| Error::Scheme { url: shown(), scheme: String::new() })?;
        let likely = known(name).unwrap_or(Scheme::S3);
        // Part of a secret as well, where a user comes first and its password has `://` in it.
        if url.contains('@') && !name.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(secret(likely));
        }
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        // A secret key may contain a slash, which then looks like the end of the bucket's name.
        if bucket.contains('@') || bucket.contains(':') && rest.contains('@') {
            return Err(secret(likely));
        }
        let scheme = known(name).ok_or_else(|| Error::Scheme { url: shown(), scheme: name.to_owned() })?;
        let unusable = |problem: &str| Error::Url { url: shown(), problem: problem.to_owned(), scheme };
        if bucket.contains(':') {
            return Err(unusable(match scheme {
                Scheme::S3 => "a host and a port are no bucket; they belong into AWS_ENDPOINT_URL",
                Scheme::Google => "a host and a port are no bucket; they belong into GOOGLE_BASE_URL",
                Scheme::Azure => {
                    "a host and a port are no container; they belong into AZURE_STORAGE_ENDPOINT"
                }
            }));
        }
        let (longest, may_be, rule) = scheme.names();
        if !(3..=longest).contains(&bucket.len()) || !bucket.chars().all(may_be) {
            return Err(unusable(rule));
        }
        let path = Path::parse(key).map_err(|error| match key.contains('@') {
            // The error's text has all of the key, and a secret key with a slash begins in it.
            true => unusable("its key has an empty part, `.` or `..`, or a character that no key has"),
            false => unusable(&error.to_string()),
        })?;
        Ok(Self { scheme, bucket: bucket.to_owned(), path })
    }

    /// The bucket's URL, without a key.
    #[must_use]
    pub fn root(&self) -> String {
        format!("{}://{}", self.scheme, self.bucket)
    }
}

impl fmt::Display for BucketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_ref() {
            "" => f.write_str(&self.root()),
            path => write!(f, "{}/{path}", self.root()),
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
            ("gs://my_bucket/runs/a b", "my_bucket", "runs/a b", "gs://my_bucket/runs/a b"),
            ("az://container-1/runs", "container-1", "runs", "az://container-1/runs"),
        ] {
            let place = BucketUrl::parse(url).unwrap();
            assert_eq!((place.bucket.as_str(), place.path.as_ref()), (bucket, path), "{url}");
            assert_eq!(place.to_string(), shown);
        }
    }

    #[test]
    fn another_url_is_refused_and_a_password_is_not_shown() {
        for url in
            ["gcs://bucket/a", "abfs://bucket/a", "S3://bucket/a", "https://s3.amazonaws.com/b/a", "bucket/a"]
        {
            let error = BucketUrl::parse(url).unwrap_err();
            assert!(matches!(error, Error::Scheme { .. }), "{error}");
        }
        for url in [
            "s3://",
            "s3:///a",
            "s3://ab/c",
            "s3://bucket/a//b",
            "s3://bucket/../a",
            "s3://a b c/d",
            "gs://Bucket/a",
            "az://con_tainer/a",
        ] {
            assert!(matches!(BucketUrl::parse(url), Err(Error::Url { .. })), "{url}");
        }
        let port = BucketUrl::parse("s3://127.0.0.1:8333/bucket").unwrap_err().to_string();
        assert!(port.contains("AWS_ENDPOINT_URL"), "{port}");
        for (url, words) in [
            ("gs://127.0.0.1:4443/bucket", "GOOGLE_BASE_URL"),
            ("az://127.0.0.1:10000/devstoreaccount1", "AZURE_STORAGE_ENDPOINT"),
        ] {
            assert!(BucketUrl::parse(url).unwrap_err().to_string().contains(words), "{url}");
        }
        for url in [
            "s3://AKIA:hunter2@bucket/a",
            "az://account:hun/hunter2@container/a",
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
            "gs://bucket/run",
            "az://u:hun/ter2@container/a",
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
                        // Escaped, a tab in the rest makes words of what is none: `\ter2`.
                        let rest = format!("{rest} {rest:?}");
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
