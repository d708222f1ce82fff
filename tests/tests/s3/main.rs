//! Data and snapshots in buckets: real servers of each protocol, and bad weather before them.
//!
//! What holds for all servers runs with each of them, one after another. A server that is not installed has its tests counted
//! as skipped, by name; in CI that is an error for SeaweedFS.

mod data;
mod failover;
mod run;
mod snapshots;

use std::process::ExitCode;
use std::sync::{Arc, OnceLock, RwLock};

use libtest_mimic::Arguments;
use lsgan_objects::{BucketUrl, Environment, RetryLimit, Scheme, StoreFailure};
use lsgan_tests::buckets::{BucketServer, Kind, Who};
use lsgan_tests::trials::{Test, trials_of};
use lsgan_tests::{Lab, Weather};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};

/// The server, and the weather before it that tests inside this process use. They keep apart by their buckets.
struct World {
    server: BucketServer,
    weather: Weather,
}

static WORLD: RwLock<Option<Arc<World>>> = RwLock::new(None);

fn world() -> Arc<World> {
    WORLD.read().expect("nobody panics with it").clone().expect("main has made it")
}

/// The kind of server that the tests run with now.
fn kind() -> Kind {
    world().server.kind()
}

/// The URL of a bucket, or of something in it.
fn url(path: &str) -> String {
    format!("{}://{path}", kind().scheme())
}

/// What an answer of this kind of server means.
fn failure(error: &object_store::Error) -> StoreFailure {
    let schemes = [Scheme::S3, Scheme::Google, Scheme::Azure];
    let scheme = schemes.into_iter().find(|scheme| scheme.name() == kind().scheme());
    StoreFailure::of(error, scheme.expect("it is one of them"))
}

/// The tests of a kind of server.
fn tests_of(kind: Kind) -> Vec<&'static [Test]> {
    match kind {
        Kind::SeaweedFs => {
            vec![data::TESTS, snapshots::TESTS, failover::TESTS, run::TESTS, data::S3, snapshots::S3, run::S3]
        }
        // Its keys are worth nothing, it forgets what failed half-way through, and to readers it is as SeaweedFS.
        Kind::Moto => vec![snapshots::TESTS, failover::TESTS],
        Kind::Azurite => vec![data::TESTS, snapshots::TESTS, failover::TESTS, run::TESTS],
        Kind::Google => vec![data::TESTS, snapshots::TESTS, failover::TESTS],
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut failed = false;
    for kind in Kind::ALL {
        let possible = kind.possible().map(drop);
        if let (Err(why), Kind::SeaweedFs) = (&possible, kind)
            && std::env::var("CI").is_ok_and(|ci| ci == "true")
        {
            eprintln!("error: {why}");
            return ExitCode::FAILURE;
        }
        failed |= run_with(kind, &possible, &arguments);
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs the tests of a kind of server. Returns whether one failed.
fn run_with(kind: Kind, possible: &Result<(), String>, arguments: &Arguments) -> bool {
    let prefix = format!("{}::", kind.name());
    let tests = tests_of(kind);
    let wanted = |name: &str| {
        arguments.filter.as_ref().is_none_or(|filter| format!("{prefix}{name}").contains(filter))
    };
    let lab = Lab::new();
    if possible.is_ok() && !arguments.list && tests.iter().copied().flatten().any(|(name, _)| wanted(name)) {
        let server = kind.start(lab.host());
        let weather = Weather::before(server.address(), lab.host());
        for (name, value) in kind.environment(&weather.url(), Who::Writer) {
            // SAFETY: no test runs now, and the harness's threads read no variables.
            unsafe { std::env::set_var(name, value) };
        }
        *WORLD.write().expect("nobody panics with it") = Some(Arc::new(World { server, weather }));
    }
    let trials = tests.into_iter().flat_map(|tests| trials_of(&prefix, possible, tests));
    let failed = libtest_mimic::run(arguments, trials.collect()).has_failed();
    // Statics are not dropped, and the server is to be gone.
    drop(WORLD.write().expect("nobody panics with it").take());
    failed
}

/// Waits for what is asynchronous; tests themselves are plain threads.
fn wait<T>(task: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let make = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime can be made")
    };
    RUNTIME.get_or_init(make).block_on(task)
}

/// A client of the server itself, without weather, of an administrator.
fn admin(bucket: &str) -> Arc<dyn ObjectStore> {
    let endpoint = format!("http://{}", world().server.address());
    client(bucket, &kind().environment(&endpoint, Who::Admin))
}

/// A client with these variables in its environment.
fn client(bucket: &str, environment: &[(&'static str, String)]) -> Arc<dyn ObjectStore> {
    let place = BucketUrl::parse(&url(bucket)).expect("it is a bucket");
    let environment: Environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    lsgan_objects::open_with(&place, RetryLimit::SNAPSHOTS, &environment).expect("it can be opened")
}

/// Makes a bucket and puts objects into it.
fn fill(bucket: &str, objects: &[(&str, Vec<u8>)]) {
    world().server.make_bucket(bucket);
    let client = admin(bucket);
    wait(async {
        client.put(&Path::from("made"), b"so that the bucket is there".to_vec().into()).await?;
        for (key, bytes) in objects {
            client.put(&Path::from(*key), bytes.clone().into()).await?;
        }
        Ok::<(), object_store::Error>(())
    })
    .expect("the server takes objects");
}
