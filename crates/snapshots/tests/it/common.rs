//! States to write, a directory to write them to, and an object store that fails, or lets something happen,
//! at a chosen operation.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryFutureExt as _, TryStreamExt as _};
use lsgan_snapshots::{NamedTensor, Part, Snapshot, Store};
use lsgan_spec::Step;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tempfile::TempDir;

/// A state of three parts; `variant` decides their elements, and nothing else.
pub fn snapshot(step: u64, variant: u64) -> Snapshot {
    let weights = |salt: u64| (0..24).map(|i| (step * 1000 + variant * 100 + salt * 10 + i) as f32).collect();
    let net = |name: &str, salt| Part {
        name: name.to_owned(),
        tensors: vec![
            NamedTensor::f32("main.0.weight", [2, 3, 4], weights(salt)),
            NamedTensor::f32("main.0.bias", [0], vec![]),
            NamedTensor::i64("main.1.num_batches_tracked", [], vec![step as i64]),
        ],
    };
    Snapshot {
        step: Step(step),
        identity: "1f".repeat(32),
        data_fingerprint: "2e".repeat(32),
        numerics: r#"{"libtorch":"2.11.0"}"#.to_owned(),
        spec_yaml: "run: quickstart\nseed: 1\n".to_owned(),
        parts: vec![
            Arc::new(net("generator", 1)),
            Arc::new(net("discriminator", 2)),
            Arc::new(net("generator_adam", 3)),
        ],
    }
}

/// The same state with every part's tensors in the order in which they are loaded.
pub fn in_file_order(mut snapshot: Snapshot) -> Snapshot {
    for part in &mut snapshot.parts {
        let part = Arc::make_mut(part);
        part.tensors.sort_by_key(|t| (matches!(t.data, lsgan_snapshots::TensorData::F32(_)), t.name.clone()));
    }
    snapshot
}

/// A directory of its own and the store in it.
pub struct Fixture {
    pub dir: TempDir,
    pub store: Store,
}

impl Fixture {
    pub fn new() -> Self {
        let dir = TempDir::new().expect("a temporary directory can be made");
        let store = Store::open(dir.path().to_str().expect("it is UTF-8")).expect("it can be opened");
        Self { dir, store }
    }

    /// A store with snapshots of these steps.
    pub async fn with(steps: &[u64]) -> Self {
        let fixture = Self::new();
        for &step in steps {
            fixture.store.write(&snapshot(step, 0)).await.expect("an undisturbed write succeeds");
        }
        fixture
    }

    pub fn path(&self) -> &FsPath {
        self.dir.path()
    }

    pub fn step_dir(&self, step: u64) -> PathBuf {
        self.path().join(format!("snapshots/step-{step:010}"))
    }

    /// The same directory through a store that fails.
    pub fn faulty(&self, fault: Fault) -> (Store, Faulty) {
        let inner = LocalFileSystem::new_with_prefix(self.path()).expect("it exists");
        let faulty = Faulty(Arc::new(State {
            inner: inner.with_automatic_cleanup(true),
            fault,
            operations: AtomicU64::new(0),
            put_bytes: AtomicU64::new(0),
        }));
        (Store::over(Arc::new(faulty.clone()), Path::default(), "faulty:"), faulty)
    }

    /// Every file below the directory with its bytes.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        files_below(self.path(), self.path())
    }
}

pub fn files_below(root: &FsPath, dir: &FsPath) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            files.extend(files_below(root, &path));
        } else {
            let name = path.strip_prefix(root).expect("it is below").to_owned();
            files.insert(name, fs::read(&path).expect("it can be read"));
        }
    }
    files
}

/// What happens at which operation. Operations are counted from 0.
pub enum Fault {
    /// From this operation on, nothing works: the writer has crashed, or the store is away.
    DownFrom(u64),
    /// This operation fails; those before and after it work.
    OnceAt(u64),
    /// This operation is done, but its caller hears of a failure.
    LostAnswerAt(u64),
    /// This operation is done, and then nothing works any more.
    LostAnswerAndDownAt(u64),
    /// No more than so many bytes can be put.
    FullAfter(u64),
    /// Right before this operation, something else happens.
    Meanwhile(u64, Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>),
}

#[derive(Clone)]
pub struct Faulty(Arc<State>);

struct State {
    inner: LocalFileSystem,
    fault: Fault,
    operations: AtomicU64,
    put_bytes: AtomicU64,
}

impl Faulty {
    /// Whether so many operations came that the fault has happened.
    pub fn reached(&self) -> bool {
        let at = match self.0.fault {
            Fault::DownFrom(at)
            | Fault::OnceAt(at)
            | Fault::LostAnswerAt(at)
            | Fault::LostAnswerAndDownAt(at)
            | Fault::Meanwhile(at, _) => at,
            Fault::FullAfter(bytes) => return self.0.put_bytes.load(Ordering::SeqCst) > bytes,
        };
        self.0.operations.load(Ordering::SeqCst) > at
    }

    /// Runs one operation under the fault.
    async fn run<T>(&self, operation: impl Future<Output = Result<T>>) -> Result<T> {
        let index = self.0.operations.fetch_add(1, Ordering::SeqCst);
        match &self.0.fault {
            Fault::DownFrom(at) if index >= *at => Err(away()),
            Fault::OnceAt(at) if index == *at => Err(away()),
            Fault::LostAnswerAt(at) if index == *at => operation.await.and(Err(away())),
            Fault::LostAnswerAndDownAt(at) if index == *at => operation.await.and(Err(away())),
            Fault::LostAnswerAndDownAt(at) if index > *at => Err(away()),
            Fault::Meanwhile(at, what) if index == *at => {
                what().await;
                operation.await
            }
            _ => operation.await,
        }
    }
}

fn away() -> object_store::Error {
    object_store::Error::Generic { store: "Faulty", source: "the store is away".into() }
}

/// As the local store says it: an error of its own around the system's.
#[derive(Debug, thiserror::Error)]
#[error("Unable to copy data to file: {source}")]
struct CopyError {
    source: io::Error,
}

fn full() -> object_store::Error {
    let source = CopyError { source: io::Error::from_raw_os_error(nix::libc::ENOSPC) };
    object_store::Error::Generic { store: "Faulty", source: Box::new(source) }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

/// One request whose answer is a list, as a stream.
fn all_of<T: Send + 'static>(
    answer: impl Future<Output = Result<Vec<T>>> + Send + 'static,
) -> BoxStream<'static, Result<T>> {
    answer.map_ok(|items| futures::stream::iter(items.into_iter().map(Ok))).try_flatten_stream().boxed()
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let len_bytes = payload.content_length() as u64;
        let put = async {
            if let Fault::FullAfter(room) = self.0.fault
                && self.0.put_bytes.fetch_add(len_bytes, Ordering::SeqCst) + len_bytes > room
            {
                return Err(full());
            }
            self.0.inner.put_opts(location, payload, opts).await
        };
        self.run(put).await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        panic!("snapshots are put whole")
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.run(self.0.inner.get_opts(location, options)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        all_of(async move { this.run(this.0.inner.delete_stream(locations).try_collect::<Vec<_>>()).await })
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (this, prefix) = (self.clone(), prefix.cloned());
        all_of(async move { this.run(this.0.inner.list(prefix.as_ref()).try_collect::<Vec<_>>()).await })
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.run(self.0.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        panic!("snapshots are not copied")
    }
}
