//! Google Cloud Storage, with endpoint and credentials as Google's tools find them.
//!
//! | what | from |
//! | --- | --- |
//! | endpoint | `GOOGLE_BASE_URL`, `STORAGE_EMULATOR_HOST`, else Google's |
//! | credentials | `GOOGLE_BEARER_TOKEN` or `CLOUDSDK_AUTH_ACCESS_TOKEN`; `GOOGLE_SERVICE_ACCOUNT_KEY` (a key file's text); `GOOGLE_SERVICE_ACCOUNT` or `GOOGLE_APPLICATION_CREDENTIALS` (a file); what `gcloud auth application-default login` has written; the service account of the machine or, by workload identity, of the pod (`GCE_METADATA_HOST`) |
//! | none | `GOOGLE_SKIP_SIGNATURE=true`, for reading public buckets |
//!
//! Every other `GOOGLE_…` variable that `object_store` knows applies too (a proxy).
//! Not here: files of workload identity federation (`external_account`), which `object_store` does not read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::gcp::{GcpCredential, GoogleCloudStorage, GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{RetryConfig, StaticCredentialProvider};
use serde_json::Value;

use crate::environment::{Environment, KEY_FILE_AS_TEXT, cleaned, endpoint, first, is_on};
use crate::machine::MachineKeys;
use crate::opening::{MACHINE, built, client_options};
use crate::{BucketUrl, Error, Scheme};

const PREFIXES: [&str; 4] = ["GOOGLE_", "CLOUDSDK_", "GCE_", "STORAGE_EMULATOR_HOST"];
const TOKENS: [&str; 2] = ["GOOGLE_BEARER_TOKEN", "CLOUDSDK_AUTH_ACCESS_TOKEN"];
const KEY_FILES: [&str; 2] = ["GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH"];
const CREDENTIALS: &str = "GOOGLE_APPLICATION_CREDENTIALS";
const ENDPOINTS: [&str; 2] = ["GOOGLE_BASE_URL", "STORAGE_EMULATOR_HOST"];
const SKIP: &str = "GOOGLE_SKIP_SIGNATURE";
/// Says that there is no metadata service, as to Google's own libraries.
const NO_MACHINE: &str = "NO_GCE_CHECK";

/// Where the credentials come from.
#[derive(Debug, PartialEq, Eq)]
enum Keys {
    Token(String),
    /// A key file's text.
    Text(String),
    /// A service account's key, or what `gcloud` has written.
    File {
        path: PathBuf,
        kind: FileKind,
    },
    Machine {
        looked: String,
    },
    None,
}

/// What a file of credentials holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileKind {
    /// A key that signs requests by itself.
    ServiceAccount,
    /// A user's token, which is renewed over TLS.
    User,
}

pub(crate) fn client(
    place: &BucketUrl,
    environment: &Environment,
    retry: RetryConfig,
) -> Result<GoogleCloudStorage, Error> {
    let environment = &cleaned(environment, &PREFIXES)?;
    let keys = keys(place, environment)?;
    let endpoint = match first(environment, &ENDPOINTS) {
        Some((name, url)) => Some(with_scheme(name, url)?),
        None => None,
    };
    let is_plain = endpoint.as_ref().is_some_and(|url| url.starts_with("http://"))
        && !matches!(keys, Keys::File { kind: FileKind::User, .. });
    let builder = GoogleCloudStorageBuilder::new().with_client_options(client_options(is_plain));
    let builder = builder.with_bucket_name(&place.bucket);
    let builder = known(environment).fold(builder, |builder, (key, value)| builder.with_config(key, value));
    let builder = match &endpoint {
        Some(url) => builder.with_base_url(url),
        None => builder,
    };
    let build = |builder: GoogleCloudStorageBuilder| built(place, "GOOGLE_…", builder.build());
    let token = |bearer: String| Arc::new(StaticCredentialProvider::new(GcpCredential { bearer }));
    let builder = match keys {
        Keys::Token(bearer) => builder.with_credentials(token(bearer)),
        Keys::Text(text) => builder.with_service_account_key(text),
        Keys::File { path, .. } => builder.with_application_credentials(path.display().to_string()),
        Keys::Machine { looked } => {
            let service = build(builder.clone().with_retry(MACHINE))?.credentials().clone();
            builder.with_credentials(Arc::new(MachineKeys { service, scheme: Scheme::Google, looked }))
        }
        // Writes ask for a token even then, and would look for one in the machine.
        Keys::None => builder.with_skip_signature(true).with_credentials(token(String::new())),
    };
    build(builder.with_retry(retry))
}

/// What `object_store` takes as it is: credentials, endpoint and bucket are decided here.
fn known(environment: &Environment) -> impl Iterator<Item = (GoogleConfigKey, &String)> {
    environment.iter().filter(|(name, _)| name.starts_with("GOOGLE_")).filter_map(|(name, value)| {
        let key = name.to_ascii_lowercase().parse().ok()?;
        matches!(key, GoogleConfigKey::Client(_)).then_some((key, value))
    })
}

fn keys(place: &BucketUrl, environment: &Environment) -> Result<Keys, Error> {
    if is_on(environment, SKIP) {
        return Ok(Keys::None);
    }
    if let Some((_, token)) = first(environment, &TOKENS) {
        return Ok(Keys::Token(token.to_owned()));
    }
    if let Some(text) = environment.get(KEY_FILE_AS_TEXT) {
        match kind(KEY_FILE_AS_TEXT, text)? {
            FileKind::ServiceAccount => return Ok(Keys::Text(text.clone())),
            FileKind::User => {
                let problem = format!("is a user's; it belongs into a file that {CREDENTIALS} names");
                return Err(Error::GoogleFile { place: KEY_FILE_AS_TEXT.to_owned(), problem });
            }
        }
    }
    let file = first(environment, &[KEY_FILES[0], KEY_FILES[1], CREDENTIALS]);
    if let Some((_, path)) = file {
        let path = PathBuf::from(path);
        let kind = read(&path)?;
        return Ok(Keys::File { path, kind });
    }
    let usual = usual_file(environment);
    if usual.exists() {
        let kind = read(&usual)?;
        return Ok(Keys::File { path: usual, kind });
    }
    let looked = format!("{CREDENTIALS} is not set, there is no {}", usual.display());
    if is_on(environment, NO_MACHINE) {
        let looked = format!("{looked}, and {NO_MACHINE} forbids to ask the machine");
        let (bucket, skip) = (place.root(), "GOOGLE_SKIP_SIGNATURE=true");
        return Err(Error::NoCredentials { bucket, scheme: Scheme::Google, looked, skip });
    }
    Ok(Keys::Machine { looked: format!("{looked}, and this machine has no service account") })
}

/// Where `gcloud auth application-default login` writes.
fn usual_file(environment: &Environment) -> PathBuf {
    let folder = environment.get("CLOUDSDK_CONFIG").map(PathBuf::from);
    let home = || Path::new(environment.get("HOME").map_or("", String::as_str)).join(".config/gcloud");
    folder.unwrap_or_else(home).join("application_default_credentials.json")
}

fn read(path: &Path) -> Result<FileKind, Error> {
    let place = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => kind(&place, &text),
        Err(error) => Err(Error::GoogleFile { place, problem: format!("cannot be read: {error}") }),
    }
}

/// What a file of credentials holds. Nothing of its values is shown.
fn kind(place: &str, text: &str) -> Result<FileKind, Error> {
    let wrong = |problem: String| Error::GoogleFile { place: place.to_owned(), problem };
    let file: Value = serde_json::from_str(text).map_err(|error| wrong(format!("is no JSON: {error}")))?;
    let (kind, needed) = match file.get("type").and_then(Value::as_str) {
        Some("service_account") => {
            (FileKind::ServiceAccount, ["private_key", "private_key_id", "client_email"])
        }
        Some("authorized_user") => (FileKind::User, ["client_id", "client_secret", "refresh_token"]),
        Some(other @ ("external_account" | "impersonated_service_account" | "gdch_service_account")) => {
            return Err(wrong(format!(
                "is of the type `{other}`, which is not supported: get a token with `gcloud auth print-access-token` and set \
                 CLOUDSDK_AUTH_ACCESS_TOKEN, or use a service account of the machine"
            )));
        }
        _ => return Err(wrong("has no known `type`".to_owned())),
    };
    let missing = needed.iter().find(|key| !file.get(**key).is_some_and(Value::is_string));
    match missing {
        Some(key) => Err(wrong(format!("has no `{key}`"))),
        None => Ok(kind),
    }
}

/// The endpoint without a slash at its end. Google's emulators are also named without a scheme.
fn with_scheme(name: &str, value: &str) -> Result<String, Error> {
    let url = match value.contains("://") || name != "STORAGE_EMULATOR_HOST" {
        true => value.to_owned(),
        false => format!("http://{value}"),
    };
    endpoint(name, &url)?;
    Ok(url.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = r#"{"type": "service_account", "private_key": "hunter2", "private_key_id": "1", "client_email": "a@b"}"#;
    const USER: &str = r#"{"type": "authorized_user", "client_id": "a", "client_secret": "hunter2", "refresh_token": "hunter2"}"#;

    fn of(variables: &[(&str, &str)]) -> Result<Keys, Error> {
        let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let environment = environment.chain([("HOME".to_owned(), "/nonexistent".to_owned())]).collect();
        keys(&BucketUrl::parse("gs://bucket/run").unwrap(), &environment)
    }

    #[test]
    fn credentials_come_from_the_usual_places_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let usual = dir.path().join("application_default_credentials.json");
        std::fs::write(&usual, USER).unwrap();
        let account = dir.path().join("account.json");
        std::fs::write(&account, ACCOUNT).unwrap();
        let [folder, named] = [dir.path(), &account].map(|path| path.display().to_string());
        let all = [
            (SKIP, "true"),
            (TOKENS[1], "token"),
            (KEY_FILE_AS_TEXT, ACCOUNT),
            (CREDENTIALS, named.as_str()),
            ("CLOUDSDK_CONFIG", folder.as_str()),
            (NO_MACHINE, "false"),
        ];
        assert_eq!(of(&all).unwrap(), Keys::None);
        assert_eq!(of(&all[1..]).unwrap(), Keys::Token("token".to_owned()));
        assert_eq!(of(&all[2..]).unwrap(), Keys::Text(ACCOUNT.to_owned()));
        assert_eq!(of(&all[3..]).unwrap(), Keys::File { path: account, kind: FileKind::ServiceAccount });
        assert_eq!(of(&all[4..]).unwrap(), Keys::File { path: usual, kind: FileKind::User });
        assert!(matches!(of(&all[5..]).unwrap(), Keys::Machine { .. }));
        let error = of(&[(NO_MACHINE, "true")]).unwrap_err();
        assert!(matches!(error, Error::NoCredentials { .. }), "{error}");
        assert!(error.to_string().contains("/nonexistent/.config/gcloud/"), "{error}");
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_and_its_secrets_are_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.json");
        let named = path.display().to_string();
        for (text, words) in [
            ("hunter2", "no JSON"),
            (r#""hunter2""#, "no known `type`"),
            (&*ACCOUNT.replace("\"private_key\"", "\"other\""), "has no `private_key`"),
            (&*ACCOUNT.replace("service_account", "external_account"), "CLOUDSDK_AUTH_ACCESS_TOKEN"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = of(&[(CREDENTIALS, &named)]).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(words) && shown.contains(&named) && !shown.contains("hunter2"), "{shown}");
        }
        let missing = of(&[(CREDENTIALS, "/nonexistent/key.json")]).unwrap_err().to_string();
        assert!(missing.contains("/nonexistent/key.json cannot be read"), "{missing}");
        // The key itself is no key: the client says so without showing it.
        std::fs::write(&path, ACCOUNT).unwrap();
        let place = BucketUrl::parse("gs://bucket/run").unwrap();
        let environment = Environment::from([(CREDENTIALS.to_owned(), named)]);
        let error = crate::open_with(&place, crate::RetryLimit::DATA, &environment).map(drop).unwrap_err();
        assert!(
            matches!(error, Error::Client { .. }) && !format!("{error:?}").contains("hunter2"),
            "{error:?}"
        );
    }

    #[test]
    fn an_emulator_is_named_with_or_without_a_scheme() {
        assert_eq!(with_scheme("STORAGE_EMULATOR_HOST", "box:4443").unwrap(), "http://box:4443");
        assert_eq!(with_scheme("GOOGLE_BASE_URL", "https://box/").unwrap(), "https://box");
        for wrong in ["box:4443", "https://u:hunter2@box"] {
            let error = with_scheme("GOOGLE_BASE_URL", wrong).unwrap_err().to_string();
            assert!(error.contains("GOOGLE_BASE_URL") && !error.contains("hunter2"), "{error}");
        }
    }
}
