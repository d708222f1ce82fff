//! A worker that is told to end leaves at a step boundary, and never with the only copy of a state.

use lsgan_control::{Event, Message, ParkReason, Phase, SessionId, Start, Task};
use lsgan_spec::{Reduction, Step};

use crate::bench::{Bench, config};

#[test]
fn a_leaver_goes_after_the_step_and_the_others_go_on() {
    let mut bench = Bench::stepping(config(), 2);
    bench.leave(2);
    assert!(bench.to(2).is_empty(), "it computes until the boundary");
    bench.all_parked(1..=2, 1, Some(4), ParkReason::Boundary);
    assert!(matches!(bench.to(2)[..], [Message::Retired { .. }]));
    assert_eq!(bench.form(1).members.len(), 1);
}

#[test]
fn a_standby_that_leaves_is_let_go_at_once() {
    let mut bench = Bench::stepping(config(), 1);
    bench.join(2, None, None);
    bench.leave(2);
    assert!(matches!(bench.to(2)[..], [Message::Retired { .. }]));
    assert_eq!(*bench.run.phase(), Phase::Stepping);
}

#[test]
fn the_last_one_to_leave_writes_a_snapshot_first() {
    let mut bench = Bench::stepping(config(), 1);
    bench.leave(1);
    bench.parked(1, 1, Some(4), ParkReason::Boundary);
    assert_eq!(bench.to(1), [Message::Task(Task::Snapshot)]);
    bench.saved(2);
    bench.task_done(1);
    assert!(matches!(bench.to(1)[..], [Message::Retired { .. }]));
    bench.join(2, None, None);
    assert_eq!(bench.form(2).start, Start::Snapshot(Step(2)));
}

#[test]
fn the_last_one_to_leave_does_not_save_what_is_saved_already() {
    let mut bench = Bench::stepping(config(), 1);
    bench.leave(1);
    bench.saved(2);
    bench.parked(1, 1, Some(4), ParkReason::Boundary);
    assert!(matches!(bench.to(1)[..], [Message::Retired { .. }]));
}

#[test]
fn a_leaver_with_the_only_copy_in_the_middle_of_a_step_finishes_it_first() {
    let mut bench = Bench::stepping(config(), 2);
    bench.leave(1);
    bench.close(2);
    bench.parked(1, 1, Some(5), ParkReason::Aborted);
    let form = bench.form(1);
    assert_eq!((form.from, form.members.len()), (Reduction(5), 1));
    bench.ready(1, 2, 5);
    bench.parked(1, 2, Some(6), ParkReason::Boundary);
    assert_eq!(bench.to(1), [Message::Task(Task::Snapshot)]);
}

#[test]
fn a_leaver_whose_state_a_stayer_holds_is_let_go_in_the_middle_of_a_step() {
    let mut bench = Bench::stepping(config(), 3);
    bench.leave(1);
    bench.close(2);
    bench.all_parked([1, 3], 1, Some(5), ParkReason::Aborted);
    assert!(matches!(bench.to(1)[..], [Message::Retired { .. }]));
    assert_eq!(bench.form(3).members.len(), 1);
}

#[test]
fn a_leaver_who_could_not_write_the_only_copy_stays_and_tries_again_after_the_next_step() {
    let mut bench = Bench::stepping(config(), 1);
    bench.leave(1);
    bench.parked(1, 1, Some(4), ParkReason::Boundary);
    bench.apply(Event::TaskFailed { session: SessionId(1), why: "no space left".to_owned() });
    assert_eq!(bench.form(1).from, Reduction(4));
    bench.ready(1, 2, 4);
    bench.parked(1, 2, Some(6), ParkReason::Boundary);
    assert_eq!(bench.to(1), [Message::Task(Task::Snapshot)]);
    bench.saved(3);
    bench.task_done(1);
    assert!(matches!(bench.to(1)[..], [Message::Retired { .. }]));
}
