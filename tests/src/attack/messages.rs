//! What a worker can say, with anything in it.

use lsgan_wire::v1;

/// Every kind of message, with this number wherever one fits.
pub fn everything(number: u64) -> Vec<v1::WorkerMessage> {
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
        v1::Load { steps: number, step_us: number, memory_bytes: number, host: why(), ..v1::Load::default() }
            .into(),
        v1::Spans { profile: number, spans: vec![v1::Span::default(); 100], end: None }.into(),
        v1::StoreProof::default().into(),
        v1::Scored { step: number, row: why(), why_not: String::new() }.into(),
        v1::WantsLeave::default().into(),
    ]
}

/// A worker that claims to be another one, and to hold what nobody has.
pub fn forged_hello(run: &v1::RunDescription, number: u64) -> v1::WorkerMessage {
    let incarnation = 1 + number % 2;
    let generation = 1 + number % 3;
    let resume =
        v1::Resume { incarnation, generation, stepping: true, writes: true, spec: "another".to_owned() };
    let pass = v1::Pass { incarnation, generation, until: u64::MAX, led: true, seal: vec![9; 32] };
    let numerics = v1::Numerics {
        libtorch: "0.0.1".to_owned(),
        device: v1::DeviceKind::Cpu.into(),
        ..v1::Numerics::default()
    };
    v1::Hello {
        name: format!("stranger-{number}\u{1b}[2J\n"),
        address: "127.0.0.1:9".to_owned(),
        numerics: Some(numerics),
        holds: Some(number),
        resume: Some(resume),
        data_fingerprint: run.data_fingerprint.clone(),
        pass: Some(pass),
    }
    .into()
}
