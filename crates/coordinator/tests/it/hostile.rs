//! Programs that reach a real coordinator's port and say what they like: its run goes on as if they were not there.

use std::time::Duration;

use lsgan_wire::dial;
use lsgan_wire::v1::{self, coordinator_message::Kind};
use tokio::time::{sleep, timeout};

use crate::common::{Coordinator, LIMIT, RUN, warnings};

/// Every kind of message but Hello, with the worst numbers.
fn everything(number: u64) -> Vec<v1::WorkerMessage> {
    let why = || "\u{1b}[2Jwhy\n".to_owned();
    let row = v1::StepMetrics { step: number, ..v1::StepMetrics::default() };
    let record =
        |record| v1::CorruptRecord { record, key: why(), reason: why(), step: number.wrapping_mul(record) };
    let span = v1::Span { kind: i32::MAX, step: number, begin_ns: number, len_ns: number };
    let file = v1::FinalFile { name: "../run/journal".to_owned(), url: why(), blake3: why() };
    vec![
        v1::Heartbeat { applied: Some(number), pace_us: Some(number) }.into(),
        v1::Progress { generation: 1 }.into(),
        v1::Ready { generation: 1, applied: number }.into(),
        v1::Parked { generation: 1, applied: Some(number), reason: 4, why: why() }.into(),
        v1::CutOff { generation: 1, incarnation: 1, why: why() }.into(),
        v1::TriedPeers { round: 1, unreached: vec![v1::Unreached { incarnation: 1, why: why() }] }.into(),
        v1::Consumed { virtual_rank: u32::MAX, ordinals: number }.into(),
        v1::Metrics { rows: vec![row] }.into(),
        v1::StateHash { step: number, hash: vec![7; 32] }.into(),
        v1::StateHash { step: number, hash: vec![7; 3] }.into(),
        v1::StoreProof { secret: why(), answer: "../x".to_owned(), why_not: String::new() }.into(),
        v1::SnapshotWritten { step: number, blocked_ms: f64::NAN, ..v1::SnapshotWritten::default() }.into(),
        v1::SnapshotFailed { step: number, why: why() }.into(),
        v1::TaskDone { files: vec![file] }.into(),
        v1::TaskFailed { why: why() }.into(),
        v1::CorruptRecords { records: (0..1_000).map(record).collect() }.into(),
        v1::CorruptRecords { records: vec![record(number)] }.into(),
        v1::Sample { step: number, png: vec![0; 100] }.into(),
        v1::LogLines { lines: vec![why(); 1_000], lost: number }.into(),
        v1::Scored { step: number, row: "{".repeat(8 << 10), why_not: String::new() }.into(),
        v1::Spans { profile: number, spans: vec![span; 1_000], end: None }.into(),
        v1::WantsLeave {}.into(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_follows_from_what_a_stream_says_without_a_hello() {
    let mut coordinator = Coordinator::start().await;
    let _member = coordinator.with_member().await;
    let mut strangers = Vec::new();
    for number in [u64::MAX, i64::MAX as u64, 500, 0] {
        let stranger = coordinator.open().await;
        for message in everything(number) {
            stranger.say(message).await;
        }
        strangers.push(stranger);
    }
    let ignored = "a message of a program that is no worker of this run is ignored: it came before the Hello that says who \
                   sends it. More of the same stream are only counted";
    let told = |status: &v1::RunStatus| warnings(status).contains(&(ignored, 4));
    let status = coordinator.until("each stream is told of once", told).await;
    assert_eq!(status.phase(), v1::Phase::Stepping, "{status:?}");
    assert_eq!((status.generation, status.workers.len(), status.corrupt_count), (1, 1, 0));
    assert!(status.metrics.is_none());
    assert_eq!((status.snapshot_step, status.step), (None, 0));
    assert_eq!(warnings(&status), [(ignored, 4)]);
}

/// It is admitted as a standby, and says what only members may say.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_moves_neither_the_run_nor_its_numbers() {
    let mut coordinator = Coordinator::start().await;
    let _member = coordinator.with_member().await;
    let mut stranger = coordinator.open().await;
    let claims =
        v1::Resume { incarnation: 1, generation: 1, stepping: true, writes: true, spec: String::new() };
    let pass = v1::Pass { incarnation: 1, generation: 1, until: 1000, led: true, seal: vec![0; 32] };
    let hello = v1::Hello {
        holds: Some(1_998),
        resume: Some(claims),
        pass: Some(pass),
        ..coordinator.hello("stranger")
    };
    stranger.say(hello.clone()).await;
    assert!(matches!(stranger.next().await, Some(Kind::Welcome(v1::Welcome { incarnation: 2, .. }))));
    stranger.say(hello).await;
    for message in everything(900) {
        stranger.say(message).await;
    }
    let gone = |status: &v1::RunStatus| {
        status.workers.len() == 1 && status.notices.iter().any(|n| n.text.contains("left"))
    };
    let status = coordinator.until("it has left, as the last message says", gone).await;
    assert_eq!(status.phase(), v1::Phase::Stepping, "{status:?}");
    assert_eq!((status.generation, status.corrupt_count, status.step), (1, 0, 0));
    assert_eq!((status.metrics.is_some(), status.snapshot_step), (false, None));
    let [(text, 1)] = warnings(&status)[..] else { panic!("{:?}", warnings(&status)) };
    assert!(text.starts_with("a message of worker 2 (stranger) is ignored: it is a second Hello"), "{text}");
}

/// Rows that are stored stay. Those of steps that nobody can have done would keep the true ones out.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_metrics_are_taken_of_steps_that_can_be_done_by_now() {
    let run =
        RUN.replace("steps: 1000", "steps: 1000000").replace("gather:", "lease_horizon_steps: 10, gather:");
    let mut coordinator = Coordinator::start_with(&run).await;
    let member = coordinator.with_member().await;
    let row = |step| v1::Metrics { rows: vec![v1::StepMetrics { step, ..v1::StepMetrics::default() }] };
    for step in [3, 900_000, 4] {
        member.say(row(step)).await;
    }
    let newest = |status: &v1::RunStatus| status.metrics.as_ref().is_some_and(|row| row.step == 4);
    let status = coordinator.until("the last row is the newest", newest).await;
    let [(text, 1)] = warnings(&status)[..] else { panic!("{:?}", warnings(&status)) };
    assert!(text.contains("the step of a row of metrics is 900000; accepted is a step whose data"), "{text}");
}

/// Pictures are thinned by their steps, and hashes are compared by theirs.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_of_a_state_that_nobody_can_have_by_now() {
    let run =
        RUN.replace("steps: 1000", "steps: 1000000").replace("gather:", "lease_horizon_steps: 10, gather:");
    let mut coordinator = Coordinator::start_with(&run).await;
    let member = coordinator.with_member().await;
    let picture = |step| v1::Sample { step, png: b"\x89PNG\r\n\x1a\n".to_vec() };
    member.say(picture(900_000)).await;
    member.say(v1::StateHash { step: 900_000, hash: vec![7; 32] }).await;
    member.say(picture(4)).await;
    let samples = coordinator.folder.path().join("run/samples");
    let there = samples.join("step-0000000004.png");
    coordinator.until("the picture that can be is there", |_| there.exists()).await;
    assert!(!samples.join("step-0000900000.png").exists());
    let status = coordinator.status().await;
    let [(text, 1)] = warnings(&status)[..] else { panic!("{:?}", warnings(&status)) };
    assert!(text.contains("the step of a picture is 900000; accepted is a step whose data"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_address_is_none_is_refused_and_told_what_to_set() {
    let mut coordinator = Coordinator::start().await;
    let mut worker = coordinator.open().await;
    worker.say(v1::Hello { address: "node-3".to_owned(), ..coordinator.hello("anna\u{1b}[2J") }).await;
    let Some(Kind::Refused(v1::Refused { why })) = worker.next().await else { panic!("it is refused") };
    assert!(why.contains("a worker's address is `node-3`") && why.contains("--advertise IP"), "{why}");
    assert_eq!(worker.next().await, None, "its stream is closed");
    let status = coordinator.status().await;
    let text = format!("anna [2J was refused: {why}");
    assert_eq!(warnings(&status), [(text.as_str(), 1)]);
}

/// What came behind the Hello that was refused is in the queue already.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_closed_stream_left_behind_is_not_acted_upon() {
    let mut coordinator = Coordinator::start().await;
    let mut worker = coordinator.open().await;
    worker.say(v1::Hello { data_fingerprint: "another".to_owned(), ..coordinator.hello("other") }).await;
    // A second Hello would be right.
    worker.say(coordinator.hello("other")).await;
    for _ in 0..100 {
        worker.say(v1::Warning { text: "hear me".to_owned() }).await;
    }
    assert!(matches!(worker.next().await, Some(Kind::Refused(_))));
    assert_eq!(worker.next().await, None);
    // An honest worker's message comes behind all that is left of them.
    let _member = coordinator.with_member().await;
    let status = coordinator.status().await;
    assert_eq!(status.workers.len(), 1, "{status:?}");
    assert!(!warnings(&status).iter().any(|(text, _)| text.contains("hear me")), "{status:?}");
}

/// One record that counts would end this run, and all of this data set decode.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_names_records_which_decode_ends_no_run() {
    let run = RUN.replace("sigma: 0.01 } } }", "sigma: 0.01 } }, max_corrupt: 0.0 }");
    assert_ne!(run, RUN);
    let mut coordinator = Coordinator::start_with(&run).await;
    let member = coordinator.with_member().await;
    let why = || "why".to_owned();
    let record = |record| v1::CorruptRecord { record, key: why(), reason: why(), step: 0 };
    member.say(v1::CorruptRecords { records: (0..1_000).map(record).collect() }).await;
    let words = "member says that record 0 does not decode. It decodes here, and does not count";
    let told = |status: &v1::RunStatus| warnings(status).iter().any(|(text, _)| text.contains(words));
    let status = coordinator.until("a person is told of it", told).await;
    assert_eq!((status.phase(), status.corrupt_count), (v1::Phase::Stepping, 0), "{status:?}");
}

/// A worker says it unasked, and operators say it of what is not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_score_is_kept_of_a_worker_that_was_asked_and_of_a_snapshot_that_is_there() {
    let mut coordinator = Coordinator::start().await;
    let member = coordinator.with_member().await;
    let row = r#"{"step":10,"weights":"ema","scores":[{"metric":"modes","value":8.0}],"samples":5000}"#;
    member.say(v1::Scored { step: 10, row: row.to_owned(), why_not: String::new() }).await;
    let words = "it says what a snapshot scores, which only a worker that was asked may say";
    let told = |status: &v1::RunStatus| warnings(status).iter().any(|(text, _)| text.contains(words));
    coordinator.until("a person is told of it", told).await;
    let long = "x".repeat(5_000);
    let refusals = [
        (row, "the run has no snapshot of step 10"),
        ("{}", "this is no score"),
        (long.as_str(), "bytes; accepted are at most 4096"),
    ];
    for (row, why) in refusals {
        let request = v1::KeepScoreRequest { by: "anna".to_owned(), row: row.to_owned() };
        let refused = coordinator.client.keep_score(request).await.expect_err(why);
        assert!(refused.message().contains(why), "{refused}");
    }
    let known = coordinator.client.list_scores(v1::ListScoresRequest { step: 10 }).await;
    assert_eq!(known.expect("it answers").into_inner().rows, [""; 0]);
}

/// Readers who take nothing keep others out, and only for a while; what is asked for is looked at first.
#[tokio::test(flavor = "multi_thread")]
async fn so_many_read_the_journal_at_a_time_and_no_more() {
    let mut coordinator = Coordinator::start().await;
    let asked = |names: &[&str]| v1::ReadJournalRequest {
        kind: Some(v1::read_journal_request::Kind::Metrics(v1::MetricsFrom {
            step: 0,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        })),
        follow: true,
    };
    let refused = coordinator.client.read_journal(asked(&["lose"])).await.expect_err("there is none");
    assert!(refused.message().contains("no scalar is called lose"), "{refused}");
    let refused = coordinator.client.read_journal(v1::ReadJournalRequest::default()).await;
    assert_eq!(refused.expect_err("it is of nothing").code(), tonic::Code::InvalidArgument);
    let mut readers = Vec::new();
    for _ in 0..16 {
        // Each on a connection of its own: one takes 16 calls at a time.
        let address = coordinator.address.parse().expect("it is an address");
        let mut client = dial(&address).await.expect("it is there");
        let pages = client.read_journal(asked(&[])).await.expect("there is room").into_inner();
        readers.push((client, pages));
    }
    let refused = coordinator.client.read_journal(asked(&[])).await.expect_err("there is none any more");
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused}");
    drop(readers);
    let turn = async {
        while coordinator.client.read_journal(asked(&[])).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, turn).await.expect("it is another's turn");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_workers_than_one_command_runs_are_not_asked_for() {
    let mut coordinator = Coordinator::start().await;
    for workers in [0, 1_025, u32::MAX] {
        let refused = coordinator.client.scale(v1::ScaleRequest { workers }).await.expect_err("too many");
        assert_eq!(refused.message(), format!("{workers} workers are asked for; accepted are 1 to 1024"));
    }
}
