//! The life of a generation: formed, stepping, halted, formed again.

use lsgan_control::{
    Config, Effect, Entry, Event, Hello, Message, Outcome, ParkReason, Phase, Recovered, SessionId, Start,
    Task, Wish,
};
use lsgan_spec::{Generation, Incarnation, Reduction, Step, VirtualRank};

use crate::bench::{Bench, config, numerics};

#[test]
fn a_run_goes_from_its_first_worker_to_its_end() {
    let mut bench = Bench::stepping(config(), 1);
    bench.parked(1, 1, Some(20), ParkReason::Boundary);
    assert_eq!(bench.to(1), [Message::Task(Task::Final)]);
    bench.saved(10);
    bench.task_done(1);
    assert_eq!(bench.to(1), [Message::Shutdown(Outcome::Complete)]);
    assert_eq!(bench.journal.last(), Some(&Entry::Ended(Outcome::Complete)));
    assert_eq!(bench.run.next_deadline(), None);
}

#[test]
fn the_first_generation_waits_for_those_expected_but_not_longer_than_gather() {
    let mut bench = Bench::new(config(), Recovered::default());
    bench.join(1, None, None);
    assert_eq!(*bench.run.phase(), Phase::Gathering);
    bench.join(2, None, None);
    assert_eq!(bench.form(1).members.len(), 2);

    let mut bench = Bench::new(config(), Recovered::default());
    bench.join(1, None, None);
    bench.wake();
    assert_eq!(bench.now.0, 200);
    assert_eq!(bench.form(1).members.len(), 1);
}

/// So a sum crosses each host's network once in each direction.
#[test]
fn workers_of_one_host_are_neighbours_in_the_ring() {
    let six = Config { expected_workers: 6, virtual_ranks: 6, max_workers: 6, ..config() };
    let mut bench = Bench::new(six, Recovered::default());
    let hosts = ["10.0.0.1", "[fd00::2]", "10.0.0.3", "10.0.0.1", "[fd00::2]", "10.0.0.1"];
    (1..).zip(hosts).for_each(|(session, host)| bench.join_on(session, host));
    assert_eq!(bench.members(), [1, 4, 6, 2, 5, 3]);
    bench.all_ready(1..=6, 1, 0);
    let ranks = bench.run.members().iter().flat_map(|member| member.virtual_ranks()).map(|rank| rank.0);
    assert!(ranks.eq(0..6), "virtual ranks go around with them");
}

#[test]
fn a_generation_is_journaled_before_anybody_is_told_to_form_it() {
    let bench = Bench::with_two();
    let journaled =
        bench.effects.iter().position(|e| matches!(e, Effect::Journal(Entry::Generation { .. }))).unwrap();
    let told = bench
        .effects
        .iter()
        .position(|e| matches!(e, Effect::Send { message: Message::Form(_), .. }))
        .unwrap();
    assert!(journaled < told);
}

/// A state that travels over a slow link takes longer than the time-out.
#[test]
fn a_generation_forms_as_long_as_there_is_progress() {
    let mut bench = Bench::with_two();
    let timeout_ms = config().forming_timeout_ms;
    bench.ready(1, 1, 0);
    let later = |bench: &mut Bench, ms: u64| {
        bench.now = bench.now.plus(ms);
        for session in [1, 2] {
            bench.heard_nothing_new(session);
        }
    };
    for _ in 0..4 {
        later(&mut bench, timeout_ms * 3 / 4);
        bench.progress(2, 1);
        bench.progress(1, 7); // of another generation
        bench.apply(Event::Tick);
        assert!(matches!(bench.run.phase(), Phase::Forming { .. }), "{:?}", bench.run.phase());
    }
    later(&mut bench, timeout_ms + 1);
    bench.progress(2, 0);
    bench.apply(Event::Tick);
    assert!(matches!(bench.run.phase(), Phase::Halting { .. }), "{:?}", bench.run.phase());
}

#[test]
fn an_admission_is_journaled_before_the_welcome() {
    let mut bench = Bench::new(config(), Recovered::default());
    bench.join(1, None, None);
    assert!(matches!(bench.effects[0], Effect::Journal(Entry::Admitted { incarnation: Incarnation(1), .. })));
    assert!(matches!(bench.effects[1], Effect::Send { message: Message::Welcome { .. }, .. }));
}

#[test]
fn a_death_aborts_all_survivors_at_once_and_the_most_advanced_of_them_broadcasts() {
    let mut bench = Bench::stepping(config(), 3);
    bench.close(2);
    assert_eq!(bench.to(1), [Message::Abort(Generation(1))]);
    assert_eq!(bench.to(3), [Message::Abort(Generation(1))]);
    bench.parked(1, 1, Some(6), ParkReason::Aborted);
    bench.parked(3, 1, Some(7), ParkReason::Aborted);
    let form = bench.form(1);
    assert_eq!((form.generation, form.from, form.start), (Generation(2), Reduction(7), Start::Held));
    assert_eq!(form.root, Some(1));
    assert_eq!(form.members[1].incarnation, Incarnation(3));
    let owned: Vec<_> = form.members.iter().flat_map(|m| m.virtual_ranks()).collect();
    assert_eq!(owned, (0..4).map(VirtualRank).collect::<Vec<_>>());
}

#[test]
fn nobody_broadcasts_when_all_hold_the_same() {
    let mut bench = Bench::stepping(config(), 3);
    bench.close(2);
    bench.parked(1, 1, Some(6), ParkReason::Aborted);
    bench.parked(3, 1, Some(6), ParkReason::Broken("a peer is gone".to_owned()));
    assert_eq!((bench.form(1).root, bench.form(3).root), (None, None));
}

#[test]
fn a_ready_of_an_earlier_generation_does_not_count() {
    let mut bench = Bench::stepping(config(), 2);
    bench.close(2);
    bench.parked(1, 1, Some(2), ParkReason::Aborted);
    bench.ready(1, 1, 0);
    assert!(matches!(bench.run.phase(), Phase::Forming { .. }));
    bench.ready(1, 2, 2);
    assert_eq!(*bench.run.phase(), Phase::Stepping);
}

#[test]
fn a_second_late_ready_does_not_change_what_is_held() {
    let mut bench = Bench::stepping(config(), 2);
    bench.heard(1, 5);
    bench.ready(1, 1, 0);
    assert_eq!(bench.run.workers()[&Incarnation(1)].holds, Some(Reduction(5)));
}

#[test]
fn a_parked_of_an_earlier_generation_changes_nothing() {
    let mut bench = Bench::stepping(config(), 2);
    bench.close(2);
    bench.parked(1, 1, Some(2), ParkReason::Aborted);
    bench.ready(1, 2, 2);
    let before = bench.run.clone();
    bench.parked(1, 1, Some(1), ParkReason::Boundary);
    assert_eq!(bench.run, before);
}

#[test]
fn a_second_parked_changes_nothing() {
    let mut bench = Bench::stepping(config(), 2);
    bench.parked(1, 1, Some(4), ParkReason::Boundary);
    let before = bench.run.clone();
    bench.parked(1, 1, Some(9), ParkReason::Aborted);
    assert_eq!(bench.run, before);
}

#[test]
fn a_retired_incarnation_changes_nothing() {
    let mut bench = Bench::stepping(config(), 2);
    bench.close(2);
    let before = bench.run.clone();
    bench.heard(2, 9);
    bench.ready(2, 1, 9);
    bench.parked(2, 1, Some(9), ParkReason::Boundary);
    bench.consumed(2, 3, 5);
    bench.leave(2);
    bench.task_done(2);
    assert_eq!(bench.run, before);
    assert!(bench.effects.is_empty());
}

#[test]
fn silence_longer_than_the_failure_timeout_is_a_death() {
    let mut bench = Bench::stepping(config(), 2);
    bench.now.0 = 1_000;
    bench.heard(1, 3);
    bench.now.0 = 1_500;
    bench.apply(Event::Tick);
    assert_eq!(*bench.run.phase(), Phase::Stepping, "exactly the timeout is not longer than it");
    bench.wake();
    assert_eq!(bench.now.0, 1_501);
    assert!(matches!(bench.to(2)[..], [Message::Retired { .. }]));
    assert_eq!(bench.to(1), [Message::Abort(Generation(1))]);
    // A coordinator that has been deposed cannot write that, and so it does not say it.
    let at =
        |is: &dyn Fn(&Effect) -> bool| bench.effects.iter().position(is).expect("it is among the effects");
    let written = at(&|effect| matches!(effect, Effect::Journal(Entry::Gone { .. })));
    let told = at(&|effect| matches!(effect, Effect::Send { message: Message::Retired { .. }, .. }));
    assert!(written < told, "{:?}", bench.effects);
}

/// Its heartbeat waits behind what others say.
#[test]
fn a_worker_of_which_a_heartbeat_has_come_is_not_silent_and_nothing_else_follows() {
    let mut bench = Bench::stepping(config(), 2);
    bench.now.0 = 1_000;
    bench.heard(1, 3);
    bench.now.0 = 1_500;
    let holds = |bench: &Bench| bench.run.workers().values().map(|worker| worker.holds).collect::<Vec<_>>();
    let before = holds(&bench);
    assert!(bench.apply(Event::Alive { session: SessionId(2) }).is_empty());
    assert!(bench.apply(Event::Alive { session: SessionId(99) }).is_empty(), "a stream without a worker");
    assert_eq!(holds(&bench), before);
    bench.now.0 = 1_501;
    bench.apply(Event::Tick);
    assert_eq!(*bench.run.phase(), Phase::Stepping);
    // Its silence begins there.
    bench.heard(1, 3);
    bench.now.0 = 3_001;
    bench.apply(Event::Tick);
    assert!(matches!(bench.to(2)[..], [Message::Retired { .. }]));
}

#[test]
fn a_generation_that_is_not_ready_in_time_is_given_up() {
    let mut bench = Bench::with_two();
    bench.ready(1, 1, 0);
    bench.now.0 = 2_900;
    bench.heard_nothing_new(1);
    bench.heard_nothing_new(2);
    bench.wake();
    assert_eq!(bench.now.0, 3_000);
    assert_eq!(bench.to(1), [Message::Abort(Generation(1))]);
    assert_eq!(bench.to(2), [Message::Abort(Generation(1))]);
}

#[test]
fn a_member_that_lives_and_does_not_park_is_over_after_the_forming_timeout() {
    let mut bench = Bench::stepping(config(), 3);
    bench.close(2);
    bench.parked(1, 1, Some(4), ParkReason::Aborted);
    bench.now.0 = 2_900;
    bench.heard(1, 4);
    bench.heard(3, 4);
    bench.wake();
    assert_eq!(bench.now.0, 3_000);
    assert!(matches!(bench.to(3)[..], [Message::Retired { .. }]));
    assert_eq!(bench.form(1).members.len(), 1);
}

#[test]
fn a_member_that_does_not_park_at_the_boundary_is_first_told_to_abort() {
    let mut bench = Bench::stepping(config(), 2);
    bench.parked(1, 1, Some(4), ParkReason::Boundary);
    assert_eq!(*bench.run.phase(), Phase::Halting { aborted: false });
    bench.now.0 = 2_900;
    bench.heard(1, 4);
    bench.heard(2, 3);
    bench.wake();
    assert_eq!(bench.to(2), [Message::Abort(Generation(1))]);
    assert!(bench.to(1).is_empty());
}

#[test]
fn a_joiner_is_taken_in_at_a_step_boundary() {
    let mut bench = Bench::stepping(config(), 2);
    bench.join(3, None, None);
    assert!(bench.was_wished(1, Wish::Reform) && bench.was_wished(2, Wish::Reform));
    bench.heard(1, 4);
    assert!(!bench.wishes_reform(), "a wish is told once");
    bench.all_parked(1..=2, 1, Some(6), ParkReason::Boundary);
    let form = bench.form(3);
    assert_eq!((form.members.len(), form.from, form.root), (3, Reduction(6), Some(0)));
}

#[test]
fn a_spare_beyond_max_workers_stands_by_and_takes_over_at_a_death() {
    let mut bench = Bench::stepping(Config { max_workers: 2, ..config() }, 2);
    bench.join(3, None, None);
    assert!(bench.to(1).is_empty(), "no wish for a worker for which there is no place");
    bench.close(1);
    bench.parked(2, 1, Some(3), ParkReason::Aborted);
    assert_eq!(bench.members(), [2, 3]);
}

#[test]
fn a_standby_that_is_ahead_of_the_stepping_generation_is_taken_in_even_when_it_is_full() {
    let mut bench = Bench::stepping(Config { max_workers: 2, ..config() }, 2);
    bench.join(3, Some(9), None);
    assert!(bench.was_wished(1, Wish::Reform));
    bench.leave(3);
    assert!(bench.to(3).is_empty(), "it stays until the others have its state");
    bench.all_parked(1..=2, 1, Some(2), ParkReason::Boundary);
    let form = bench.form(3);
    assert_eq!((form.from, form.root), (Reduction(9), Some(1)));
}

#[test]
fn a_worker_with_other_numerics_is_refused_with_both_sides_shown() {
    let mut bench = Bench::stepping(config(), 1);
    bench.heard(1, 1);
    let hello = Hello {
        name: "odd".to_owned(),
        address: "10.0.0.9:4000".to_owned(),
        numerics: numerics("arm"),
        holds: None,
        resume: None,
        data_fingerprint: String::new(),
        pass: None,
    };
    bench.apply(Event::Joined { session: SessionId(2), hello });
    let [Message::Refused { why }] = &bench.to(2)[..] else { panic!("it got {:?}", bench.to(2)) };
    assert!(why.contains("arm") && why.contains("x86"), "{why}");
    assert_eq!(bench.effects.last(), Some(&Effect::Close { session: SessionId(2) }));
}

#[test]
fn a_lease_is_renewed_when_half_of_it_is_used_up() {
    let mut bench = Bench::stepping(config(), 2);
    bench.consumed(1, 0, 4);
    assert!(bench.to(1).is_empty());
    bench.consumed(1, 0, 5);
    assert_eq!(bench.to(1), [Message::Lease { virtual_rank: VirtualRank(0), until: 13 }]);
    bench.consumed(1, 0, 5);
    assert!(bench.effects.is_empty(), "said twice, it is journaled once");
}

#[test]
fn what_was_not_leased_or_is_not_owned_cannot_be_consumed() {
    let mut bench = Bench::stepping(config(), 2);
    bench.consumed(1, 0, 9);
    assert!(bench.effects.is_empty());
    bench.consumed(1, 3, 1);
    assert!(bench.effects.is_empty());
    bench.consumed(1, 77, 1);
    assert!(bench.effects.is_empty());
}

#[test]
fn a_number_that_is_not_finite_ends_the_run_with_the_sentence() {
    let mut bench = Bench::stepping(config(), 2);
    let why = "virtual rank 1 is not finite at step 3".to_owned();
    bench.all_parked(1..=2, 1, Some(6), ParkReason::Failed(why.clone()));
    assert_eq!(bench.to(1), [Message::Task(Task::Snapshot)]);
    bench.task_done(1);
    assert_eq!(*bench.run.phase(), Phase::Ended(Outcome::Failed { why }));
}

#[test]
fn a_stop_ends_at_a_boundary_with_a_snapshot() {
    let mut bench = Bench::stepping(config(), 2);
    bench.apply(Event::StopRequested);
    assert!(bench.was_wished(1, Wish::Finish) && bench.was_wished(2, Wish::Finish));
    bench.all_parked(1..=2, 1, Some(8), ParkReason::Boundary);
    assert_eq!(bench.to(1), [Message::Task(Task::Snapshot)]);
    bench.saved(4);
    bench.task_done(1);
    assert_eq!(*bench.run.phase(), Phase::Ended(Outcome::Stopped { step: Step(4) }));
    assert_eq!(bench.to(2), [Message::Shutdown(Outcome::Stopped { step: Step(4) })]);
}

#[test]
fn data_too_bad_to_train_on_fail_the_run_at_a_boundary_with_a_snapshot() {
    let mut bench = Bench::stepping(config(), 2);
    let why = "3 of 1000 records do not decode".to_owned();
    bench.apply(Event::DataUnfit { why: why.clone() });
    assert!(bench.was_wished(1, Wish::Finish) && bench.was_wished(2, Wish::Finish));
    // One dies in the middle of the step: the other finishes it first.
    bench.close(2);
    bench.parked(1, 1, Some(7), ParkReason::Aborted);
    assert_eq!(bench.form(1).from, Reduction(7));
    bench.ready(1, 2, 7);
    assert!(bench.was_wished(1, Wish::Finish));
    bench.parked(1, 2, Some(8), ParkReason::Boundary);
    assert_eq!(bench.to(1), [Message::Task(Task::Snapshot)]);
    bench.saved(4);
    bench.task_done(1);
    assert_eq!(*bench.run.phase(), Phase::Ended(Outcome::Failed { why }));
}

#[test]
fn a_stop_saves_what_somebody_brings_back_while_it_is_saved() {
    let mut bench = Bench::stepping(config(), 1);
    bench.apply(Event::StopRequested);
    bench.parked(1, 1, Some(8), ParkReason::Boundary);
    bench.join(2, Some(12), None);
    bench.saved(4);
    bench.task_done(1);
    assert_eq!(bench.to(2), [Message::Task(Task::Snapshot)]);
    bench.saved(6);
    bench.task_done(2);
    assert_eq!(*bench.run.phase(), Phase::Ended(Outcome::Stopped { step: Step(6) }));
}

#[test]
fn a_second_joiner_is_wished_in_after_the_first() {
    let mut bench = Bench::stepping(config(), 1);
    bench.join(2, None, None);
    bench.parked(1, 1, Some(2), ParkReason::Boundary);
    bench.all_ready(1..=2, 2, 2);
    bench.join(3, None, None);
    assert!(bench.was_wished(1, Wish::Reform) && bench.was_wished(2, Wish::Reform));
}

#[test]
fn a_stop_in_the_middle_of_a_step_finishes_it_first_with_whoever_is_there() {
    let mut bench = Bench::stepping(Config { min_workers: 2, ..config() }, 2);
    bench.apply(Event::StopRequested);
    bench.close(2);
    bench.parked(1, 1, Some(5), ParkReason::Aborted);
    assert_eq!(bench.form(1).from, Reduction(5));
}

#[test]
fn the_writer_of_the_end_may_die_and_another_takes_over() {
    let mut bench = Bench::stepping(config(), 2);
    bench.all_parked(1..=2, 1, Some(20), ParkReason::Boundary);
    assert_eq!(bench.to(1), [Message::Task(Task::Final)]);
    bench.close(1);
    assert_eq!(bench.to(2), [Message::Task(Task::Final)]);
}

#[test]
fn final_weights_that_cannot_be_written_fail_the_run() {
    let mut bench = Bench::stepping(config(), 1);
    bench.parked(1, 1, Some(20), ParkReason::Boundary);
    bench.apply(Event::TaskFailed { session: SessionId(1), why: "no space left".to_owned() });
    let Phase::Ended(Outcome::Failed { why }) = bench.run.phase() else { panic!("{:?}", bench.run.phase()) };
    assert!(why.contains("final weights") && why.contains("no space left"), "{why}");
}

#[test]
fn generations_that_come_to_nothing_are_formed_at_once_three_times_and_then_wait_ever_longer() {
    let mut bench = Bench::with_two();
    let mut waits_ms = vec![];
    for generation in 1..8 {
        assert_eq!(bench.run.generation(), Generation(generation));
        let broken = || ParkReason::Broken("worker 2 is not there".to_owned());
        bench.parked(1, generation, None, broken());
        bench.parked(2, generation, None, ParkReason::Aborted);
        let begin = bench.now;
        if *bench.run.phase() == Phase::Gathering {
            bench.wake();
        }
        waits_ms.push(bench.now.0 - begin.0);
    }
    assert_eq!(waits_ms, [0, 0, 50, 100, 200, 400, 800]);

    // One that applies something ends the waiting.
    let generation = bench.run.generation().0;
    bench.all_ready(1..=2, generation, 0);
    bench.parked(1, generation, Some(1), ParkReason::Broken("worker 2 is gone".to_owned()));
    bench.parked(2, generation, Some(1), ParkReason::Aborted);
    assert_eq!(bench.form(1).from, Reduction(1));
}
