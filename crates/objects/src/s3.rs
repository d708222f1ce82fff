//! The S3 client with its retries.
//!
//! Retried with growing pauses: connections that are refused or break, answers 5xx, 429 and 408, and bodies that break
//! off (from the first missing byte, while the object is unchanged). Not retried: permanent answers (403, 404, 412).
//! `object_store` implements most of this; [`RetryingStore`] adds lists whose body breaks off, and puts whose answer was
//! lost.

use std::fmt;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryFutureExt as _, TryStreamExt as _};
use lsgan_spec::chain;
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredential, AwsCredentialProvider};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, CopyOptions, CredentialProvider, GetOptions, GetResult, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    RetryConfig, StaticCredentialProvider,
};

use crate::failure::{FailureKind, StoreFailure};
use crate::profile::ProfileFiles;
use crate::secrets::scrubbed;
use crate::settings::{Environment, Keys, Settings, environment};
use crate::{BucketUrl, Error};

/// How long a store may be unreachable before a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryLimit {
    /// From the first attempt on; an attempt that is under way at the deadline is the last one.
    pub deadline: Duration,
}

impl RetryLimit {
    /// For reading a data set: training waits for the data, and a worker that gives up ends.
    pub const DATA: Self = Self { deadline: Duration::from_secs(180) };
    /// For snapshots: training continues until the next snapshot is due, and then giving up is better than waiting.
    pub const SNAPSHOTS: Self = Self { deadline: Duration::from_secs(60) };
    /// For a journal's copy: the journal's thread does nothing else meanwhile, and asks again by itself.
    pub const JOURNAL: Self = Self { deadline: Duration::from_secs(3) };
}

/// A reachable host accepts a connection in less time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Silence within a request that counts as a broken connection. The whole request has no limit: large objects take long.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Bounds the loop; the deadline usually ends it first.
const ATTEMPTS_MAX: usize = 1000;
/// For the metadata service: it answers in milliseconds where the machine has a role, and not at all elsewhere.
const MACHINE: RetryConfig = RetryConfig {
    backoff: BackoffConfig { init_backoff: FIRST_PAUSE, max_backoff: PAUSE_MAX, base: 2.0 },
    max_retries: 2,
    retry_timeout: Duration::from_secs(5),
};
/// Keys of a profile are read again from the files after this time.
const KEYS_AGE_MAX: Duration = Duration::from_secs(30);

/// Builds a client for the bucket of `place`; paths are relative to the bucket. Sends no request.
///
/// # Errors
/// Wrong or missing settings or credentials.
pub fn open(place: &BucketUrl, limit: RetryLimit) -> std::result::Result<Arc<dyn ObjectStore>, Error> {
    open_with(place, limit, &environment())
}

/// As [`open`], with an explicit environment.
///
/// # Errors
/// As [`open`].
pub fn open_with(
    place: &BucketUrl,
    limit: RetryLimit,
    environment: &Environment,
) -> std::result::Result<Arc<dyn ObjectStore>, Error> {
    choose_cryptography();
    let bucket = || place.bucket.clone();
    let Settings { known, keys, attempts, is_plain } = Settings::of(place, environment)?;
    let attempts = attempts.unwrap_or(ATTEMPTS_MAX);
    let options = ClientOptions::new()
        .with_allow_http(true) // http:// in the endpoint is the user's explicit choice
        // The keys of a role are fetched over TLS, whatever the endpoint is.
        .with_no_system_certificates(is_plain && !matches!(keys, Keys::Machine { .. }))
        .with_timeout_disabled()
        .with_read_timeout(SILENCE_MAX)
        .with_connect_timeout(CONNECT_TIMEOUT);
    let retry = RetryConfig {
        backoff: BackoffConfig { init_backoff: FIRST_PAUSE, max_backoff: PAUSE_MAX, base: 2.0 },
        max_retries: attempts - 1,
        retry_timeout: limit.deadline,
    };
    let builder = AmazonS3Builder::new().with_client_options(options).with_bucket_name(bucket());
    // Some S3 servers lack the bulk delete request, and there are few objects to delete.
    let builder = builder.with_disable_bulk_delete(true);
    let builder = known.into_iter().fold(builder, |builder, (key, value)| builder.with_config(key, value));
    let build = |builder: AmazonS3Builder| {
        builder.build().map_err(|error| Error::Client { bucket: bucket(), problem: scrubbed(&chain(&error)) })
    };
    let builder = match keys {
        Keys::Environment(keys) => builder.with_credentials(Arc::new(StaticCredentialProvider::new(keys))),
        Keys::Profile(files) => {
            builder.with_credentials(Arc::new(ProfileKeys { files, last: Mutex::default() }))
        }
        Keys::Machine { credentials_file, profile } => {
            let role = build(builder.clone().with_retry(MACHINE))?.credentials().clone();
            let looked = format!(
                "AWS_ACCESS_KEY_ID is not set, {} has no profile `{profile}`, and this machine has no role",
                credentials_file.display()
            );
            builder.with_credentials(Arc::new(RoleKeys { role, looked }))
        }
        Keys::None => builder,
    };
    let s3 = build(builder.with_retry(retry))?;
    Ok(Arc::new(RetryingStore { s3, deadline: limit.deadline, attempts }))
}

/// Selects ring, which builds in seconds; rustls' own default needs minutes of C.
fn choose_cryptography() {
    static ONCE: Once = Once::new();
    // Fails where the process has chosen a provider already, which serves as well.
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
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

/// Keys of a role, from the metadata service of the pod, the task or the machine.
#[derive(Debug)]
struct RoleKeys {
    role: AwsCredentialProvider,
    looked: String,
}

#[async_trait]
impl CredentialProvider for RoleKeys {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> Result<Arc<AwsCredential>> {
        self.role.get_credential().await.map_err(|error| {
            let why = StoreFailure::of(&error).message;
            unauthenticated(format!("there are no credentials: {} ({why})", self.looked).into())
        })
    }
}

fn unauthenticated(source: Box<dyn std::error::Error + Send + Sync>) -> object_store::Error {
    object_store::Error::Unauthenticated { path: String::new(), source }
}

/// An S3 client that also retries what `object_store` does not.
#[derive(Debug)]
struct RetryingStore {
    s3: AmazonS3,
    deadline: Duration,
    attempts: usize,
}

impl fmt::Display for RetryingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.s3.fmt(f)
    }
}

/// Repeats `ask` until it gives a permanent answer, or the deadline or the attempts end.
async fn persist<T, F: Future<Output = Result<T>>>(
    (deadline, attempts): (Duration, usize),
    mut ask: impl FnMut() -> F,
) -> Result<T> {
    let begin = Instant::now();
    let mut pause = FIRST_PAUSE;
    for _ in 1..attempts {
        match ask().await {
            Err(error)
                if StoreFailure::of(&error).kind == FailureKind::Away && begin.elapsed() < deadline =>
            {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            answer => return answer,
        }
    }
    ask().await
}

impl RetryingStore {
    fn patience(&self) -> (Duration, usize) {
        (self.deadline, self.attempts)
    }
}

#[async_trait]
impl ObjectStore for RetryingStore {
    /// A retried create-only put may report that the object exists: the caller's own, from the attempt before.
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        persist(self.patience(), || self.s3.put_opts(location, payload.clone(), options.clone())).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        persist(self.patience(), || self.s3.put_multipart_opts(location, options.clone())).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.s3.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (s3, patience) = (self.s3.clone(), self.patience());
        let delete = move |location: Path| {
            let s3 = s3.clone();
            async move {
                let one = || {
                    let one = futures::stream::once(std::future::ready(Ok(location.clone()))).boxed();
                    s3.delete_stream(one).try_for_each(|_| std::future::ready(Ok(())))
                };
                persist(patience, one).await.map(|()| location)
            }
        };
        locations.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (s3, patience, prefix) = (self.s3.clone(), self.patience(), prefix.cloned());
        let all = async move { persist(patience, || s3.list(prefix.as_ref()).try_collect::<Vec<_>>()).await };
        all.map_ok(|items| futures::stream::iter(items.into_iter().map(Ok))).try_flatten_stream().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        persist(self.patience(), || self.s3.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        persist(self.patience(), || self.s3.copy_opts(from, to, options.clone())).await
    }
}
