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

use object_store::aws::{AmazonS3ConfigKey, AwsCredential};

use super::profile::ProfileFiles;
use crate::environment::{Environment, cleaned, endpoint as check_endpoint, first, is_on};
use crate::{BucketUrl, Error, Scheme};

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
        /// Where keys were looked for before.
        looked: String,
    },
    /// Requests are not signed.
    None,
}

impl Settings {
    pub(crate) fn of(place: &BucketUrl, environment: &Environment) -> Result<Self, Error> {
        use AmazonS3ConfigKey as Key;
        let environment = &cleaned(environment, &["AWS_"])?;
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

        match first(environment, &["AWS_REGION", "AWS_DEFAULT_REGION"]) {
            Some((name, region)) => check_region(name, region)?,
            None => {
                if let Some(region) = profile.region {
                    check_region("region", &region)?;
                    known.push((Key::Region, region));
                }
            }
        }
        let endpoints = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
        let (from, mut endpoint) = match first(environment, &endpoints) {
            Some((name, url)) => (name, Some(url.to_owned())),
            None => ("endpoint_url", profile.endpoint),
        };
        let mut is_plain = false;
        if let Some(url) = &endpoint {
            is_plain = check_endpoint(from, url)?.scheme() == "http";
        }
        const VIRTUAL: &str = "AWS_VIRTUAL_HOSTED_STYLE_REQUEST";
        let is_virtual = match environment.contains_key(VIRTUAL) {
            true => is_on(environment, VIRTUAL),
            false => profile.addressing_style.as_deref() == Some("virtual"),
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
    if is_on(environment, "AWS_SKIP_SIGNATURE") {
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
    let forbidden = is_on(environment, "AWS_EC2_METADATA_DISABLED");
    let looked = format!(
        "AWS_ACCESS_KEY_ID is not set, {} has no profile `{}`",
        files.credentials.display(),
        files.profile
    );
    if forbidden && !role.iter().any(|name| environment.contains_key(*name)) {
        let looked = format!("{looked}, and AWS_EC2_METADATA_DISABLED forbids to ask the machine");
        let skip = "AWS_SKIP_SIGNATURE=true";
        return Err(Error::NoCredentials { bucket: place.root(), scheme: Scheme::S3, looked, skip });
    }
    Ok(Keys::Machine { looked })
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
