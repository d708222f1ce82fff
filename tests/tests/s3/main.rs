//! Data and snapshots in S3: a real server, and bad weather before it.
//!
//! The server comes with the test-time Python environment (`make test` makes it). Without it these tests are counted as
//! skipped, by name; in CI that is an error.

mod data;
mod failover;
mod run;
mod snapshots;

use std::process::ExitCode;
use std::sync::{Arc, OnceLock, RwLock};

use libtest_mimic::Arguments;
use lsgan_objects::settings::Environment;
use lsgan_objects::{BucketUrl, RetryLimit, s3};
use lsgan_tests::s3::{ADMIN, S3Server, WRITER, environment};
use lsgan_tests::trials::trials;
use lsgan_tests::{Lab, Weather};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};

/// The server, and the weather before it that tests inside this process use. They keep apart by their buckets.
struct World {
    server: S3Server,
    weather: Weather,
}

static WORLD: RwLock<Option<Arc<World>>> = RwLock::new(None);

fn world() -> Arc<World> {
    WORLD.read().expect("nobody panics with it").clone().expect("main has made it")
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let possible = S3Server::possible();
    if let Err(why) = &possible
        && std::env::var("CI").is_ok_and(|ci| ci == "true")
    {
        eprintln!("error: {why}");
        return ExitCode::FAILURE;
    }
    let lab = Lab::new();
    if let (Ok(weed), false) = (&possible, arguments.list) {
        let server = S3Server::start(weed, lab.host());
        let weather = Weather::before(server.address(), lab.host());
        for (name, value) in environment(&weather.url(), WRITER) {
            // SAFETY: no test runs yet, and the harness's threads read no variables.
            unsafe { std::env::set_var(name, value) };
        }
        *WORLD.write().expect("nobody panics with it") = Some(Arc::new(World { server, weather }));
    }
    let tests = [data::TESTS, snapshots::TESTS, run::TESTS, failover::TESTS];
    let tests = tests.into_iter().flat_map(|tests| trials(&possible.clone().map(drop), tests));
    let code = libtest_mimic::run(&arguments, tests.collect()).exit_code();
    // Statics are not dropped, and the server is to be gone.
    drop(WORLD.write().expect("nobody panics with it").take());
    code
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

/// A client of the server itself, without weather, that may make buckets.
fn admin(bucket: &str) -> Arc<dyn ObjectStore> {
    let endpoint = format!("http://{}", world().server.address());
    client(bucket, &endpoint, ADMIN)
}

fn client(bucket: &str, endpoint: &str, keys: (&str, &str)) -> Arc<dyn ObjectStore> {
    client_with(bucket, endpoint, keys, &[])
}

/// A client with `more` variables in its environment.
fn client_with(
    bucket: &str,
    endpoint: &str,
    keys: (&str, &str),
    more: &[(&str, &str)],
) -> Arc<dyn ObjectStore> {
    let place = BucketUrl::parse(&format!("s3://{bucket}")).expect("it is a bucket");
    let environment = environment(endpoint, keys).into_iter();
    let more = more.iter().map(|&(name, value)| (name, value.to_owned()));
    let environment: Environment =
        environment.chain(more).map(|(name, value)| (name.to_owned(), value)).collect();
    s3::open_with(&place, RetryLimit::SNAPSHOTS, &environment).expect("it can be opened")
}

/// Puts objects into a bucket, which the server makes with the first one.
fn fill(bucket: &str, objects: &[(&str, Vec<u8>)]) {
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
