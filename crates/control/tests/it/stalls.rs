//! A group whose members beat and do no step.

use lsgan_control::{Entry, Message, ParkReason, Phase};
use lsgan_spec::Generation;

use crate::bench::{Bench, config};

/// Heartbeats of sessions 1 to `count` every second for so long, or until the machine ends the generation.
fn beat(bench: &mut Bench, count: u64, applied: u64, seconds: u64) {
    for _ in 0..seconds {
        bench.now = bench.now.plus(1_000);
        for session in 1..=count {
            bench.heard(session, applied);
            if *bench.run.phase() != Phase::Stepping {
                return;
            }
        }
    }
}

/// What was journaled of generations that stand: for how long they had, and who was behind.
fn stands(bench: &Bench) -> Vec<(u64, Vec<u64>)> {
    let stands = |entry: &Entry| match entry {
        Entry::Stands { stood_ms, behind, .. } => Some((*stood_ms, behind.iter().map(|i| i.0).collect())),
        _ => None,
    };
    bench.journaled(stands)
}

#[test]
fn a_group_that_stands_is_said_then_ended_and_goes_on_without_who_does_not_park() {
    let mut bench = Bench::stepping(config(), 3);
    beat(&mut bench, 3, 2, 1);
    beat(&mut bench, 3, 4, 1);
    beat(&mut bench, 3, 4, 59);
    assert_eq!(*bench.run.phase(), Phase::Stepping);
    assert_eq!(stands(&bench), [(30_000, vec![])], "it is said once");
    beat(&mut bench, 3, 4, 1);
    assert_eq!(*bench.run.phase(), Phase::Halting { aborted: true });
    for session in 1..=3 {
        assert_eq!(bench.to(session), [Message::Abort(Generation(1))], "session {session}");
    }
    bench.all_parked(1..=2, 1, Some(4), ParkReason::Aborted);
    // The third one's training thread is gone, and it beats on.
    let retired = loop {
        bench.now = bench.now.plus(500);
        for session in 1..=3 {
            bench.heard(session, 4);
        }
        bench.apply(lsgan_control::Event::Tick);
        if !bench.effects.is_empty() {
            break bench.to(3);
        }
    };
    assert_eq!(retired, [Message::Retired { why: "it did not park in time".to_owned() }]);
    assert_eq!(bench.run.generation(), Generation(2));
    assert_eq!(bench.members(), [1, 2]);
}

#[test]
fn who_is_behind_is_named() {
    let mut bench = Bench::stepping(config(), 2);
    beat(&mut bench, 2, 2, 1);
    beat(&mut bench, 2, 3, 1);
    for _ in 0..31 {
        bench.now = bench.now.plus(1_000);
        bench.heard(1, 4);
        bench.heard(2, 3);
    }
    assert_eq!(stands(&bench), [(30_000, vec![2])]);
}

#[test]
fn a_first_step_and_slow_steps_have_more_time() {
    let mut bench = Bench::stepping(config(), 2);
    beat(&mut bench, 2, 0, 590);
    assert_eq!(*bench.run.phase(), Phase::Stepping, "ten times as long at first");
    // A half every 20 s: a step of 40 s.
    for applied in 1..=9 {
        beat(&mut bench, 2, applied, 20);
    }
    beat(&mut bench, 2, 9, 700);
    assert_eq!(*bench.run.phase(), Phase::Stepping, "twenty times the mean of its steps");
    beat(&mut bench, 2, 9, 3_000);
    assert_eq!(*bench.run.phase(), Phase::Halting { aborted: true });
}

#[test]
fn a_group_that_waits_for_its_coordinator_is_not_blamed() {
    let mut bench = Bench::stepping(config(), 2);
    beat(&mut bench, 2, 2, 1);
    beat(&mut bench, 2, 4, 1);
    for _ in 0..600 {
        let now = bench.now;
        bench.run.hold_still(now);
        beat(&mut bench, 2, 4, 1);
    }
    assert_eq!(*bench.run.phase(), Phase::Stepping);
    assert_eq!(stands(&bench), []);
}
