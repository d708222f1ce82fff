//! `lsgan pause` and `lsgan resume`.

use std::time::{Duration, Instant};

use lsgan_console::{Failure, product};
use lsgan_wire::v1;
use serde_json::json;
use tokio::time::sleep;

use crate::live::{self, Args, Live, Target};

/// Between two looks at whether the run rests.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a coordinator may be away meanwhile. The pause is journaled, so a coordinator that is started again keeps it.
const AWAY_MAX: Duration = Duration::from_secs(30);

/// Pauses the run, and waits until it rests.
///
/// # Errors
/// A run that is not live, or that ends meanwhile.
pub async fn pause(args: Args) -> Result<(), Failure> {
    let mut live = args.target.find_live().await?;
    let reply = live.client.pause(v1::PauseRequest { by: live::operator() }).await;
    reply.map_err(|status| Failure::failed(status.message()))?;
    let status = rest(&args.target, live).await?;
    let snapshot = status.snapshot_step;
    if args.json {
        return product!(
            "{:#}",
            json!({ "run": status.run, "step": status.step, "snapshot_step": snapshot })
        );
    }
    let saved = match snapshot {
        Some(step) if step >= status.step => "with a snapshot".to_owned(),
        Some(step) => format!("with no newer snapshot than that of step {step}: keep a worker alive"),
        None if status.step == 0 => "before its first step".to_owned(),
        None => "without a snapshot: keep a worker alive".to_owned(),
    };
    product!("the run `{}` is paused after step {}, {saved}; `lsgan resume` goes on", status.run, status.step)
}

/// Resumes a paused run.
///
/// # Errors
/// A run that is not live, or not paused.
pub async fn resume(args: Args) -> Result<(), Failure> {
    let mut live = args.target.find_live().await?;
    let failed = |status: tonic::Status| Failure::failed(status.message());
    let status = live.status().await.map_err(failed)?;
    if status.paused.is_none() {
        return Err(Failure::failed(format!(
            "the run `{}` is not paused; it is {}",
            status.run,
            status.phase()
        )));
    }
    live.client.resume(v1::ResumeRequest { by: live::operator() }).await.map_err(failed)?;
    match args.json {
        true => product!("{:#}", json!({ "run": status.run, "step": status.step })),
        false => product!("the run `{}` goes on after step {}", status.run, status.step),
    }
}

/// Waits until the run rests, also over a restart of its coordinator.
async fn rest(target: &Target, mut live: Live) -> Result<v1::RunStatus, Failure> {
    let again = live.again(target);
    let mut heard = Instant::now();
    // The status has a pause once it is journaled, which may be a moment after it was asked for.
    let (mut seen, asked) = (false, Instant::now());
    loop {
        match live.status().await {
            Ok(status) if status.phase() == v1::Phase::Paused => return Ok(status),
            Ok(status) if status.outcome.is_some() => {
                return Err(Failure::failed(format!("the run `{}` has ended meanwhile", status.run)));
            }
            Ok(status) if status.paused.is_none() && (seen || asked.elapsed() > AWAY_MAX) => {
                return Err(Failure::failed(format!(
                    "somebody has resumed the run `{}` meanwhile",
                    status.run
                )));
            }
            Ok(status) => {
                seen |= status.paused.is_some();
                heard = Instant::now();
            }
            Err(status) if heard.elapsed() > AWAY_MAX => return Err(Failure::failed(status.message())),
            Err(_) => {
                if let Ok(found) = again.find_live().await {
                    live = found;
                }
            }
        }
        sleep(LOOK_EVERY).await;
    }
}
