//! Files and objects that are read by range, and that must not change.

use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, mpsc};

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use lsgan_objects::{BucketUrl, FailureKind, RetryLimit, Scheme, StoreFailure, without_user};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _};
use url::Url;

use crate::DataError;
use crate::file_kind::{FileKind, kind_at, other_kind};

pub(super) trait Blob: Send + Sync {
    /// The path or URL.
    fn name(&self) -> String;

    fn len(&self) -> u64;

    /// Hashes properties that change with the content.
    fn stamp(&self, hasher: &mut blake3::Hasher);

    /// The number of bytes that cost about as much to read as one byte.
    fn read_ahead_bytes(&self) -> u64;

    /// A function for several reads. Fails with a reason, also if the content changed.
    fn opened(&self) -> Result<ReadAt<'_>, String>;

    /// Fills `out` from `offset` on, for a single read.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), String> {
        self.opened()?(offset, out)
    }
}

/// Fills a slice from an offset on, or fails with a reason.
pub(super) type ReadAt<'a> = Box<dyn Fn(u64, &mut [u8]) -> Result<(), String> + 'a>;

/// A file. It is opened again for each record, because there are many shards and the open files of a process are limited.
/// This costs 2 % of the time to decode a small picture.
struct OnDisk {
    path: PathBuf,
    len_bytes: u64,
    modified: (i64, i64),
}

pub(super) fn on_disk(names: &[String]) -> Result<Vec<Box<dyn Blob>>, DataError> {
    let blob = |name: &String| -> Result<Box<dyn Blob>, DataError> {
        let path = PathBuf::from(name);
        match kind_at(super::KIND, &path)? {
            FileKind::Directory => return Err(directory(&path)),
            found @ FileKind::Special => return Err(other_kind(name.clone(), found, super::WANTED)),
            // The scan of the members checks the content.
            _ => {}
        }
        let meta = path.metadata().map_err(DataError::unreadable(&path))?;
        Ok(Box::new(OnDisk { path, len_bytes: meta.len(), modified: (meta.mtime(), meta.mtime_nsec()) }))
    };
    names.iter().map(blob).collect()
}

/// The error for a directory instead of a shard.
fn directory(path: &std::path::Path) -> DataError {
    let advice = match super::pattern_of(path) {
        Some(pattern) => format!("Name the tar files in it: '{pattern}'."),
        None => "Name tar files, as 'DIR/train-{000000..000099}.tar'; a folder of pictures is read by \
                 data.source.folder.path."
            .to_owned(),
    };
    let place = path.display().to_string();
    DataError::OtherKind { place, found: FileKind::Directory, wanted: super::WANTED, advice }
}

impl Blob for OnDisk {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn len(&self) -> u64 {
        self.len_bytes
    }

    fn stamp(&self, hasher: &mut blake3::Hasher) {
        hasher.update(self.name().as_bytes()).update(&[0]).update(&self.len_bytes.to_le_bytes());
        hasher.update(&self.modified.0.to_le_bytes()).update(&self.modified.1.to_le_bytes());
    }

    /// One page: a header, and the next ones if the members are small.
    fn read_ahead_bytes(&self) -> u64 {
        4096
    }

    fn opened(&self) -> Result<ReadAt<'_>, String> {
        let file = File::open(&self.path).map_err(|error| error.to_string())?;
        let meta = file.metadata().map_err(|error| error.to_string())?;
        if (meta.len(), (meta.mtime(), meta.mtime_nsec())) != (self.len_bytes, self.modified) {
            return Err(format!(
                "the file was written to; it had {} bytes and now has {}",
                self.len_bytes,
                meta.len()
            ));
        }
        Ok(Box::new(move |offset, out| file.read_exact_at(out, offset).map_err(|error| error.to_string())))
    }
}

struct InStore {
    name: String,
    store: Arc<dyn ObjectStore>,
    meta: ObjectMeta,
    /// None for a file of this host.
    scheme: Option<Scheme>,
}

/// Concurrent requests while the shards are looked up.
const LOOKUPS: usize = 32;

pub(super) fn in_store(names: &[String]) -> Result<Vec<Box<dyn Blob>>, DataError> {
    let mut buckets: BTreeMap<(Scheme, String), Arc<dyn ObjectStore>> = BTreeMap::new();
    let mut lookups = Vec::with_capacity(names.len());
    for name in names {
        if name.starts_with("file://") {
            let (store, path) = on_host(name)?;
            lookups.push(look_up(name.clone(), store, path, None).boxed());
            continue;
        }
        let place = BucketUrl::parse(name)?;
        let bucket = (place.scheme, place.bucket.clone());
        let store = match buckets.get(&bucket) {
            Some(store) => Arc::clone(store),
            None => {
                let store = lsgan_objects::open(&place, RetryLimit::DATA)?;
                buckets.insert(bucket, Arc::clone(&store));
                store
            }
        };
        lookups.push(look_up(name.clone(), store, place.path, Some(place.scheme)).boxed());
    }
    wait(async move { futures::stream::iter(lookups).buffered(LOOKUPS).try_collect().await })
}

/// A file:// URL as an object of a local store.
fn on_host(name: &str) -> Result<(Arc<dyn ObjectStore>, Path), DataError> {
    const ADVICE: &str = "Write file:///PATH, or the path alone.";
    let failed = |reason: String| DataError::Store { place: without_user(name), reason, advice: ADVICE };
    let url = Url::parse(name).map_err(|error| failed(error.to_string()))?;
    let path = Path::from_url_path(url.path()).map_err(|error| failed(error.to_string()))?;
    Ok((Arc::new(LocalFileSystem::new()), path))
}

/// Advice for a URL that names a prefix instead of an object.
const PREFIX: &str = "Name the tar files there, as s3://BUCKET/train-{000000..000099}.tar.";

async fn look_up(
    name: String,
    store: Arc<dyn ObjectStore>,
    path: Path,
    scheme: Option<Scheme>,
) -> Result<Box<dyn Blob>, DataError> {
    let error = match store.head(&path).await {
        Ok(meta) => return Ok(Box::new(InStore { name, store, meta, scheme })),
        Err(error) => error,
    };
    let mut answer = answer(&error, scheme);
    if matches!(answer.kind, FailureKind::Missing | FailureKind::Refused) {
        // The answer to HEAD has no body; that to GET tells whether the bucket, the key or the credentials are wrong.
        if let Err(error) = store.get(&path).await {
            answer = self::answer(&error, scheme);
        }
    }
    let advice = match answer.kind {
        FailureKind::Missing if name.ends_with('/') || path.as_ref().is_empty() => PREFIX,
        _ if scheme.is_none() => "Check the path and its permissions.",
        _ => answer.advice(),
    };
    Err(DataError::Store { place: name, advice, reason: answer.message })
}

/// What a store says. A directory's failures are told by the same kinds.
fn answer(error: &object_store::Error, scheme: Option<Scheme>) -> StoreFailure {
    StoreFailure::of(error, scheme.unwrap_or(Scheme::S3))
}

impl Blob for InStore {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn len(&self) -> u64 {
        self.meta.size
    }

    fn stamp(&self, hasher: &mut blake3::Hasher) {
        hasher.update(self.name.as_bytes()).update(&[0]).update(&self.meta.size.to_le_bytes());
        hasher.update(&self.meta.last_modified.timestamp_micros().to_le_bytes());
        hasher.update(self.meta.e_tag.as_deref().unwrap_or_default().as_bytes());
    }

    /// A request takes as long as the transfer of some MiB.
    fn read_ahead_bytes(&self) -> u64 {
        4 << 20
    }

    fn opened(&self) -> Result<ReadAt<'_>, String> {
        Ok(Box::new(|offset, out| self.get(offset, out)))
    }
}

impl InStore {
    fn get(&self, offset: u64, out: &mut [u8]) -> Result<(), String> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(offset..offset + out.len() as u64)),
            if_match: self.meta.e_tag.clone(),
            ..GetOptions::default()
        };
        let (store, path) = (Arc::clone(&self.store), self.meta.location.clone());
        // The store's client retries, and continues an answer that breaks off.
        let bytes = wait(async move { store.get_opts(&path, options).await?.bytes().await });
        let bytes = bytes.map_err(|error| match answer(&error, self.scheme) {
            StoreFailure { kind: FailureKind::Changed, .. } => "the object was written to".to_owned(),
            StoreFailure { message, .. } if self.scheme.is_none() => message,
            answer => answer.to_string().trim_end_matches('.').to_owned(),
        })?;
        if bytes.len() != out.len() {
            return Err(format!("the store sent {} bytes of {}", bytes.len(), out.len()));
        }
        out.copy_from_slice(&bytes);
        Ok(())
    }
}

/// Runs a future on a separate thread and blocks until it ends: the callers are synchronous, possibly within a runtime.
fn wait<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> T {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("data-store")
            .enable_all()
            .build()
            .expect("the operating system gives a process its second thread")
    });
    let (sender, receiver) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        // The receiver below waits, so sending cannot fail.
        let _ = sender.send(task.await);
    });
    receiver.recv().expect("the task sends before it ends")
}
