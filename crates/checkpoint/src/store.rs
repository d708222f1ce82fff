//! A place for snapshots, and the few things that are asked of an object store.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use lsgan_spec::Step;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetResult, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt as _};
use object_store::{PutMode, PutOptions, PutPayload};
use url::Url;

use crate::error::Error;
use crate::layout;

/// A place for snapshots: a directory now; any object store by [`Store::over`]. Cheap to clone.
///
/// A directory needs a file system with hard links, by which a file is created only if there is none.
#[derive(Clone)]
pub struct Store {
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) prefix: Path,
    /// The directory, for paths in messages and for leftovers that the object store does not list.
    pub(crate) root: Root,
}

/// What stands before an object's path in messages.
#[derive(Clone, Debug)]
pub(crate) enum Root {
    Directory(PathBuf),
    Named(String),
}

/// What a create-only put came to.
pub(crate) enum Put {
    Created,
    Exists,
}

impl Store {
    /// Opens `to`, a directory or a `file://` URL, and makes the directory.
    ///
    /// # Errors
    /// Another scheme, or a directory that cannot be made.
    pub fn open(to: &str) -> Result<Self, Error> {
        let dir = directory(to)?;
        match make_durably(&dir) {
            Ok(()) => Self::local(&dir),
            Err(source) => Err(Error::Directory { path: dir, source }),
        }
    }

    /// Opens `to` for reading: a directory that does not exist is an error, not made.
    ///
    /// # Errors
    /// As [`Store::open`], and [`Error::NoStore`].
    pub fn open_existing(to: &str) -> Result<Self, Error> {
        let dir = directory(to)?;
        if dir.is_dir() { Self::local(&dir) } else { Err(Error::NoStore { path: dir }) }
    }

    /// Snapshots under `prefix` of any object store; `name` stands before its paths in messages.
    #[must_use]
    pub fn over(objects: Arc<dyn ObjectStore>, prefix: Path, name: impl Into<String>) -> Self {
        Self { objects, prefix, root: Root::Named(name.into()) }
    }

    /// fsync is off in a local store unless it is asked for, and a store made from a URL never has it.
    fn local(dir: &FsPath) -> Result<Self, Error> {
        let wrong = |source| Error::Directory { path: dir.to_owned(), source };
        let root = dir.canonicalize().map_err(wrong)?;
        if root.to_str().is_none() {
            return Err(wrong(io::Error::new(ErrorKind::InvalidFilename, "its full path is not UTF-8")));
        }
        let local = LocalFileSystem::new_with_prefix(&root).map_err(|error| wrong(error.into()))?;
        let local = local.with_fsync(true).with_automatic_cleanup(true);
        Ok(Self { objects: Arc::new(local), prefix: Path::default(), root: Root::Directory(root) })
    }

    /// The folder of a step's snapshot, as a person finds it.
    #[must_use]
    pub fn snapshot_path(&self, step: Step) -> String {
        self.show(&layout::step_dir(&self.prefix, step))
    }

    /// The path of an object as a person finds it.
    pub(crate) fn show(&self, path: &Path) -> String {
        match &self.root {
            Root::Directory(root) => root.join(path.as_ref()).display().to_string(),
            Root::Named(name) => format!("{}/{path}", name.trim_end_matches('/')),
        }
    }

    pub(crate) async fn create(&self, path: &Path, bytes: Bytes) -> Result<Put, Error> {
        match self.put(path, bytes, PutMode::Create).await {
            Ok(()) => Ok(Put::Created),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Put::Exists),
            Err(source) => Err(Error::store("write", self.show(path), source)),
        }
    }

    pub(crate) async fn overwrite(&self, path: &Path, bytes: Bytes) -> Result<(), Error> {
        let put = self.put(path, bytes, PutMode::Overwrite).await;
        put.map_err(|source| Error::store("write", self.show(path), source))
    }

    async fn put(&self, path: &Path, bytes: Bytes, mode: PutMode) -> object_store::Result<()> {
        let options = PutOptions { mode, ..PutOptions::default() };
        self.objects.put_opts(path, PutPayload::from_bytes(bytes), options).await.map(drop)
    }

    /// The object, opened but not read; none if there is none.
    pub(crate) async fn get(&self, path: &Path) -> Result<Option<GetResult>, Error> {
        match self.objects.get(path).await {
            Ok(object) => Ok(Some(object)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(Error::store("read", self.show(path), source)),
        }
    }

    /// All of an opened object. The caller has looked at its size.
    pub(crate) async fn read(&self, path: &Path, object: GetResult) -> Result<Bytes, Error> {
        object.bytes().await.map_err(|source| Error::store("read", self.show(path), source))
    }

    /// The BLAKE3 hash of an opened object, without holding it.
    pub(crate) async fn hash(&self, path: &Path, object: GetResult) -> Result<blake3::Hash, Error> {
        let hash = match object.payload {
            GetResultPayload::File(file, _) => blocking(move || hash_file(&file)).await,
            GetResultPayload::Stream(mut stream) => {
                let mut hasher = blake3::Hasher::new();
                loop {
                    match stream.try_next().await {
                        Ok(Some(bytes)) => hasher.update(&bytes),
                        Ok(None) => break Ok(hasher.finalize()),
                        Err(source) => break Err(source),
                    };
                }
            }
        };
        hash.map_err(|source| Error::store("read", self.show(path), source))
    }

    /// All objects below `dir`.
    pub(crate) async fn list_below(&self, dir: &Path) -> Result<Vec<ObjectMeta>, Error> {
        let list = self.objects.list(Some(dir)).try_collect().await;
        list.map_err(|source| Error::store("list", self.show(dir), source))
    }

    /// The names of the folders right below `dir`.
    pub(crate) async fn list_folders(&self, dir: &Path) -> Result<Vec<String>, Error> {
        let list = self.objects.list_with_delimiter(Some(dir)).await;
        let list = list.map_err(|source| Error::store("list", self.show(dir), source))?;
        Ok(list.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)).collect())
    }

    /// Deletes an object; that there is none is no error, since somebody else may have been faster.
    pub(crate) async fn delete(&self, path: &Path) -> Result<(), Error> {
        match self.objects.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(Error::store("delete", self.show(path), source)),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.show(&self.prefix))
    }
}

/// The directory that the user's words mean.
fn directory(to: &str) -> Result<PathBuf, Error> {
    let Some((scheme, _)) = to.split_once("://") else {
        return Ok(PathBuf::from(to));
    };
    if scheme != "file" {
        return Err(Error::Scheme { to: to.to_owned(), scheme: scheme.to_owned() });
    }
    let unusable = |problem: String| Error::Url { to: to.to_owned(), problem };
    let url = Url::parse(to).map_err(|error| unusable(error.to_string()))?;
    url.to_file_path().map_err(|()| unusable("it names another host or no absolute path".to_owned()))
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
                unreachable!("nobody cancels this task, and a runtime that shuts down stops its waiter")
            }
        },
    }
}
