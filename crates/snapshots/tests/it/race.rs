//! Two writers of the same step: the snapshot that is published first is never damaged by the other writer.

use std::fs;
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use lsgan_snapshots::snapshot::to_bytes;
use lsgan_snapshots::{Error, Manifest, Snapshot};
use lsgan_spec::Step;
use tokio::sync::Barrier;

use crate::common::{Fault, Fixture, in_file_order, snapshot};

/// Five writers at once, of states 0 to `states`; returns what each came to.
async fn race(fixture: &Fixture, states: u64) -> Vec<(u64, Result<Manifest, Error>)> {
    let start = Arc::new(Barrier::new(5));
    let writers = (0..5).map(|writer| {
        let (store, start, state) = (fixture.store.clone(), start.clone(), writer % states);
        tokio::spawn(async move {
            start.wait().await;
            (state, store.write(&snapshot(200, state)).await)
        })
    });
    futures::future::join_all(writers).await.into_iter().map(|done| done.expect("no writer panics")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 5)]
async fn writers_of_equal_states_all_succeed_with_one_manifest() {
    for _ in 0..20 {
        let fixture = Fixture::with(&[100]).await;
        for (_, written) in race(&fixture, 1).await {
            let written = written.expect("an equal state is no conflict");
            assert_eq!(fixture.store.verify(Step(200)).await.expect("it is whole"), written);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 5)]
async fn of_writers_of_different_states_exactly_one_state_wins_and_is_whole() {
    for _ in 0..20 {
        let fixture = Fixture::with(&[100]).await;
        let mut winners = Vec::new();
        for (state, written) in race(&fixture, 5).await {
            match written {
                Ok(_) => winners.push(state),
                Err(error) => assert!(matches!(error, Error::OtherSnapshot { .. }), "{error}"),
            }
        }
        let [winner] = winners[..] else { panic!("{winners:?} have won") };
        let loaded = fixture.store.load(Step(200)).await.expect("it is whole");
        assert_eq!(loaded, in_file_order(snapshot(200, winner)));
    }
}

/// One writer stops right before one of its operations, every one in turn; another writes all of its own
/// state; then the first goes on.
async fn overtake_everywhere(first_state: Snapshot, second_state: Snapshot) -> u64 {
    for at in 0..60 {
        let fixture = Fixture::with(&[100]).await;
        let second = Arc::new(Mutex::new(None));
        let overtake = {
            let (store, second, state) = (fixture.store.clone(), second.clone(), second_state.clone());
            move || {
                let (store, second, state) = (store.clone(), second.clone(), state.clone());
                async move {
                    let written = store.write(&state).await;
                    *second.lock().expect("nobody panics") = Some(written);
                }
                .boxed()
            }
        };
        let (store, faulty) = fixture.faulty(Fault::Meanwhile(at, Arc::new(overtake)));
        let first = store.write(&first_state).await;
        if !faulty.reached() {
            return at;
        }
        let second = second.lock().expect("nobody panics").take().expect("it was overtaken");
        let loaded = fixture.store.load(Step(200)).await.expect("what is published is whole");
        let winners =
            [(first, &first_state), (second, &second_state)].map(|(written, state)| match written {
                Ok(_) => {
                    assert_eq!(loaded, in_file_order(state.clone()), "overtaken at {at}");
                    true
                }
                Err(error) => {
                    assert!(matches!(error, Error::OtherSnapshot { .. }), "overtaken at {at}: {error}");
                    false
                }
            });
        let expected = if first_state == second_state { 2 } else { 1 };
        assert_eq!(winners.iter().filter(|won| **won).count(), expected, "overtaken at {at}");
    }
    panic!("a write has more than 60 operations");
}

#[tokio::test]
async fn a_writer_overtaken_by_an_equal_one_at_any_operation_succeeds() {
    assert!(overtake_everywhere(snapshot(200, 0), snapshot(200, 0)).await >= 7);
}

#[tokio::test]
async fn a_writer_overtaken_by_another_state_at_any_operation_does_not_spoil_it() {
    assert!(overtake_everywhere(snapshot(200, 0), snapshot(200, 1)).await >= 7);
}

/// The winner then uses files that the loser has created, and the loser must not take them back.
#[tokio::test]
async fn a_writer_overtaken_by_a_state_that_shares_parts_with_it_does_not_spoil_it() {
    let mut other = snapshot(200, 0);
    other.parts[2] = snapshot(200, 1).parts[2].clone();
    assert!(overtake_everywhere(snapshot(200, 0), other).await >= 7);
}

/// A rival had created a part and fails: it takes the part back after this writer has found it in place.
#[tokio::test]
async fn a_writer_whose_rival_takes_a_part_back_at_any_operation_publishes_a_whole_snapshot() {
    for at in 0..60 {
        let fixture = Fixture::with(&[100]).await;
        let part = &snapshot(200, 0).parts[0];
        let path = fixture.step_dir(200).join("generator.safetensors");
        fs::create_dir_all(fixture.step_dir(200)).expect("it can be made");
        fs::write(&path, to_bytes(part).expect("it is valid")).expect("it can be written");
        let take_back = {
            let manifest = fixture.step_dir(200).join("manifest.json");
            move || {
                // A rival looks for a manifest first. What it does after it saw none may come this late.
                let _ = (!manifest.exists()).then(|| fs::remove_file(&path));
                futures::future::ready(()).boxed()
            }
        };
        let (store, faulty) = fixture.faulty(Fault::Meanwhile(at, Arc::new(take_back)));
        let written = store.write(&snapshot(200, 0)).await.expect("a part that is gone is written again");
        if !faulty.reached() {
            assert!(
                at >= 9,
                "the manifest looked for, 3 parts, one hashed, the sizes twice, the manifest: {at}"
            );
            return;
        }
        assert_eq!(
            fixture.store.verify(Step(200)).await.expect("it is whole"),
            written,
            "taken back at {at}"
        );
    }
    panic!("a write has more than 60 operations");
}
