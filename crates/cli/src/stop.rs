//! `lsgan stop`: a run's end at the next step boundary, with a snapshot.

use std::time::{Duration, Instant};

use lsgan_console::{Failure, product, say};
use lsgan_journal::OutcomeKind;
use lsgan_wire::v1;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::live::{self, Found, Live, Target};

/// How long a coordinator may be away while its run is to stop: `lsgan up` or a cluster starts it again.
const AWAY_MAX: Duration = Duration::from_secs(30);
/// How long a coordinator may take to end after its run has: it says goodbye to its workers.
const END_MAX: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Between two lines of progress.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The arguments of `lsgan stop`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    live: live::Args,
    /// Return once the run was told, without waiting for its end.
    #[arg(long)]
    no_wait: bool,
}

/// How the run ended.
struct Ended {
    run: String,
    step: u64,
    steps: Option<u64>,
    snapshot_step: Option<u64>,
    outcome: OutcomeKind,
    why: String,
}

/// Stops the run, and waits until it has ended.
///
/// # Errors
/// A run that is not live, or that failed instead.
pub async fn stop(args: Args) -> Result<(), Failure> {
    let live::Args { target, json } = args.live;
    let mut live = target.find_live().await?;
    if args.no_wait {
        let request = v1::StopRequest { by: live::operator(), wait: false };
        live.client.stop(request).await.map_err(|status| Failure::failed(status.message()))?;
        return match json {
            true => product!("{:#}", json!({ "asked": true })),
            false => product!("the run was told to stop; `lsgan status` shows how it goes on"),
        };
    }
    let ended = until_ended(&target, live).await?;
    if json {
        let Ended { run, step, steps, snapshot_step, outcome, why } = &ended;
        let outcome = json!({ "outcome": outcome.word(), "why": why });
        product!(
            "{:#}",
            json!({ "run": run, "step": step, "steps": steps, "snapshot_step": snapshot_step, "outcome": outcome })
        )?;
    }
    let Ended { run, step, steps, snapshot_step, outcome, why } = ended;
    let of = steps.map(|steps| format!(" of {steps}")).unwrap_or_default();
    let text = match (outcome, snapshot_step) {
        (OutcomeKind::Complete, _) => {
            format!("the run `{run}` had come to its end: {step}{of} steps are done")
        }
        (OutcomeKind::Stopped, Some(snapshot)) => format!(
            "the run `{run}` is stopped after step {step}{of}, with a snapshot of step {snapshot}; the command that started \
             it goes on from there"
        ),
        (OutcomeKind::Stopped, None) => {
            format!("the run `{run}` is stopped before its first step; there was nothing to save")
        }
        (OutcomeKind::Failed | OutcomeKind::Refused, _) => {
            return Err(Failure::failed(format!("the run `{run}` failed instead of stopping: {why}")));
        }
    };
    if json { Ok(()) } else { product!("{text}") }
}

/// Asks for the end until the run has ended, also over restarts of its coordinator, and waits for the coordinator's own.
async fn until_ended(target: &Target, mut live: Live) -> Result<Ended, Failure> {
    let again = live.again(target);
    let mut away_since = None;
    loop {
        match ask(&mut live).await {
            Ok(ended) => {
                coordinator_ended(&mut live).await;
                return Ok(ended);
            }
            Err(why) => {
                let since = *away_since.get_or_insert_with(Instant::now);
                if since.elapsed() > AWAY_MAX {
                    return Err(Failure::failed(format!(
                        "the coordinator has been away for {} s, and nobody knows whether the run will stop: {why}. Ask \
                         again when it is back.",
                        AWAY_MAX.as_secs()
                    )));
                }
            }
        }
        sleep(LOOK_EVERY).await;
        match again.find().await {
            Ok(Found::Live(found)) => {
                away_since = None;
                live = found;
            }
            // It had ended before it could answer. A run whose coordinator was killed has no outcome.
            Ok(Found::Away(away)) => {
                let (steps, last) = (away.steps(), away.last);
                if let Some(outcome) = last.outcome {
                    let (run, step, why) = (last.run, last.step, last.why);
                    return Ok(Ended { run, step, steps, snapshot_step: last.snapshot_step, outcome, why });
                }
            }
            Err(_) => {}
        }
    }
}

/// Asks once, and prints the run's progress until the answer is there.
async fn ask(live: &mut Live) -> Result<Ended, String> {
    let mut asker = live.client.clone();
    let request = v1::StopRequest { by: live::operator(), wait: true };
    let mut reply = std::pin::pin!(asker.stop(request));
    let mut beat = interval(LINE_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            reply = &mut reply => {
                let status = reply.map_err(|status| status.message().to_owned())?.into_inner().ended;
                return status.and_then(ended).ok_or_else(|| "it is of another version".to_owned());
            }
            _ = beat.tick() => {
                if let Ok(status) = live.status().await {
                    say!("{} step {}/{} {}: stopping", status.run, status.step, status.steps, status.phase());
                }
            }
        }
    }
}

/// None for a status without an outcome, or with one of another version.
fn ended(status: v1::RunStatus) -> Option<Ended> {
    let shutdown = status.outcome?;
    Some(Ended {
        run: status.run,
        step: status.step,
        steps: Some(status.steps),
        snapshot_step: status.snapshot_step,
        outcome: shutdown.kind()?,
        why: shutdown.why,
    })
}

/// Waits until the coordinator is gone, so that the run can be started again at once.
async fn coordinator_ended(live: &mut Live) {
    let begin = Instant::now();
    while begin.elapsed() < END_MAX {
        let there = match live.is_held() {
            Some(held) => held,
            None => live.status().await.is_ok(),
        };
        if !there {
            return;
        }
        sleep(LOOK_EVERY).await;
    }
    say!("warning: the run has ended, but its coordinator is still there after {} s", END_MAX.as_secs());
}
