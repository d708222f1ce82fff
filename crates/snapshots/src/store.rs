//! A place for snapshots, and the few things that are asked of an object store.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::ready;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use lsgan_objects::{BucketUrl, FailureKind, RetryLimit, Scheme, StoreFailure, is_url, pieces, without_user};
use lsgan_spec::Step;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetResult, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt as _};
use object_store::{PutMode, PutOptions, PutPayload};
use url::Url;

use crate::error::Error;
use crate::layout;

/// A place for snapshots: a directory, a bucket, or any object store by [`Store::over`]. Cheap to clone.
///
/// A directory needs a file system with hard links, by which a file is created only if there is none; a bucket needs
/// a put on that condition ([`Store::check`]): `If-None-Match: *`, with Google `x-goog-if-generation-match: 0`.
#[derive(Clone)]
pub struct Store {
    pub(crate) objects: Arc<dyn ObjectStore>,
    /// The same, for what is only to be seen and is lost in a crash without harm: no disk is waited for.
    fleeting: Arc<dyn ObjectStore>,
    pub(crate) prefix: Path,
    /// The directory, for paths in messages and for leftovers that the object store does not list.
    pub(crate) root: Root,
}

/// What stands before an object's path in messages.
#[derive(Clone, Debug)]
pub(crate) enum Root {
    Directory(PathBuf),
    /// `s3://bucket`, and what it speaks.
    Bucket(String, Scheme),
    Named(String),
}

/// What a create-only put came to.
pub(crate) enum Put {
    Created,
    Exists,
}

impl Store {
    /// Whether `to` names a store that is no directory of this host.
    #[must_use]
    pub fn is_remote(to: &str) -> bool {
        is_url(to) && !to.starts_with("file://")
    }

    /// Opens `to`: a directory, which is made, a `file://` URL, or a bucket's (`s3://`, `gs://`, `az://`). Asks nothing of a bucket yet.
    ///
    /// # Errors
    /// Another scheme, a directory that cannot be made, or a bucket without credentials.
    pub fn open(to: &str) -> Result<Self, Error> {
        match Root::of(to)? {
            At::Bucket(place) => Self::bucket(&place, RetryLimit::SNAPSHOTS),
            At::Directory(dir) => {
                make_durably(&dir).map_err(unusable(&dir))?;
                Self::local(&dir)
            }
        }
    }

    /// As [`Store::open`], for a journal's copy: a bucket that is away is an error after seconds, since the caller asks again.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_for_journal(to: &str) -> Result<Self, Error> {
        match Root::of(to)? {
            At::Bucket(place) => Self::bucket(&place, RetryLimit::JOURNAL),
            At::Directory(_) => Self::open(to),
        }
    }

    /// Opens `to` for reading: a directory that does not exist is an error, not made.
    ///
    /// # Errors
    /// As [`Store::open`], and [`Error::NoStore`].
    pub fn open_existing(to: &str) -> Result<Self, Error> {
        match Root::of(to)? {
            At::Bucket(place) => Self::bucket(&place, RetryLimit::SNAPSHOTS),
            At::Directory(dir) if dir.is_dir() => Self::local(&dir),
            At::Directory(dir) => Err(Error::NoStore { path: dir }),
        }
    }

    fn bucket(place: &BucketUrl, limit: RetryLimit) -> Result<Self, Error> {
        let objects = lsgan_objects::open(place, limit)?;
        let root = Root::Bucket(place.root(), place.scheme);
        Ok(Self { fleeting: objects.clone(), objects, prefix: place.path.clone(), root })
    }

    /// Snapshots under `prefix` of any object store; `name` stands before its paths in messages.
    #[must_use]
    pub fn over(objects: Arc<dyn ObjectStore>, prefix: Path, name: impl Into<String>) -> Self {
        Self { fleeting: objects.clone(), objects, prefix, root: Root::Named(name.into()) }
    }

    /// fsync is off in a local store unless it is asked for, and a store made from a URL never has it.
    fn local(dir: &FsPath) -> Result<Self, Error> {
        let wrong = unusable(dir);
        let root = dir.canonicalize().map_err(wrong)?;
        if root.to_str().is_none() {
            return Err(wrong(io::Error::new(ErrorKind::InvalidFilename, "its full path is not UTF-8")));
        }
        let local = LocalFileSystem::new_with_prefix(&root).map_err(|error| wrong(error.into()))?;
        let local = local.with_automatic_cleanup(true);
        let (fleeting, objects) = (Arc::new(local.clone()), Arc::new(local.with_fsync(true)));
        Ok(Self { objects, fleeting, prefix: Path::default(), root: Root::Directory(root) })
    }

    /// The folder of a step's snapshot, as a person finds it.
    #[must_use]
    pub fn snapshot_path(&self, step: Step) -> String {
        self.show(&layout::step_dir(&self.prefix, step))
    }

    /// The file of a part of the final weights, as a person finds it.
    #[must_use]
    pub fn final_path(&self, part: &str) -> String {
        self.show(&self.final_file(part))
    }

    /// The object of a part of the final weights.
    pub(crate) fn final_file(&self, part: &str) -> Path {
        self.prefix.clone().join(layout::FINAL).join(layout::part_file(part))
    }

    /// The path of an object as a person finds it.
    pub(crate) fn show(&self, path: &Path) -> String {
        match &self.root {
            Root::Directory(root) => root.join(path.as_ref()).display().to_string(),
            Root::Bucket(name, _) | Root::Named(name) => format!("{}/{path}", name.trim_end_matches('/')),
        }
    }

    pub(crate) async fn create(&self, path: &Path, bytes: Bytes) -> Result<Put, Error> {
        match self.put(path, bytes, PutMode::Create).await {
            Ok(()) => Ok(Put::Created),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Put::Exists),
            Err(source) => Err(self.failed("write", path, source)),
        }
    }

    pub(crate) async fn overwrite(&self, path: &Path, bytes: Bytes) -> Result<(), Error> {
        let put = if self.in_pieces(&bytes) {
            pieces::put(&*self.objects, path, &bytes).await
        } else {
            self.put(path, bytes, PutMode::Overwrite).await
        };
        put.map_err(|source| self.failed("write", path, source))
    }

    /// As [`Self::overwrite`] for a short object that need not outlive a crash of this host.
    pub(crate) async fn overwrite_fleeting(&self, path: &Path, bytes: Bytes) -> Result<(), Error> {
        let put = self.fleeting.put(path, PutPayload::from_bytes(bytes)).await;
        put.map(drop).map_err(|source| self.failed("write", path, source))
    }

    /// Whether an object with these bytes is put in pieces, which cannot be done create-only.
    pub(crate) fn in_pieces(&self, bytes: &Bytes) -> bool {
        matches!(self.root, Root::Bucket(..)) && bytes.len() > pieces::PIECE_BYTES
    }

    async fn put(&self, path: &Path, bytes: Bytes, mode: PutMode) -> object_store::Result<()> {
        let options = PutOptions { mode, ..PutOptions::default() };
        self.objects.put_opts(path, PutPayload::from_bytes(bytes), options).await.map(drop)
    }

    /// The object, opened but not read; none if there is none.
    pub(crate) async fn get(&self, path: &Path) -> Result<Option<GetResult>, Error> {
        match self.objects.get(path).await {
            Ok(object) => Ok(Some(object)),
            Err(error @ object_store::Error::NotFound { .. }) if !self.is_no_bucket(&error) => Ok(None),
            Err(source) => Err(self.failed("read", path, source)),
        }
    }

    fn is_no_bucket(&self, error: &object_store::Error) -> bool {
        match self.root {
            Root::Bucket(_, scheme) => StoreFailure::of(error, scheme).kind == FailureKind::NoBucket,
            Root::Directory(_) | Root::Named(_) => false,
        }
    }

    /// All of an opened object. The caller has looked at its size.
    pub(crate) async fn read(&self, path: &Path, object: GetResult) -> Result<Bytes, Error> {
        let bytes = if self.is_large(&object) {
            let all = Vec::with_capacity(usize::try_from(object.meta.size).unwrap_or_default());
            let all = self.stream(object).try_fold(all, |mut all, piece| {
                all.extend_from_slice(&piece);
                ready(Ok(all))
            });
            all.await.map(Bytes::from)
        } else {
            object.bytes().await
        };
        bytes.map_err(|source| self.failed("read", path, source))
    }

    /// Whether an object is read in pieces, each with a patience of its own, instead of by the answer that is there.
    fn is_large(&self, object: &GetResult) -> bool {
        matches!(self.root, Root::Bucket(..)) && object.meta.size > pieces::PIECE_BYTES as u64
    }

    /// The bytes of an opened object as they come.
    fn stream(&self, object: GetResult) -> BoxStream<'static, object_store::Result<Bytes>> {
        match self.is_large(&object) {
            true => pieces::get(self.objects.clone(), &object.meta).boxed(),
            false => object.into_stream(),
        }
    }

    /// The BLAKE3 hash of an opened object, without holding it.
    pub(crate) async fn hash(&self, path: &Path, object: GetResult) -> Result<blake3::Hash, Error> {
        let hash = match object.payload {
            GetResultPayload::File(file, _) => blocking(move || hash_file(&file)).await,
            GetResultPayload::Stream(_) => {
                let mut hasher = blake3::Hasher::new();
                let hashed = self.stream(object).try_for_each(|bytes| {
                    hasher.update(&bytes);
                    ready(Ok(()))
                });
                hashed.await.map(|()| hasher.finalize())
            }
        };
        hash.map_err(|source| self.failed("read", path, source))
    }

    /// All objects below `dir`.
    pub(crate) async fn list_below(&self, dir: &Path) -> Result<Vec<ObjectMeta>, Error> {
        let list = self.objects.list(Some(dir)).try_collect().await;
        list.map_err(|source| self.failed("list", dir, source))
    }

    /// The names of the folders right below `dir`.
    pub(crate) async fn list_folders(&self, dir: &Path) -> Result<Vec<String>, Error> {
        let list = self.objects.list_with_delimiter(Some(dir)).await;
        let list = list.map_err(|source| self.failed("list", dir, source))?;
        Ok(list.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)).collect())
    }

    /// Deletes an object that does not lie behind a link; that there is none is no error, since another writer may have
    /// been faster.
    pub(crate) async fn delete(&self, path: &Path) -> Result<(), Error> {
        self.expect_no_link(path)?;
        self.delete_own(path).await
    }

    /// Deletes an object that the caller has just made, wherever it lies.
    pub(crate) async fn delete_own(&self, path: &Path) -> Result<(), Error> {
        match self.objects.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(self.failed("delete", path, source)),
        }
    }

    /// Moves an object, whatever is there; that there is none is no error.
    pub(crate) async fn rename(&self, from: &Path, to: &Path) -> Result<(), Error> {
        match self.objects.rename(from, to).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(self.failed("move", from, source)),
        }
    }

    /// Copies an object over whatever is there; that there is none is no error.
    pub(crate) async fn copy(&self, from: &Path, to: &Path) -> Result<(), Error> {
        match self.objects.copy(from, to).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(self.failed("copy", from, source)),
        }
    }

    /// What the store said, for people.
    pub(crate) fn failed(&self, action: &'static str, path: &Path, source: object_store::Error) -> Error {
        let path = self.show(path);
        match &self.root {
            Root::Bucket(_, scheme) => {
                Error::Bucket { action, path, answer: StoreFailure::of(&source, *scheme) }
            }
            Root::Directory(_) | Root::Named(_) => Error::store(action, path, source),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.show(&self.prefix))
    }
}

/// What the user's words mean.
enum At {
    Directory(PathBuf),
    Bucket(BucketUrl),
}

impl Root {
    fn of(to: &str) -> Result<At, Error> {
        if Store::is_remote(to) {
            return Ok(At::Bucket(BucketUrl::parse(to)?));
        }
        if !is_url(to) {
            return Ok(At::Directory(PathBuf::from(to)));
        }
        let unusable = |problem: String| Error::Url {
            text: format!(
                "checkpoint store `{}` is not a usable URL ({problem}). Write file:///directory or a plain directory.",
                without_user(to)
            ),
        };
        let url = Url::parse(to).map_err(|error| unusable(error.to_string()))?;
        let path = url.to_file_path();
        path.map(At::Directory).map_err(|()| unusable("it names another host or no absolute path".to_owned()))
    }
}

/// A directory of the store, or a file in it, that the system refuses.
pub(crate) fn unusable(path: &FsPath) -> impl Fn(io::Error) -> Error + Copy {
    move |source| Error::Disk {
        action: format!("use `{}` as a directory of snapshots", path.display()),
        source,
        advice: "Check the path and its permissions, or write another directory.",
    }
}

/// Makes a directory and the ones above it, so that they are still there after a power cut.
pub(crate) fn make_durably(dir: &FsPath) -> io::Result<()> {
    let above = |dir: &FsPath| match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => PathBuf::from("/"),
    };
    let mut changed = Vec::new();
    let mut child = dir.to_owned();
    while !child.exists() && child.file_name().is_some() {
        child = above(&child);
        changed.push(child.clone());
    }
    fs::create_dir_all(dir)?;
    changed.iter().try_for_each(|dir| File::open(dir)?.sync_all())
}

fn hash_file(file: &File) -> object_store::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    match hasher.update_reader(file) {
        Ok(hasher) => Ok(hasher.finalize()),
        Err(source) => Err(object_store::Error::Generic { store: "LocalFileSystem", source: source.into() }),
    }
}

/// Work for the processor or the disk, off the threads that keep the heartbeats going.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => {
                unreachable!("this task is never cancelled, and a runtime that shuts down stops its waiter")
            }
        },
    }
}
