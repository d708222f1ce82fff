//! Whatever workers say, in whatever order: the machine does not panic, and its invariants hold.

mod bench;

use std::collections::BTreeSet;

use bench::{Bench, config, numerics};
use lsgan_control::{Config, Event, Hello, ParkReason, Recovered, Resume, SessionId};
use lsgan_spec::{Generation, Incarnation, Reduction, Step, VirtualRank};
use proptest::prelude::*;

/// Small numbers, and the edges.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![20 => 0_u64..24, 1 => Just(u64::MAX), 1 => Just(u64::MAX / 2)]
}

fn session() -> impl Strategy<Value = SessionId> {
    (1_u64..6).prop_map(SessionId)
}

fn reason() -> impl Strategy<Value = ParkReason> {
    prop_oneof![
        4 => Just(ParkReason::Boundary),
        4 => Just(ParkReason::Aborted),
        2 => Just(ParkReason::Broken("a peer is gone".to_owned())),
        1 => Just(ParkReason::Failed("not finite".to_owned())),
    ]
}

fn hello() -> impl Strategy<Value = Hello> {
    let resume = (number(), 0_u64..4, any::<bool>(), any::<bool>());
    let resume = resume.prop_map(|(incarnation, generation, stepping, writes)| Resume {
        incarnation: Incarnation(incarnation),
        generation: Generation(generation),
        stepping,
        writes,
        spec: if generation == 3 { "another".to_owned() } else { String::new() },
    });
    (proptest::option::of(number()), proptest::option::of(resume), 0_u8..10).prop_map(
        |(holds, resume, odd)| Hello {
            name: "w".to_owned(),
            address: "10.0.0.1:4000".to_owned(),
            numerics: numerics(if odd == 0 { "odd" } else { "even" }),
            holds: holds.map(Reduction),
            resume,
            data_fingerprint: String::new(),
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let generation = || (0_u64..5).prop_map(Generation);
    let applied = || proptest::option::of(number().prop_map(Reduction));
    prop_oneof![
        6 => (session(), hello()).prop_map(|(session, hello)| Event::Joined { session, hello }),
        2 => (session(), applied(), proptest::option::of(number()))
            .prop_map(|(session, applied, pace_us)| Event::Heard { session, applied, pace_us }),
        2 => (session(), number(), 0_u8..20).prop_map(|(session, step, odd)| {
            Event::StateHash { session, step: Step(step), hash: [u8::from(odd == 0); 32] }
        }),
        2 => (session(), generation(), 0_u64..9).prop_map(|(session, generation, peer)| {
            Event::CutOff { session, generation, peer: Incarnation(peer), why: String::new() }
        }),
        2 => (session(), 0_u64..6, 0_u64..9).prop_map(|(session, round, peer)| {
            Event::Tried { session, round, missing: vec![(Incarnation(peer), String::new())] }
        }),
        6 => (session(), generation(), number()).prop_map(|(session, generation, applied)| {
            Event::Ready { session, generation, applied: Reduction(applied) }
        }),
        6 => (session(), generation(), applied(), reason()).prop_map(|(session, generation, applied, reason)| {
            Event::Parked { session, generation, applied, reason }
        }),
        3 => (session(), 0_u32..6, number()).prop_map(|(session, rank, ordinals)| {
            Event::Consumed { session, virtual_rank: VirtualRank(rank), ordinals }
        }),
        1 => session().prop_map(|session| Event::WantsLeave { session }),
        1 => (session(), number())
            .prop_map(|(session, step)| Event::SnapshotWritten { session, step: Step(step) }),
        1 => session().prop_map(|session| Event::SnapshotFailed { session }),
        2 => (session(), any::<bool>()).prop_map(|(session, sees)| Event::StoreProved {
            session,
            why_not: (!sees).then(|| "another disk".to_owned()),
        }),
        2 => session().prop_map(|session| Event::TaskDone { session }),
        1 => session().prop_map(|session| Event::TaskFailed { session, why: "full".to_owned() }),
        2 => session().prop_map(|session| Event::Closed { session }),
        1 => Just(Event::StopRequested),
        1 => Just(Event::PauseRequested { by: "anna".to_owned() }),
        1 => Just(Event::ResumeRequested { by: "ben".to_owned() }),
        1 => Just(Event::SnapshotRequested),
        1 => Just(Event::DataUnfit { why: "broken".to_owned() }),
        3 => Just(Event::Tick),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_a_worker_says_breaks_the_machine(
        events in proptest::collection::vec((event(), 0_u64..900), 1..60),
        virtual_ranks in 1_u32..6,
        max_workers in 1_u32..4,
        restart_at in 0_usize..60,
    ) {
        let config = Config { virtual_ranks, max_workers, expected_workers: 0, gather_ms: 0, ..config() };
        let mut bench = Bench::new(config.clone(), Recovered::default());
        // The shell's part of the contract: a stream says hello once, and its numbers are not used again.
        let mut streams = BTreeSet::new();
        for (index, (event, pass_ms)) in events.into_iter().enumerate() {
            if index == restart_at {
                let recovered = Recovered::replay(&bench.journal, bench.run.snapshot());
                bench.run = lsgan_control::Run::new(config.clone(), recovered, bench.now);
                streams.clear();
            }
            bench.now = bench.now.plus(pass_ms);
            match &event {
                Event::Joined { session, .. } if !streams.insert(*session) => continue,
                Event::Closed { session } => { streams.remove(session); }
                _ => {}
            }
            bench.apply(event);
            let attached: BTreeSet<_> = bench.run.workers().values().map(|w| w.session).collect();
            streams.retain(|session| attached.contains(session));
            prop_assert!(bench.run.next_deadline().is_none_or(|at| at.0 < u64::MAX));
        }
    }
}
