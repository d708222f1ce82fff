//! Which snapshots stay, and when leftovers are deleted.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use lsgan_snapshots::{Error, LEFTOVER_AGE};
use lsgan_spec::Step;

use crate::common::{Fault, Fixture, snapshot};

async fn steps(fixture: &Fixture) -> Vec<u64> {
    let list = fixture.store.list().await.expect("the store answers");
    list.into_iter().filter(|entry| entry.state.is_ok()).map(|entry| entry.step.0).collect()
}

/// Makes a folder and all in it look as if it had not been touched for so long.
fn age(dir: &Path, age: Duration) {
    let then = SystemTime::now() - age;
    let files = fs::read_dir(dir).expect("it is there").map(|entry| entry.expect("it can be read").path());
    for path in files.chain([dir.to_owned()]) {
        File::open(path).and_then(|file| file.set_modified(then)).expect("its time can be set");
    }
}

#[tokio::test]
async fn the_newest_snapshots_and_the_pinned_ones_stay() {
    let fixture = Fixture::with(&[100, 200, 300, 400, 500]).await;
    let deleted = fixture.store.retain(2, &[Step(200)]).await.expect("the store answers");
    assert_eq!(deleted, [Step(100), Step(300)]);
    assert_eq!(steps(&fixture).await, [200, 400, 500]);
    assert!(!fixture.step_dir(100).exists(), "the folder goes too");
    assert_eq!(fixture.store.retain(2, &[Step(200)]).await.expect("the store answers"), []);
}

#[tokio::test]
async fn fewer_snapshots_than_are_to_be_kept_all_stay_and_the_last_one_always_does() {
    let fixture = Fixture::with(&[100, 200]).await;
    assert_eq!(fixture.store.retain(3, &[]).await.expect("the store answers"), []);
    assert_eq!(fixture.store.retain(0, &[]).await.expect("the store answers"), [Step(100)]);
    assert_eq!(steps(&fixture).await, [200]);
}

/// Three damaged snapshots must not push out the only one that a run can go on from.
#[tokio::test]
async fn damaged_snapshots_do_not_count_as_kept_and_go_only_when_older() {
    let fixture = Fixture::with(&[100, 200, 300, 400]).await;
    for step in [100, 300, 400] {
        fs::remove_file(fixture.step_dir(step).join("generator.safetensors")).expect("it is there");
    }
    assert_eq!(fixture.store.retain(1, &[]).await.expect("the store answers"), [Step(100)]);
    assert_eq!(steps(&fixture).await, [200]);
    assert!(fixture.step_dir(300).exists() && fixture.step_dir(400).exists());
}

#[tokio::test]
async fn steps_are_ordered_as_numbers_beyond_ten_digits() {
    let fixture = Fixture::with(&[9_999_999_999, 10_000_000_000]).await;
    assert_eq!(fixture.store.retain(1, &[]).await.expect("the store answers"), [Step(9_999_999_999)]);
}

#[tokio::test]
async fn a_deletion_cut_off_anywhere_leaves_no_half_snapshot() {
    for at in 0..60 {
        let fixture = Fixture::with(&[100, 200]).await;
        let (store, faulty) = fixture.faulty(Fault::DownFrom(at));
        let retained = store.retain(1, &[]).await;
        if !faulty.reached() {
            assert_eq!(retained.expect("nothing went wrong"), [Step(100)]);
            return;
        }
        for entry in fixture.store.list().await.expect("the store answers") {
            let unfinished = matches!(entry.state, Err(Error::Unfinished { .. }));
            assert!(entry.state.is_ok() || unfinished, "cut at {at}: {:?}", entry.state);
        }
        if fixture.step_dir(100).exists() {
            age(&fixture.step_dir(100), 2 * LEFTOVER_AGE);
        }
        fixture.store.retain(1, &[]).await.expect("the store answers");
        fixture.store.clean(LEFTOVER_AGE).await.expect("the store answers");
        assert!(!fixture.step_dir(100).exists(), "cut at {at}: nothing of it stays");
        assert_eq!(steps(&fixture).await, [200]);
    }
    panic!("a deletion has more than 60 operations");
}

#[tokio::test]
async fn leftovers_go_when_they_are_old_and_a_write_in_progress_stays() {
    let fixture = Fixture::with(&[100, 200]).await;
    let unfinished = fixture.step_dir(200);
    fs::remove_file(unfinished.join("manifest.json")).expect("it is there");
    // The local store writes to such a name first; a crash leaves it.
    fs::write(unfinished.join("generator_ema.safetensors#1"), b"half").expect("it can be written");

    assert!(fixture.store.clean(LEFTOVER_AGE).await.expect("the store answers").is_empty());
    age(&unfinished, 2 * LEFTOVER_AGE);
    fs::write(unfinished.join("generator_ema.safetensors#1"), b"half, and more").expect("it can be written");
    File::open(&unfinished)
        .and_then(|f| f.set_modified(SystemTime::UNIX_EPOCH))
        .expect("its time can be set");
    assert!(
        fixture.store.clean(LEFTOVER_AGE).await.expect("the store answers").is_empty(),
        "it is being written"
    );

    age(&unfinished, 2 * LEFTOVER_AGE);
    let deleted = fixture.store.clean(LEFTOVER_AGE).await.expect("the store answers");
    assert_eq!(deleted.len(), 4, "{deleted:?}");
    assert!(!unfinished.exists());
    assert_eq!(steps(&fixture).await, [100]);
}

#[tokio::test]
async fn files_that_a_published_manifest_does_not_name_go_when_they_are_old() {
    let fixture = Fixture::with(&[100]).await;
    let before = fixture.files();
    for stray in ["generator-0123456789abcdef.safetensors", "generator.safetensors#7"] {
        fs::write(fixture.step_dir(100).join(stray), b"stray").expect("it can be written");
    }
    age(&fixture.step_dir(100), 2 * LEFTOVER_AGE);
    assert_eq!(fixture.store.clean(LEFTOVER_AGE).await.expect("the store answers").len(), 2);
    assert_eq!(fixture.files(), before);
}

#[tokio::test]
async fn folders_that_this_crate_did_not_make_are_left_alone() {
    let fixture = Fixture::with(&[100, 200]).await;
    let foreign = fixture.path().join("snapshots/mine/notes.txt");
    fs::create_dir_all(foreign.parent().expect("it has one")).expect("it can be made");
    fs::write(&foreign, b"keep").expect("it can be written");
    age(foreign.parent().expect("it has one"), 2 * LEFTOVER_AGE);
    fixture.store.retain(1, &[]).await.expect("the store answers");
    fixture.store.clean(LEFTOVER_AGE).await.expect("the store answers");
    assert_eq!(fs::read(&foreign).expect("it is there"), b"keep");
    assert_eq!(steps(&fixture).await, [200]);
}

/// The names of parts that a crash left are taken: the next write uses or replaces them.
#[tokio::test]
async fn leftovers_of_another_state_do_not_stop_a_write_and_are_gone_after_it() {
    let fixture = Fixture::with(&[100]).await;
    fs::create_dir_all(fixture.step_dir(200)).expect("it can be made");
    for name in ["generator.safetensors", "generator.safetensors#1", "discriminator_adam.safetensors"] {
        fs::write(fixture.step_dir(200).join(name), b"left").expect("it can be written");
    }
    fixture.store.write(&snapshot(200, 0)).await.expect("leftovers are no obstacle");
    fixture.store.verify(Step(200)).await.expect("it is whole");
    assert!(!fixture.step_dir(200).join("discriminator_adam.safetensors").exists());
    assert!(
        !fixture.step_dir(200).join("generator.safetensors").exists(),
        "no file of other bytes has this name"
    );
}
