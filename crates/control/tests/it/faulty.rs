//! Members that the others cannot train with are named and stand by; what one member alone says ends no run.

use lsgan_control::{Aside, Config, Entry, Event, Outcome, ParkReason, Phase, Task, Then};
use lsgan_spec::Incarnation;

use crate::bench::{Bench, config};

/// Whom the journal calls faulty, each with why.
fn faulty(bench: &Bench) -> Vec<(u64, String)> {
    bench.journaled(|entry| match entry {
        Entry::Faulty { incarnation, why } => Some((incarnation.0, why.clone())),
        _ => None,
    })
}

fn failed() -> ParkReason {
    ParkReason::Failed("its disk is gone".to_owned())
}

/// `bad` fails, and the others see that its connection breaks.
fn fails(bench: &mut Bench, bad: u64, others: &[u64], applied: u64) {
    let generation = bench.run.generation().0;
    bench.parked(bad, generation, Some(applied), failed());
    for other in others {
        bench.parked(*other, generation, Some(applied), ParkReason::Broken("a peer is gone".to_owned()));
    }
}

#[test]
fn a_member_whose_steps_fail_alone_stands_by_the_second_time_and_the_others_go_on() {
    let mut bench = Bench::stepping(config(), 3);
    fails(&mut bench, 2, &[1, 3], 4);
    assert_eq!((bench.members(), faulty(&bench)), (vec![1, 2, 3], vec![]));
    bench.all_ready(1..=3, 2, 4);
    fails(&mut bench, 2, &[1, 3], 6);
    let why = "its steps fail, and those of the others do not: its disk is gone".to_owned();
    assert_eq!((bench.members(), faulty(&bench)), (vec![1, 3], vec![(2, why)]));
    bench.ready(1, 3, 6);
    bench.ready(3, 3, 6);
    assert_eq!(*bench.run.phase(), Phase::Stepping);
    assert!(!bench.wishes_reform(), "it is not asked in again");
}

#[test]
fn a_step_that_succeeds_between_is_forgiving() {
    let mut bench = Bench::stepping(config(), 2);
    fails(&mut bench, 2, &[1], 4);
    bench.all_ready(1..=2, 2, 4);
    bench.all_parked(1..=2, 2, Some(8), ParkReason::Boundary);
    bench.all_ready(1..=2, 3, 8);
    fails(&mut bench, 2, &[1], 10);
    assert_eq!((bench.members(), faulty(&bench)), (vec![1, 2], vec![]));
}

#[test]
fn a_member_that_cannot_be_done_without_ends_the_run_with_a_snapshot_when_it_fails_again() {
    let mut bench = Bench::stepping(Config { min_workers: 2, ..config() }, 2);
    fails(&mut bench, 2, &[1], 4);
    bench.all_ready(1..=2, 2, 4);
    fails(&mut bench, 2, &[1], 6);
    let Phase::Closing { task: Task::Snapshot, then: Then::End(Outcome::Failed { why }), .. } =
        bench.run.phase()
    else {
        panic!("{:?}", bench.run.phase())
    };
    assert_eq!(why, "its disk is gone");
}

#[test]
fn a_failure_that_only_one_member_sees_and_the_others_deny_ends_nothing() {
    let mut bench = Bench::stepping(config(), 2);
    bench.parked(2, 1, Some(2), failed());
    assert_eq!(*bench.run.phase(), Phase::Halting { aborted: false }, "the others would say so too");
    bench.heard(1, 3);
    bench.now = bench.now.plus(3_000);
    bench.heard(1, 3);
    bench.heard(2, 2);
    bench.apply(Event::Tick);
    assert_eq!(*bench.run.phase(), Phase::Halting { aborted: true });
    bench.parked(1, 1, Some(3), ParkReason::Aborted);
    assert!(matches!(bench.run.phase(), Phase::Forming { .. }), "{:?}", bench.run.phase());
}

/// All members are heard for so long, and none of them does a step.
fn stands_still(bench: &mut Bench, sessions: &[u64]) {
    let (begin, generation) = (bench.now, bench.run.generation());
    let applied = bench.run.committed().map_or(0, |r| r.0);
    while *bench.run.phase() == Phase::Stepping {
        bench.now = bench.now.plus(1_000);
        assert!(bench.now.0 < begin.0 + 3_600_000, "it stands still for an hour");
        sessions.iter().for_each(|session| drop(bench.heard(*session, applied).to_vec()));
    }
    for session in sessions {
        bench.parked(*session, generation.0, Some(applied), ParkReason::Aborted);
    }
}

/// Any of them may hold up the others: it is the second youngest.
#[test]
fn a_member_that_beats_without_progress_is_found_by_going_on_without_one_after_the_other() {
    let mut bench = Bench::stepping(config(), 3);
    let sessions = [1, 2, 3];
    stands_still(&mut bench, &sessions);
    assert_eq!((bench.members(), faulty(&bench)), (vec![1, 2, 3], vec![]), "once may happen");
    bench.all_ready(1..=3, 2, 0);
    stands_still(&mut bench, &sessions);
    let names = |bench: &Bench| faulty(bench).into_iter().map(|(one, _)| one).collect::<Vec<_>>();
    assert_eq!((bench.members(), names(&bench)), (vec![1, 2], vec![3]));
    bench.all_ready(1..=2, 3, 0);
    // The third is no member, and its heartbeats go on.
    let (begin, generation) = (bench.now, 3);
    while *bench.run.phase() == Phase::Stepping {
        bench.now = bench.now.plus(1_000);
        assert!(bench.now.0 < begin.0 + 3_600_000, "it stands still for an hour");
        sessions.iter().for_each(|session| drop(bench.heard(*session, 0).to_vec()));
    }
    bench.all_parked(1..=2, generation, Some(0), ParkReason::Aborted);
    bench.wake(); // the fourth attempt waits for a moment
    assert_eq!((bench.members(), names(&bench)), (vec![1, 3], vec![3, 2]));
    assert_eq!(bench.run.workers()[&Incarnation(3)].aside, None, "it was not the reason");
    bench.ready(1, 4, 0);
    bench.ready(3, 4, 0);
    bench.heard(1, 2);
    bench.heard(3, 2);
    bench.parked(1, 4, Some(4), ParkReason::Boundary);
    bench.parked(3, 4, Some(4), ParkReason::Boundary);
    assert_eq!(bench.members(), [1, 3]);
    assert_eq!(bench.run.workers()[&Incarnation(2)].aside, Some(Aside::Faulty));
}

#[test]
fn a_member_that_never_hashes_its_state_is_named_and_replaced() {
    let mut bench = Bench::stepping(Config { steps: 100, ..config() }, 3);
    for step in 1..=40 {
        bench.now = bench.now.plus(250);
        for session in 1..=3 {
            bench.heard(session, 2 * step);
        }
        bench.state_hash(1, step, 7);
        bench.state_hash(3, step, 7);
        let named: Vec<_> = faulty(&bench).into_iter().map(|(one, _)| one).collect();
        // Sixteen steps are kept, and 3 s are the time in which a network may be late.
        assert_eq!(named, if step < 16 + 12 { vec![] } else { vec![2] }, "step {step}");
    }
    bench.all_parked(1..=3, 1, Some(80), ParkReason::Boundary);
    assert_eq!(bench.members(), [1, 3]);
}

#[test]
fn a_member_that_hashes_late_is_not_named() {
    let mut bench = Bench::stepping(Config { steps: 100, ..config() }, 2);
    for step in 1..=60 {
        bench.now = bench.now.plus(250);
        bench.heard(1, 2 * step);
        bench.heard(2, 2 * step);
        bench.state_hash(1, step, 7);
        if step > 10 {
            bench.state_hash(2, step - 10, 7);
        }
    }
    assert_eq!(faulty(&bench), []);
}

/// It says that a state comes, and none does.
#[test]
fn a_generation_that_only_says_that_it_moves_on_is_given_up_after_an_hour() {
    let mut bench = Bench::with_two();
    bench.ready(1, 1, 0);
    while matches!(bench.run.phase(), Phase::Forming { .. }) {
        bench.now = bench.now.plus(1_000);
        assert!(bench.now.0 < 62 * 3_000, "sixty times the time that forming may take");
        bench.heard(1, 0);
        bench.progress(2, 1);
        bench.apply(Event::Tick);
    }
    assert_eq!(*bench.run.phase(), Phase::Halting { aborted: true });
}
