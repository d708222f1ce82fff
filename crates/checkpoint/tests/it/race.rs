//! Two writers of the same step: whoever publishes first is never spoilt by the other.

use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use lsgan_checkpoint::{Error, Manifest};
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
async fn overtake_everywhere(first_state: u64, second_state: u64) -> u64 {
    for at in 0..60 {
        let fixture = Fixture::with(&[100]).await;
        let second = Arc::new(Mutex::new(None));
        let overtake = {
            let (store, second) = (fixture.store.clone(), second.clone());
            move || {
                let (store, second) = (store.clone(), second.clone());
                async move {
                    let written = store.write(&snapshot(200, second_state)).await;
                    *second.lock().expect("nobody panics") = Some(written);
                }
                .boxed()
            }
        };
        let (store, faulty) = fixture.faulty(Fault::Meanwhile(at, Arc::new(overtake)));
        let first = store.write(&snapshot(200, first_state)).await;
        if !faulty.reached() {
            return at;
        }
        let second = second.lock().expect("nobody panics").take().expect("it was overtaken");
        let loaded = fixture.store.load(Step(200)).await.expect("what is published is whole");
        let winners = [(first, first_state), (second, second_state)].map(|(written, state)| match written {
            Ok(_) => {
                assert_eq!(loaded, in_file_order(snapshot(200, state)), "overtaken at {at}");
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
    assert!(overtake_everywhere(0, 0).await >= 7);
}

#[tokio::test]
async fn a_writer_overtaken_by_another_state_at_any_operation_does_not_spoil_it() {
    assert!(overtake_everywhere(0, 1).await >= 7);
}
