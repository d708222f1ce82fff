//! A coordinator that starts again reads its journal and goes on with whom it finds alive.

use lsgan_control::{Effect, Entry, Event, Message, ParkReason, Phase, Recovered, SessionId, Start};
use lsgan_spec::{Generation, Incarnation, Reduction, Step, VirtualRank};

use crate::bench::{Bench, config, numerics, resume};

#[test]
fn the_journal_tells_the_next_life_what_it_must_know() {
    let mut bench = Bench::stepping(config(), 2);
    bench.consumed(1, 0, 3);
    bench.consumed(2, 3, 2);
    bench.consumed(1, 0, 4);
    bench.heard(1, 1);
    bench.saved(1);
    let recovered = Recovered::replay(&bench.journal, Some(Step(1)));
    assert_eq!(recovered.generation, Generation(1));
    assert_eq!(recovered.members, bench.run.members());
    assert_eq!(recovered.incarnation, Incarnation(2));
    assert_eq!(recovered.numerics, Some(numerics("x86")));
    assert_eq!(recovered.consumed, [(VirtualRank(0), 4), (VirtualRank(3), 2)].into());
    assert_eq!(recovered.snapshot, Some(Step(1)));
    bench.close(1);
    assert!(Recovered::replay(&bench.journal, None).members.is_empty(), "it was seen to end");
}

#[test]
fn a_generation_that_is_alive_is_adopted_as_it_is() {
    let mut bench = Bench::stepping(config(), 2).restarted();
    bench.join(11, Some(8), resume(1, 1, true));
    assert_eq!(bench.welcomed(11), Some((Incarnation(1), true)));
    assert!(matches!(bench.run.phase(), Phase::Adopting));
    bench.join(12, Some(8), resume(2, 1, true));
    assert_eq!(*bench.run.phase(), Phase::Stepping);
    assert_eq!(bench.run.generation(), Generation(1));
    assert!(!bench.journal.iter().any(|e| matches!(e, Entry::Halting { .. })));
}

#[test]
fn leases_are_given_again_as_they_were_or_further() {
    let mut before = Bench::stepping(config(), 2);
    before.consumed(1, 0, 5);
    let mut bench = before.restarted();
    bench.join(11, Some(8), resume(1, 1, true));
    let leases: Vec<_> = bench.to(11).into_iter().skip(1).collect();
    let lease = |rank, until| Message::Lease { virtual_rank: VirtualRank(rank), until };
    assert_eq!(leases, [lease(0, 13), lease(1, 8)]);
}

#[test]
fn a_member_that_does_not_come_back_ends_the_generation() {
    let mut bench = Bench::stepping(config(), 2).restarted();
    bench.join(11, Some(8), resume(1, 1, true));
    bench.now.0 = 2_900;
    bench.heard(11, 9);
    bench.wake();
    assert_eq!(bench.now.0, 3_000);
    assert_eq!(bench.to(11), [Message::Abort(Generation(1))]);
    bench.parked(11, 1, Some(9), ParkReason::Aborted);
    assert_eq!(bench.form(11).from, Reduction(9));
}

#[test]
fn a_member_that_had_parked_ends_the_generation() {
    let mut bench = Bench::stepping(config(), 2).restarted();
    bench.join(11, Some(8), resume(1, 1, true));
    bench.join(12, Some(8), resume(2, 1, false));
    assert_eq!(bench.to(11), [Message::Abort(Generation(1))]);
}

#[test]
fn a_member_that_was_never_told_to_form_ends_the_generation_at_once() {
    let mut bench = Bench::stepping(config(), 2).restarted();
    bench.join(11, None, resume(1, 1, true));
    bench.join(12, None, resume(2, 0, false));
    assert!(bench.to(11).contains(&Message::Abort(Generation(1))));
    assert_eq!(bench.welcomed(12), Some((Incarnation(3), false)));
}

#[test]
fn a_member_that_is_lost_while_the_others_are_awaited_ends_the_generation_at_once() {
    let mut bench = Bench::stepping(config(), 2).restarted();
    bench.join(11, Some(8), resume(1, 1, true));
    bench.close(11);
    assert_eq!(*bench.run.phase(), Phase::Gathering);
    bench.join(13, Some(8), resume(1, 1, true));
    assert_eq!(
        bench.welcomed(13),
        Some((Incarnation(3), false)),
        "an incarnation that was over is not adopted again"
    );
}

#[test]
fn nobody_who_is_gone_is_waited_for_wherever_the_journal_ends() {
    let mut bench = Bench::stepping(config(), 2);
    let written = bench.journal.len();
    bench.close(1);
    for length in written..=bench.journal.len() {
        let journal = &bench.journal[..length];
        let gone: Vec<_> = journal
            .iter()
            .filter_map(|e| if let Entry::Gone { incarnation, .. } = e { Some(*incarnation) } else { None })
            .collect();
        let recovered = Recovered::replay(journal, None);
        assert!(!recovered.members.iter().any(|m| gone.contains(&m.incarnation)), "{length} entries");
    }
}

#[test]
fn a_restart_while_the_first_generation_forms_gathers_again() {
    let mut bench = Bench::stepping(config(), 2).restarted();
    bench.join(11, None, resume(1, 1, true));
    bench.now.0 = 2_900;
    bench.apply(Event::Heard { session: SessionId(11), applied: None, pace_us: None });
    bench.wake();
    bench.parked(11, 1, None, ParkReason::Aborted);
    assert_eq!(*bench.run.phase(), Phase::Gathering);
    bench.wake();
    assert_eq!(bench.now.0, 3_200);
    assert_eq!(bench.form(11).start, Start::Fresh);
}

#[test]
fn nothing_is_formed_while_somebody_from_before_has_not_parked() {
    let mut before = Bench::stepping(config(), 2);
    before.close(2);
    let mut bench = before.restarted();
    bench.join(11, Some(6), resume(1, 1, true));
    bench.join(12, Some(7), resume(2, 1, false));
    assert_eq!(*bench.run.phase(), Phase::Gathering);
    bench.parked(11, 1, Some(8), ParkReason::Aborted);
    let form = bench.form(11);
    assert_eq!((form.generation, form.from), (Generation(2), Reduction(8)));
}

#[test]
fn a_worker_that_attaches_again_ends_its_old_stream_and_its_incarnation() {
    let mut bench = Bench::stepping(config(), 2);
    bench.join(3, Some(4), resume(1, 1, true));
    assert!(bench.effects.contains(&Effect::Close { session: SessionId(1) }));
    assert_eq!(bench.welcomed(3), Some((Incarnation(3), false)));
    assert_eq!(bench.to(2), [Message::Abort(Generation(1))]);
}

#[test]
fn numbers_are_not_used_again() {
    let mut bench = Bench::stepping(config(), 2).restarted();
    bench.now.0 = 3_000;
    bench.apply(Event::Tick);
    bench.join(13, None, None);
    assert_eq!(bench.welcomed(13), Some((Incarnation(3), false)));
    bench.wake();
    assert_eq!(bench.form(13).generation, Generation(2));
}
