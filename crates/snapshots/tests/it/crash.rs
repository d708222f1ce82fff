//! A write that is cut off, at every operation and in every way: afterwards the snapshot is whole or not there,
//! the one before is untouched, and the same write can be done again.

use std::fs;

use lsgan_snapshots::Error;
use lsgan_snapshots::snapshot::to_bytes;
use lsgan_spec::Step;

use crate::common::{Fault, Fixture, snapshot};

/// No write has more operations than this; one that has is a loop.
const OPERATIONS_MAX: u64 = 60;

type Prepare = fn(&Fixture);

fn nothing(_: &Fixture) {}

/// A write of another state was cut off at this step before.
fn leftover_of_another_state(fixture: &Fixture) {
    let dir = fixture.step_dir(200);
    fs::create_dir_all(&dir).expect("it can be made");
    fs::write(dir.join("generator.safetensors"), b"other").expect("it can be written");
}

/// The snapshot is there, but one of its parts is damaged.
fn damaged_part(fixture: &Fixture) {
    let dir = fixture.step_dir(200);
    copy_of_step_200(fixture);
    fs::write(dir.join("discriminator.safetensors"), b"damaged").expect("it can be written");
}

/// The snapshot is there, but its manifest is damaged.
fn damaged_manifest(fixture: &Fixture) {
    copy_of_step_200(fixture);
    fs::write(fixture.step_dir(200).join("manifest.json"), b"{").expect("it can be written");
}

fn copy_of_step_200(fixture: &Fixture) {
    fs::create_dir_all(fixture.step_dir(200)).expect("it can be made");
    for part in snapshot(200, 0).parts {
        let path = fixture.step_dir(200).join(format!("{}.safetensors", part.name));
        fs::write(path, to_bytes(&part).expect("it is valid")).expect("it can be written");
    }
}

/// Cuts a write of step 200 at every operation, until one is not reached any more. Returns how many were.
async fn cut_everywhere(prepare: Prepare, fault: fn(u64) -> Fault) -> u64 {
    for at in 0..OPERATIONS_MAX {
        let fixture = Fixture::with(&[100]).await;
        prepare(&fixture);
        let before = fs::read(fixture.step_dir(100).join("manifest.json")).expect("it is there");
        let (store, faulty) = fixture.faulty(fault(at));
        let written = store.write(&snapshot(200, 0)).await;
        if !faulty.reached() {
            written.expect("nothing went wrong");
            return at;
        }
        assert_whole_or_not_there(&fixture, at, written.is_ok()).await;
        fixture.store.write(&snapshot(200, 0)).await.expect("the same write can be done again");
        let manifest = fixture.store.verify(Step(200)).await.expect("it is whole");
        assert_eq!(fixture.store.newest_valid().await.expect("the store answers").manifest, Some(manifest));
        assert_eq!(fs::read_dir(fixture.step_dir(200)).expect("it is there").count(), 4, "cut at {at}");
        assert_eq!(fs::read(fixture.step_dir(100).join("manifest.json")).expect("it is there"), before);
    }
    panic!("a write has more than {OPERATIONS_MAX} operations");
}

async fn assert_whole_or_not_there(fixture: &Fixture, at: u64, succeeded: bool) {
    let found = fixture.store.newest_valid().await.expect("the store answers");
    let newest = found.manifest.expect("the one before is untouched").step;
    assert!([Step(100), Step(200)].contains(&newest));
    assert!(!succeeded || newest == Step(200), "cut at {at}: a write that succeeded is there");
    for skipped in found.skipped {
        assert!(skipped.reason.is_damage(), "cut at {at}: {}", skipped.reason);
    }
}

async fn cut_in_every_state(fault: fn(u64) -> Fault) {
    for prepare in [nothing as Prepare, leftover_of_another_state, damaged_part, damaged_manifest] {
        let operations = cut_everywhere(prepare, fault).await;
        assert!(operations >= 6, "the manifest looked for, leftovers, 3 parts, the manifest: {operations}");
    }
}

#[tokio::test]
async fn a_writer_that_dies_at_any_operation_leaves_the_snapshot_before() {
    cut_in_every_state(Fault::DownFrom).await;
}

#[tokio::test]
async fn a_writer_that_dies_after_any_operation_leaves_the_snapshot_before_or_the_whole_new_one() {
    cut_in_every_state(Fault::LostAnswerAndDownAt).await;
}

#[tokio::test]
async fn a_store_that_fails_once_at_any_operation_leaves_the_snapshot_before() {
    cut_in_every_state(Fault::OnceAt).await;
}

#[tokio::test]
async fn a_store_whose_answer_is_lost_at_any_operation_leaves_the_snapshot_before_or_the_whole_new_one() {
    cut_in_every_state(Fault::LostAnswerAt).await;
}

/// The put was done, so the write was too.
#[tokio::test]
async fn a_manifest_whose_answer_is_lost_is_found_to_be_there() {
    let fixture = Fixture::new();
    // 0: look for a manifest, 1: and for leftovers, 2 to 4: the parts, 5: the manifest.
    let (store, faulty) = fixture.faulty(Fault::LostAnswerAt(5));
    store.write(&snapshot(200, 0)).await.expect("the manifest is there");
    assert!(faulty.reached());
    fixture.store.verify(Step(200)).await.expect("it is whole");
}

/// Passing over a snapshot because a store does not answer would lose steps.
#[tokio::test]
async fn a_store_that_does_not_answer_is_an_error_and_nothing_is_passed_over() {
    for at in 0..OPERATIONS_MAX {
        let fixture = Fixture::with(&[100, 200]).await;
        let (store, faulty) = fixture.faulty(Fault::OnceAt(at));
        let found = store.newest_valid().await;
        if !faulty.reached() {
            assert!(at >= 6, "the folders, the manifest, the sizes, 3 parts: {at}");
            assert_eq!(found.expect("nothing went wrong").manifest.expect("it is there").step, Step(200));
            return;
        }
        let error = found.expect_err("the store did not answer");
        assert!(matches!(error, Error::Store { .. }) && !error.is_damage(), "{error}");
    }
    panic!("finding a snapshot has more than {OPERATIONS_MAX} operations");
}
