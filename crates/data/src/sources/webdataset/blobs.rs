//! Files and objects that are read by range, and are to stay as they are.

use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, mpsc};

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use lsgan_objects::{Answer, Meaning, Patience, Place, without_user};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _};
use url::Url;

use crate::DataError;
use crate::found::{Found, look, other_kind};

/// Something that is read by range.
pub(super) trait Blob: Send + Sync {
    /// Its path or URL.
    fn name(&self) -> String;

    fn len(&self) -> u64;

    /// What changes when its content does.
    fn stamp(&self, hasher: &mut blake3::Hasher);

    /// Bytes that cost about as much as one.
    fn read_ahead_bytes(&self) -> u64;

    /// What reads it, again and again; says why it cannot, also where the content is not what it was.
    fn opened(&self) -> Result<ReadAt<'_>, String>;

    /// Fills `out` from `offset` on, once.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), String> {
        self.opened()?(offset, out)
    }
}

/// Fills a slice from an offset on; says why it cannot.
pub(super) type ReadAt<'a> = Box<dyn Fn(u64, &mut [u8]) -> Result<(), String> + 'a>;

/// A file. It is opened anew for each record: shards are many and the processes' open files are not, and it costs 2 % of
/// decoding a small picture.
struct OnDisk {
    path: PathBuf,
    len_bytes: u64,
    modified: (i64, i64),
}

pub(super) fn on_disk(names: &[String]) -> Result<Vec<Box<dyn Blob>>, DataError> {
    let blob = |name: &String| -> Result<Box<dyn Blob>, DataError> {
        let path = PathBuf::from(name);
        match look(super::KIND, &path)? {
            Found::Directory => return Err(directory(&path)),
            found @ Found::Special => return Err(other_kind(name.clone(), found, super::WANTED)),
            // What is in a file is looked at where its members are.
            _ => {}
        }
        let meta = path.metadata().map_err(DataError::unreadable(&path))?;
        Ok(Box::new(OnDisk { path, len_bytes: meta.len(), modified: (meta.mtime(), meta.mtime_nsec()) }))
    };
    names.iter().map(blob).collect()
}

/// A directory in the place of a shard.
fn directory(path: &std::path::Path) -> DataError {
    let advice = match super::pattern_of(path) {
        Some(pattern) => format!("Name the tar files in it: '{pattern}'."),
        None => "Name tar files, as 'DIR/train-{000000..000099}.tar'; a folder of pictures is read by \
                 data.source.folder.path."
            .to_owned(),
    };
    let place = path.display().to_string();
    DataError::OtherKind { place, found: Found::Directory, wanted: super::WANTED, advice }
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

    /// A page: a header, and where members are small, the next ones.
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

/// An object of a store.
struct InStore {
    name: String,
    store: Arc<dyn ObjectStore>,
    meta: ObjectMeta,
}

/// Requests at once while the shards are looked up.
const LOOKUPS: usize = 32;

pub(super) fn in_store(names: &[String]) -> Result<Vec<Box<dyn Blob>>, DataError> {
    let mut buckets: BTreeMap<String, Arc<dyn ObjectStore>> = BTreeMap::new();
    let mut lookups = Vec::with_capacity(names.len());
    for name in names {
        let (store, path) = match name.starts_with("file://") {
            true => on_host(name)?,
            false => {
                let place = Place::parse(name)?;
                let store = match buckets.get(&place.bucket) {
                    Some(store) => Arc::clone(store),
                    None => {
                        let store = lsgan_objects::open(&place, Patience::DATA)?;
                        buckets.insert(place.bucket, Arc::clone(&store));
                        store
                    }
                };
                (store, place.path)
            }
        };
        lookups.push(look_up(name.clone(), store, path).boxed());
    }
    wait(async move { futures::stream::iter(lookups).buffered(LOOKUPS).try_collect().await })
}

/// A file by its URL: a store like the others, as far as reading goes.
fn on_host(name: &str) -> Result<(Arc<dyn ObjectStore>, Path), DataError> {
    const ADVICE: &str = "Write file:///PATH, or the path alone.";
    let failed = |reason: String| DataError::Store { place: without_user(name), reason, advice: ADVICE };
    let url = Url::parse(name).map_err(|error| failed(error.to_string()))?;
    let path = Path::from_url_path(url.path()).map_err(|error| failed(error.to_string()))?;
    Ok((Arc::new(LocalFileSystem::new()), path))
}

/// What to do where a URL names no object but what several begin with.
const PREFIX: &str = "Name the tar files there, as s3://BUCKET/train-{000000..000099}.tar.";

async fn look_up(name: String, store: Arc<dyn ObjectStore>, path: Path) -> Result<Box<dyn Blob>, DataError> {
    let error = match store.head(&path).await {
        Ok(meta) => return Ok(Box::new(InStore { name, store, meta })),
        Err(error) => error,
    };
    let mut answer = Answer::of(&error);
    if matches!(answer.meaning, Meaning::Missing | Meaning::Refused) {
        // The answer to HEAD has no body; the one to GET says whether it is the bucket, the key or the secret.
        if let Err(error) = store.get(&path).await {
            answer = Answer::of(&error);
        }
    }
    let advice = match answer.meaning {
        Meaning::Missing if name.ends_with('/') || path.as_ref().is_empty() => PREFIX,
        _ => answer.advice(),
    };
    Err(DataError::Store { place: name, advice, reason: answer.words })
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

    /// A request takes as long as reading some MiB.
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
        // The store's client is patient by itself, and reads on where an answer breaks off.
        let bytes = wait(async move { store.get_opts(&path, options).await?.bytes().await });
        let bytes = bytes.map_err(|error| match Answer::of(&error) {
            Answer { meaning: Meaning::Changed, .. } => "the object was written to".to_owned(),
            answer => answer.to_string().trim_end_matches('.').to_owned(),
        })?;
        if bytes.len() != out.len() {
            return Err(format!("the store sent {} bytes of {}", bytes.len(), out.len()));
        }
        out.copy_from_slice(&bytes);
        Ok(())
    }
}

/// Asynchronous work runs on a thread of its own: a record is read by a thread that may itself be inside a task.
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
        // The receiver waits right here.
        let _ = sender.send(task.await);
    });
    receiver.recv().expect("the task sends before it ends")
}
