//! Newcomers that a state does not reach: the others go on without them.

use lsgan_control::{Aside, Config, Entry, Event, ParkReason, Phase};
use lsgan_spec::Incarnation;

use crate::bench::{Bench, config, resume};

/// The newest generation of the first worker and a newcomer without a state does not form in time; both park.
fn not_formed(bench: &mut Bench, newcomer: u64) {
    let generation = bench.run.generation().0;
    while bench.run.generation().0 == generation && matches!(bench.run.phase(), Phase::Forming { .. }) {
        bench.now = bench.now.plus(500);
        bench.heard(1, 6);
        bench.heard_nothing_new(newcomer);
        bench.apply(Event::Tick);
    }
    bench.parked(1, generation, Some(6), ParkReason::Aborted);
    bench.parked(newcomer, generation, None, ParkReason::Aborted);
}

/// A worker trains alone when a second one comes.
fn joined_by_one() -> Bench {
    let mut bench = Bench::stepping(config(), 1);
    bench.heard(1, 6);
    bench.join(2, None, None);
    bench.parked(1, 1, Some(6), ParkReason::Boundary);
    assert_eq!(bench.members(), [1, 2]);
    bench
}

fn left_behind(bench: &Bench) -> Vec<(u64, u32)> {
    bench.journaled(|entry| match entry {
        Entry::LeftBehind { incarnation, attempts, .. } => Some((incarnation.0, *attempts)),
        _ => None,
    })
}

#[test]
fn the_run_goes_on_without_a_newcomer_that_its_state_does_not_reach_twice() {
    let mut bench = joined_by_one();
    not_formed(&mut bench, 2);
    assert_eq!((bench.members(), left_behind(&bench)), (vec![1, 2], vec![]), "once may be chance");
    not_formed(&mut bench, 2);
    assert_eq!((bench.members(), left_behind(&bench)), (vec![1], vec![(2, 2)]));
    let generation = bench.run.generation().0;
    bench.ready(1, generation, 6);
    bench.heard(1, 8);
    assert_eq!(*bench.run.phase(), Phase::Stepping);
    assert!(!bench.wishes_reform(), "it would halt the others again");
    // Another one joins as ever.
    bench.join(3, None, None);
    bench.parked(1, generation, Some(8), ParkReason::Boundary);
    assert_eq!(bench.members(), [1, 3]);
}

#[test]
fn a_newcomer_that_was_left_behind_is_taken_where_there_are_too_few_others() {
    let mut bench = joined_by_one();
    not_formed(&mut bench, 2);
    not_formed(&mut bench, 2);
    bench.ready(1, bench.run.generation().0, 6);
    bench.close(1);
    assert_eq!(bench.members(), [2]);
    bench.ready(2, bench.run.generation().0, 0);
    assert_eq!(bench.run.workers()[&Incarnation(2)].aside, None, "it has the state now");
}

#[test]
fn a_newcomer_is_not_blamed_for_a_generation_of_which_a_member_died() {
    let mut bench = Bench::stepping(config(), 3);
    (1..=3).for_each(|session| drop(bench.heard(session, 6).to_vec()));
    bench.join(4, None, None);
    bench.all_parked(1..=3, 1, Some(6), ParkReason::Boundary);
    for died in [2, 3] {
        let generation = bench.run.generation().0;
        assert!(bench.members().contains(&4));
        let members = bench.members();
        bench.close(died);
        for session in members.into_iter().filter(|session| ![4, died].contains(session)) {
            bench.parked(session, generation, Some(6), ParkReason::Aborted);
        }
        bench.parked(4, generation, None, ParkReason::Aborted);
    }
    assert_eq!((bench.members(), left_behind(&bench)), (vec![1, 4], vec![]));
}

#[test]
fn a_newcomer_is_waited_for_where_the_others_are_too_few() {
    let mut bench = Bench::stepping(Config { min_workers: 2, ..config() }, 2);
    (1..=2).for_each(|session| drop(bench.heard(session, 6).to_vec()));
    bench.close(2);
    bench.parked(1, 1, Some(6), ParkReason::Aborted);
    bench.join(3, None, None);
    for _ in 0..3 {
        assert_eq!((bench.members(), left_behind(&bench)), (vec![1, 3], vec![]));
        not_formed(&mut bench, 3);
        wait_for_generation(&mut bench);
    }
}

#[test]
fn a_newcomer_that_was_reached_begins_to_count_anew() {
    let mut bench = joined_by_one();
    not_formed(&mut bench, 2);
    let generation = bench.run.generation().0;
    bench.all_ready(1..=2, generation, 6);
    bench.parked(2, generation, None, ParkReason::Broken("the peer cannot be reached".to_owned()));
    bench.parked(1, generation, Some(6), ParkReason::Aborted);
    not_formed(&mut bench, 2);
    assert_eq!((bench.members(), left_behind(&bench)), (vec![1, 2], vec![]));
}

/// After several failures the next generation waits.
fn wait_for_generation(bench: &mut Bench) {
    while *bench.run.phase() == Phase::Gathering {
        bench.wake();
    }
}

/// The newcomer's newest generation forms, and its heartbeats are stuck behind the state: only the others are heard.
fn falls_silent(bench: &mut Bench, newcomer: u64) {
    let generation = bench.run.generation().0;
    while bench.run.workers().values().any(|worker| worker.session.0 == newcomer) {
        bench.now = bench.now.plus(100);
        bench.heard(1, 6);
        bench.progress(1, generation);
        bench.apply(Event::Tick);
    }
    bench.parked(1, generation, Some(6), ParkReason::Aborted);
    wait_for_generation(bench);
    assert_eq!(bench.members(), [1]);
    let generation = bench.run.generation().0;
    bench.ready(1, generation, 6);
}

/// The same process attaches, as another incarnation, and the others park for it.
fn attaches_again(bench: &mut Bench, session: u64, former: u64) {
    let generation = bench.run.generation().0;
    bench.join(session, None, resume(former, generation, false));
    if bench.wishes_reform() {
        bench.parked(1, generation, Some(6), ParkReason::Boundary);
    }
}

#[test]
fn a_newcomer_whose_heartbeats_are_stuck_behind_the_state_is_tried_twice_and_no_more() {
    let mut bench = joined_by_one();
    falls_silent(&mut bench, 2);
    attaches_again(&mut bench, 3, 2);
    assert_eq!((bench.members(), left_behind(&bench)), (vec![1, 3], vec![]), "once may be chance");
    falls_silent(&mut bench, 3);
    for (session, former) in [(4, 3), (5, 4)] {
        attaches_again(&mut bench, session, former);
        assert_eq!(bench.members(), [1], "it would halt the others again");
        assert_eq!(bench.run.workers()[&Incarnation(session)].aside, Some(Aside::LeftBehind));
    }
    assert_eq!(left_behind(&bench), [(4, 2), (5, 2)]);
    // Another process is another matter, be it on the same host.
    bench.join(6, None, None);
    bench.parked(1, bench.run.generation().0, Some(6), ParkReason::Boundary);
    wait_for_generation(&mut bench);
    assert_eq!(bench.members(), [1, 6]);
}

#[test]
fn one_silence_and_one_generation_that_does_not_form_are_two() {
    let mut bench = joined_by_one();
    falls_silent(&mut bench, 2);
    attaches_again(&mut bench, 3, 2);
    not_formed(&mut bench, 3);
    wait_for_generation(&mut bench);
    assert_eq!((bench.members(), left_behind(&bench)), (vec![1], vec![(3, 2)]));
}

/// It was told that its incarnation is over, so that it does not name it.
#[test]
fn a_newcomer_that_forgot_its_incarnation_is_known_by_its_address() {
    let mut bench = Bench::stepping(config(), 1);
    bench.heard(1, 6);
    let arrives = |bench: &mut Bench, session: u64| {
        let generation = bench.run.generation().0;
        bench.join_at(session, "10.0.0.9:4000");
        if bench.wishes_reform() {
            bench.parked(1, generation, Some(6), ParkReason::Boundary);
            wait_for_generation(bench);
        }
    };
    arrives(&mut bench, 2);
    assert_eq!(bench.members(), [1, 2]);
    falls_silent(&mut bench, 2);
    arrives(&mut bench, 3);
    assert_eq!((bench.members(), left_behind(&bench)), (vec![1, 3], vec![]), "once may be chance");
    not_formed(&mut bench, 3);
    wait_for_generation(&mut bench);
    assert_eq!((bench.members(), left_behind(&bench)), (vec![1], vec![(3, 2)]));
}
