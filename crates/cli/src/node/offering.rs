//! A worker that is offered to a sweep: it trains for the run that the sweep names, and is offered again when that is over.
//!
//! The offer is a call that lasts as long as the worker trains. So the sweep sees at once that a node is gone, and the node that the
//! sweep is.

use std::time::{Duration, Instant};

use lsgan_console::{Failure, RunEnd};
use lsgan_wire::{Address, dial_sweep, v1};
use tokio::sync::watch;
use tokio::time::sleep;
use tonic::{Code, Status, Streaming};

use super::{End, Node, PAUSE_FIRST, told};
use crate::children::Recipe;

/// How long a worker may take to end once its run is over: its coordinator tells it.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// The longest pause before a sweep that is away is tried again: it may be started again at any time.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The run that a worker is to train for, and the call by which it is offered.
type Offered = (v1::Assignment, Streaming<v1::Assignment>);

impl Node {
    /// Has a worker train for one run of the sweep after another, until the sweep is over or the node is told to end.
    pub(super) async fn serve(
        &self,
        sweep: &Address,
        (name, recipe): (String, Recipe),
        mut leave: watch::Receiver<bool>,
    ) -> Result<End, Failure> {
        loop {
            let offered = tokio::select! {
                offered = self.offer(sweep, &name) => offered,
                () = told(&mut leave) => return Ok(End::Left),
            };
            let (v1::Assignment { coordinator, .. }, call) = match offered {
                Ok(offered) => offered,
                Err(end) => {
                    match &end {
                        End::WithRun(.., text) => self.inform_once(text),
                        End::CannotTakePart(why) | End::GaveUp(why) => self.warn_once(why.clone()),
                        End::Left | End::Killed => {}
                    }
                    return Ok(end);
                }
            };
            let arguments = [&["--coordinator".to_owned(), coordinator][..], &recipe.arguments].concat();
            let end = self.train(Recipe { arguments, ..recipe.clone() }, call, &mut leave).await?;
            match end {
                end if *leave.borrow() => return Ok(end),
                // What its host lacks it lacks for the next run as well.
                End::CannotTakePart(why) => return Ok(End::CannotTakePart(why)),
                End::WithRun(..) | End::Left | End::Killed | End::GaveUp(_) => {}
            }
        }
    }

    /// Offers a worker of this name until the sweep has a run for it.
    ///
    /// # Errors
    /// How the worker ends: the sweep is over, takes it not, or cannot be reached for too long.
    async fn offer(&self, sweep: &Address, name: &str) -> Result<Offered, End> {
        let (mut since, mut pause) = (Instant::now(), PAUSE_FIRST);
        loop {
            let why = match offer(sweep, name, &mut since).await {
                Ok(Some(offered)) => return Ok(offered),
                // The run that it was to train for ended before it began.
                Ok(None) => {
                    pause = PAUSE_FIRST;
                    None
                }
                Err(status) => match end_of(sweep, &status) {
                    Some(end) => return Err(end),
                    None => Some(status.message().to_owned()),
                },
            };
            if let Some(why) = why {
                if !self.patience.is_zero() && since.elapsed() + pause > self.patience {
                    let patience = humantime::format_duration(self.patience);
                    let text = format!("the sweep at {sweep} cannot be reached for {patience}: {why}");
                    return Err(End::GaveUp(format!("{text}. --give-up-after sets how long to try.")));
                }
                self.warn_once(format!("the sweep at {sweep} cannot be reached, trying again: {why}"));
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Runs the worker until its run has ended, or it is to leave: told so by the node, or because the sweep is gone, and with
    /// it the run's coordinator. It keeps what it holds then.
    async fn train(
        &self,
        recipe: Recipe,
        mut call: Streaming<v1::Assignment>,
        leave: &mut watch::Receiver<bool>,
    ) -> Result<End, Failure> {
        let label = recipe.label.clone();
        let (end, ended) = watch::channel(false);
        let (supervised, over) = (self.supervise(recipe, ended), over(&mut call));
        tokio::pin!(supervised, over);
        loop {
            let is_leaving = *end.borrow();
            tokio::select! {
                result = &mut supervised => return result,
                why = &mut over, if !is_leaving => {
                    tracing::warn!("{label} leaves: {why}");
                    end.send_replace(true);
                }
                () = told(leave), if !is_leaving => {
                    end.send_replace(true);
                }
            }
        }
    }
}

/// Offers a worker once, and waits for the run that it is to train for. `since` is when the sweep was last reached.
async fn offer(sweep: &Address, name: &str, since: &mut Instant) -> Result<Option<Offered>, Status> {
    let mut client = dial_sweep(sweep).await.map_err(Status::unavailable)?;
    let request = v1::OfferRequest { name: name.to_owned() };
    let mut call = client.offer(request).await?.into_inner();
    *since = Instant::now();
    let assigned = call.message().await;
    *since = Instant::now();
    Ok(assigned?.map(|assigned| (assigned, call)))
}

/// How a worker ends that gets this answer, if it is not to be offered again.
fn end_of(sweep: &Address, status: &Status) -> Option<End> {
    let text = status.message().to_owned();
    match status.code() {
        Code::OutOfRange => Some(End::WithRun(RunEnd::Complete, 0, text)),
        Code::PermissionDenied | Code::InvalidArgument => Some(End::CannotTakePart(text)),
        Code::Unimplemented => Some(End::CannotTakePart(format!(
            "what answers at {sweep} is no sweep. A coordinator's address is given with --coordinator."
        ))),
        _ => None,
    }
}

/// Waits until the worker is to leave although nobody tells it; returns why.
async fn over(call: &mut Streaming<v1::Assignment>) -> String {
    loop {
        match call.message().await {
            // A call is about one run.
            Ok(Some(_)) => {}
            Ok(None) => {
                sleep(ENDS_WITHIN).await;
                return "its run is over".to_owned();
            }
            Err(status) => return format!("the sweep is away: {}", status.message()),
        }
    }
}
