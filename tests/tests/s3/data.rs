//! A data set in a bucket is the same as on a disk, in any weather; and what is wrong is said at once.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lsgan_data::contract::contract;
use lsgan_data::{DataError, OpenOptions, RecordError, Source, open_with};
use lsgan_objects::FailureKind;
use lsgan_spec::{DataSpec, ImageSpec, Source as Spec, WebdatasetSource};
use lsgan_tests::binaries::root;
use lsgan_tests::buckets::{Kind, Who, s3_environment};
use lsgan_tests::trials::Test;
use lsgan_tests::{Trouble, tests};
use object_store::ObjectStoreExt as _;

use crate::{admin, client, failure, fill, kind, url, wait, world};

pub const TESTS: &[Test] = tests![
    shards_keep_the_contract_and_are_those_of_the_disk,
    slow_down_and_bodies_that_break_off_are_waited_out,
    connections_that_are_refused_for_a_while_are_waited_out,
    a_missing_bucket_and_a_missing_key_are_told_apart_at_once,
    an_object_that_is_written_to_or_gone_is_lost,
];

/// Codes that only SeaweedFS has.
pub const S3: &[Test] = tests![wrong_credentials_are_refused_at_once_in_the_servers_words];

/// What is said at once comes long before any patience ends.
const AT_ONCE: Duration = Duration::from_secs(20);

pub const SHARDS: [&str; 2] = ["train-000000.tar", "train-000001.tar"];
pub const PATTERN: &str = "train-{000000..000001}.tar";

pub fn fixtures() -> PathBuf {
    root().join("crates/data/tests/fixtures/shards")
}

/// A bucket with the shards in it.
pub fn fill_with_shards(bucket: &str) {
    let shards = SHARDS.map(|name| (name, std::fs::read(fixtures().join(name)).expect("it is a fixture")));
    fill(bucket, &shards);
}

fn open(shards: &str, index_dir: &Path) -> Result<Box<dyn Source>, DataError> {
    let spec = DataSpec::of(
        Spec::Webdataset(WebdatasetSource { shards: shards.to_owned() }),
        Some(ImageSpec::of(16, 3)),
    );
    open_with(&spec, &OpenOptions { index_dir: Some(index_dir.to_owned()), ..OpenOptions::new(1) })
}

fn refused(shards: &str) -> DataError {
    let dir = tempfile::tempdir().expect("a directory can be made");
    open(shards, dir.path()).map(drop).expect_err("this is not to be opened")
}

fn samples(source: &dyn Source) -> Vec<Result<Vec<f32>, RecordError>> {
    let sample = |record| {
        let mut sample = vec![0.0; source.sample_len()];
        source.read(record, &mut sample).map(|()| sample)
    };
    (0..source.len()).map(sample).collect()
}

fn on_disk(index_dir: &Path) -> Box<dyn Source> {
    open(&fixtures().join(PATTERN).display().to_string(), index_dir).expect("they are fixtures")
}

fn shards_keep_the_contract_and_are_those_of_the_disk() {
    fill_with_shards("contract");
    let dir = tempfile::tempdir().expect("a directory can be made");
    let source = open(&url(&format!("contract/{PATTERN}")), dir.path()).expect("they are there");
    contract(&*source, &[]);
    let disk = on_disk(dir.path());
    assert_eq!(source.fingerprint(), disk.fingerprint());
    assert_eq!(samples(&*source), samples(&*disk));
    // With its index: nothing is looked through again.
    let before = world().weather.requests("/contract/").len();
    let again = open(&url(&format!("contract/{PATTERN}")), dir.path()).expect("they are there");
    let requests = world().weather.requests("/contract/").split_off(before);
    assert!(requests.iter().all(|request| request.method == "HEAD"), "{requests:?}");
    assert_eq!(again.fingerprint(), source.fingerprint());
}

fn slow_down_and_bodies_that_break_off_are_waited_out() {
    fill_with_shards("storm");
    let weather = &world().weather;
    let dir = tempfile::tempdir().expect("a directory can be made");
    weather.make(Trouble::SlowDown, 2, "HEAD", "/storm/");
    weather.make(Trouble::SlowDown, 3, "GET", "/storm/");
    // In the middle of the shard that is looked through.
    weather.make(Trouble::CutAfter(10_000), 2, "GET", "/storm/");
    let source = open(&url(&format!("storm/{PATTERN}")), dir.path()).expect("the weather gets better");
    assert_eq!(weather.troubled("/storm/"), 7);
    // And in the middle of records.
    weather.make(Trouble::CutAfter(100), 4, "GET", "/storm/");
    weather.make(Trouble::LoseAnswer, 4, "GET", "/storm/");
    let disk = on_disk(dir.path());
    assert_eq!(samples(&*source), samples(&*disk));
    assert_eq!(source.fingerprint(), disk.fingerprint());
    assert_eq!(weather.troubled("/storm/"), 15);
}

/// With a weather of its own: it takes connections away from everybody.
fn connections_that_are_refused_for_a_while_are_waited_out() {
    fill_with_shards("refusing");
    let lab = lsgan_tests::Lab::new();
    let weather = lsgan_tests::Weather::before(world().server.address(), lab.host());
    let client = client("refusing", &kind().environment(&weather.url(), Who::Reader));
    weather.refuse(true);
    let head = std::thread::spawn(move || wait(async move { client.head(&SHARDS[0].into()).await }));
    // It is asked for at least once while nobody listens: nothing can tell when, so it is given some attempts' time.
    std::thread::sleep(Duration::from_millis(700));
    assert!(!head.is_finished() && weather.requests("").is_empty());
    weather.refuse(false);
    let meta = head.join().expect("it does not panic").expect("the server is back");
    assert!(meta.size > 0);
}

fn a_missing_bucket_and_a_missing_key_are_told_apart_at_once() {
    fill_with_shards("there");
    let begin = Instant::now();
    let (no_key, no_bucket) = (kind().traits().no_key, kind().traits().no_bucket);
    for (path, code) in [("there/none-{0..1}.tar", no_key), ("not-there/train-000000.tar", no_bucket)] {
        let error = refused(&url(path));
        let DataError::Store { place, reason, advice } = &error else { panic!("{error}") };
        assert!(reason.starts_with(code), "{error}");
        assert!(place.starts_with(&url("")) && !advice.is_empty(), "{error}");
    }
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
    assert!(world().weather.requests("/not-there/").len() <= 2, "asked once, and once for the words");
}

fn wrong_credentials_are_refused_at_once_in_the_servers_words() {
    fill_with_shards("guarded");
    let begin = Instant::now();
    for (keys, code) in
        [(("nobody", "secret"), "InvalidAccessKeyId"), (("writer", "wrong"), "SignatureDoesNotMatch")]
    {
        let client = client("guarded", &s3_environment(&world().weather.url(), keys));
        let error = wait(client.get(&SHARDS[0].into())).map(drop).expect_err("nobody has these keys");
        let answer = failure(&error);
        assert_eq!(answer.kind, FailureKind::Refused, "{answer}");
        assert!(answer.message.starts_with(code), "{answer}");
        assert!(answer.to_string().contains("AWS_SECRET_ACCESS_KEY"), "{answer}");
        let listed = wait(client.list_with_delimiter(None)).map(drop).expect_err("nor may they list");
        assert_eq!(failure(&listed).kind, FailureKind::Refused, "{listed}");
    }
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
}

fn an_object_that_is_written_to_or_gone_is_lost() {
    fill_with_shards("changing");
    let dir = tempfile::tempdir().expect("a directory can be made");
    let source = open(&url(&format!("changing/{PATTERN}")), dir.path()).expect("they are there");
    assert!(samples(&*source).iter().all(Result::is_ok));
    let admin = admin("changing");
    wait(async {
        admin.delete(&SHARDS[0].into()).await.expect("it can be deleted");
        let other = std::fs::read(fixtures().join(SHARDS[0])).expect("it is a fixture");
        admin.put(&SHARDS[1].into(), other.into()).await.expect("it can be overwritten");
    });
    for (record, sample) in samples(&*source).into_iter().enumerate() {
        let Err(RecordError::Lost { key, reason, .. }) = sample else { panic!("record {record} is read") };
        // To a read on the condition that the object is as it was, Azure says that it is not so where there is none.
        let is_gone = record < 12 && kind() != Kind::Azurite;
        let expected = if is_gone { kind().traits().no_key } else { "the object was written to" };
        assert!(reason.contains(expected) && key.starts_with(&url("changing/")), "{key}: {reason}");
    }
}
