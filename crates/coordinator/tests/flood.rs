//! Three programs that flood a real coordinator: its worker's steps are acknowledged meanwhile, `status` answers, and the
//! journal has what it would have without them.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::half_sent::{self, Taken};
use common::{Coordinator, LIMIT, RUN, Stream};
use lsgan_wire::v1::{self, coordinator_message::Kind};
use tokio::time::{Instant, interval, timeout};

/// How long the flood lasts.
const FLOOD: Duration = Duration::from_secs(4);
/// A step of the worker, which says a heartbeat with it.
const STEP: Duration = Duration::from_millis(50);
/// Longer than this nothing may wait.
const DEAF_MAX: Duration = Duration::from_secs(1);

/// The sizes that half-sent messages announce: more than anybody may send, and less. In so many calls of a connection.
const HALVES_BYTES: [u32; 3] = [60 << 20, 15 << 20, 15 << 20];
const HALVES: u32 = 16;
const SESSION: &str = "/lsgan.v1.Coordinator/Session";

/// One worker takes part, and who floods stands by. A worker that looks silent for a second is gone.
fn run() -> String {
    RUN.replace("steps: 1000", "steps: 1000000")
        .replace("gather: 100ms, failure_timeout: 20s", "max_workers: 1, gather: 100ms, failure_timeout: 1s")
}

/// Says the same until it is told to stop, as fast as the coordinator takes it, with a heartbeat now and then.
async fn flood(
    coordinator: &mut Coordinator,
    message: v1::WorkerMessage,
    stop: &Arc<AtomicBool>,
    said: &Arc<AtomicU64>,
) {
    let (mut stream, stop, said) = (coordinator.open_apart().await, stop.clone(), said.clone());
    stream.say(coordinator.hello("flood")).await;
    assert!(matches!(stream.next().await, Some(Kind::Welcome(_))));
    tokio::spawn(async move {
        while !stop.load(Ordering::Relaxed) {
            for _ in 0..100 {
                stream.say(message.clone()).await;
            }
            stream.say(v1::Heartbeat::default()).await;
            said.fetch_add(100, Ordering::Relaxed);
        }
        stream
    });
}

/// Half-sent messages on one more connection.
fn send_halves(
    coordinator: &Coordinator,
    len_bytes: u32,
    stop: &Arc<AtomicBool>,
) -> tokio::task::JoinHandle<Taken> {
    let address = coordinator.address.trim_start_matches("http://").to_owned();
    let stop = stop.clone();
    tokio::task::spawn_blocking(move || {
        half_sent::send(&address, SESSION, HALVES, len_bytes, &stop).expect("it connects")
    })
}

/// The memory that the coordinator holds, in KiB.
fn resident_kib(coordinator: &Coordinator) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", coordinator.process.id()));
    let status = status.expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("each process has one");
    line.trim().trim_end_matches(" kB").parse().expect("it is a number")
}

/// Steps for as long as the flood lasts: the number of steps, and the longest time in which one was not acknowledged, or a
/// status not answered.
async fn step_on(coordinator: &mut Coordinator, member: &mut Stream) -> (u64, Duration, Duration) {
    let (begin, mut beat) = (Instant::now(), interval(STEP));
    let (mut step, mut unacknowledged, mut unanswered) = (0, Duration::ZERO, Duration::ZERO);
    while begin.elapsed() < FLOOD {
        beat.tick().await;
        let asked = Instant::now();
        let row = v1::StepMetrics { step, ..v1::StepMetrics::default() };
        member.say(v1::Metrics { rows: vec![row] }).await;
        member.say(v1::Heartbeat { applied: Some(2 * (step + 1)), pace_us: None }).await;
        step += 1;
        while !matches!(member.next().await, Some(Kind::MetricsStored(v1::MetricsStored { until })) if until >= step)
        {
        }
        unacknowledged = unacknowledged.max(asked.elapsed());
        let asked = Instant::now();
        coordinator.status().await;
        unanswered = unanswered.max(asked.elapsed());
    }
    (step, unacknowledged, unanswered)
}

/// What the journal has, as a number.
fn count(coordinator: &Coordinator, sql: &str) -> u64 {
    let journal = coordinator.folder.path().join("run/journal.sqlite");
    let db = rusqlite::Connection::open(journal).expect("it is there");
    db.query_row(sql, [], |row| row.get(0)).expect("the table is there")
}

#[tokio::test(flavor = "multi_thread")]
async fn three_floods_hold_up_neither_steps_nor_status_nor_the_journal() {
    let mut coordinator = Coordinator::start_with(&run()).await;
    let mut member = coordinator.with_member().await;
    let (stop, said) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let warning = v1::Warning { text: "look at me ".repeat(300) };
    let rows = (0..512).map(|step| v1::StepMetrics { step, ..v1::StepMetrics::default() });
    flood(&mut coordinator, warning.into(), &stop, &said).await;
    flood(&mut coordinator, v1::Metrics { rows: rows.collect() }.into(), &stop, &said).await;
    let halves = send_halves(&coordinator, HALVES_BYTES[1], &stop);

    let (steps, unacknowledged, unanswered) = step_on(&mut coordinator, &mut member).await;
    stop.store(true, Ordering::Relaxed);
    let taken = timeout(LIMIT, halves).await.expect("it ends").expect("it does not panic");
    let said = said.load(Ordering::Relaxed);
    println!(
        "{steps} steps, one acknowledged after {unacknowledged:?} at most, status after {unanswered:?} at most; {said} \
         messages of the floods, {taken:?}"
    );
    assert!(said > 1_000, "it was no flood: {said} messages");
    assert!(unacknowledged < DEAF_MAX && unanswered < DEAF_MAX, "{unacknowledged:?}, {unanswered:?}");

    let status = coordinator.status().await;
    assert_eq!((status.generation, status.phase()), (1, v1::Phase::Stepping), "{status:?}");
    assert!(status.workers.iter().any(|worker| worker.name == "member"), "{status:?}");
    let told = |status: &v1::RunStatus| {
        let floods = status.notices.iter().filter(|n| n.text.contains("no worker has so much to say"));
        floods.map(|n| n.count).sum::<u32>() == 1
    };
    assert!(told(&status), "{status:?}");
    assert_eq!(count(&coordinator, "select count(*) from metrics"), steps);
    assert_eq!(count(&coordinator, "select count(*) from generations"), 1);
    assert_eq!(
        count(&coordinator, "select count(*) from workers where gone_ms is not null and name = 'member'"),
        0
    );
    let events = count(&coordinator, "select count(*) from events where text like '%look at me%'");
    assert!((64..200).contains(&events), "{events} warnings of the flood are in the journal");
}

/// 40 such messages once cost 2.4 GB.
#[tokio::test(flavor = "multi_thread")]
async fn half_sent_messages_stay_in_the_network() {
    let mut coordinator = Coordinator::start_with(&run()).await;
    let mut member = coordinator.with_member().await;
    let before_kib = resident_kib(&coordinator);
    let stop = Arc::new(AtomicBool::new(false));
    let halves = HALVES_BYTES.map(|len_bytes| send_halves(&coordinator, len_bytes, &stop));
    let (_, unacknowledged, unanswered) = step_on(&mut coordinator, &mut member).await;
    let more_kib = resident_kib(&coordinator).saturating_sub(before_kib);
    stop.store(true, Ordering::Relaxed);
    let mut bytes = 0;
    for half in halves {
        bytes += timeout(LIMIT, half).await.expect("it ends").expect("it does not panic").bytes;
    }
    println!(
        "48 half-sent messages of 15 and 60 MiB: {bytes} bytes were taken, and {more_kib} KiB of memory"
    );
    assert!(bytes < 8 << 20, "{bytes} bytes were taken");
    assert!(more_kib < 32 << 10, "it takes {more_kib} KiB more");
    assert!(unacknowledged < DEAF_MAX && unanswered < DEAF_MAX, "{unacknowledged:?}, {unanswered:?}");
}

/// A worker that has a picture to send when it comes back sends it behind its Hello.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_message_behind_a_hello_is_read_once_its_sender_is_known() {
    let mut coordinator = Coordinator::start_with(&run()).await;
    let member = coordinator.with_member().await;
    let mut worker = coordinator.open_apart().await;
    worker.say(coordinator.hello("second")).await;
    worker.say(v1::Warning { text: "x".repeat(1 << 20) }).await;
    let warned = |status: &v1::RunStatus| status.notices.iter().any(|n| n.text.starts_with("second: xxx"));
    coordinator.until("its warning is read", warned).await;
    assert!(matches!(worker.next().await, Some(Kind::Welcome(_))));
    // Who has led a generation sends pictures; the others do not.
    let png = [&b"\x89PNG\r\n\x1a\n"[..], &vec![0; 7 << 20]].concat();
    member.say(v1::Sample { step: 0, png: png.clone() }).await;
    member.say(v1::Warning { text: "after the picture".to_owned() }).await;
    let warned =
        |status: &v1::RunStatus| status.notices.iter().any(|n| n.text.ends_with("after the picture"));
    coordinator.until("its picture is read", warned).await;
    assert!(coordinator.folder.path().join("run/samples/step-0000000000.png").exists());
    let asked = v1::StopRequest { by: "x".repeat(100 << 10), wait: false };
    let refused = coordinator.client.stop(asked).await.expect_err("it is too long");
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused:?}");
}
