//! What is said by those who may not say it, or by those who may and is out of all bounds, changes nothing.

use lsgan_control::gate::{PICTURE_BYTES_MAX, Rejection, clean};
use lsgan_control::report::{CorruptRecord, FinalFile, PublishedSnapshot, StoreProof};
use lsgan_control::{
    Config, Hello, ParkReason, PassKey, Phase, Recovered, Report, Resume, Rights, SessionId, Start,
};
use lsgan_spec::{Generation, Incarnation, Reduction, Step, VirtualRank};
use proptest::prelude::*;

use crate::bench::{Bench, config, numerics, pass, resume};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

fn hello() -> Hello {
    Hello {
        name: "anna".to_owned(),
        address: "10.0.0.9:4000".to_owned(),
        numerics: numerics("x86"),
        holds: None,
        resume: None,
        data_fingerprint: String::new(),
        pass: None,
    }
}

/// Every report but Hello, of a state of so many reductions and a step, a record, a virtual rank and a count as high.
fn all_reports(number: u64) -> Vec<Report> {
    let (generation, step, applied) = (Generation(1), Step(number), Reduction(number));
    let why = || "why".to_owned();
    let record = CorruptRecord { record: number, key: why(), reason: why(), step };
    vec![
        Report::Heartbeat { applied: Some(applied), pace_us: Some(number) },
        Report::Progress { generation },
        Report::Ready { generation, applied },
        Report::Parked { generation, applied: Some(applied), reason: ParkReason::Failed(why()) },
        Report::CutOff { generation, peer: Incarnation(1), why: why() },
        Report::Tried { round: number, missing: vec![(Incarnation(1), why())] },
        Report::Consumed { virtual_rank: VirtualRank(number as u32), ordinals: number },
        Report::WantsLeave,
        Report::StateHash { step, hash: [9; 32] },
        Report::StoreProof(StoreProof { answer: why(), ..StoreProof::default() }),
        Report::SnapshotWritten(PublishedSnapshot { step, ..PublishedSnapshot::default() }),
        Report::SnapshotFailed { step, why: why() },
        Report::TaskDone { files: Vec::new() },
        Report::TaskFailed { why: why() },
        Report::CorruptRecords(vec![record]),
        Report::Warning { text: why() },
        Report::Sample { step, png: PNG.to_vec() },
    ]
}

#[test]
fn a_stream_without_an_incarnation_says_hello_once_and_nothing_else() {
    let bench = Bench::stepping(config(), 2);
    let stranger = SessionId(77);
    for report in all_reports(3) {
        assert_eq!(bench.run.admits(stranger, &report), Err(Rejection::NoHello), "{report:?}");
    }
    assert_eq!(bench.run.admits_metrics(stranger, [Step(1)]), Err(Rejection::NoHello));
    assert_eq!(bench.run.admits(stranger, &Report::Hello(hello())), Ok(()));
    assert_eq!(bench.run.admits(SessionId(1), &Report::Hello(hello())), Err(Rejection::SecondHello));
}

/// A stranger says Hello, is a standby, and says all that a member can say.
#[test]
fn a_standby_says_nothing_for_a_generation() {
    let mut bench = Bench::stepping(Config { max_workers: 2, ..config() }, 2);
    bench.heard(1, 3);
    bench.heard(2, 3);
    bench.join(3, None, None);
    for report in all_reports(3) {
        let before = bench.run.clone();
        let harmless = matches!(
            report,
            Report::WantsLeave | Report::Warning { .. } | Report::Tried { .. } | Report::StoreProof(_)
        );
        if harmless
            || matches!(report, Report::Heartbeat { .. } | Report::Parked { .. } | Report::Consumed { .. })
        {
            assert!(bench.say(3, report.clone()) || !harmless, "{report:?}");
        } else {
            let rejected = bench.run.admits(SessionId(3), &report).expect_err("it is no member");
            assert!(matches!(rejected, Rejection::NotEntitled { .. }), "{report:?}: {rejected}");
        }
        let held = |run: &lsgan_control::Run| run.workers().get(&Incarnation(3)).and_then(|w| w.holds);
        assert_eq!((held(&bench.run), bench.run.phase()), (None, before.phase()), "{report:?}");
        if matches!(report, Report::WantsLeave) {
            break;
        }
    }
    assert!(bench.run.admits_metrics(SessionId(3), [Step(1)]).is_err());
}

#[test]
fn a_member_says_nothing_beyond_what_its_generation_can_reach() {
    let bench = Bench::stepping(config(), 2);
    for report in all_reports(1 << 40) {
        let bounded = !matches!(
            report,
            Report::Progress { .. }
                | Report::CutOff { .. }
                | Report::Tried { .. }
                | Report::WantsLeave
                | Report::StoreProof(_)
                | Report::Warning { .. }
                | Report::TaskDone { .. }
                | Report::TaskFailed { .. }
        );
        // A generation that steps does not hear again that it is ready.
        let bounded = bounded && !matches!(report, Report::Ready { .. });
        let admitted = bench.run.admits(SessionId(1), &report);
        assert_eq!(matches!(admitted, Err(Rejection::OutOfBounds { .. })), bounded, "{report:?}");
    }
    let text = bench.run.admits(SessionId(1), &Report::SnapshotFailed { step: Step(11), why: String::new() });
    assert_eq!(text.expect_err("ten steps").to_string(), "a step is 11; accepted is at most 10");
}

#[test]
fn the_first_rank_alone_says_what_was_measured_and_only_of_steps_that_can_be() {
    let mut bench = Bench::stepping(config(), 2);
    assert_eq!(bench.run.admits_metrics(SessionId(1), (0..10).map(Step)), Ok(()));
    let beyond = bench.run.admits_metrics(SessionId(1), [Step(10)]).expect_err("it ends before");
    assert_eq!(beyond.to_string(), "the step of a row of metrics is 10; accepted is less than 10");
    assert_eq!(bench.run.admits_metrics(SessionId(2), [Step(1)]), Err(Rejection::Late));
    let png = |len| Report::Sample { step: Step(2), png: PNG.iter().copied().chain(vec![0; len]).collect() };
    assert_eq!(bench.run.admits(SessionId(1), &png(0)), Ok(()));
    assert_eq!(bench.run.admits(SessionId(2), &png(0)), Err(Rejection::Late));
    assert!(matches!(
        bench.run.admits(SessionId(1), &png(PICTURE_BYTES_MAX)),
        Err(Rejection::OutOfBounds { field: "the size of a picture", .. })
    ));
    let html = Report::Sample { step: Step(2), png: b"<html>".to_vec() };
    assert!(matches!(bench.run.admits(SessionId(1), &html), Err(Rejection::OutOfBounds { .. })));
    // It comes back to a coordinator that was started again, and was the first rank of the newest generation.
    bench.close(2);
    let mut again = bench.restarted();
    again.join(11, Some(4), resume(1, 1, false));
    assert_eq!(again.run.admits_metrics(SessionId(11), [Step(1)]), Ok(()));
}

#[test]
fn a_member_is_ready_with_the_state_of_its_generation_and_no_other() {
    let mut bench = Bench::with_two();
    assert!(!bench.say(1, Report::Ready { generation: Generation(1), applied: Reduction(7) }));
    assert!(bench.say(1, Report::Ready { generation: Generation(1), applied: Reduction(0) }));
    assert!(bench.say(2, Report::Ready { generation: Generation(0), applied: Reduction(9) }), "late");
    bench.ready(2, 1, 0);
    assert_eq!(*bench.run.phase(), Phase::Stepping);
}

#[test]
fn only_the_worker_that_has_the_task_ends_it() {
    let mut bench = Bench::stepping(config(), 2);
    bench.all_parked(1..=2, 1, Some(20), ParkReason::Boundary);
    let Phase::Closing { writer, .. } = bench.run.phase().clone() else { panic!("{:?}", bench.run.phase()) };
    let (writer, other) = if writer == Incarnation(1) { (1, 2) } else { (2, 1) };
    bench.join(3, None, None);
    let done = |name: &str| Report::TaskDone {
        files: vec![FinalFile { name: name.to_owned(), url: String::new(), blake3: String::new() }],
    };
    let admits = |session, report: &Report| bench.run.admits(SessionId(session), report);
    assert_eq!(admits(other, &done("generator")), Err(Rejection::Late));
    assert!(matches!(admits(3, &done("generator")), Err(Rejection::NotEntitled { .. })));
    assert!(matches!(admits(writer, &done("../../secret")), Err(Rejection::OutOfBounds { .. })));
    assert_eq!(admits(writer, &done("generator")), Ok(()));
}

#[test]
fn an_address_is_one_that_peers_can_use() {
    let bench = Bench::stepping(config(), 1);
    for wrong in [
        "",
        "host",
        "10.0.0.1",
        "10.0.0.1:0",
        "0.0.0.0:4000",
        "[::]:4000",
        "224.0.0.1:4000",
        "10.0.0.1:70000",
    ] {
        let hello = Report::Hello(Hello { address: wrong.to_owned(), ..hello() });
        let why = bench.run.admits(SessionId(9), &hello).expect_err(wrong).to_string();
        assert!(why.contains(&format!("`{wrong}`")) && why.contains("--advertise IP"), "{why}");
    }
    for right in ["10.0.0.1:4000", "[fd00::7]:4000", "127.0.0.1:1"] {
        let hello = Report::Hello(Hello { address: right.to_owned(), ..hello() });
        assert_eq!(bench.run.admits(SessionId(9), &hello), Ok(()));
    }
}

#[test]
fn texts_are_short_and_cannot_steer_a_terminal() {
    let Report::Warning { text } = clean(Report::Warning { text: "a\u{1b}[2J\nb".to_owned() }) else {
        panic!()
    };
    assert_eq!(text, "a [2J b");
    let turned = "a\u{202e}gnp.b\u{2028}c\u{9b}1m".to_owned();
    let Report::Warning { text } = clean(Report::Warning { text: turned }) else { panic!() };
    assert_eq!(text, "a gnp.b c 1m");
    let Report::Warning { text } = clean(Report::Warning { text: "ä".repeat(10_000) }) else { panic!() };
    assert_eq!(text, "ä".repeat(2_048));
    let Report::Hello(hello) = clean(Report::Hello(Hello { name: "a\nb".to_owned(), ..hello() })) else {
        panic!()
    };
    assert_eq!(hello.name, "a b");
}

/// The operator who waits for the snapshot is told that there is none. A member that writes none must not end that wait.
#[test]
fn only_the_writer_says_that_a_snapshot_could_not_be_written() {
    let mut bench = Bench::stepping(config(), 2);
    let writer = bench.run.writer().expect("both see the store").0;
    let failed = || Report::SnapshotFailed { step: Step(1), why: "full".to_owned() };
    bench.apply(lsgan_control::Event::SnapshotRequested);
    assert!(!bench.say(3 - writer, failed()));
    assert!(bench.run.wants_snapshot());
    assert_eq!(bench.run.admits(SessionId(3 - writer), &failed()), Err(Rejection::Late));
    assert!(bench.say(writer, failed()));
    assert!(!bench.run.wants_snapshot());
}

/// Without a pass of this run nobody is believed to be a worker of before, or to hold anything.
#[test]
fn what_a_worker_holds_is_believed_with_a_pass_of_this_run_alone() {
    let another_run = PassKey::of("another run").seal(pass(1, 1).rights);
    let never_formed = pass(1, 0);
    let of_another_worker = pass(2, 1);
    let holds_less = PassKey::default().seal(Rights { until: Step(3), ..pass(1, 1).rights });
    for (shown, believed) in [
        (None, false),
        (Some(another_run), false),
        (Some(never_formed), false),
        (Some(of_another_worker), true),
        (Some(holds_less), false),
        (Some(pass(1, 1)), true),
    ] {
        let mut bench = Bench::stepping(config(), 1);
        bench.close(1);
        let hello = Hello { holds: Some(Reduction(8)), pass: shown.clone().map(Box::new), ..hello() };
        assert!(bench.say(2, Report::Hello(hello)));
        let worker = bench.run.workers().values().next().expect("it is admitted");
        assert_eq!(worker.holds.is_some(), believed, "{shown:?}");
    }
}

/// A stranger that says it is a member which steps would make everybody wait for its parking.
#[test]
fn nobody_resumes_as_another_worker() {
    let stepping = Resume {
        incarnation: Incarnation(2),
        generation: Generation(1),
        stepping: true,
        writes: true,
        spec: String::new(),
    };
    for shown in [None, Some(pass(1, 1)), Some(PassKey::of("another run").seal(pass(2, 1).rights))] {
        let mut bench = Bench::stepping(config(), 2);
        let hello = Hello {
            holds: Some(Reduction(9)),
            resume: Some(stepping.clone()),
            pass: shown.map(Box::new),
            ..hello()
        };
        bench.say(3, Report::Hello(hello));
        assert_eq!(*bench.run.phase(), Phase::Stepping, "the true worker 2 goes on");
        assert_eq!(bench.run.workers().len(), 3);
        assert!(!bench.run.workers()[&Incarnation(3)].computing);
    }
}

/// The process that a restarted coordinator finds first is none of this run's.
#[test]
fn a_stranger_sets_no_state_for_a_run_that_was_lost() {
    let mut bench = Bench::stepping(config(), 1);
    bench.close(1);
    let mut bench = bench.restarted();
    bench.say(5, Report::Hello(Hello { holds: Some(Reduction(19)), ..hello() }));
    bench.say(5, Report::StoreProof(StoreProof { answer: "a".to_owned(), ..StoreProof::default() }));
    while !matches!(bench.run.phase(), Phase::Forming { .. }) {
        bench.wake();
    }
    assert_eq!(bench.form(5).start, Start::Fresh);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// A standby's reports, whatever their numbers, change nothing but the standby.
    #[test]
    fn a_stranger_moves_no_member(number in prop_oneof![0_u64..40, Just(u64::MAX)], which in 0_usize..17) {
        let mut bench = Bench::stepping(Config { max_workers: 2, ..config() }, 2);
        bench.join(3, None, None);
        let before = bench.run.clone();
        bench.say(3, all_reports(number).swap_remove(which));
        let members = |run: &lsgan_control::Run| {
            let all: Vec<_> = run.workers().iter().filter(|(i, _)| i.0 < 3).map(|(i, w)| (*i, w.clone())).collect();
            all
        };
        prop_assert_eq!(members(&before), members(&bench.run));
        prop_assert_eq!(before.phase(), bench.run.phase());
        prop_assert_eq!(before.snapshot(), bench.run.snapshot());
    }
}

#[test]
fn a_run_that_no_worker_speaks_for_recovers_as_it_was() {
    let mut bench = Bench::new(config(), Recovered::default());
    for (session, report) in (1..).zip(all_reports(3)) {
        assert!(!bench.say(session, report));
    }
    assert_eq!(bench.journal, []);
}

/// A stranger says Hello and never whether it sees the store, and its heartbeats go on.
#[test]
fn a_worker_that_never_proves_anything_does_not_hold_up_the_beginning() {
    let mut bench =
        Bench::new(Config { expected_workers: 0, gather_ms: 0, ..config() }, Recovered::default());
    bench.join_unproved(9);
    bench.join(1, None, None);
    assert_eq!(*bench.run.phase(), Phase::Gathering, "it may prove it in a moment");
    while *bench.run.phase() == Phase::Gathering {
        bench.now = bench.now.plus(500);
        assert!(bench.now.0 < 20_000, "it is waited for");
        bench.heard_nothing_new(9);
        bench.heard_nothing_new(1);
        bench.apply(lsgan_control::Event::Tick);
    }
    assert_eq!(bench.members(), [2]);
}
