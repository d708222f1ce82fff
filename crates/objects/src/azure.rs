//! Azure Blob Storage, with account, endpoint and credentials as Azure's tools find them.
//!
//! | what | from |
//! | --- | --- |
//! | account | `AZURE_STORAGE_ACCOUNT_NAME` or `AZURE_STORAGE_ACCOUNT`, or `AccountName` of the connection string |
//! | endpoint | `AZURE_STORAGE_ENDPOINT` or `AZURE_ENDPOINT`, `BlobEndpoint` of the connection string, else that of the account at Azure |
//! | credentials | `AZURE_STORAGE_ACCOUNT_KEY` (`…_ACCESS_KEY`, `…_KEY`); `AZURE_STORAGE_SAS_TOKEN` (`…_SAS_KEY`); those of `AZURE_STORAGE_CONNECTION_STRING`; `AZURE_STORAGE_TOKEN`; `AZURE_CLIENT_ID` and `AZURE_TENANT_ID` with `AZURE_FEDERATED_TOKEN_FILE` (workload identity) or `AZURE_CLIENT_SECRET`; the `az` tool with `AZURE_USE_AZURE_CLI=true`; the managed identity of the machine (`IDENTITY_ENDPOINT`) |
//! | none | `AZURE_SKIP_SIGNATURE=true`, for reading public containers |
//!
//! Every other `AZURE_…` variable that `object_store` knows applies too (the authority's host, a proxy).

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::RetryConfig;
use object_store::azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};

use crate::environment::{Environment, cleaned, endpoint, first, is_on};
use crate::machine::MachineKeys;
use crate::opening::{MACHINE, built, client_options};
use crate::secrets::HIDDEN;
use crate::{BucketUrl, Error, Scheme};

const PREFIXES: [&str; 2] = ["AZURE_", "IDENTITY_"];
const ACCOUNTS: [&str; 2] = ["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"];
const ENDPOINTS: [&str; 2] = ["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"];
const ACCOUNT_KEYS: [&str; 4] = [
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_MASTER_KEY",
    "AZURE_STORAGE_KEY",
];
const SIGNATURES: [&str; 2] = ["AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"];
const CONNECTION: &str = "AZURE_STORAGE_CONNECTION_STRING";
const EMULATOR: &str = "AZURE_STORAGE_USE_EMULATOR";

/// Where the credentials come from: as `object_store` calls the way, and its settings.
#[derive(PartialEq, Eq)]
struct Keys {
    way: &'static str,
    settings: Vec<(AzureConfigKey, String)>,
}

/// The settings of one container's client.
struct Settings {
    account: String,
    endpoint: Option<String>,
    /// None: requests are not signed.
    keys: Option<Keys>,
}

pub(crate) fn client(
    place: &BucketUrl,
    environment: &Environment,
    retry: RetryConfig,
) -> Result<MicrosoftAzure, Error> {
    let environment = &cleaned(environment, &PREFIXES)?;
    let Settings { account, endpoint, keys } = settings(place, environment)?;
    let is_local =
        keys.as_ref().is_none_or(|keys| ["access_key", "sas_token", "bearer_token"].contains(&keys.way));
    let is_plain = is_local && endpoint.as_ref().is_some_and(|url| url.starts_with("http://"));
    let builder = MicrosoftAzureBuilder::new().with_client_options(client_options(is_plain));
    let builder = builder.with_container_name(&place.bucket).with_account(account);
    let builder = known(environment).fold(builder, |builder, (key, value)| builder.with_config(key, value));
    let builder = match endpoint {
        Some(url) => builder.with_endpoint(url),
        None => builder,
    };
    let build = |builder: MicrosoftAzureBuilder| built(place, "AZURE_…", builder.build());
    let Some(Keys { way, settings }) = keys else {
        return build(builder.with_skip_signature(true).with_retry(retry));
    };
    let builder = builder.with_credential_type(way);
    let builder = settings.into_iter().fold(builder, |builder, (key, value)| builder.with_config(key, value));
    if way != MANAGED {
        return build(builder.with_retry(retry));
    }
    let service = build(builder.clone().with_retry(MACHINE))?.credentials().clone();
    let looked = "neither AZURE_STORAGE_ACCOUNT_KEY nor AZURE_STORAGE_SAS_TOKEN is set, and this machine has no identity";
    let keys = MachineKeys { service, scheme: Scheme::Azure, looked: looked.to_owned() };
    build(builder.with_credentials(Arc::new(keys)).with_retry(retry))
}

const MANAGED: &str = "managed_identity";

/// What `object_store` takes as it is: credentials, account, endpoint and container are decided here.
fn known(environment: &Environment) -> impl Iterator<Item = (AzureConfigKey, &String)> {
    environment.iter().filter(|(name, _)| name.starts_with("AZURE_")).filter_map(|(name, value)| {
        let key = name.to_ascii_lowercase().parse().ok()?;
        use AzureConfigKey as Key;
        matches!(key, Key::AuthorityHost | Key::DisableTagging | Key::EncryptionKey | Key::Client(_))
            .then_some((key, value))
    })
}

fn settings(place: &BucketUrl, environment: &Environment) -> Result<Settings, Error> {
    if let Some((_, value)) = first(environment, &[EMULATOR]).filter(|_| is_on(environment, EMULATOR)) {
        return Err(Error::Variable {
            name: EMULATOR.to_owned(),
            value: value.to_owned(),
            problem: "an emulator is used as any other server".to_owned(),
            accepted: "AZURE_STORAGE_ENDPOINT=http://127.0.0.1:10000/devstoreaccount1, with its account and key",
        });
    }
    let connection = match environment.get(CONNECTION) {
        Some(text) => parts(text)?,
        None => BTreeMap::new(),
    };
    let part = |name: &str| connection.get(&name.to_ascii_lowercase()).cloned();
    let account =
        first(environment, &ACCOUNTS).map(|(_, name)| name.to_owned()).or_else(|| part("AccountName"));
    let account = account.ok_or_else(|| Error::NoAccount { container: place.root() })?;
    let may_be = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !(3..=24).contains(&account.len()) || !account.chars().all(may_be) {
        return Err(Error::Variable {
            name: ACCOUNTS[0].to_owned(),
            value: account.escape_debug().to_string(),
            problem: "it is no name of a storage account".to_owned(),
            accepted: "3 to 24 small letters and digits",
        });
    }
    let url = match first(environment, &ENDPOINTS) {
        Some((name, url)) => Some((name, url.to_owned())),
        None => part("BlobEndpoint").map(|url| ("BlobEndpoint", url)),
    };
    let url = url.map(|(name, url)| endpoint(name, &url).map(|_| url.trim_end_matches('/').to_owned()));
    Ok(Settings { account, endpoint: url.transpose()?, keys: keys(environment, part)? })
}

fn keys(environment: &Environment, part: impl Fn(&str) -> Option<String>) -> Result<Option<Keys>, Error> {
    use AzureConfigKey as Key;
    if is_on(environment, "AZURE_SKIP_SIGNATURE") {
        return Ok(None);
    }
    let of = |way, settings: Vec<(Key, String)>| Ok(Some(Keys { way, settings }));
    let variable =
        |names: &[&'static str]| first(environment, names).map(|(name, value)| (name, value.to_owned()));
    if let Some((name, key)) = variable(&ACCOUNT_KEYS).or_else(|| Some((CONNECTION, part("AccountKey")?))) {
        check_key(name, &key)?;
        return of("access_key", vec![(Key::AccessKey, key)]);
    }
    let signature = variable(&SIGNATURES).or_else(|| Some((CONNECTION, part("SharedAccessSignature")?)));
    if let Some((name, signature)) = signature {
        check_signature(name, &signature)?;
        return of("sas_token", vec![(Key::SasKey, signature)]);
    }
    if let Some((_, token)) = variable(&["AZURE_STORAGE_TOKEN"]) {
        return of("bearer_token", vec![(Key::Token, token)]);
    }
    let client = variable(&["AZURE_CLIENT_ID", "AZURE_STORAGE_CLIENT_ID"]).map(|(_, it)| it);
    let tenant = variable(&["AZURE_TENANT_ID", "AZURE_STORAGE_TENANT_ID"]).map(|(_, it)| it);
    let file = variable(&["AZURE_FEDERATED_TOKEN_FILE"]);
    let secret = variable(&["AZURE_CLIENT_SECRET", "AZURE_STORAGE_CLIENT_SECRET"]);
    let identity =
        [(Key::FederatedTokenFile, "workload_identity", file), (Key::ClientSecret, "client_secret", secret)];
    for (key, way, found) in identity {
        let Some((has, value)) = found else { continue };
        let lacks = |lacks| Error::HalfAKey { place: "the environment".to_owned(), has, lacks };
        let client = client.ok_or_else(|| lacks("AZURE_CLIENT_ID"))?;
        let tenant = tenant.ok_or_else(|| lacks("AZURE_TENANT_ID"))?;
        return of(way, vec![(key, value), (Key::ClientId, client), (Key::AuthorityId, tenant)]);
    }
    if is_on(environment, "AZURE_USE_AZURE_CLI") {
        return of("azure_cli", Vec::new());
    }
    let endpoint = variable(&["IDENTITY_ENDPOINT", "AZURE_MSI_ENDPOINT", "AZURE_IDENTITY_ENDPOINT"]);
    let object = variable(&["AZURE_OBJECT_ID"]);
    let resource = variable(&["AZURE_MSI_RESOURCE_ID"]);
    let found = [
        (Key::ClientId, client),
        (Key::MsiEndpoint, endpoint.map(|(_, it)| it)),
        (Key::ObjectId, object.map(|(_, it)| it)),
        (Key::MsiResourceId, resource.map(|(_, it)| it)),
    ];
    of(MANAGED, found.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
}

/// The parts of a connection string, by their names in small letters.
fn parts(text: &str) -> Result<BTreeMap<String, String>, Error> {
    let part = |part: &str| {
        let (name, value) = part.split_once('=')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    };
    let parts: Option<BTreeMap<_, _>> =
        text.split(';').filter(|it| !it.trim().is_empty()).map(part).collect();
    parts.ok_or_else(|| {
        hidden(CONNECTION, "a part of it has no `=`", "NAME=VALUE;NAME=VALUE, as the portal shows it")
    })
}

/// Base64, which `object_store` would report without the variable's name.
fn check_key(name: &str, key: &str) -> Result<(), Error> {
    let letters = key.trim_end_matches('=');
    let is_base64 = key.len().is_multiple_of(4)
        && key.len() - letters.len() <= 2
        && letters.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte));
    match is_base64 {
        true => Ok(()),
        false => Err(hidden(name, "it is no base64", "the account's key, as the portal shows it")),
    }
}

fn check_signature(name: &str, signature: &str) -> Result<(), Error> {
    let mut pairs = signature.trim_start_matches('?').split('&');
    match pairs.clone().all(|pair| pair.contains('=')) && pairs.any(|pair| pair.starts_with("sig=")) {
        true => Ok(()),
        false => {
            Err(hidden(name, "it is no shared access signature", "sv=…&…&sig=…, as the portal shows it"))
        }
    }
}

fn hidden(name: &str, problem: &str, accepted: &'static str) -> Error {
    Error::Variable { name: name.to_owned(), value: HIDDEN.to_owned(), problem: problem.to_owned(), accepted }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Settings, Error> {
        let environment =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        settings(&BucketUrl::parse("az://container/run").unwrap(), &environment)
    }

    fn way(settings: &Settings) -> &'static str {
        settings.keys.as_ref().map_or("none", |keys| keys.way)
    }

    const ACCOUNT: (&str, &str) = ("AZURE_STORAGE_ACCOUNT", "account");
    const KEY: &str = "aHVudGVyMg==";

    #[test]
    fn credentials_come_from_the_usual_variables_in_order() {
        let all = [
            ("AZURE_SKIP_SIGNATURE", "true"),
            ("AZURE_STORAGE_KEY", KEY),
            ("AZURE_STORAGE_SAS_TOKEN", "?sv=1&sig=a%3D"),
            ("AZURE_STORAGE_TOKEN", "token"),
            ("AZURE_FEDERATED_TOKEN_FILE", "/token"),
            ("AZURE_CLIENT_SECRET", "secret"),
            ("AZURE_USE_AZURE_CLI", "true"),
            ("AZURE_CLIENT_ID", "client"),
            ("AZURE_TENANT_ID", "tenant"),
        ];
        let ways = [
            "none",
            "access_key",
            "sas_token",
            "bearer_token",
            "workload_identity",
            "client_secret",
            "azure_cli",
            MANAGED,
        ];
        for (from, expected) in ways.into_iter().enumerate() {
            let found = of(&[&[ACCOUNT], &all[from..]].concat()).unwrap();
            assert_eq!(way(&found), expected);
            assert_eq!((found.account.as_str(), found.endpoint), ("account", None));
        }
    }

    #[test]
    fn a_connection_string_has_all_in_one() {
        let text = format!(
            "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={KEY};\
             BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;"
        );
        let found = of(&[(CONNECTION, &text)]).unwrap();
        assert_eq!(found.account, "devstoreaccount1");
        assert_eq!(found.endpoint.as_deref(), Some("http://127.0.0.1:10000/devstoreaccount1"));
        assert!(found.keys.unwrap().settings == [(AzureConfigKey::AccessKey, KEY.to_owned())]);
        let text = "BlobEndpoint=https://account.blob.core.windows.net/;SharedAccessSignature=sv=1&sig=a%3D";
        let found = of(&[ACCOUNT, (CONNECTION, text)]).unwrap();
        assert_eq!(
            (way(&found), found.endpoint.as_deref()),
            ("sas_token", Some("https://account.blob.core.windows.net"))
        );
    }

    #[test]
    fn wrong_variables_are_refused_by_name_and_secrets_are_not_shown() {
        for (name, wrong) in [
            ("AZURE_STORAGE_ACCOUNT_NAME", "Account"),
            ("AZURE_STORAGE_ENDPOINT", "https://u:hunter2@box"),
            ("AZURE_STORAGE_ENDPOINT", "box:10000"),
            ("AZURE_STORAGE_ACCOUNT_KEY", "hunter2"),
            ("AZURE_STORAGE_SAS_TOKEN", "sv=1&hunter2"),
            ("AZURE_STORAGE_CONNECTION_STRING", "AccountName=account;hunter2"),
            ("AZURE_STORAGE_USE_EMULATOR", "true"),
        ] {
            let error = of(&[ACCOUNT, (name, wrong)]).map(drop).unwrap_err();
            assert!(matches!(&error, Error::Variable { name: found, .. } if found == name), "{error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        let error = of(&[("AZURE_STORAGE_KEY", KEY)]).map(drop).unwrap_err();
        assert!(matches!(error, Error::NoAccount { .. }), "{error}");
        for half in [("AZURE_CLIENT_SECRET", "hunter2"), ("AZURE_FEDERATED_TOKEN_FILE", "/token")] {
            let error = of(&[ACCOUNT, half]).map(drop).unwrap_err();
            assert!(matches!(error, Error::HalfAKey { lacks: "AZURE_CLIENT_ID", .. }), "{error}");
        }
    }
}
