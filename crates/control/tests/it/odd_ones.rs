//! Members that are not like the others: other bits, other speed, other hardware.

use lsgan_control::hashes::Difference;
use lsgan_control::{Config, Effect, Entry, Message, Outcome, ParkReason, Phase, Recovered};
use lsgan_spec::{DeviceKind, Incarnation, Numerics, Step};

use crate::bench::{Bench, config, numerics};

/// What was journaled of stragglers: whom, and whether it was evicted.
fn stragglers(bench: &Bench) -> Vec<(u64, bool)> {
    let straggles = |entry: &Entry| match entry {
        Entry::Straggles { incarnation, evicted, .. } => Some((incarnation.0, *evicted)),
        _ => None,
    };
    bench.journaled(straggles)
}

/// Heartbeats of sessions 1.. with these paces, once a second for so long.
fn beat(bench: &mut Bench, paces_us: &[u64], seconds: u64) {
    for _ in 0..seconds {
        bench.now = bench.now.plus(1_000);
        for (session, pace_us) in (1..).zip(paces_us) {
            bench.heard_at_pace(session, 2, Some(*pace_us));
        }
    }
}

#[test]
fn equal_states_end_nothing() {
    let mut bench = Bench::stepping(config(), 3);
    for step in [2, 4] {
        for session in 1..=3 {
            assert_eq!(bench.state_hash(session, step, step as u8), []);
        }
    }
    assert_eq!(*bench.run.phase(), Phase::Stepping);
}

#[test]
fn the_odd_one_of_three_is_named_and_the_run_fails_without_a_snapshot() {
    let mut bench = Bench::stepping(config(), 3);
    for session in 1..=3 {
        bench.state_hash(session, 2, 7);
    }
    bench.state_hash(1, 4, 7);
    bench.state_hash(2, 4, 8);
    assert_eq!(*bench.run.phase(), Phase::Stepping, "the third may still say which is right");
    bench.state_hash(3, 4, 7);
    assert_eq!(*bench.run.phase(), Phase::Halting { aborted: true });
    for session in 1..=3 {
        assert!(bench.to(session).contains(&Message::Abort(bench.run.generation())), "session {session}");
    }
    bench.all_parked(1..=3, 1, Some(8), ParkReason::Aborted);
    let differs = Entry::Differs(Difference { odd: vec![Incarnation(2)], step: Step(4), equal: Step(2) });
    assert!(bench.journal.contains(&differs), "{:#?}", bench.journal);
    let Phase::Ended(Outcome::Failed { why }) = bench.run.phase() else { panic!("{:?}", bench.run.phase()) };
    assert!(why.contains("worker 2 (w2) holds another state") && why.contains("after step 4"), "{why}");
    assert!(!bench.effects.iter().any(|e| matches!(e, Effect::Send { message: Message::Task(_), .. })));
}

#[test]
fn of_two_that_differ_both_are_named() {
    let mut bench = Bench::stepping(config(), 2);
    bench.state_hash(1, 2, 1);
    bench.state_hash(2, 2, 2);
    bench.all_parked(1..=2, 1, Some(4), ParkReason::Aborted);
    let Phase::Ended(Outcome::Failed { why }) = bench.run.phase() else { panic!("{:?}", bench.run.phase()) };
    assert!(why.contains("worker 1 (w1) and worker 2 (w2) hold different states"), "{why}");
}

#[test]
fn a_difference_is_not_forgotten_when_its_reporter_dies() {
    let mut bench = Bench::stepping(config(), 3);
    bench.state_hash(1, 2, 1);
    bench.state_hash(2, 2, 2);
    bench.close(3);
    bench.close(2);
    bench.parked(1, 1, Some(4), ParkReason::Aborted);
    assert!(matches!(bench.run.phase(), Phase::Ended(Outcome::Failed { .. })), "{:?}", bench.run.phase());
}

#[test]
fn the_hash_of_somebody_who_is_no_member_says_nothing() {
    let mut bench = Bench::stepping(Config { max_workers: 2, ..config() }, 2);
    bench.join(3, None, None);
    bench.state_hash(3, 2, 9);
    bench.state_hash(1, 2, 1);
    bench.state_hash(2, 2, 1);
    assert_eq!(*bench.run.phase(), Phase::Stepping);
}

#[test]
fn a_straggler_is_named_once_after_a_while_and_goes_on() {
    let mut bench = Bench::stepping(config(), 3);
    beat(&mut bench, &[1_000, 1_100, 2_500], 2);
    assert_eq!(stragglers(&bench), [], "a moment is no reason");
    beat(&mut bench, &[1_000, 1_100, 2_500], 20);
    assert_eq!(stragglers(&bench), [(3, false)]);
    assert_eq!(*bench.run.phase(), Phase::Stepping);
    assert!(!bench.wishes_reform());
}

#[test]
fn workers_that_are_equally_slow_or_nearly_so_are_no_stragglers() {
    let mut bench = Bench::stepping(config(), 3);
    beat(&mut bench, &[9_000, 9_100, 9_900], 10);
    beat(&mut bench, &[1_000, 1_000, 1_990], 10);
    assert_eq!(stragglers(&bench), []);
}

#[test]
fn a_straggler_is_evicted_where_the_file_says_so_and_stands_by() {
    let mut bench = Bench::stepping(Config { evict_stragglers: true, ..config() }, 3);
    beat(&mut bench, &[1_000, 1_100, 2_500], 4);
    assert_eq!(stragglers(&bench), [(3, true)]);
    bench.all_parked(1..=3, 1, Some(4), ParkReason::Boundary);
    assert_eq!(bench.members(), [1, 2]);
    bench.all_ready(1..=2, 2, 4);
    beat(&mut bench, &[1_000, 1_100], 1);
    assert_eq!(*bench.run.phase(), Phase::Stepping);
    assert!(!bench.wishes_reform(), "it is not asked in again");

    // Needed again, it takes part again.
    bench.close(1);
    bench.close(2);
    assert_eq!(bench.members(), [3]);
}

#[test]
fn nobody_is_evicted_who_is_needed() {
    let mut bench = Bench::stepping(Config { evict_stragglers: true, min_workers: 3, ..config() }, 3);
    beat(&mut bench, &[1_000, 1_100, 2_500], 10);
    assert!(!bench.wishes_reform());
    assert_eq!(*bench.run.phase(), Phase::Stepping);
}

#[test]
fn other_numerics_that_are_admitted_are_journaled() {
    let mut bench = Bench::stepping(Config { any_numerics: true, ..config() }, 1);
    bench.heard(1, 1);
    bench.join_with_numerics(2, numerics("another"));
    let other = Entry::OtherNumerics { incarnation: Incarnation(2), numerics: numerics("another") };
    assert!(bench.journal.contains(&other), "{:#?}", bench.journal);
}

const CPU: &str = "libtorch 2.11.0 on AMD EPYC with AVX512, probe 0123456789abcdef";
const GPU: &str = "libtorch 2.11.0 on NVIDIA H100 80GB HBM3 with CUDA sm_90, probe fedcba9876543210";

fn cpu() -> Numerics {
    Numerics {
        libtorch: "2.11.0".to_owned(),
        instructions: "AVX512".to_owned(),
        probe: 0x0123_4567_89ab_cdef,
        ..numerics("AMD EPYC")
    }
}

fn gpu() -> Numerics {
    Numerics {
        device: DeviceKind::Cuda,
        model: "NVIDIA H100 80GB HBM3".to_owned(),
        instructions: "sm_90".to_owned(),
        probe: 0xfedc_ba98_7654_3210,
        ..cpu()
    }
}

/// The first one trains, and is joined by the other kind.
#[test]
fn a_cpu_and_a_gpu_in_one_run_are_refused_whatever_is_admitted() {
    for any_numerics in [false, true] {
        for [first, second] in [[cpu(), gpu()], [gpu(), cpu()]] {
            let config = Config { any_numerics, expected_workers: 1, ..config() };
            let mut bench = Bench::new(config, Recovered::default());
            bench.join_with_numerics(1, first);
            bench.ready(1, 1, 0);
            bench.heard(1, 1);
            bench.join_with_numerics(2, second);
            let [Message::Refused { why }] = &bench.to(2)[..] else { panic!("it got {:?}", bench.to(2)) };
            let sides = if any_numerics { ["on a GPU", "on a CPU"] } else { [CPU, GPU] };
            assert!(sides.iter().all(|side| why.contains(side)), "{why}");
        }
    }
}

/// A stranger that comes first says Hello and never trains. What it says of its numerics binds nobody.
#[test]
fn the_numerics_of_the_run_are_those_that_most_have_once_they_have_trained() {
    let mut bench = Bench::new(Config { expected_workers: 0, ..config() }, Recovered::default());
    bench.join_with_numerics(1, gpu());
    for session in [2, 3] {
        bench.join_with_numerics(session, cpu());
        assert!(bench.welcomed(session).is_some(), "nothing is decided yet");
    }
    bench.wake();
    assert_eq!(bench.members(), [2, 3]);
    let set =
        |bench: &Bench| bench.journaled(|e| if let Entry::Numerics(n) = e { Some(n.clone()) } else { None });
    bench.ready(2, 1, 0);
    bench.ready(3, 1, 0);
    bench.heard(2, 0);
    assert_eq!(set(&bench), [], "no reduction is applied");
    bench.heard(3, 1);
    assert_eq!(set(&bench), [cpu()]);
    let [Message::Refused { why }] = &bench.to(1)[..] else { panic!("it got {:?}", bench.to(1)) };
    assert!(why.contains(CPU) && why.contains(GPU), "{why}");
    assert!(!bench.run.workers().contains_key(&Incarnation(1)));
    assert_eq!(*bench.run.phase(), Phase::Stepping);
}

#[test]
fn a_generation_that_applies_nothing_sets_no_numerics() {
    let mut bench = Bench::new(Config { expected_workers: 1, ..config() }, Recovered::default());
    bench.join_with_numerics(1, gpu());
    bench.ready(1, 1, 0);
    bench.close(1);
    bench.join_with_numerics(2, cpu());
    assert!(bench.welcomed(2).is_some());
    bench.ready(2, 2, 0);
    bench.heard(2, 1);
    assert!(bench.journal.contains(&Entry::Numerics(cpu())), "{:#?}", bench.journal);
}

/// A run that was begun on GPUs goes on with CPUs alone, where any numerics are admitted.
#[test]
fn the_other_kind_is_admitted_where_nobody_of_the_first_is_left() {
    let mut bench = Bench::new(Config { any_numerics: true, ..config() }, Recovered::default());
    bench.join_with_numerics(1, gpu());
    bench.close(1);
    bench.join_with_numerics(2, cpu());
    let Message::Welcome { .. } = &bench.to(2)[0] else { panic!("it got {:?}", bench.to(2)) };
}
