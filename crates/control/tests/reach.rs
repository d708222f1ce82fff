//! Workers that the coordinator hears and that do not reach each other: who stands aside, and what is said of it.

mod bench;

use bench::{Bench, config};
use lsgan_control::{Aside, Config, Entry, ParkReason, Phase, Way};
use lsgan_spec::{Incarnation, Reduction};

fn broken() -> ParkReason {
    ParkReason::Broken("the peer cannot be reached".to_owned())
}

/// In the newest generation these say of those that they do not reach them and park, the others are told to; all hold
/// so much.
fn fall_apart(bench: &mut Bench, says: &[(u64, u64)], holds: &[(u64, Option<u64>)]) {
    let generation = bench.run.generation().0;
    for (from, to) in says {
        bench.cut_off(*from, generation, *to);
    }
    let says_so = |session: u64| says.iter().any(|(from, _)| *from == session);
    let (first, then): (Vec<_>, Vec<_>) = holds.iter().partition(|(session, _)| says_so(*session));
    for (session, applied) in first {
        bench.parked(session, generation, applied, broken());
    }
    for (session, applied) in then {
        bench.parked(session, generation, applied, ParkReason::Aborted);
    }
}

/// Three members that hold `holds` when they fall apart.
fn three(says: &[(u64, u64)], holds: [u64; 3]) -> Bench {
    let mut bench = Bench::stepping(Config { min_workers: 2, ..config() }, 3);
    let holds: Vec<_> = (1..).zip(holds.map(Some)).collect();
    fall_apart(&mut bench, says, &holds);
    bench
}

/// Who is in the newest generation.
fn members(bench: &Bench) -> Vec<u64> {
    bench.run.members().iter().map(|m| m.incarnation.0).collect()
}

fn named(bench: &Bench) -> Vec<(u64, u64, Way)> {
    let entry = |entry: &Entry| match entry {
        Entry::CutOff { incarnation, peer, way, .. } => Some((incarnation.0, peer.0, *way)),
        _ => None,
    };
    bench.journal.iter().filter_map(entry).collect()
}

#[test]
fn who_cannot_be_reached_stands_aside_though_it_is_older() {
    let bench = three(&[(3, 2)], [6, 6, 6]);
    assert_eq!(members(&bench), [1, 3]);
    assert_eq!(named(&bench), [(2, 3, Way::ToIt)]);
    assert_eq!(bench.run.workers()[&Incarnation(2)].aside, Some(Aside::CutOff));
    assert!(!bench.run.workers()[&Incarnation(2)].straggles());
}

#[test]
fn of_two_that_do_not_reach_each_other_the_younger_stands_aside() {
    let bench = three(&[(3, 2), (2, 3)], [6, 6, 6]);
    assert_eq!(members(&bench), [1, 2]);
    assert_eq!(named(&bench), [(3, 2, Way::Both)]);
}

#[test]
fn of_two_that_do_not_reach_each_other_the_one_that_holds_more_stays() {
    let bench = three(&[(3, 2), (2, 3)], [7, 6, 7]);
    assert_eq!(members(&bench), [1, 3]);
    assert_eq!(bench.form(1).from, Reduction(7));
}

#[test]
fn who_is_named_by_most_stands_aside() {
    let bench = three(&[(1, 2), (3, 2), (2, 1)], [6, 6, 6]);
    assert_eq!(members(&bench), [1, 3]);
    assert_eq!(named(&bench), [(2, 1, Way::Both)]);
}

#[test]
fn who_reaches_nobody_is_the_odd_one_itself() {
    let bench = three(&[(1, 2), (1, 3)], [6, 6, 6]);
    assert_eq!(members(&bench), [2, 3]);
    assert_eq!(named(&bench), [(1, 2, Way::FromIt)]);
}

/// The first worker of a run has the wrong address, and a second one joins: only the first one holds a state.
#[test]
fn who_holds_more_than_all_others_stays_though_it_cannot_be_reached() {
    let mut bench = Bench::stepping(config(), 2);
    fall_apart(&mut bench, &[(2, 1)], &[(1, Some(9)), (2, None)]);
    assert_eq!(members(&bench), [1]);
    assert_eq!(named(&bench), [(2, 1, Way::FromIt)]);
    assert_eq!(bench.form(1).from, Reduction(9));
}

#[test]
fn who_stood_aside_comes_back_when_it_is_needed_and_is_like_the_others_once_it_was_reached() {
    let mut bench = three(&[(3, 2), (2, 3)], [6, 6, 6]);
    bench.ready(1, 2, 6);
    bench.ready(2, 2, 6);
    bench.close(2);
    bench.parked(1, 2, Some(6), ParkReason::Aborted);
    assert_eq!(members(&bench), [1, 3]);
    bench.ready(1, 3, 6);
    bench.ready(3, 3, 6);
    assert_eq!(*bench.run.phase(), Phase::Stepping);
    assert_eq!(bench.run.workers()[&Incarnation(3)].aside, None);
}

/// A process that died refuses connections too.
#[test]
fn who_has_died_meanwhile_was_not_cut_off() {
    let mut bench = Bench::stepping(config(), 3);
    bench.cut_off(3, 1, 2);
    bench.parked(3, 1, Some(6), broken());
    bench.parked(1, 1, Some(6), ParkReason::Aborted);
    assert_eq!(*bench.run.phase(), Phase::Halting { aborted: true }, "the dead one may be alive");
    bench.close(2);
    assert_eq!(members(&bench), [1, 3]);
    assert_eq!(named(&bench), []);
}

/// What fails generation after generation: both are needed, and one cannot be reached.
#[test]
fn a_run_that_makes_no_progress_says_why_and_waits_longer_and_longer() {
    let mut bench = Bench::stepping(Config { min_workers: 2, ..config() }, 2);
    let mut waited_ms = 0;
    while bench.run.generation().0 < 16 {
        let (generation, begin) = (bench.run.generation().0, bench.now);
        fall_apart(&mut bench, &[(2, 1)], &[(1, Some(0)), (2, Some(0))]);
        while bench.run.generation().0 == generation {
            bench.now = bench.run.next_deadline().expect("it tries again");
            bench.heard(1, 0);
            bench.heard(2, 0);
            bench.apply(lsgan_control::Event::Tick);
        }
        waited_ms = bench.now.0 - begin.0;
    }
    assert_eq!(waited_ms, 30_000);
    assert_eq!(named(&bench).len(), 1, "said once");
    let warnings: Vec<_> = bench.journal.iter().filter(|e| matches!(e, Entry::NoProgress { .. })).collect();
    let Entry::NoProgress { attempts: 5, wait_ms: 200, why, .. } = warnings[0] else {
        panic!("{warnings:?}")
    };
    assert_eq!(why, "worker 2 (w2): the peer cannot be reached");
    assert_eq!(warnings.len(), 2, "of 5 and 10: {warnings:?}");

    // A worker that joins is tried at once, and with two others that reach each other it is done.
    fall_apart(&mut bench, &[(2, 1)], &[(1, Some(0)), (2, Some(0))]);
    bench.now = bench.now.plus(3_200);
    bench.heard(1, 0);
    bench.heard(2, 0);
    bench.join(3, None, None);
    assert_eq!(members(&bench), [2, 3]);
}
