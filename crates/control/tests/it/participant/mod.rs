//! The worker's machine: what it does and says, by the sentences of the protocol.

mod bench;

use bench::{Bench, consumed, form, parked, shown};
use lsgan_control::member::{Duty, Effect, Ending, Event, Wishes};
use lsgan_control::report::CorruptRecord;
use lsgan_control::{Form, Hello, Message, Outcome, Report, Resume, Task, Wish};
use lsgan_spec::{Generation, Incarnation, Reduction, Step, VirtualRank};

#[test]
fn a_new_worker_says_hello_and_nothing_else_before_it_is_admitted() {
    let mut bench = Bench::new();
    let hello = bench.hello();
    assert_eq!((hello.name.as_str(), hello.holds, hello.resume), ("w1", None, None));
    bench.say(Report::Warning { text: "slow".to_owned() });
    assert!(bench.worker.take_mail().is_empty() && !bench.worker.has_urgent_mail());
    let admitted = Effect::Admitted { incarnation: Incarnation(1), adopted: false, again: false };
    assert_eq!(bench.welcome(1, false), [admitted]);
    assert!(bench.worker.has_urgent_mail());
    assert_eq!(bench.worker.take_mail(), [Report::Warning { text: "slow".to_owned() }]);
}

/// Also when its incarnation is over: the state that the pass speaks of is still there.
#[test]
fn it_shows_the_newest_pass_on_every_stream() {
    let mut bench = Bench::new();
    assert_eq!(bench.hello().pass, None);
    bench.welcome(1, false);
    assert_eq!(bench.hello().pass, shown(1, 0));
    bench.form(3);
    assert_eq!(bench.hello().pass, shown(1, 3));
    bench.retire();
    bench.park(3, Some(8));
    let hello = bench.hello();
    assert_eq!((hello.resume, hello.pass), (None, shown(1, 3)));
}

#[test]
fn a_worker_that_is_refused_ends() {
    let mut bench = Bench::new();
    bench.connect();
    let why = "other bits".to_owned();
    let refused = bench.tell(Message::Refused { why: why.clone() });
    assert_eq!(refused, [Effect::End(Ending::Refused { why })]);
    assert!(bench.form(1).is_empty(), "nothing follows once it ends");
}

#[test]
fn a_worker_whose_coordinator_is_away_goes_on_and_says_who_it_is_when_it_is_back() {
    let mut bench = Bench::stepping(3, 4);
    assert_eq!(bench.apply(Event::Disconnected), [Effect::Connect]);
    bench.apply(Event::Applied(Reduction(7)));
    let resume = Resume {
        incarnation: Incarnation(1),
        generation: Generation(3),
        stepping: true,
        writes: true,
        spec: "file".to_owned(),
    };
    let hello = bench.hello();
    assert_eq!((hello.holds, hello.resume), (Some(Reduction(7)), Some(resume)));
    let again = Effect::Admitted { incarnation: Incarnation(1), adopted: true, again: true };
    assert_eq!(bench.welcome(1, true), [again], "one that is adopted steps on");
}

#[test]
fn a_generation_is_that_of_the_file_under_which_it_was_formed() {
    let mut bench = Bench::stepping(1, 0);
    bench.apply(Event::Disconnected);
    let effects = bench.apply(Event::Connected { spec: "another file".to_owned() });
    let [Effect::Send(Report::Hello(Hello { resume: Some(resume), .. }))] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(resume.spec, "file");
    bench.welcome(1, false);
    bench.park(1, Some(0));
    bench.form(2);
    bench.apply(Event::Disconnected);
    let effects = bench.apply(Event::Connected { spec: "a third file".to_owned() });
    let [Effect::Send(Report::Hello(Hello { resume: Some(resume), .. }))] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(resume.spec, "another file");
}

#[test]
fn a_worker_that_is_not_adopted_aborts() {
    let mut bench = Bench::stepping(3, 4);
    bench.apply(Event::Disconnected);
    bench.connect();
    let again = Effect::Admitted { incarnation: Incarnation(2), adopted: false, again: true };
    assert_eq!(bench.welcome(2, false), [Effect::Abort, again]);
    bench.park(3, Some(4));
    assert_eq!(bench.worker.take_mail(), [parked(3, Some(4))], "under its new incarnation");
}

#[test]
fn an_abort_ends_only_its_generation_and_only_while_it_steps() {
    let mut bench = Bench::stepping(3, 4);
    assert!(bench.tell(Message::Abort(Generation(2))).is_empty());
    assert_eq!(bench.tell(Message::Abort(Generation(3))), [Effect::Abort]);
    bench.park(3, Some(4));
    assert!(bench.tell(Message::Abort(Generation(3))).is_empty());
}

#[test]
fn a_generation_that_still_runs_is_aborted_by_the_next_one() {
    let mut bench = Bench::stepping(3, 4);
    assert_eq!(bench.form(4), [Effect::Abort, Effect::Form(form(4))]);
    bench.park(3, Some(4));
    let resume = {
        bench.apply(Event::Disconnected);
        bench.hello().resume.expect("it was admitted")
    };
    assert_eq!((resume.generation, resume.stepping), (Generation(4), true), "the older one parked");
}

#[test]
fn a_wish_of_another_generation_is_not_put_into_a_header() {
    let mut bench = Bench::stepping(3, 4);
    bench.tell(Message::Wish { generation: Generation(2), wish: Wish::Finish });
    assert_eq!(bench.wishes(3), Wishes::default());
    bench.tell(Message::Wish { generation: Generation(3), wish: Wish::Finish });
    bench.tell(Message::Wish { generation: Generation(3), wish: Wish::Reform });
    assert_eq!(bench.wishes(3), Wishes { finish: true, reform: true, ..Wishes::default() });
    assert_eq!(bench.wishes(2), Wishes::default());
    bench.park(3, Some(4));
    bench.form(4);
    assert_eq!(bench.wishes(4), Wishes::default(), "wishes are those of one generation");
}

#[test]
fn a_wish_for_a_snapshot_is_over_when_it_was_heard() {
    let mut bench = Bench::stepping(3, 4);
    bench.tell(Message::Wish { generation: Generation(3), wish: Wish::Snapshot });
    bench.apply(Event::SnapshotHeard(Generation(2)));
    assert!(bench.wishes(3).snapshot, "that was another generation's");
    bench.apply(Event::SnapshotHeard(Generation(3)));
    assert!(!bench.wishes(3).snapshot);
}

#[test]
fn a_worker_that_is_to_end_wishes_to_leave_in_this_generation_and_the_next() {
    let mut bench = Bench::stepping(3, 4);
    assert_eq!(bench.apply(Event::Terminate), [Effect::Send(Report::WantsLeave)]);
    assert!(bench.wishes(3).leave);
    bench.park(3, Some(4));
    bench.form(4);
    assert!(bench.wishes(4).leave);
    bench.apply(Event::Disconnected);
    let said = bench.connect();
    assert_eq!(said.last(), Some(&Effect::Send(Report::WantsLeave)), "a coordinator may not have heard it");
    assert_eq!(bench.retire(), [Effect::End(Ending::Left)]);
}

#[test]
fn a_lease_is_that_of_the_generation_that_steps() {
    let mut bench = Bench::admitted(1);
    let lease = Message::Lease { virtual_rank: VirtualRank(0), until: 9 };
    assert!(bench.tell(lease.clone()).is_empty());
    bench.form(1);
    assert_eq!(bench.tell(lease), [Effect::Grant { virtual_rank: VirtualRank(0), until: 9 }]);
}

#[test]
fn a_retired_worker_hangs_up_parks_and_comes_back_as_a_new_one() {
    let mut bench = Bench::stepping(3, 4);
    let why = "silent".to_owned();
    assert_eq!(bench.retire(), [Effect::Abort, Effect::HangUp, Effect::AwaitParking { why }]);
    assert_eq!(bench.park(3, Some(5)), [Effect::Connect]);
    let hello = bench.hello();
    assert_eq!((hello.holds, hello.resume), (Some(Reduction(5)), None));
    bench.welcome(2, false);
    assert!(bench.worker.take_mail().is_empty(), "the Hello has said what Parked said");
}

#[test]
fn a_retired_worker_that_is_parked_comes_back_at_once() {
    let mut bench = Bench::admitted(1);
    let why = "silent".to_owned();
    assert_eq!(bench.retire(), [Effect::HangUp, Effect::AwaitParking { why }, Effect::Connect]);
    assert_eq!(bench.hello().resume, None);
}

#[test]
fn a_retired_worker_that_does_not_park_ends() {
    let mut bench = Bench::stepping(3, 4);
    assert!(bench.apply(Event::ParkOverdue).is_empty(), "nobody waits for it");
    bench.retire();
    assert_eq!(bench.apply(Event::ParkOverdue), [Effect::End(Ending::Hangs)]);
}

#[test]
fn what_was_consumed_and_found_corrupt_is_told_again_on_every_stream_and_the_rest_is_not() {
    let mut bench = Bench::stepping(3, 4);
    let record = CorruptRecord { record: 7, key: "7".to_owned(), reason: "short".to_owned(), step: Step(2) };
    bench.say(consumed(2));
    bench.say(consumed(1));
    bench.say(Report::CorruptRecords(vec![record.clone()]));
    bench.say(Report::CorruptRecords(vec![record.clone()]));
    bench.say(Report::Warning { text: "slow".to_owned() });
    let again = [consumed(2), Report::CorruptRecords(vec![record])];
    let mail = bench.worker.take_mail();
    assert_eq!((&mail[..2], mail.len()), (&again[..], 3));
    assert!(bench.worker.take_mail().is_empty());
    bench.apply(Event::Disconnected);
    bench.say(Report::Warning { text: "alone".to_owned() });
    assert!(bench.worker.take_mail().is_empty());
    bench.connect();
    let mail = bench.worker.take_mail();
    assert_eq!(mail[..2], again);
    assert_eq!(mail[2..], [Report::Warning { text: "alone".to_owned() }]);
    bench.form(4);
    assert_eq!(bench.worker.take_mail(), [consumed(2)], "only a member's word counts");
}

#[test]
fn a_parked_comes_after_what_was_consumed_before_it() {
    let mut bench = Bench::stepping(3, 4);
    bench.park(3, Some(6));
    bench.say(consumed(3));
    assert_eq!(bench.worker.take_mail(), [consumed(3), parked(3, Some(6))]);
}

#[test]
fn a_heartbeat_says_how_far_it_is_and_only_on_a_stream() {
    let mut bench = Bench::stepping(3, 4);
    bench.apply(Event::Applied(Reduction(5)));
    bench.apply(Event::Pace(Some(900)));
    let beat = |applied: u64, pace_us| Report::Heartbeat { applied: Some(Reduction(applied)), pace_us };
    assert_eq!(bench.apply(Event::HeartbeatDue), [Effect::Send(beat(5, Some(900)))]);
    bench.park(3, Some(6));
    assert_eq!(
        bench.apply(Event::HeartbeatDue),
        [Effect::Send(beat(6, None))],
        "it has no pace while parked"
    );
    bench.apply(Event::Disconnected);
    assert!(bench.apply(Event::HeartbeatDue).is_empty());
}

#[test]
fn a_run_that_has_ended_ends_its_workers() {
    let mut bench = Bench::stepping(3, 4);
    let ended = bench.tell(Message::Shutdown(Outcome::Complete));
    assert_eq!(ended, [Effect::End(Ending::RunEnded(Outcome::Complete))]);
}

#[test]
fn a_worker_that_holds_nothing_and_is_to_end_without_its_coordinator_ends_at_once() {
    let mut bench = Bench::new();
    assert_eq!(bench.apply(Event::Terminate), [Effect::End(Ending::Left)]);
}

#[test]
fn a_worker_that_is_to_end_without_its_coordinator_keeps_what_it_holds_first() {
    let mut bench = Bench::stepping(3, 4);
    bench.apply(Event::Disconnected);
    assert!(bench.apply(Event::Terminate).is_empty());
    assert!(bench.wishes(3).leave, "the boundary comes with the others");
    assert_eq!(bench.park(3, Some(6)), [Effect::KeepAlone { step: Step(3) }]);
    assert!(bench.apply(Event::Terminate).is_empty(), "it is under way");
    assert_eq!(bench.say(Report::TaskDone { files: vec![] }), [Effect::End(Ending::Left)]);
}

#[test]
fn a_worker_that_leaves_already_keeps_what_it_holds_when_its_coordinator_goes() {
    let mut bench = Bench::stepping(3, 4);
    bench.apply(Event::Terminate);
    bench.park(3, Some(6));
    assert_eq!(bench.apply(Event::Disconnected), [Effect::Connect, Effect::KeepAlone { step: Step(3) }]);
    let failed = Report::TaskFailed { why: "full".to_owned() };
    assert_eq!(bench.say(failed), [Effect::End(Ending::Left)]);
}

#[test]
fn the_middle_of_a_step_cannot_be_kept() {
    let mut bench = Bench::stepping(3, 4);
    bench.apply(Event::Disconnected);
    bench.apply(Event::Terminate);
    let ends = [Effect::CannotKeep { step: Step(2) }, Effect::End(Ending::Left)];
    assert_eq!(bench.park(3, Some(5)), ends);
}

#[test]
fn a_coordinator_that_comes_back_while_its_worker_keeps_the_state_lets_it_go_itself() {
    let mut bench = Bench::stepping(3, 4);
    bench.apply(Event::Disconnected);
    bench.apply(Event::Terminate);
    bench.park(3, Some(4));
    let said = bench.connect();
    assert_eq!(said.last(), Some(&Effect::Send(Report::WantsLeave)));
    assert!(bench.say(Report::TaskDone { files: vec![] }).is_empty());
    assert!(bench.worker.take_mail().is_empty(), "the coordinator has not asked for that");
    assert_eq!(bench.tell(Message::Task(Task::Snapshot)), [Effect::Task(Task::Snapshot)]);
    bench.say(Report::TaskDone { files: vec![] });
    assert_eq!(bench.worker.take_mail(), [Report::TaskDone { files: vec![] }]);
}

#[test]
fn a_worker_whose_coordinator_is_lost_leaves_at_the_boundary_with_what_it_holds() {
    let mut bench = Bench::stepping(3, 4);
    bench.apply(Event::Disconnected);
    assert!(bench.apply(Event::CoordinatorLost).is_empty());
    assert!(bench.wishes(3).leave);
    assert_eq!(bench.park(3, Some(6)), [Effect::KeepAlone { step: Step(3) }]);
    assert_eq!(bench.say(Report::TaskDone { files: vec![] }), [Effect::End(Ending::CoordinatorLost)]);
}

#[test]
fn a_task_of_an_earlier_stream_is_not_answered() {
    let mut bench = Bench::admitted(1);
    bench.tell(Message::Task(Task::Snapshot));
    bench.apply(Event::Disconnected);
    bench.connect();
    bench.welcome(2, false);
    bench.tell(Message::Task(Task::Final));
    bench.say(Report::TaskDone { files: vec![] });
    assert!(bench.worker.take_mail().is_empty(), "that was the first one");
    let failed = Report::TaskFailed { why: "full".to_owned() };
    bench.say(failed.clone());
    assert_eq!(bench.worker.take_mail(), std::slice::from_ref(&failed));
    bench.tell(Message::Task(Task::Final));
    bench.say(failed);
    bench.apply(Event::Disconnected);
    bench.connect();
    assert!(bench.worker.take_mail().is_empty(), "it was not sent in time");
}

#[test]
fn one_member_writes_snapshots_and_all_park_after_the_same_step() {
    let writer = Duty::of(&form(1));
    assert_eq!(writer, Duty { writes: true, last_step: Step(10) });
    assert_eq!(Duty::of(&Form { rank: 1, ..form(1) }), Duty { writes: false, ..writer });
    assert_eq!(Duty::of(&Form { writer: None, ..form(1) }), Duty { writes: false, ..writer });
}
