//! Attackers that make gRPC calls.

use std::sync::Arc;

use lsgan_fuzz::Random;
use lsgan_wire::{Client, v1};
use tokio::time::timeout;
use tonic::{Code, Status};

use super::messages::{everything, forged_hello};
use super::{ANSWERS_WITHIN, Shared, pause};

/// Messages of a stream of a flood.
const FLOOD_MESSAGES: usize = 2_000;
/// Bytes of its warnings: the longest that the gate would let pass.
const FLOOD_BYTES: usize = 3 << 10;
/// More than the coordinator takes from anybody.
const TOO_MUCH_BYTES: usize = 32 << 20;

/// Opens stream after stream, on which every kind of message is said: without a Hello, or behind a forged one.
pub async fn say_everything(shared: Arc<Shared>, mut random: Random) {
    while !shared.is_over() {
        let Some((mut client, run)) = describe(&shared).await else { continue };
        while !shared.is_over() {
            let number = random.below(1 << 20);
            let said = [u64::MAX, i64::MAX as u64, number, 0][number as usize % 4];
            let mut messages = everything(said);
            if !number.is_multiple_of(3) {
                messages.insert(0, forged_hello(&run, number));
            }
            let Ok(answer) = client.session(futures::stream::iter(messages)).await else { break };
            let mut inbound = answer.into_inner();
            while let Ok(Ok(Some(message))) = timeout(ANSWERS_WITHIN, inbound.message()).await {
                if let Some(v1::coordinator_message::Kind::Welcome(_)) = message.kind {
                    shared.achieved("a stranger with other numerics was welcomed");
                }
            }
            shared.count("streams that say everything");
        }
    }
}

/// Says warnings on streams without a Hello as fast as they are taken.
pub async fn flood(shared: Arc<Shared>, _: Random) {
    while !shared.is_over() {
        let Some((mut client, _)) = describe(&shared).await else { continue };
        let warning = v1::WorkerMessage::from(v1::Warning { text: "!".repeat(FLOOD_BYTES) });
        let messages = std::iter::repeat_n(warning, FLOOD_MESSAGES);
        if let Ok(answer) = client.session(futures::stream::iter(messages)).await {
            let mut inbound = answer.into_inner();
            while let Ok(Ok(Some(_))) = timeout(ANSWERS_WITHIN, inbound.message()).await {}
            shared.count("streams that flood");
        }
    }
}

/// Sends a first message that is far too long.
pub async fn say_too_much_at_once(shared: Arc<Shared>, _: Random) {
    while !shared.is_over() {
        let Some((mut client, _)) = describe(&shared).await else { continue };
        let message = v1::WorkerMessage::from(v1::Warning { text: "!".repeat(TOO_MUCH_BYTES) });
        let said = async {
            let answer = client.session(futures::stream::iter([message])).await?;
            answer.into_inner().message().await
        };
        // It is refused, or stays in the network until the caller gives up.
        if let Ok(Ok(Some(_))) = timeout(ANSWERS_WITHIN, said).await {
            shared.achieved("a message of 32 MiB was answered");
        }
        shared.count("messages that are too long");
    }
}

/// What a viewer may not do, it tries.
pub async fn overstep_as_viewer(shared: Arc<Shared>, _: Random) {
    while !shared.is_over() {
        let Ok(mut client) = shared.dial(|all| &all.viewer).await else {
            pause().await;
            continue;
        };
        for call in 0.. {
            let Some((name, outcome)) = forbidden(&mut client, call).await else { break };
            match outcome {
                Ok(()) => shared.achieved(format!("a viewer may call {name}")),
                Err(status) if status.code() == Code::PermissionDenied => {
                    shared.count("calls that a viewer may not make");
                }
                // The coordinator ends.
                Err(_) => {}
            }
        }
        pause().await;
    }
}

/// Makes the call of this number.
async fn forbidden(client: &mut Client, call: u32) -> Option<(&'static str, Result<(), Status>)> {
    let by = || "a viewer".to_owned();
    Some(match call {
        0 => ("Stop", client.stop(v1::StopRequest { by: by(), wait: false }).await.map(drop)),
        1 => ("Pause", client.pause(v1::PauseRequest { by: by() }).await.map(drop)),
        2 => ("Resume", client.resume(v1::ResumeRequest { by: by() }).await.map(drop)),
        3 => ("Snapshot", client.snapshot(v1::SnapshotRequest { by: by() }).await.map(drop)),
        4 => ("Scale", client.scale(v1::ScaleRequest { workers: 9 }).await.map(drop)),
        5 => ("DescribeRun", client.describe_run(v1::DescribeRunRequest {}).await.map(drop)),
        6 => ("Session", client.session(futures::stream::iter(everything(1))).await.map(drop)),
        7 => {
            let trouble = v1::ReportTroubleRequest { name: by(), why: by() };
            ("ReportTrouble", client.report_trouble(trouble).await.map(drop))
        }
        8 => {
            let score = v1::KeepScoreRequest { by: by(), row: "{}".to_owned() };
            ("KeepScore", client.keep_score(score).await.map(drop))
        }
        9 => ("Page", client.page(v1::PageRequest {}).await.map(drop)),
        _ => return None,
    })
}

/// Dials with a certificate that the run's authority has not signed.
pub async fn dial_with_a_wrong_certificate(shared: Arc<Shared>, _: Random) {
    while !shared.is_over() {
        match shared.dial(|all| &all.stranger).await {
            Ok(_) => shared.achieved("a certificate of another authority was believed"),
            Err(_) => shared.count("connections with a wrong certificate"),
        }
        pause().await;
    }
}

/// A client that has asked for the run, as a worker does first.
async fn describe(shared: &Shared) -> Option<(Client, v1::RunDescription)> {
    let described = async {
        let mut client = shared.dial(|all| &all.worker).await.ok()?;
        let run = client.describe_run(v1::DescribeRunRequest {}).await.ok()?.into_inner();
        Some((client, run))
    };
    let described = described.await;
    if described.is_none() {
        pause().await;
    }
    described
}
