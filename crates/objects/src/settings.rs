//! Finds endpoint, region and credentials as the AWS tools do: in the environment, the AWS files, then the machine's role.
//!
//! | what | from |
//! | --- | --- |
//! | endpoint | `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, `endpoint_url` of the profile, else AWS |
//! | region | `AWS_REGION`, `AWS_DEFAULT_REGION`, `region` of the profile, else us-east-1 |
//! | addressing | `AWS_VIRTUAL_HOSTED_STYLE_REQUEST`, `addressing_style` of the profile, else the bucket in the path |
//! | keys | `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` (and `AWS_SESSION_TOKEN`); the profile (`AWS_PROFILE`); a role of the pod, the task or the machine |
//! | no signature | `AWS_SKIP_SIGNATURE=true`, for public buckets |
//! | attempts | `AWS_MAX_ATTEMPTS`, else as many as fit into the deadline |
//!
//! Every other `AWS_…` variable that `object_store` knows applies too (encryption, requester pays, a proxy).

use std::collections::BTreeMap;
use std::path::PathBuf;

use lsgan_spec::without_user;
use object_store::aws::{AmazonS3ConfigKey, AwsCredential};
use url::Url;

use crate::profile::ProfileFiles;
use crate::secrets::cleaned;
use crate::{BucketUrl, Error};

/// Environment variables, passed as an argument so that tests need not change the process's own.
pub type Environment = BTreeMap<String, String>;

/// The process's environment. Bytes that are not UTF-8 become U+FFFD, which `cleaned` refuses.
#[must_use]
pub fn environment() -> Environment {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    };
    // An empty variable counts as unset, as with the AWS tools.
    std::env::vars_os().filter_map(text).filter(|(_, value)| !value.is_empty()).collect()
}

/// The settings of one bucket's client.
pub(crate) struct Settings {
    /// Settings that go to `object_store` unchanged.
    pub(crate) known: Vec<(AmazonS3ConfigKey, String)>,
    pub(crate) keys: Keys,
    pub(crate) attempts: Option<usize>,
    /// The endpoint is http://, so the system's certificates are not needed.
    pub(crate) is_plain: bool,
}

/// Where the keys come from.
pub(crate) enum Keys {
    Environment(AwsCredential),
    /// Read again from time to time: tools renew them before they expire.
    Profile(ProfileFiles),
    /// The role of the pod, the task or the machine; `object_store` fetches its keys.
    Machine {
        credentials_file: PathBuf,
        profile: String,
    },
    /// Requests are not signed.
    None,
}

impl Settings {
    pub(crate) fn of(place: &BucketUrl, environment: &Environment) -> Result<Self, Error> {
        use AmazonS3ConfigKey as Key;
        let environment = &cleaned(environment)?;
        let mut known: BTreeMap<&str, (Key, String)> = BTreeMap::new();
        for (name, value) in environment.iter().filter(|(name, _)| name.starts_with("AWS_")) {
            if let Ok(key) = name.to_ascii_lowercase().parse::<Key>() {
                known.insert(name, (key, value.clone()));
            }
        }
        // `keys` decides about these: object_store reads no files, and reports half a pair of keys as a caller's bug.
        let ours = [
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_BUCKET",
            "AWS_BUCKET_NAME",
        ];
        ours.iter().for_each(|name| drop(known.remove(name)));
        let files = ProfileFiles::of(environment);
        let keys = keys(place, environment, &files)?;
        let mut known: Vec<_> = known.into_values().collect();
        let profile = files.settings()?;

        let has =
            |names: &[&'static str]| names.iter().find(|name| environment.contains_key(**name)).copied();
        match has(&["AWS_REGION", "AWS_DEFAULT_REGION"]) {
            Some(name) => check_region(name, &environment[name])?,
            None => {
                if let Some(region) = profile.region {
                    check_region("region", &region)?;
                    known.push((Key::Region, region));
                }
            }
        }
        let (from, mut endpoint) = match has(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]) {
            Some(name) => (name, environment.get(name).cloned()),
            None => ("endpoint_url", profile.endpoint),
        };
        let mut is_plain = false;
        if let Some(url) = &endpoint {
            is_plain = check_endpoint(from, url)?.scheme() == "http";
        }
        let is_virtual = match has(&["AWS_VIRTUAL_HOSTED_STYLE_REQUEST"]) {
            Some(name) => environment[name].eq_ignore_ascii_case("true"),
            None => profile.addressing_style.as_deref() == Some("virtual"),
        };
        if is_virtual {
            known.push((Key::VirtualHostedStyleRequest, "true".to_owned()));
            endpoint = endpoint.map(|url| with_bucket(&url, &place.bucket));
        }
        known.extend(endpoint.map(|url| (Key::S3Endpoint, url)));
        Ok(Self { known, keys, attempts: attempts(environment)?, is_plain })
    }
}

fn keys(place: &BucketUrl, environment: &Environment, files: &ProfileFiles) -> Result<Keys, Error> {
    if environment.get("AWS_SKIP_SIGNATURE").is_some_and(|skip| skip.eq_ignore_ascii_case("true")) {
        return Ok(Keys::None);
    }
    let (id, secret) = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY");
    let half = |has, lacks| Error::HalfAKey { place: "the environment".to_owned(), has, lacks };
    match (environment.get(id), environment.get(secret)) {
        (Some(key_id), Some(secret_key)) => {
            let token = environment.get("AWS_SESSION_TOKEN").cloned();
            let (key_id, secret_key) = (key_id.clone(), secret_key.clone());
            return Ok(Keys::Environment(AwsCredential { key_id, secret_key, token }));
        }
        (Some(_), None) => return Err(half(id, secret)),
        (None, Some(_)) => return Err(half(secret, id)),
        (None, None) => {}
    }
    if files.keys()?.is_some() {
        return Ok(Keys::Profile(files.clone()));
    }
    let role = [
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ];
    let forbidden =
        environment.get("AWS_EC2_METADATA_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true"));
    let (credentials_file, profile) = (files.credentials.clone(), files.profile.clone());
    if forbidden && !role.iter().any(|name| environment.contains_key(*name)) {
        let bucket = place.bucket.clone();
        return Err(Error::NoCredentials { bucket, credentials: credentials_file, profile });
    }
    Ok(Keys::Machine { credentials_file, profile })
}

fn check_endpoint(name: &str, value: &str) -> Result<Url, Error> {
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

/// Refuses a region that cannot be part of a host name and of a signature.
fn check_region(name: &str, value: &str) -> Result<(), Error> {
    if value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return Ok(());
    }
    Err(Error::Variable {
        name: name.to_owned(),
        value: value.escape_debug().to_string(),
        problem: "it is no name of a region".to_owned(),
        accepted: "letters, digits and dashes, as us-east-1",
    })
}

/// Turns `http://box:8333` into `http://bucket.box:8333`, which object_store expects for virtual-hosted buckets.
fn with_bucket(endpoint: &str, bucket: &str) -> String {
    match endpoint.split_once("://") {
        Some((scheme, host)) if !host.starts_with(&format!("{bucket}.")) => {
            format!("{scheme}://{bucket}.{host}")
        }
        _ => endpoint.to_owned(),
    }
}

fn attempts(environment: &Environment) -> Result<Option<usize>, Error> {
    const NAME: &str = "AWS_MAX_ATTEMPTS";
    let Some(value) = environment.get(NAME) else { return Ok(None) };
    match value.parse() {
        Ok(attempts @ 1..=1000) => Ok(Some(attempts)),
        _ => Err(Error::Variable {
            name: NAME.to_owned(),
            value: value.clone(),
            problem: "it is no number of attempts".to_owned(),
            accepted: "a whole number, 1 to 1000",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings, Error> {
        let place = BucketUrl::parse("s3://bucket/run").unwrap();
        let mut environment: Environment =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        environment.entry("HOME".to_owned()).or_insert_with(|| "/nonexistent".to_owned());
        Settings::of(&place, &environment)
    }

    fn value(settings: &Settings, wanted: AmazonS3ConfigKey) -> Option<&str> {
        settings.known.iter().rev().find(|(key, _)| *key == wanted).map(|(_, value)| value.as_str())
    }

    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];

    #[test]
    fn the_endpoint_for_s3_wins_and_plain_http_needs_no_second_word() {
        let endpoints = [("AWS_ENDPOINT_URL", "https://all"), ("AWS_ENDPOINT_URL_S3", "http://box:8333")];
        let found = settings(&[&KEYS[..], &endpoints].concat()).unwrap();
        assert_eq!(value(&found, AmazonS3ConfigKey::S3Endpoint), Some("http://box:8333"));
        assert!(found.is_plain);
        let found =
            settings(&[&KEYS[..], &endpoints, &[("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")]].concat());
        assert_eq!(value(&found.unwrap(), AmazonS3ConfigKey::S3Endpoint), Some("http://bucket.box:8333"));
    }

    #[test]
    fn wrong_variables_are_refused_by_name_and_secrets_are_not_shown() {
        for (name, wrong) in [
            ("AWS_ENDPOINT_URL", "box:8333"),
            ("AWS_ENDPOINT_URL_S3", "s3://box"),
            ("AWS_ENDPOINT_URL", "http://u:hunter2@box"),
            ("AWS_ENDPOINT_URL", "http://u:hun/hunter2@box"),
            ("AWS_ENDPOINT_URL_S3", "u:hunter2@box"),
            ("AWS_REGION", "eu central"),
            ("AWS_MAX_ATTEMPTS", "0"),
        ] {
            let error = settings(&[&KEYS[..], &[(name, wrong)]].concat()).map(drop).unwrap_err();
            assert!(matches!(&error, Error::Variable { name: found, .. } if found == name), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        for half in KEYS {
            assert!(matches!(settings(&[half]), Err(Error::HalfAKey { .. })), "{half:?}");
        }
        let nothing = settings(&[("AWS_EC2_METADATA_DISABLED", "true")]).map(drop).unwrap_err();
        assert!(matches!(nothing, Error::NoCredentials { .. }), "{nothing}");
    }
}
