//! Workers that the coordinator hears and that do not reach each other: who stands aside, and what is said of it.

use lsgan_control::{Aside, Config, Direction, Entry, Event, Outcome, ParkReason, Phase};
use lsgan_spec::{Incarnation, Reduction};

use crate::bench::{Bench, config};

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

/// Its address is wrong, `ConnectionRefused`: the others try it again and again, and it waits for them. It gives up first, and
/// they are told to abort before they could say whom they do not reach.
#[test]
fn who_cannot_be_reached_and_gives_up_first_stands_aside_after_one_try() {
    let mut bench = Bench::new(Config { expected_workers: 3, ..config() }, Default::default());
    (1..=3).for_each(|session| drop(bench.join(session, None, None).to_vec()));
    bench.broken = vec![(1, 2), (3, 2)];
    fall_apart(&mut bench, &[], &[]);
    bench.parked(2, 1, None, ParkReason::Broken("worker 1 has not called".to_owned()));
    bench.parked(1, 1, None, ParkReason::Aborted);
    bench.parked(3, 1, None, ParkReason::Aborted);
    assert_eq!((bench.members(), named(&bench)), (vec![1, 3], vec![(2, 1, Direction::Inbound)]));
}

/// Three members that hold `holds` when they fall apart.
fn three(says: &[(u64, u64)], holds: [u64; 3]) -> Bench {
    let mut bench = Bench::stepping(Config { min_workers: 2, ..config() }, 3);
    let holds: Vec<_> = (1..).zip(holds.map(Some)).collect();
    fall_apart(&mut bench, says, &holds);
    bench
}

fn named(bench: &Bench) -> Vec<(u64, u64, Direction)> {
    let entry = |entry: &Entry| match entry {
        Entry::CutOff { incarnation, peer, direction, .. } => Some((incarnation.0, peer.0, *direction)),
        _ => None,
    };
    bench.journaled(entry)
}

#[test]
fn who_cannot_be_reached_stands_aside_though_it_is_older() {
    let bench = three(&[(3, 2)], [6, 6, 6]);
    assert_eq!(bench.members(), [1, 3]);
    assert_eq!(named(&bench), [(2, 3, Direction::Inbound)]);
    assert_eq!(bench.run.workers()[&Incarnation(2)].aside, Some(Aside::CutOff));
    assert!(!bench.run.workers()[&Incarnation(2)].straggles());
}

#[test]
fn of_two_that_do_not_reach_each_other_the_younger_stands_aside() {
    let bench = three(&[(3, 2), (2, 3)], [6, 6, 6]);
    assert_eq!(bench.members(), [1, 2]);
    assert_eq!(named(&bench), [(3, 2, Direction::Both)]);
}

#[test]
fn of_two_that_do_not_reach_each_other_the_one_that_holds_more_stays() {
    let bench = three(&[(3, 2), (2, 3)], [7, 6, 7]);
    assert_eq!(bench.members(), [1, 3]);
    assert_eq!(bench.form(1).from, Reduction(7));
}

#[test]
fn who_is_named_by_most_stands_aside() {
    let bench = three(&[(1, 2), (3, 2), (2, 1)], [6, 6, 6]);
    assert_eq!(bench.members(), [1, 3]);
    assert_eq!(named(&bench), [(2, 1, Direction::Both)]);
}

#[test]
fn who_reaches_nobody_is_the_odd_one_itself() {
    let bench = three(&[(1, 2), (1, 3)], [6, 6, 6]);
    assert_eq!(bench.members(), [2, 3]);
    assert_eq!(named(&bench), [(1, 2, Direction::Outbound)]);
}

/// The first worker of a run has the wrong address, and a second one joins: only the first one holds a state.
#[test]
fn who_holds_more_than_all_others_stays_though_it_cannot_be_reached() {
    let mut bench = Bench::stepping(config(), 2);
    fall_apart(&mut bench, &[(2, 1)], &[(1, Some(9)), (2, None)]);
    assert_eq!(bench.members(), [1]);
    assert_eq!(named(&bench), [(2, 1, Direction::Outbound)]);
    assert_eq!(bench.form(1).from, Reduction(9));
}

#[test]
fn who_stood_aside_comes_back_when_it_is_needed_and_is_like_the_others_once_it_was_reached() {
    let mut bench = three(&[(3, 2), (2, 3)], [6, 6, 6]);
    bench.all_ready(1..=2, 2, 6);
    bench.close(2);
    bench.parked(1, 2, Some(6), ParkReason::Aborted);
    assert_eq!(bench.members(), [1, 3]);
    bench.all_ready([1, 3], 3, 6);
    assert_eq!(*bench.run.phase(), Phase::Stepping);
    assert_eq!(bench.run.workers()[&Incarnation(3)].aside, None);
}

/// It stood aside while another one held as much, which then went: seed 3939 of the simulator.
#[test]
fn who_stands_aside_and_is_the_last_to_hold_the_newest_state_goes_on_and_the_others_stand_aside() {
    let mut bench = Bench::stepping(config(), 3);
    fall_apart(&mut bench, &[(1, 3)], &[(1, None), (2, Some(6)), (3, Some(6))]);
    assert_eq!((bench.members(), named(&bench)), (vec![1, 2], vec![(3, 1, Direction::Inbound)]));
    bench.close(2);
    bench.parked(1, 2, None, ParkReason::Aborted);
    assert_eq!(bench.members(), [1, 3], "nobody else holds it");
    fall_apart(&mut bench, &[(1, 3)], &[(1, None), (3, Some(6))]);
    assert_eq!(bench.members(), [3]);
    assert_eq!(named(&bench)[1..], [(1, 3, Direction::Outbound)]);
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
    assert_eq!(bench.members(), [1, 3]);
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
            bench.apply(Event::Tick);
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
    assert_eq!(bench.members(), [2, 3]);
}

/// Members 1 and 2 step; worker 3 has just come, and these connections are broken.
fn beside_two(broken: &[(u64, u64)]) -> Bench {
    let mut bench = Bench::stepping(config(), 2);
    bench.broken = broken.to_vec();
    bench.join(3, None, None);
    bench
}

/// Time passes, with signs of life of all, until `until`.
fn live_until(bench: &mut Bench, until: u64) {
    while bench.now.0 < until {
        bench.now = bench.now.plus(500);
        for session in 1..=3 {
            bench.heard(session, 2);
        }
        bench.apply(Event::Tick);
    }
}

#[test]
fn who_cannot_be_reached_costs_a_healthy_run_no_step() {
    for (broken, direction) in
        [(&[(1, 3), (2, 3)], Direction::Inbound), (&[(3, 1), (3, 2)], Direction::Outbound)]
    {
        let mut bench = beside_two(broken);
        assert_eq!(named(&bench), [], "one of the others may have died");
        live_until(&mut bench, 1_000);
        assert!(!bench.wishes_reform());
        assert_eq!(named(&bench), [(3, 1, direction)]);
        assert_eq!(bench.run.workers()[&Incarnation(3)].aside, Some(Aside::CutOff));
    }
}

/// Its death is known a moment later than that it was not reached.
#[test]
fn who_did_not_reach_a_member_that_died_joins() {
    let mut bench = beside_two(&[(3, 2)]);
    bench.close(2);
    bench.parked(1, 1, Some(2), ParkReason::Aborted);
    assert_eq!(bench.members(), [1, 3]);
    assert_eq!(named(&bench), []);
}

#[test]
fn who_is_reached_joins() {
    assert!(beside_two(&[]).wishes_reform());
}

#[test]
fn who_does_not_answer_holds_nobody_up_for_long() {
    let mut bench = Bench::stepping(config(), 2);
    bench.silent = true;
    bench.join(3, None, None);
    assert!(!bench.wishes_reform());
    let mut wished = false;
    while bench.now.0 < 4_000 {
        bench.now = bench.now.plus(500);
        for session in 1..=3 {
            bench.heard(session, 2);
            wished |= bench.wishes_reform();
        }
        bench.apply(Event::Tick);
        wished |= bench.wishes_reform();
    }
    assert!(wished);
}

#[test]
fn who_was_cut_off_comes_back_when_the_network_does() {
    let mut bench = beside_two(&[(1, 3)]);
    live_until(&mut bench, 15_000);
    bench.broken.clear();
    let generation = bench.run.generation();
    // Tried after 1 s, after 10 s more, and then after 20 s more.
    live_until(&mut bench, 30_500);
    let again = Entry::ReachedAgain { incarnation: Incarnation(3) };
    assert!(!bench.journal.contains(&again));
    live_until(&mut bench, 31_000);
    assert!(bench.journal.contains(&again));
    assert_eq!(bench.run.generation(), generation, "it waits for a step boundary");
    bench.all_parked(1..=2, 1, Some(4), ParkReason::Boundary);
    assert_eq!(bench.members(), [1, 2, 3]);
}

/// One report is seen from its reporter's side alone: the other connections tell who is the odd one.
#[test]
fn who_is_let_out_nowhere_is_found_by_trying_its_other_connections() {
    let mut bench = Bench::stepping(Config { min_workers: 2, ..config() }, 3);
    bench.broken = vec![(1, 2), (1, 3)];
    fall_apart(&mut bench, &[(1, 2)], &[(1, Some(6)), (2, Some(6)), (3, Some(6))]);
    assert_eq!(bench.members(), [2, 3]);
    assert_eq!(named(&bench), [(1, 2, Direction::Outbound)]);
}

/// The two members of a run hold so much and fail, for one reason, until the run is not tried again with both.
fn fail_together(holds: u64) -> Bench {
    let mut bench = Bench::stepping(Config { min_workers: 2, ..config() }, 2);
    while matches!(bench.run.phase(), Phase::Stepping | Phase::Forming { .. }) && bench.members() == [1, 2] {
        assert!(bench.run.generation().0 < 50, "it is tried for ever");
        fall_apart(&mut bench, &[], &[(1, Some(holds)), (2, Some(holds))]);
        while *bench.run.phase() == Phase::Gathering {
            bench.now = bench.run.next_deadline().expect("it tries again");
            bench.heard(1, holds);
            bench.heard(2, holds);
            bench.apply(Event::Tick);
        }
    }
    bench
}

#[test]
fn a_run_whose_generations_fail_for_one_reason_ends_with_a_snapshot_and_that_reason() {
    let mut bench = fail_together(6);
    assert!(matches!(bench.run.phase(), Phase::Closing { .. }), "{:?}", bench.run.phase());
    bench.task_done(1);
    let Phase::Ended(Outcome::Failed { why }) = bench.run.phase() else { panic!("{:?}", bench.run.phase()) };
    assert!(why.contains("40 generations in a row have ended at step 3"), "{why}");
    assert!(why.contains("a member was told to abort") && why.contains("start the run again"), "{why}");
}

#[test]
fn members_that_fail_together_in_the_middle_of_a_step_let_one_finish_it() {
    let mut bench = fail_together(7);
    assert_eq!((bench.members(), bench.form(1).from), (vec![1], Reduction(7)));
    bench.ready(1, bench.run.generation().0, 7);
    bench.heard(1, 8);
    assert_eq!(*bench.run.phase(), Phase::Stepping);
}
