//! Opens the client of a URL, with its retries.

use std::sync::{Arc, Once};
use std::time::Duration;

use lsgan_spec::chain;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use crate::environment::{Environment, environment};
use crate::retrying::RetryingStore;
use crate::secrets::scrubbed;
use crate::{BucketUrl, Error, Scheme, azure, google, s3};

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
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(100);
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(5);
const BACKOFF: BackoffConfig = BackoffConfig { init_backoff: FIRST_PAUSE, max_backoff: PAUSE_MAX, base: 2.0 };
/// Bounds the loop; the deadline usually ends it first.
const ATTEMPTS_MAX: usize = 1000;
/// For the metadata service: it answers in milliseconds where the machine has a role, and not at all elsewhere.
pub(crate) const MACHINE: RetryConfig =
    RetryConfig { backoff: BACKOFF, max_retries: 2, retry_timeout: Duration::from_secs(5) };

/// Builds a client for the bucket of `place`; paths are relative to the bucket. Sends no request.
///
/// # Errors
/// Wrong or missing settings or credentials.
pub fn open(place: &BucketUrl, limit: RetryLimit) -> Result<Arc<dyn ObjectStore>, Error> {
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
) -> Result<Arc<dyn ObjectStore>, Error> {
    choose_cryptography();
    let patience = |attempts: Option<usize>| Patience {
        deadline: limit.deadline,
        attempts: attempts.unwrap_or(ATTEMPTS_MAX),
    };
    let (objects, patience): (Arc<dyn ObjectStore>, Patience) = match place.scheme {
        Scheme::S3 => {
            let settings = s3::settings(place, environment)?;
            let patience = patience(settings.attempts);
            (Arc::new(s3::client(place, settings, patience.retry())?), patience)
        }
        Scheme::Google => {
            let patience = patience(None);
            (Arc::new(google::client(place, environment, patience.retry())?), patience)
        }
        Scheme::Azure => {
            let patience = patience(None);
            (Arc::new(azure::client(place, environment, patience.retry())?), patience)
        }
    };
    Ok(Arc::new(RetryingStore { objects, scheme: place.scheme, patience }))
}

/// When a request is given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) deadline: Duration,
    pub(crate) attempts: usize,
}

impl Patience {
    fn retry(self) -> RetryConfig {
        RetryConfig { backoff: BACKOFF, max_retries: self.attempts - 1, retry_timeout: self.deadline }
    }
}

/// What holds for the requests of every client. `is_plain`: none of them needs the system's certificates.
pub(crate) fn client_options(is_plain: bool) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(true) // http:// in the endpoint is the user's explicit choice
        .with_no_system_certificates(is_plain)
        .with_timeout_disabled()
        .with_read_timeout(SILENCE_MAX)
        .with_connect_timeout(CONNECT_TIMEOUT)
}

/// The client, or why `object_store` cannot make it from these settings.
pub(crate) fn built<T>(
    place: &BucketUrl,
    variables: &'static str,
    client: object_store::Result<T>,
) -> Result<T, Error> {
    let problem = |error: object_store::Error| scrubbed(&chain(&error));
    client.map_err(|error| Error::Client { bucket: place.root(), problem: problem(error), variables })
}

/// Selects ring, which builds in seconds; rustls' own default needs minutes of C.
fn choose_cryptography() {
    static ONCE: Once = Once::new();
    // Fails where the process has chosen a provider already, which serves as well.
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}
