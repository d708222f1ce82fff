//! A program that reaches the coordinator's port while real workers train, and says whatever it likes: the weights are those
//! of an undisturbed run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lsgan_tests::disturb::{Cluster, assert_undisturbed_weights};
use lsgan_wire::{dial, v1};
use tokio::time::timeout;

/// Longer than the coordinator takes to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// Streams that the attack opens at least: it goes on for as long as the run.
const STREAMS_MIN: u64 = 200;

/// Every kind of message, with this number wherever one fits.
fn everything(number: u64) -> Vec<v1::WorkerMessage> {
    let why = || "because".to_owned();
    let row = v1::StepMetrics { step: number, ..v1::StepMetrics::default() };
    let record = v1::CorruptRecord { record: number, key: why(), reason: why(), step: number };
    let file = v1::FinalFile { name: "generator".to_owned(), url: why(), blake3: why() };
    let generation = 1 + number % 3;
    vec![
        v1::Metrics { rows: vec![row] }.into(),
        v1::CorruptRecords { records: vec![record] }.into(),
        v1::Heartbeat { applied: Some(number), pace_us: Some(number) }.into(),
        v1::Progress { generation }.into(),
        v1::Ready { generation, applied: number }.into(),
        v1::Parked { generation, applied: Some(number), reason: 4, why: why() }.into(),
        v1::CutOff { generation, incarnation: 1, why: why() }.into(),
        v1::TriedPeers { round: 1, unreached: vec![v1::Unreached { incarnation: 1, why: why() }] }.into(),
        v1::Consumed { virtual_rank: 0, ordinals: number }.into(),
        v1::StateHash { step: number, hash: vec![7; 32] }.into(),
        v1::SnapshotWritten { step: number, ..v1::SnapshotWritten::default() }.into(),
        v1::SnapshotFailed { step: number, why: why() }.into(),
        v1::TaskDone { files: vec![file] }.into(),
        v1::TaskFailed { why: why() }.into(),
        v1::Sample { step: number, png: vec![0; 64] }.into(),
        v1::Warning { text: why() }.into(),
    ]
}

/// A worker that claims to be another one, and to hold what nobody has.
fn forged_hello(run: &v1::RunDescription, number: u64) -> v1::WorkerMessage {
    let (incarnation, generation) = (1 + number % 2, 1);
    let resume =
        v1::Resume { incarnation, generation, stepping: true, writes: true, spec: "another".to_owned() };
    let pass = v1::Pass { incarnation, generation, until: u64::MAX, led: true, seal: vec![9; 32] };
    let numerics = v1::Numerics {
        libtorch: "0.0.1".to_owned(),
        device: v1::DeviceKind::Cpu.into(),
        ..v1::Numerics::default()
    };
    v1::Hello {
        name: format!("stranger-{number}"),
        address: "127.0.0.1:9".to_owned(),
        numerics: Some(numerics),
        holds: Some(number),
        resume: Some(resume),
        data_fingerprint: run.data_fingerprint.clone(),
        pass: Some(pass),
    }
    .into()
}

/// Opens stream after stream until it is told to stop, or the coordinator is gone.
async fn attack(address: String, stop: Arc<AtomicBool>, streams: Arc<AtomicU64>) {
    let address = address.parse().expect("it is an address");
    let Ok(mut client) = dial(&address).await else { return };
    let Ok(run) = client.describe_run(v1::DescribeRunRequest {}).await else { return };
    let run = run.into_inner();
    while !stop.load(Ordering::Relaxed) {
        let number = streams.fetch_add(1, Ordering::Relaxed);
        let said = [u64::MAX, i64::MAX as u64, number, 0][number as usize % 4];
        let mut messages = everything(said);
        if !number.is_multiple_of(3) {
            messages.insert(0, forged_hello(&run, number));
        }
        let Ok(answer) = client.session(futures::stream::iter(messages)).await else { return };
        let mut inbound = answer.into_inner();
        while let Ok(Ok(Some(_))) = timeout(ANSWERS_WITHIN, inbound.message()).await {}
    }
}

#[test]
fn an_attacked_run_ends_with_the_weights_of_an_undisturbed_one() {
    let cluster = Cluster::start(2, &[]);
    cluster.wait_for_step(1);
    let (stop, streams) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let runtime = tokio::runtime::Runtime::new().expect("it starts");
    for _ in 0..3 {
        runtime.spawn(attack(cluster.coordinator.address.clone(), stop.clone(), streams.clone()));
    }
    let lab = cluster.ends_well();
    stop.store(true, Ordering::Relaxed);
    runtime.shutdown_timeout(ANSWERS_WITHIN);
    let streams = streams.load(Ordering::Relaxed);
    assert!(streams >= STREAMS_MIN, "only {streams} streams were opened while the run went on");
    assert_undisturbed_weights(&lab);
    assert_eq!(lab.journal().generations().len(), 1, "no stranger was a reason to form another generation");
}
