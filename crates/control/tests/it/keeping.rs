//! Who writes, who gets the state, and when a run refuses to start or to end.

use lsgan_control::{
    Config, Effect, Entry, Event, Message, Missing, Outcome, ParkReason, Phase, Recovered, SessionId, Task,
    Wish,
};
use lsgan_spec::{Millis, Reduction, Step};

use crate::bench::{Bench, config, resume};

/// Sessions 1 and 2 step; the first one does not see the store.
fn one_is_blind() -> Bench {
    let mut bench = Bench::new(config(), Recovered::default());
    bench.join_unproved(1);
    bench.join_unproved(2);
    assert_eq!(*bench.run.phase(), Phase::Gathering, "it is not known yet whether they see the store");
    bench.store_proved(1, false);
    bench.store_proved(2, true);
    assert_eq!(bench.form(1).writer, Some(1));
    bench.all_ready(1..=2, 1, 0);
    bench
}

#[test]
fn one_that_does_not_see_the_store_is_named_and_never_writes() {
    let mut bench = one_is_blind();
    let named = |entry: &Entry| matches!(entry, Entry::CannotKeep { incarnation, .. } if incarnation.0 == 1);
    assert!(bench.journal.iter().any(named));
    bench.all_parked(1..=2, 1, Some(20), ParkReason::Boundary);
    assert_eq!((bench.to(1), bench.to(2)), (vec![], vec![Message::Task(Task::Final)]));
}

#[test]
fn a_run_does_not_start_where_no_worker_sees_the_store() {
    let mut bench = Bench::new(config(), Recovered::default());
    bench.join_unproved(1);
    bench.join_unproved(2);
    bench.store_proved(1, false);
    assert_eq!(*bench.run.phase(), Phase::Gathering);
    bench.store_proved(2, false);
    let Phase::Ended(Outcome::Refused { why }) = bench.run.phase() else {
        panic!("it is {:?}", bench.run.phase());
    };
    assert!(why.contains("w1: it sees another disk"), "{why}");
}

#[test]
fn where_nobody_knows_how_many_come_one_that_sees_the_store_is_waited_for() {
    let alone = Config { expected_workers: 0, ..config() };
    let mut bench = Bench::new(alone.clone(), Recovered::default());
    bench.join_unproved(1);
    bench.store_proved(1, false);
    let mut waited_ms = 0;
    while !matches!(bench.run.phase(), Phase::Ended(_)) {
        waited_ms += 100;
        assert!(waited_ms < 60_000, "it is {:?}", bench.run.phase());
        bench.now = Millis(waited_ms);
        bench.heard_nothing_new(1);
        bench.apply(Event::Tick);
    }
    assert!(waited_ms >= 10_000, "it waited only {waited_ms} ms");
    let mut bench = Bench::new(alone, Recovered::default());
    bench.join_unproved(1);
    bench.store_proved(1, false);
    bench.now = Millis(300);
    bench.apply(Event::Tick);
    bench.join(2, None, None);
    assert_eq!(bench.form(1).writer, Some(1));
}

#[test]
fn a_state_that_its_holder_cannot_write_goes_to_one_that_can() {
    let mut bench = one_is_blind();
    bench.close(2);
    bench.parked(1, 1, Some(19), ParkReason::Aborted);
    assert_eq!(bench.form(1).writer, None);
    bench.ready(1, 2, 19);
    bench.parked(1, 2, Some(20), ParkReason::Boundary);
    assert!(bench.effects.contains(&Effect::Journal(Entry::NoKeeper { step: Step(10) })));
    assert_eq!(*bench.run.phase(), Phase::Gathering, "nothing ends while its only copy is in memory");
    bench.join(3, None, None);
    let form = bench.form(3);
    assert_eq!((form.from, form.last_step, form.writer), (Reduction(20), Step(10), Some(1)));
    bench.all_ready([1, 3], 3, 20);
    bench.all_parked([1, 3], 3, Some(20), ParkReason::Boundary);
    assert_eq!(bench.to(3), [Message::Task(Task::Final)]);
}

#[test]
fn another_member_writes_after_a_write_that_failed() {
    let mut bench = Bench::stepping(config(), 2);
    bench.apply(Event::SnapshotFailed { session: SessionId(1) });
    assert!(bench.was_wished(1, Wish::Reform));
    bench.all_parked(1..=2, 1, Some(4), ParkReason::Boundary);
    assert_eq!(bench.form(1).writer, Some(1));
    bench.all_ready(1..=2, 2, 4);
    bench.apply(Event::SnapshotFailed { session: SessionId(2) });
    assert!(!bench.was_wished(1, Wish::Reform), "both failed once");
}

#[test]
fn another_holder_closes_the_run_where_the_first_one_could_not() {
    let mut bench = Bench::stepping(config(), 2);
    bench.all_parked(1..=2, 1, Some(20), ParkReason::Boundary);
    assert_eq!(bench.to(1), [Message::Task(Task::Final)]);
    bench.apply(Event::TaskFailed { session: SessionId(1), why: "no keys".to_owned() });
    assert_eq!(bench.to(2), [Message::Task(Task::Final)]);
    bench.apply(Event::TaskFailed { session: SessionId(2), why: "no keys".to_owned() });
    assert!(matches!(bench.run.phase(), Phase::Ended(Outcome::Failed { .. })));
}

#[test]
fn steps_that_the_store_has_not_are_not_done_again_without_a_word() {
    let missing = Some(Missing { steps: Step(4), why: "step 4 is missing".to_owned() });
    let recovered = Recovered { missing, ..Recovered::default() };
    let mut bench = Bench::new(config(), recovered.clone());
    bench.join(1, None, None);
    bench.join(2, None, None);
    assert!(matches!(bench.run.phase(), Phase::Ended(Outcome::Refused { .. })));
    let mut bench = Bench::new(config(), recovered);
    bench.join(1, Some(9), None);
    assert_eq!(bench.form(1).from, Reduction(9), "a worker holds them");
}

#[test]
fn a_generation_of_another_file_is_formed_anew_and_ends_where_the_file_says() {
    let bench = Bench::stepping(config(), 2);
    let recovered = Recovered::replay(&bench.journal, None);
    let fewer = Config { steps: 3, spec: "fewer".to_owned(), ..config() };
    let mut bench = Bench::new(fewer, recovered);
    bench.join(11, Some(5), resume(1, 1, true));
    bench.join(12, Some(5), resume(2, 1, true));
    assert!(bench.to(12).iter().any(|message| matches!(message, Message::Abort(_))));
    bench.parked(11, 1, Some(5), ParkReason::Aborted);
    bench.parked(12, 1, Some(5), ParkReason::Aborted);
    assert_eq!(bench.form(11).last_step, Step(3));
    bench.ready(11, 2, 5);
    bench.ready(12, 2, 5);
    bench.parked(11, 2, Some(6), ParkReason::Boundary);
    bench.parked(12, 2, Some(6), ParkReason::Boundary);
    assert_eq!(bench.to(11), [Message::Task(Task::Final)]);
}

/// The members parked at once, and before they had proved again that they see the store.
#[test]
fn a_run_beyond_its_new_last_step_ends_only_when_what_its_members_hold_is_written() {
    let bench = Bench::stepping(config(), 2);
    let recovered = Recovered::replay(&bench.journal, None);
    let mut bench = Bench::new(Config { steps: 3, spec: "fewer".to_owned(), ..config() }, recovered);
    bench.join_unproved_again(11, Some(8), resume(1, 1, true));
    bench.join_unproved_again(12, Some(8), resume(2, 1, true));
    bench.all_parked([11, 12], 1, Some(8), ParkReason::Aborted);
    assert_eq!(*bench.run.phase(), Phase::Gathering, "nothing ends while its only copies are in memory");
    bench.store_proved(11, false);
    assert_eq!(*bench.run.phase(), Phase::Gathering);
    bench.store_proved(12, true);
    assert_eq!(bench.to(12), [Message::Task(Task::Snapshot)]);
    bench.apply(Event::SnapshotWritten { session: SessionId(12), step: Step(4) });
    bench.task_done(12);
    assert!(matches!(bench.run.phase(), Phase::Ended(Outcome::Refused { .. })), "{:?}", bench.run.phase());
}

/// The same for a run that fails: where no holder can write, it ends without a snapshot.
#[test]
fn a_run_that_fails_waits_for_the_proofs_of_those_that_hold_its_state() {
    let why = "virtual rank 1 is not finite at step 4".to_owned();
    for sees in [true, false] {
        let mut bench = Bench::stepping(config(), 2).restarted();
        bench.join_unproved_again(11, Some(8), resume(1, 1, true));
        bench.join_unproved_again(12, Some(8), resume(2, 1, true));
        bench.all_parked([11, 12], 1, Some(8), ParkReason::Failed(why.clone()));
        assert_eq!(*bench.run.phase(), Phase::Gathering);
        bench.store_proved(11, false);
        bench.store_proved(12, sees);
        let ends = Phase::Ended(Outcome::Failed { why: why.clone() });
        match sees {
            true => assert_eq!(bench.to(12), [Message::Task(Task::Snapshot)]),
            false => assert_eq!(*bench.run.phase(), ends),
        }
    }
}

#[test]
fn an_adopted_writer_goes_on_writing_before_it_has_proved_anything_again() {
    let bench = Bench::stepping(config(), 2);
    let mut bench = bench.restarted();
    bench.join(12, Some(4), resume(2, 1, true));
    bench.join_unproved_again(11, Some(4), resume(1, 1, true));
    assert_eq!(*bench.run.phase(), Phase::Stepping);
    assert!(!bench.was_wished(12, Wish::Reform));
}
