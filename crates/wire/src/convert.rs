//! Between the wire's messages and the types of `control`, both ways.

use lsgan_control::report::{CorruptRecord, FinalFile, PublishedSnapshot, StoreProof};
use lsgan_control::{
    Form, Hello, Member, Message, Outcome, ParkReason, Pass, Report, Resume, Rights, RingKey, Start, Task,
    Wish,
};
use lsgan_spec::{DeviceKind, Generation, Incarnation, Numerics, Reduction, Step, VirtualRank};

use crate::v1::{self, coordinator_message, worker_message};

/// What a worker says. None for what is no part of the protocol: rows of metrics, lines of logs, loads, scores and spans.
///
/// # Errors
/// A sentence that says what is wrong with a message of another version or of a foreign program.
pub fn report(message: worker_message::Kind) -> Result<Option<Report>, String> {
    use worker_message::Kind;
    Ok(Some(match message {
        Kind::Hello(hello) => Report::Hello(from_hello(hello)?),
        Kind::Heartbeat(beat) => {
            Report::Heartbeat { applied: beat.applied.map(Reduction), pace_us: beat.pace_us }
        }
        Kind::Progress(v1::Progress { generation }) => {
            Report::Progress { generation: Generation(generation) }
        }
        Kind::Ready(ready) => {
            Report::Ready { generation: Generation(ready.generation), applied: Reduction(ready.applied) }
        }
        Kind::Parked(parked) => Report::Parked {
            generation: Generation(parked.generation),
            applied: parked.applied.map(Reduction),
            reason: park_reason(parked)?,
        },
        Kind::CutOff(v1::CutOff { generation, incarnation, why }) => {
            Report::CutOff { generation: Generation(generation), peer: Incarnation(incarnation), why }
        }
        Kind::TriedPeers(v1::TriedPeers { round, unreached }) => {
            let missing = unreached.into_iter().map(|u| (Incarnation(u.incarnation), u.why)).collect();
            Report::Tried { round, missing }
        }
        Kind::Consumed(v1::Consumed { virtual_rank, ordinals }) => {
            Report::Consumed { virtual_rank: VirtualRank(virtual_rank), ordinals }
        }
        Kind::WantsLeave(_) => Report::WantsLeave,
        Kind::StateHash(state) => {
            Report::StateHash { step: Step(state.step), hash: state_hash(&state.hash)? }
        }
        Kind::StoreProof(v1::StoreProof { secret, answer, why_not }) => {
            Report::StoreProof(StoreProof { secret, answer, why_not })
        }
        Kind::SnapshotWritten(written) => Report::SnapshotWritten(from_snapshot(written)),
        Kind::SnapshotFailed(v1::SnapshotFailed { step, why }) => {
            Report::SnapshotFailed { step: Step(step), why }
        }
        Kind::TaskDone(done) => Report::TaskDone { files: done.files.into_iter().map(from_file).collect() },
        Kind::TaskFailed(v1::TaskFailed { why }) => Report::TaskFailed { why },
        Kind::CorruptRecords(found) => {
            Report::CorruptRecords(found.records.into_iter().map(from_record).collect())
        }
        Kind::Warning(v1::Warning { text }) => Report::Warning { text },
        Kind::Sample(v1::Sample { step, png }) => Report::Sample { step: Step(step), png },
        Kind::Metrics(_) | Kind::LogLines(_) | Kind::Load(_) | Kind::Scored(_) | Kind::Spans(_) => {
            return Ok(None);
        }
    }))
}

impl From<Report> for v1::WorkerMessage {
    fn from(report: Report) -> Self {
        match report {
            Report::Hello(hello) => to_hello(hello).into(),
            Report::Heartbeat { applied, pace_us } => {
                v1::Heartbeat { applied: applied.map(|r| r.0), pace_us }.into()
            }
            Report::Progress { generation } => v1::Progress { generation: generation.0 }.into(),
            Report::Ready { generation, applied } => {
                v1::Ready { generation: generation.0, applied: applied.0 }.into()
            }
            Report::Parked { generation, applied, reason } => {
                let (reason, why) = match reason {
                    ParkReason::Boundary => (v1::ParkReason::Boundary, String::new()),
                    ParkReason::Aborted => (v1::ParkReason::Aborted, String::new()),
                    ParkReason::Broken(why) => (v1::ParkReason::Broken, why),
                    ParkReason::Failed(why) => (v1::ParkReason::Failed, why),
                };
                let (generation, applied) = (generation.0, applied.map(|r| r.0));
                v1::Parked { generation, applied, reason: reason.into(), why }.into()
            }
            Report::CutOff { generation, peer, why } => {
                v1::CutOff { generation: generation.0, incarnation: peer.0, why }.into()
            }
            Report::Tried { round, missing } => {
                let missing = missing.into_iter();
                let unreached =
                    missing.map(|(peer, why)| v1::Unreached { incarnation: peer.0, why }).collect();
                v1::TriedPeers { round, unreached }.into()
            }
            Report::Consumed { virtual_rank, ordinals } => {
                v1::Consumed { virtual_rank: virtual_rank.0, ordinals }.into()
            }
            Report::WantsLeave => v1::WantsLeave {}.into(),
            Report::StateHash { step, hash } => v1::StateHash { step: step.0, hash: hash.to_vec() }.into(),
            Report::StoreProof(StoreProof { secret, answer, why_not }) => {
                v1::StoreProof { secret, answer, why_not }.into()
            }
            Report::SnapshotWritten(snapshot) => to_snapshot(snapshot).into(),
            Report::SnapshotFailed { step, why } => v1::SnapshotFailed { step: step.0, why }.into(),
            Report::TaskDone { files } => {
                v1::TaskDone { files: files.into_iter().map(to_file).collect() }.into()
            }
            Report::TaskFailed { why } => v1::TaskFailed { why }.into(),
            Report::CorruptRecords(records) => {
                v1::CorruptRecords { records: records.into_iter().map(to_record).collect() }.into()
            }
            Report::Warning { text } => v1::Warning { text }.into(),
            Report::Sample { step, png } => v1::Sample { step: step.0, png }.into(),
        }
    }
}

/// What the coordinator tells a worker. None for what is no part of the protocol: the word that metrics are stored, and wishes for a
/// score and for spans.
///
/// # Errors
/// A sentence that says what is wrong with a message of another version.
pub fn message(message: coordinator_message::Kind) -> Result<Option<Message>, String> {
    use coordinator_message::Kind;
    Ok(Some(match message {
        Kind::Welcome(v1::Welcome { incarnation, adopted, pass }) => {
            let pass = from_pass(pass.unwrap_or_default());
            Message::Welcome { incarnation: Incarnation(incarnation), adopted, pass }
        }
        Kind::Refused(v1::Refused { why }) => Message::Refused { why },
        Kind::Form(form) => Message::Form(from_form(form)?),
        Kind::Abort(v1::Abort { generation }) => Message::Abort(Generation(generation)),
        Kind::Lease(v1::Lease { virtual_rank, until }) => {
            Message::Lease { virtual_rank: VirtualRank(virtual_rank), until }
        }
        Kind::Wish(wish) => Message::Wish {
            generation: Generation(wish.generation),
            wish: match wish.kind() {
                v1::WishKind::Reform => Wish::Reform,
                v1::WishKind::Finish => Wish::Finish,
                v1::WishKind::Snapshot => Wish::Snapshot,
                v1::WishKind::Unspecified => return Err(unknown("a wish", wish.kind)),
            },
        },
        Kind::TryPeers(v1::TryPeers { round, peers }) => {
            let peers = peers.into_iter().map(|peer| (Incarnation(peer.incarnation), peer.address)).collect();
            Message::Try { round, peers }
        }
        Kind::Task(task) => Message::Task(match task.kind() {
            v1::TaskKind::Snapshot => Task::Snapshot,
            v1::TaskKind::Final => Task::Final,
            v1::TaskKind::Unspecified => return Err(unknown("a task", task.kind)),
        }),
        Kind::Retired(v1::Retired { why }) => Message::Retired { why },
        Kind::Shutdown(shutdown) => Message::Shutdown(outcome(shutdown)?),
        Kind::MetricsStored(_) | Kind::Score(_) | Kind::RecordSpans(_) => return Ok(None),
    }))
}

impl From<Message> for v1::CoordinatorMessage {
    fn from(message: Message) -> Self {
        match message {
            Message::Welcome { incarnation, adopted, pass } => {
                v1::Welcome { incarnation: incarnation.0, adopted, pass: Some(to_pass(pass)) }.into()
            }
            Message::Refused { why } => v1::Refused { why }.into(),
            Message::Form(form) => to_form(form).into(),
            Message::Abort(generation) => v1::Abort { generation: generation.0 }.into(),
            Message::Lease { virtual_rank, until } => {
                v1::Lease { virtual_rank: virtual_rank.0, until }.into()
            }
            Message::Wish { generation, wish } => {
                let kind = match wish {
                    Wish::Reform => v1::WishKind::Reform,
                    Wish::Finish => v1::WishKind::Finish,
                    Wish::Snapshot => v1::WishKind::Snapshot,
                };
                v1::Wish { generation: generation.0, kind: kind.into() }.into()
            }
            Message::Try { round, peers } => {
                let peers = peers.into_iter();
                let peers = peers.map(|(peer, address)| v1::PeerAddress { incarnation: peer.0, address });
                v1::TryPeers { round, peers: peers.collect() }.into()
            }
            Message::Task(task) => {
                let kind = match task {
                    Task::Snapshot => v1::TaskKind::Snapshot,
                    Task::Final => v1::TaskKind::Final,
                };
                v1::Task { kind: kind.into() }.into()
            }
            Message::Retired { why } => v1::Retired { why }.into(),
            Message::Shutdown(outcome) => v1::Shutdown::from(&outcome).into(),
        }
    }
}

impl From<&Outcome> for v1::Shutdown {
    fn from(outcome: &Outcome) -> Self {
        let (kind, why, step) = match outcome {
            Outcome::Complete => (v1::OutcomeKind::Complete, String::new(), 0),
            Outcome::Stopped { step } => {
                (v1::OutcomeKind::Stopped, format!("stopped after step {step}"), step.0)
            }
            Outcome::Failed { why } => (v1::OutcomeKind::Failed, why.clone(), 0),
            Outcome::Refused { why } => (v1::OutcomeKind::Refused, why.clone(), 0),
        };
        Self { outcome: kind.into(), why, step }
    }
}

fn outcome(shutdown: v1::Shutdown) -> Result<Outcome, String> {
    Ok(match shutdown.outcome() {
        v1::OutcomeKind::Complete => Outcome::Complete,
        v1::OutcomeKind::Stopped => Outcome::Stopped { step: Step(shutdown.step) },
        v1::OutcomeKind::Failed => Outcome::Failed { why: shutdown.why },
        v1::OutcomeKind::Refused => Outcome::Refused { why: shutdown.why },
        v1::OutcomeKind::Unspecified => return Err(unknown("an outcome", shutdown.outcome)),
    })
}

fn unknown(what: &str, number: i32) -> String {
    format!("{what} of kind {number} is unknown here: the other side is of another version")
}

fn from_hello(hello: v1::Hello) -> Result<Hello, String> {
    Ok(Hello {
        name: hello.name,
        address: hello.address,
        numerics: from_numerics(hello.numerics.unwrap_or_default())?,
        holds: hello.holds.map(Reduction),
        resume: hello.resume.map(|resume| Resume {
            incarnation: Incarnation(resume.incarnation),
            generation: Generation(resume.generation),
            stepping: resume.stepping,
            writes: resume.writes,
            spec: resume.spec,
        }),
        data_fingerprint: hello.data_fingerprint,
        pass: hello.pass.map(|pass| Box::new(from_pass(pass))),
    })
}

/// A pass whose seal has another length is that of nobody.
fn from_pass(pass: v1::Pass) -> Pass {
    let v1::Pass { incarnation, generation, until, led, seal } = pass;
    let (incarnation, generation) = (Incarnation(incarnation), Generation(generation));
    let rights = Rights { incarnation, generation, until: Step(until), led };
    Pass { rights, seal: seal.try_into().unwrap_or_default() }
}

fn to_pass(Pass { rights, seal }: Pass) -> v1::Pass {
    let Rights { incarnation, generation, until, led } = rights;
    v1::Pass {
        incarnation: incarnation.0,
        generation: generation.0,
        until: until.0,
        led,
        seal: seal.to_vec(),
    }
}

fn to_hello(hello: Hello) -> v1::Hello {
    v1::Hello {
        name: hello.name,
        address: hello.address,
        numerics: Some(to_numerics(hello.numerics)),
        holds: hello.holds.map(|r| r.0),
        resume: hello.resume.map(|resume| v1::Resume {
            incarnation: resume.incarnation.0,
            generation: resume.generation.0,
            stepping: resume.stepping,
            writes: resume.writes,
            spec: resume.spec,
        }),
        data_fingerprint: hello.data_fingerprint,
        pass: hello.pass.map(|pass| to_pass(*pass)),
    }
}

fn from_numerics(numerics: v1::Numerics) -> Result<Numerics, String> {
    let device = match numerics.device() {
        v1::DeviceKind::Cpu => DeviceKind::Cpu,
        v1::DeviceKind::Cuda => DeviceKind::Cuda,
        v1::DeviceKind::Unspecified => return Err(unknown("a device", numerics.device)),
    };
    let v1::Numerics { libtorch, model, instructions, probe, .. } = numerics;
    Ok(Numerics { libtorch, device, model, instructions, probe })
}

fn to_numerics(numerics: Numerics) -> v1::Numerics {
    let Numerics { libtorch, device, model, instructions, probe } = numerics;
    let device = match device {
        DeviceKind::Cpu => v1::DeviceKind::Cpu,
        DeviceKind::Cuda => v1::DeviceKind::Cuda,
    };
    v1::Numerics { libtorch, device: device.into(), model, instructions, probe }
}

fn park_reason(parked: v1::Parked) -> Result<ParkReason, String> {
    match parked.reason() {
        v1::ParkReason::Boundary => Ok(ParkReason::Boundary),
        v1::ParkReason::Aborted => Ok(ParkReason::Aborted),
        v1::ParkReason::Broken => Ok(ParkReason::Broken(parked.why)),
        v1::ParkReason::Failed => Ok(ParkReason::Failed(parked.why)),
        v1::ParkReason::Unspecified => Err(unknown("a reason to park", parked.reason)),
    }
}

fn state_hash(bytes: &[u8]) -> Result<[u8; 32], String> {
    bytes.try_into().map_err(|_| {
        format!("a worker's hash has {} bytes, 32 are right: it is of another version", bytes.len())
    })
}

fn from_snapshot(written: v1::SnapshotWritten) -> PublishedSnapshot {
    let v1::SnapshotWritten { step, url, len_bytes, blake3, blocked_ms } = written;
    // A time that is not finite or negative becomes 0.
    let blocked_us = (blocked_ms * 1000.0).round() as u64;
    PublishedSnapshot { step: Step(step), url, len_bytes, blake3, blocked_us }
}

fn to_snapshot(snapshot: PublishedSnapshot) -> v1::SnapshotWritten {
    let PublishedSnapshot { step, url, len_bytes, blake3, blocked_us } = snapshot;
    v1::SnapshotWritten { step: step.0, url, len_bytes, blake3, blocked_ms: blocked_us as f64 / 1000.0 }
}

fn from_file(v1::FinalFile { name, url, blake3 }: v1::FinalFile) -> FinalFile {
    FinalFile { name, url, blake3 }
}

fn to_file(FinalFile { name, url, blake3 }: FinalFile) -> v1::FinalFile {
    v1::FinalFile { name, url, blake3 }
}

fn from_record(v1::CorruptRecord { record, key, reason, step }: v1::CorruptRecord) -> CorruptRecord {
    CorruptRecord { record, key, reason, step: Step(step) }
}

fn to_record(CorruptRecord { record, key, reason, step }: CorruptRecord) -> v1::CorruptRecord {
    v1::CorruptRecord { record, key, reason, step: step.0 }
}

fn from_form(form: v1::Form) -> Result<Form, String> {
    let start = match form.start() {
        v1::Start::Fresh => Start::Fresh,
        v1::Start::Snapshot => Start::Snapshot(Step(form.snapshot_step)),
        v1::Start::Held => Start::Held,
        v1::Start::Unspecified => return Err(unknown("a start of a generation", form.start)),
    };
    if form.rank as usize >= form.members.len() {
        return Err(format!("rank {} of a generation of {} members", form.rank, form.members.len()));
    }
    let secret = form.ring_key.as_slice().try_into();
    let secret = secret.map_err(|_| {
        let len_bytes = form.ring_key.len();
        format!("the key of a generation's ring has {len_bytes} bytes, 32 are right: the coordinator is of another version")
    })?;
    let member = |member: v1::Member| Member {
        incarnation: Incarnation(member.incarnation),
        address: member.address,
        first: VirtualRank(member.first_virtual_rank),
        count: member.virtual_rank_count,
    };
    Ok(Form {
        generation: Generation(form.generation),
        rank: form.rank,
        members: form.members.into_iter().map(member).collect(),
        from: Reduction(form.from),
        start,
        root: form.root,
        writer: form.writer,
        last_step: Step(form.last_step),
        leases: form.leases.iter().map(|lease| (VirtualRank(lease.virtual_rank), lease.until)).collect(),
        pass: from_pass(form.pass.unwrap_or_default()),
        ring: RingKey { secret, sealed: form.ring_sealed },
    })
}

fn to_form(form: Form) -> v1::Form {
    let (start, snapshot_step) = match form.start {
        Start::Fresh => (v1::Start::Fresh, 0),
        Start::Snapshot(step) => (v1::Start::Snapshot, step.0),
        Start::Held => (v1::Start::Held, 0),
    };
    let member = |member: Member| v1::Member {
        incarnation: member.incarnation.0,
        address: member.address,
        first_virtual_rank: member.first.0,
        virtual_rank_count: member.count,
    };
    v1::Form {
        generation: form.generation.0,
        rank: form.rank,
        members: form.members.into_iter().map(member).collect(),
        from: form.from.0,
        start: start.into(),
        snapshot_step,
        root: form.root,
        leases: form.leases.iter().map(|&(v, until)| v1::Lease { virtual_rank: v.0, until }).collect(),
        writer: form.writer,
        last_step: form.last_step.0,
        pass: Some(to_pass(form.pass)),
        ring_key: form.ring.secret.to_vec(),
        ring_sealed: form.ring.sealed,
    }
}
