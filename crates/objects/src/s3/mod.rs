//! AWS, and any server that speaks S3.

mod profile;
mod settings;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredential};
use object_store::{CredentialProvider, Result, RetryConfig, StaticCredentialProvider};

use self::profile::ProfileFiles;
use self::settings::{Keys, Settings};
use crate::environment::Environment;
use crate::machine::{MachineKeys, unauthenticated};
use crate::opening::{MACHINE, built, client_options};
use crate::{BucketUrl, Error, Scheme};

/// Keys of a profile are read again from the files after this time.
const KEYS_AGE_MAX: Duration = Duration::from_secs(30);

/// What the environment and the AWS files say.
pub(crate) fn settings(place: &BucketUrl, environment: &Environment) -> std::result::Result<Settings, Error> {
    Settings::of(place, environment)
}

pub(crate) fn client(
    place: &BucketUrl,
    settings: Settings,
    retry: RetryConfig,
) -> std::result::Result<AmazonS3, Error> {
    let Settings { known, keys, is_plain, .. } = settings;
    // The keys of a role are fetched over TLS, whatever the endpoint is.
    let options = client_options(is_plain && !matches!(keys, Keys::Machine { .. }));
    let builder = AmazonS3Builder::new().with_client_options(options).with_bucket_name(&place.bucket);
    // Some S3 servers lack the bulk delete request, and there are few objects to delete.
    let builder = builder.with_disable_bulk_delete(true);
    let builder = known.into_iter().fold(builder, |builder, (key, value)| builder.with_config(key, value));
    let build = |builder: AmazonS3Builder| built(place, "AWS_…", builder.build());
    let builder = match keys {
        Keys::Environment(keys) => builder.with_credentials(Arc::new(StaticCredentialProvider::new(keys))),
        Keys::Profile(files) => {
            builder.with_credentials(Arc::new(ProfileKeys { files, last: Mutex::default() }))
        }
        Keys::Machine { looked } => {
            let service = build(builder.clone().with_retry(MACHINE))?.credentials().clone();
            let looked = format!("{looked}, and this machine has no role");
            builder.with_credentials(Arc::new(MachineKeys { service, scheme: Scheme::S3, looked }))
        }
        Keys::None => builder,
    };
    build(builder.with_retry(retry))
}

/// Keys from the files of a profile.
#[derive(Debug)]
struct ProfileKeys {
    files: ProfileFiles,
    last: Mutex<Option<(Instant, Arc<AwsCredential>)>>,
}

#[async_trait]
impl CredentialProvider for ProfileKeys {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> Result<Arc<AwsCredential>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, keys)) = &*last
            && read.elapsed() < KEYS_AGE_MAX
        {
            return Ok(keys.clone());
        }
        let gone = || {
            let ProfileFiles { credentials, profile, .. } = &self.files;
            format!("the keys of the profile `{profile}` are gone from {}", credentials.display())
        };
        match self.files.keys() {
            Ok(Some(keys)) => {
                let keys = Arc::new(keys);
                *last = Some((Instant::now(), keys.clone()));
                Ok(keys)
            }
            Ok(None) => Err(unauthenticated(gone().into())),
            Err(error) => Err(unauthenticated(error.into())),
        }
    }
}
