//! Snapshots in buckets: what holds for a directory holds for a bucket, in any weather.

use std::sync::Arc;

use futures::TryStreamExt as _;
use lsgan_objects::FailureKind;
use lsgan_snapshots::{Error, Log, Manifest, NamedTensor, Part, Snapshot, Store};
use lsgan_spec::Step;
use lsgan_tests::buckets::Who;
use lsgan_tests::trials::Test;
use lsgan_tests::{Trouble, tests};
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};

use crate::{admin, client, failure, fill, kind, url, wait, world};

pub const TESTS: &[Test] = tests![
    a_snapshot_is_read_back_and_listed,
    of_writers_at_once_exactly_one_state_wins,
    a_damaged_snapshot_is_passed_over,
    retention_setting_aside_and_moving_the_old_run_away,
    a_large_part_goes_and_comes_in_pieces_in_bad_weather,
    lost_answers_and_slow_down_spoil_no_write,
    a_bucket_is_checked_before_a_run_depends_on_it,
    a_missing_bucket_is_an_error_and_no_empty_store,
    a_number_of_the_journals_copy_is_given_once_to_creators_at_the_same_time,
];

/// What is seen by S3's own requests.
pub const S3: &[Test] = tests![nothing_is_left_of_a_large_write_that_fails];

/// A state of two parts; `variant` decides their elements, `len` how many the first one has.
fn snapshot(step: u64, variant: u64, len: usize) -> Snapshot {
    let part = |name: &str, len: usize, salt: u64| {
        let values = (0..len).map(|i| (step * 1000 + variant * 100 + salt + i as u64 % 97) as f32).collect();
        let tensors =
            vec![NamedTensor::i64("n", [], vec![step as i64]), NamedTensor::f32("w", [len], values)];
        Arc::new(Part { name: name.to_owned(), tensors })
    };
    Snapshot {
        step: Step(step),
        identity: "1f".repeat(32),
        data_fingerprint: "2e".repeat(32),
        numerics: "none".to_owned(),
        spec_yaml: "run: small\n".to_owned(),
        parts: vec![part("generator", len, 1), part("discriminator", 24, 2)],
    }
}

fn store(prefix: &str) -> Store {
    let (bucket, _) = prefix.split_once('/').expect("a bucket and a prefix");
    fill(bucket, &[]);
    Store::open(&url(prefix)).expect("it can be opened")
}

fn keys(bucket: &str) -> Vec<String> {
    wait(keys_in(bucket))
}

async fn keys_in(bucket: &str) -> Vec<String> {
    let list = admin(bucket).list(None).try_collect::<Vec<_>>().await.expect("it can be listed");
    let mut keys: Vec<_> = list.into_iter().map(|meta| meta.location.to_string()).collect();
    keys.retain(|key| key != "made");
    keys.sort_unstable();
    keys
}

fn a_snapshot_is_read_back_and_listed() {
    let store = store("round-trip/runs/a b");
    wait(async {
        let manifest = store.write(&snapshot(100, 0, 24)).await.expect("it can be written");
        assert_eq!(store.verify(Step(100)).await.expect("it is whole"), manifest);
        assert_eq!(store.load(Step(100)).await.expect("it is whole"), snapshot(100, 0, 24));
        assert_eq!(store.write(&snapshot(100, 0, 24)).await.expect("it is there already"), manifest);
        let error = store.write(&snapshot(100, 1, 24)).await.expect_err("it differs");
        assert!(matches!(error, Error::OtherSnapshot { .. }), "{error}");
        let listed = store.list().await.expect("the store answers");
        assert_eq!(listed.iter().map(|entry| entry.step).collect::<Vec<_>>(), [Step(100)]);
        let files = store.write_final(&snapshot(100, 0, 24).parts).await.expect("it can be written");
        assert_eq!(files[0].path, url("round-trip/runs/a b/final/generator.safetensors"));
        assert_eq!(files[0].blake3, manifest.parts[0].blake3);
        assert_eq!(store.snapshot_path(Step(100)), url("round-trip/runs/a b/snapshots/step-0000000100"));
    });
    let snapshots: Vec<_> =
        keys("round-trip").into_iter().filter(|key| key.contains("/snapshots/")).collect();
    let names = ["discriminator.safetensors", "generator.safetensors", "manifest.json"];
    assert_eq!(snapshots, names.map(|name| format!("runs/a b/snapshots/step-0000000100/{name}")));
}

fn of_writers_at_once_exactly_one_state_wins() {
    for states in [1, 5] {
        let store = store(&format!("race/{states}"));
        let written: Vec<(u64, Result<Manifest, Error>)> = wait(async {
            let writers = (0..5_u64).map(|writer| {
                let (store, state) = (store.clone(), writer % states);
                tokio::spawn(async move { (state, store.write(&snapshot(200, state, 24)).await) })
            });
            futures::future::join_all(writers).await.into_iter().map(|done| done.expect("no panic")).collect()
        });
        let mut winners = Vec::new();
        for (state, written) in written {
            match written {
                Ok(_) => winners.push(state),
                Err(error) => assert!(matches!(error, Error::OtherSnapshot { .. }), "{error}"),
            }
        }
        winners.dedup();
        let [winner] = winners[..] else { panic!("{winners:?} have won") };
        assert_eq!(wait(store.load(Step(200))).expect("it is whole"), snapshot(200, winner, 24));
    }
}

fn a_damaged_snapshot_is_passed_over() {
    let store = store("damage/run");
    wait(async {
        for step in [100, 200, 300] {
            store.write(&snapshot(step, 0, 24)).await.expect("it can be written");
        }
        let objects = admin("damage");
        let part = Path::from("run/snapshots/step-0000000300/generator.safetensors");
        let len_bytes = objects.head(&part).await.expect("it is there").size as usize;
        objects.put(&part, vec![7; len_bytes].into()).await.expect("it can be spoilt");
        let manifest = Path::from("run/snapshots/step-0000000200/manifest.json");
        objects.delete(&manifest).await.expect("it can be deleted");
        let found = store.newest_valid().await.expect("the store answers");
        assert_eq!(found.manifest.expect("one is whole").step, Step(100));
        let skipped: Vec<_> = found.skipped.iter().map(|skipped| skipped.step.0).collect();
        assert_eq!(skipped, [300, 200]);
        let reason = found.skipped[0].reason.to_string();
        assert!(reason.contains("has the BLAKE3 hash"), "{reason}");
        assert!(matches!(found.skipped[1].reason, Error::Unfinished { .. }), "{}", found.skipped[1].reason);
        store.write(&snapshot(300, 0, 24)).await.expect("it is mended");
        store.verify(Step(300)).await.expect("it is whole");
    });
}

fn retention_setting_aside_and_moving_the_old_run_away() {
    let store = store("keeping/run");
    wait(async {
        for step in [100, 200, 300, 400, 500] {
            store.write(&snapshot(step, 0, 24)).await.expect("it can be written");
        }
        assert_eq!(store.retain(3, &[Step(100)]).await.expect("the store answers"), [Step(200)]);
        assert_eq!(store.set_aside_after(Step(400)).await.expect("the store answers"), [Step(500)]);
        let newest = store.newest_valid().await.expect("the store answers").manifest.expect("there are some");
        assert_eq!(newest.step, Step(400));
        store.write_final(&snapshot(400, 0, 24).parts).await.expect("it can be written");
        let log = Log::of(store.clone());
        assert!(log.create(1, "a piece".into()).await.expect("it can be written"));
        let before = keys_in("keeping").await.len();
        let old = store.archive().await.expect("the store answers");
        assert_eq!(old, Some(url("keeping/run.old-1")));
        let keys = keys_in("keeping").await.into_iter();
        let (stay, after): (Vec<_>, Vec<_>) = keys.partition(|key| key.starts_with("run/journal/"));
        assert_eq!((stay.len(), after.len()), (1, before), "no number of the journal's copy is free again");
        assert!(after.iter().all(|key| key.starts_with("run.old-1/")), "{after:?}");
        assert!(store.newest_valid().await.expect("the store answers").manifest.is_none());
        assert_eq!(store.archive().await.expect("the store answers"), None, "there is nothing any more");
        let old = Store::open(&url("keeping/run.old-1")).expect("it can be opened");
        assert_eq!(old.load(Step(400)).await.expect("it went as a whole"), snapshot(400, 0, 24));
        store.write(&snapshot(100, 1, 24)).await.expect("it can be written");
        let second = store.archive().await.expect("the store answers");
        assert_eq!(second, Some(url("keeping/run.old-2")));
    });
}

/// 40 MiB: three pieces.
const LARGE: usize = 10 << 20;

fn a_large_part_goes_and_comes_in_pieces_in_bad_weather() {
    let (store, state) = (store("large/run"), snapshot(100, 0, LARGE));
    let weather = &world().weather;
    let ((begin, begins), (piece, brings)) = (kind().traits().begins, kind().traits().piece);
    weather.make(Trouble::SlowDown, 2, begin, begins);
    weather.make(Trouble::SlowDown, 2, piece, brings);
    weather.make(Trouble::LoseAnswer, 1, piece, brings);
    let manifest = wait(store.write(&state)).expect("the weather gets better");
    assert!(
        manifest.parts[0].file.starts_with("generator-"),
        "a name with its hash: {}",
        manifest.parts[0].file
    );
    assert_eq!(manifest.parts[1].file, "discriminator.safetensors");
    assert_eq!(weather.troubled("/large/"), 5);
    assert_eq!(wait(store.write(&state)).expect("it is there already"), manifest);
    weather.make(Trouble::CutAfter(5_000_000), 3, "GET", "/generator-");
    assert_eq!(wait(store.verify(Step(100))).expect("it is whole"), manifest);
    weather.make(Trouble::CutAfter(3_000_000), 3, "GET", "/generator-");
    assert!(wait(store.load(Step(100))).expect("it is whole") == state);
    assert_eq!(weather.troubled("/large/"), 11);
    let files = wait(store.write_final(&state.parts)).expect("it can be written");
    assert_eq!(files[0].path, url("large/run/final/generator.safetensors"));
    assert_eq!(files[0].blake3, manifest.parts[0].blake3);
}

fn lost_answers_and_slow_down_spoil_no_write() {
    let store = store("answers/run");
    let weather = &world().weather;
    for (step, trouble) in [(100, Trouble::LoseAnswer), (200, Trouble::SlowDown)] {
        let dir = format!("/answers/run/snapshots/step-{step:010}/");
        weather.make(trouble, 2, "PUT", &format!("{dir}generator"));
        weather.make(trouble, 1, "PUT", &format!("{dir}manifest"));
        // The list of leftovers breaks off in the middle.
        weather.make(Trouble::CutAfter(40), 1, "GET", "/answers?");
        let manifest = wait(store.write(&snapshot(step, 0, 24))).expect("the weather gets better");
        assert_eq!(manifest.parts[0].file, "generator.safetensors", "its own object was in its way");
        assert_eq!(weather.troubled(&dir), 3);
        assert_eq!(wait(store.load(Step(step))).expect("it is whole"), snapshot(step, 0, 24));
    }
    assert_eq!(weather.troubled("/answers?"), 2);
    let found = wait(store.newest_valid()).expect("the store answers");
    assert!(found.skipped.is_empty() && found.manifest.is_some_and(|manifest| manifest.step == Step(200)));
}

fn a_bucket_is_checked_before_a_run_depends_on_it() {
    let store = store("checked/run");
    wait(store.check()).expect("it can be written, and create means create");
    assert_eq!(keys("checked"), Vec::<String>::new());
}

fn a_missing_bucket_is_an_error_and_no_empty_store() {
    let store = Store::open(&url("no-bucket/run")).expect("nothing is asked yet");
    let no_bucket = |error: Error| match error {
        Error::Bucket { answer, .. } => assert_eq!(answer.kind, FailureKind::NoBucket, "{answer}"),
        other => panic!("{other}"),
    };
    wait(async {
        no_bucket(store.newest_valid().await.map(drop).expect_err("there is no bucket"));
        no_bucket(store.check().await.expect_err("there is no bucket"));
        no_bucket(store.load(Step(100)).await.map(drop).expect_err("there is no bucket"));
        no_bucket(store.write(&snapshot(100, 0, 24)).await.map(drop).expect_err("there is no bucket"));
    });
}

fn nothing_is_left_of_a_large_write_that_fails() {
    fill("failing", &[]);
    let mut environment = kind().environment(&world().weather.url(), Who::Writer);
    environment.push(("AWS_MAX_ATTEMPTS", "2".to_owned()));
    let objects = client("failing", &environment);
    world().weather.make(Trouble::SlowDown, 100, "PUT", "/failing/a?partNumber");
    let bytes = vec![7_u8; 40 << 20].into();
    let error = wait(lsgan_objects::pieces::put(&*objects, &Path::from("a"), &bytes));
    let answer = failure(&error.expect_err("the weather does not get better"));
    assert_eq!(answer.kind, FailureKind::Away, "{answer}");
    assert!(answer.message.contains("after 1 retries"), "AWS_MAX_ATTEMPTS counts: {answer}");
    assert_eq!(keys("failing"), Vec::<String>::new());
    let aborted = world().weather.requests("/failing/a?uploadId").iter().any(|it| it.method == "DELETE");
    assert!(aborted, "the pieces that are there are taken back");
}

/// The fence of two coordinators: each number goes to one of them, whoever asks when.
fn a_number_of_the_journals_copy_is_given_once_to_creators_at_the_same_time() {
    let log = Log::of(store("numbers/run"));
    wait(async {
        for number in 1..=10 {
            let creators = (0..5_u8).map(|creator| {
                let log = log.clone();
                tokio::spawn(async move { log.create(number, vec![creator].into()).await })
            });
            let created: Vec<_> = futures::future::join_all(creators).await.into_iter().collect();
            let created = created.into_iter().map(|it| it.expect("no panic").expect("the store answers"));
            let winners: Vec<u8> =
                (0..).zip(created).filter(|(_, created)| *created).map(|(i, _)| i).collect();
            let [winner] = winners[..] else { panic!("{winners:?} have created number {number}") };
            let there = log.piece(number).await.expect("the store answers");
            assert_eq!(there.as_deref(), Some(&[winner][..]));
        }
        assert_eq!(log.list().await.expect("the store answers").pieces, (1..=10).collect::<Vec<_>>());
    });
}
