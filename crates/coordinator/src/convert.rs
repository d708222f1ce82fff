//! Between the wire's messages and the control machine's events and effects.

use lsgan_control::{self as control, Event, Hello, Message, Outcome, ParkReason, Resume, SessionId, Start};
use lsgan_spec::{Generation, Incarnation, Reduction, Step, VirtualRank};
use lsgan_wire::v1::{self, worker_message::Kind};

/// The event that a worker's message is for the control machine; none for what only the shell handles.
///
/// # Errors
/// A sentence that says what is wrong with a message of another version or of no worker of ours.
pub fn event(session: SessionId, message: &Kind) -> Result<Option<Event>, String> {
    Ok(Some(match message {
        Kind::Hello(hello) => Event::Joined { session, hello: self::hello(hello) },
        Kind::Heartbeat(beat) => {
            Event::Heard { session, applied: beat.applied.map(Reduction), pace_us: beat.pace_us }
        }
        Kind::StateHash(state) => Event::StateHash {
            session,
            step: Step(state.step),
            hash: state.hash.as_slice().try_into().map_err(|_| {
                format!(
                    "a worker's hash has {} bytes, 32 are right: it is of another version",
                    state.hash.len()
                )
            })?,
        },
        Kind::Ready(ready) => Event::Ready {
            session,
            generation: Generation(ready.generation),
            applied: Reduction(ready.applied),
        },
        Kind::Parked(parked) => Event::Parked {
            session,
            generation: Generation(parked.generation),
            applied: parked.applied.map(Reduction),
            reason: park_reason(parked)?,
        },
        Kind::CutOff(cut_off) => Event::CutOff {
            session,
            generation: Generation(cut_off.generation),
            peer: Incarnation(cut_off.incarnation),
            why: cut_off.why.clone(),
        },
        Kind::TriedPeers(tried) => Event::Tried {
            session,
            round: tried.round,
            missing: tried.unreached.iter().map(|u| (Incarnation(u.incarnation), u.why.clone())).collect(),
        },
        Kind::Consumed(consumed) => Event::Consumed {
            session,
            virtual_rank: VirtualRank(consumed.virtual_rank),
            ordinals: consumed.ordinals,
        },
        Kind::WantsLeave(_) => Event::WantsLeave { session },
        Kind::TaskFailed(failed) => Event::TaskFailed { session, why: failed.why.clone() },
        // The shell looks into the store before the machine hears of them.
        Kind::SnapshotWritten(_) | Kind::TaskDone(_) | Kind::StoreProof(_) => return Ok(None),
        Kind::SnapshotFailed(_) => Event::SnapshotFailed { session },
        Kind::Metrics(_) | Kind::Sample(_) | Kind::CorruptRecords(_) | Kind::Warning(_) => return Ok(None),
    }))
}

fn hello(hello: &v1::Hello) -> Hello {
    Hello {
        name: hello.name.clone(),
        address: hello.address.clone(),
        numerics: hello.numerics.clone(),
        holds: hello.holds.map(Reduction),
        resume: hello.resume.as_ref().map(|resume| Resume {
            incarnation: Incarnation(resume.incarnation),
            generation: Generation(resume.generation),
            stepping: resume.stepping,
            writes: resume.writes,
            spec: resume.spec.clone(),
        }),
    }
}

fn park_reason(parked: &v1::Parked) -> Result<ParkReason, String> {
    match parked.reason() {
        v1::ParkReason::Boundary => Ok(ParkReason::Boundary),
        v1::ParkReason::Aborted => Ok(ParkReason::Aborted),
        v1::ParkReason::Broken => Ok(ParkReason::Broken(parked.why.clone())),
        v1::ParkReason::Failed => Ok(ParkReason::Failed(parked.why.clone())),
        v1::ParkReason::Unspecified => {
            Err(format!("a worker parked for reason {}, unknown here", parked.reason))
        }
    }
}

/// The wire's form of a message. `metrics_until`: the coordinator has the metrics of the steps below.
pub fn message(message: Message, metrics_until: u64) -> v1::CoordinatorMessage {
    match message {
        Message::Welcome { incarnation, adopted } => {
            v1::Welcome { incarnation: incarnation.0, adopted }.into()
        }
        Message::Refused { why } => v1::Refused { why }.into(),
        Message::Form(form) => self::form(form, metrics_until).into(),
        Message::Abort(generation) => v1::Abort { generation: generation.0 }.into(),
        Message::Lease { virtual_rank, until } => v1::Lease { virtual_rank: virtual_rank.0, until }.into(),
        Message::Wish { generation, wish } => {
            let kind = match wish {
                control::Wish::Reform => v1::WishKind::Reform,
                control::Wish::Finish => v1::WishKind::Finish,
                control::Wish::Snapshot => v1::WishKind::Snapshot,
            };
            v1::Wish { generation: generation.0, kind: kind.into() }.into()
        }
        Message::Try { round, peers } => {
            let peer = |(incarnation, address): (Incarnation, String)| v1::PeerAddress {
                incarnation: incarnation.0,
                address,
            };
            v1::TryPeers { round, peers: peers.into_iter().map(peer).collect() }.into()
        }
        Message::Task(task) => {
            let kind = match task {
                control::Task::Snapshot => v1::TaskKind::Snapshot,
                control::Task::Final => v1::TaskKind::Final,
            };
            v1::Task { kind: kind.into() }.into()
        }
        Message::Retired { why } => v1::Retired { why }.into(),
        Message::Shutdown(outcome) => shutdown(&outcome).into(),
    }
}

fn form(form: control::Form, metrics_until: u64) -> v1::Form {
    let (start, snapshot_step) = match form.start {
        Start::Fresh => (v1::Start::Fresh, 0),
        Start::Snapshot(step) => (v1::Start::Snapshot, step.0),
        Start::Held => (v1::Start::Held, 0),
    };
    v1::Form {
        generation: form.generation.0,
        rank: form.rank,
        members: form.members.iter().map(member).collect(),
        from: form.from.0,
        start: start.into(),
        snapshot_step,
        root: form.root,
        leases: form.leases.iter().map(|&(v, until)| v1::Lease { virtual_rank: v.0, until }).collect(),
        metrics_until,
        writer: form.writer,
        last_step: form.last_step.0,
    }
}

fn member(member: &control::Member) -> v1::Member {
    v1::Member {
        incarnation: member.incarnation.0,
        address: member.address.clone(),
        first_virtual_rank: member.first.0,
        virtual_rank_count: member.count,
    }
}

/// The wire's form of how a run ended.
pub fn shutdown(outcome: &Outcome) -> v1::Shutdown {
    let (outcome, why) = match outcome {
        Outcome::Complete => (v1::OutcomeKind::Complete, String::new()),
        Outcome::Stopped { step } => (v1::OutcomeKind::Stopped, format!("stopped after step {step}")),
        Outcome::Failed { why } => (v1::OutcomeKind::Failed, why.clone()),
        Outcome::Refused { why } => (v1::OutcomeKind::Refused, why.clone()),
    };
    v1::Shutdown { outcome: outcome.into(), why }
}
