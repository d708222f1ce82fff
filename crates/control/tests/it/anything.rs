//! Whatever workers say, in whatever order: the machine does not panic, and its invariants hold.

use std::collections::BTreeSet;

use lsgan_control::report::{CorruptRecord, PublishedSnapshot, StoreProof};
use lsgan_control::{Config, Event, Hello, ParkReason, Recovered, Report, Resume, SessionId};
use lsgan_spec::{Generation, Incarnation, Reduction, Step, VirtualRank};
use proptest::prelude::*;

use crate::bench::{Bench, config, numerics, pass};

/// Small numbers, and the edges.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![20 => 0_u64..24, 1 => Just(u64::MAX), 1 => Just(u64::MAX / 2)]
}

fn step() -> impl Strategy<Value = Step> {
    number().prop_map(Step)
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

/// Some have the pass of a member, as one that was told to form would.
fn hello() -> impl Strategy<Value = Hello> {
    let resume = (number(), 0_u64..4, any::<bool>(), any::<bool>());
    let resume = resume.prop_map(|(incarnation, generation, stepping, writes)| Resume {
        incarnation: Incarnation(incarnation),
        generation: Generation(generation),
        stepping,
        writes,
        spec: if generation == 3 { "another".to_owned() } else { String::new() },
    });
    (proptest::option::of(number()), proptest::option::of(resume), 0_u8..10, 0_u64..3).prop_map(
        |(holds, resume, odd, shown)| Hello {
            name: "w".to_owned(),
            address: "10.0.0.1:4000".to_owned(),
            numerics: numerics(if odd == 0 { "odd" } else { "even" }),
            holds: holds.map(Reduction),
            pass: match (&resume, shown) {
                (_, 0) => None,
                (Some(resume), _) => Some(Box::new(pass(resume.incarnation.0, resume.generation.0))),
                (None, _) => Some(Box::new(pass(1, shown))),
            },
            resume,
            data_fingerprint: String::new(),
        },
    )
}

/// What a worker says.
fn report() -> impl Strategy<Value = Report> {
    let generation = || (0_u64..5).prop_map(Generation);
    let applied = || proptest::option::of(number().prop_map(Reduction));
    let why = || "why".to_owned();
    prop_oneof![
        6 => hello().prop_map(Report::Hello),
        2 => (applied(), proptest::option::of(number()))
            .prop_map(|(applied, pace_us)| Report::Heartbeat { applied, pace_us }),
        1 => generation().prop_map(|generation| Report::Progress { generation }),
        2 => (step(), 0_u8..20)
            .prop_map(|(step, odd)| Report::StateHash { step, hash: [u8::from(odd == 0); 32] }),
        2 => (generation(), 0_u64..9).prop_map(move |(generation, peer)| {
            Report::CutOff { generation, peer: Incarnation(peer), why: why() }
        }),
        2 => (0_u64..6, 0_u64..9).prop_map(move |(round, peer)| {
            Report::Tried { round, missing: vec![(Incarnation(peer), why())] }
        }),
        6 => (generation(), number()).prop_map(|(generation, applied)| {
            Report::Ready { generation, applied: Reduction(applied) }
        }),
        6 => (generation(), applied(), reason())
            .prop_map(|(generation, applied, reason)| Report::Parked { generation, applied, reason }),
        3 => (0_u32..6, number()).prop_map(|(rank, ordinals)| {
            Report::Consumed { virtual_rank: VirtualRank(rank), ordinals }
        }),
        1 => Just(Report::WantsLeave),
        1 => step().prop_map(|step| {
            Report::SnapshotWritten(PublishedSnapshot { step, ..PublishedSnapshot::default() })
        }),
        1 => step().prop_map(move |step| Report::SnapshotFailed { step, why: why() }),
        2 => any::<bool>().prop_map(|sees| Report::StoreProof(StoreProof {
            answer: "answer".to_owned(),
            why_not: if sees { String::new() } else { "another disk".to_owned() },
            ..StoreProof::default()
        })),
        2 => Just(Report::TaskDone { files: Vec::new() }),
        1 => Just(Report::TaskFailed { why: "full".to_owned() }),
        1 => (number(), step()).prop_map(move |(record, step)| {
            Report::CorruptRecords(vec![CorruptRecord { record, key: why(), reason: why(), step }])
        }),
        1 => (step(), any::<bool>()).prop_map(|(step, is_picture)| {
            let png = if is_picture { b"\x89PNG\r\n\x1a\n".to_vec() } else { Vec::new() };
            Report::Sample { step, png }
        }),
    ]
}

#[derive(Clone, Debug)]
enum Happening {
    Says(SessionId, Report),
    Closes(SessionId),
    Operator(Event),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        36 => (session(), report()).prop_map(|(session, report)| Happening::Says(session, report)),
        2 => session().prop_map(Happening::Closes),
        8 => prop_oneof![
            1 => Just(Event::StopRequested),
            1 => Just(Event::PauseRequested { by: "anna".to_owned() }),
            1 => Just(Event::ResumeRequested { by: "ben".to_owned() }),
            1 => Just(Event::SnapshotRequested),
            1 => Just(Event::DataUnfit { why: "broken".to_owned() }),
            3 => Just(Event::Tick),
        ].prop_map(Happening::Operator),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_a_worker_says_breaks_the_machine(
        happenings in proptest::collection::vec((happening(), 0_u64..900), 1..60),
        virtual_ranks in 1_u32..6,
        max_workers in 1_u32..4,
        restart_at in 0_usize..60,
    ) {
        let config = Config { virtual_ranks, max_workers, expected_workers: 0, gather_ms: 0, ..config() };
        let mut bench = Bench::new(config.clone(), Recovered::default());
        // The shell numbers streams anew, and says nothing of one that is over.
        let mut numbers = [0_u64; 6];
        let mut spoke = BTreeSet::new();
        for (index, (happening, pass_ms)) in happenings.into_iter().enumerate() {
            if index == restart_at {
                let recovered = Recovered::replay(&bench.journal, bench.run.snapshot());
                bench.run = lsgan_control::Run::new(config.clone(), recovered, bench.now);
                numbers.iter_mut().for_each(|number| *number += 1);
            }
            bench.now = bench.now.plus(pass_ms);
            match happening {
                Happening::Says(SessionId(place), report) => {
                    let session = 10 * numbers[place as usize] + place;
                    let attached = bench.run.workers().values().any(|w| w.session.0 == session);
                    if !attached && spoke.contains(&session) {
                        numbers[place as usize] += 1;
                        continue;
                    }
                    if bench.say(session, report) {
                        spoke.insert(session);
                    }
                }
                Happening::Closes(SessionId(place)) => {
                    bench.apply(Event::Closed { session: SessionId(10 * numbers[place as usize] + place) });
                    numbers[place as usize] += 1;
                }
                Happening::Operator(event) => drop(bench.apply(event).to_vec()),
            }
            prop_assert!(bench.run.next_deadline().is_none_or(|at| at.0 < u64::MAX));
        }
    }
}
