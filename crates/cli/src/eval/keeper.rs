//! Where scores are kept, and whether the run that they are of goes on.

use std::path::PathBuf;
use std::sync::Arc;

use lsgan_certs::{Identity, Role};
use lsgan_console::Failure;
use lsgan_journal::LastWords;
use lsgan_launch::{ScoreRow, append_score, read_scores};
use lsgan_snapshots::Holder;
use lsgan_spec::Step;
use lsgan_wire::{Client, v1};

use super::Args;
use crate::live;

/// Who keeps the scores.
pub enum Keeper {
    /// The run's directory, which is on this machine.
    Dir(PathBuf),
    /// The run's coordinator.
    Coordinator(Box<Remote>),
    /// Nobody: who asked reads them.
    Nobody,
}

/// A coordinator that may be on another machine.
pub struct Remote {
    address: String,
    identity: Option<Arc<Identity>>,
    client: Client,
}

/// How a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    Live,
    /// Its coordinator does not answer; it may get another one.
    Away,
    Ended,
}

impl Keeper {
    /// Who keeps what these arguments ask for, and where the run's snapshots are.
    ///
    /// # Errors
    /// A coordinator that does not answer, or that keeps the snapshots where this machine has nothing.
    pub async fn of(args: &Args) -> Result<(Self, String), Failure> {
        if let Some(address) = &args.coordinator {
            let identity = args.tls.open(&[Role::Operator, Role::Viewer])?;
            let client = live::connect(address, identity.clone()).await?;
            let mut remote = Box::new(Remote { address: address.clone(), identity, client });
            let store = match &args.run {
                Some(run) => run.clone(),
                None => remote.store().await?,
            };
            return Ok((Self::Coordinator(remote), store));
        }
        let run = args.run.clone().expect("without a coordinator the command line has it");
        let dir = Some(PathBuf::from(&run)).filter(|dir| !args.row && !run.contains("://") && dir.is_dir());
        Ok((dir.map_or(Self::Nobody, Self::Dir), run))
    }

    /// The scores that are known of a snapshot.
    ///
    /// # Errors
    /// A file that cannot be read. A coordinator that does not answer counts as one that knows of none.
    pub async fn known(&mut self, step: Step) -> Result<Vec<ScoreRow>, Failure> {
        match self {
            Self::Dir(dir) => Ok(read_scores(dir)?.into_iter().filter(|row| row.step == step).collect()),
            Self::Coordinator(remote) => {
                let reply = remote.client.list_scores(v1::ListScoresRequest { step: step.0 }).await;
                let rows = reply.map(|reply| reply.into_inner().rows).unwrap_or_default();
                rows.iter().map(|row| ScoreRow::from_line(row).map_err(Failure::failed)).collect()
            }
            Self::Nobody => Ok(vec![]),
        }
    }

    /// Keeps a row.
    ///
    /// # Errors
    /// A directory that cannot be written, or a coordinator that does not take it.
    pub async fn keep(&mut self, row: &ScoreRow) -> Result<(), Failure> {
        match self {
            Self::Dir(dir) => append_score(dir, row),
            Self::Coordinator(remote) => {
                let request = v1::KeepScoreRequest { by: live::operator(), row: row.to_line() };
                let kept = remote.client.keep_score(request).await;
                let why = |status: tonic::Status| {
                    Failure::failed(format!(
                        "the score of step {} is not kept: {}. `lsgan eval --run DIR` with the run's directory makes it again.",
                        row.step,
                        status.message()
                    ))
                };
                kept.map(drop).map_err(why)
            }
            Self::Nobody => Ok(()),
        }
    }

    /// How the run is at this moment.
    ///
    /// # Errors
    /// A directory or journal that cannot be read.
    pub async fn look(&mut self) -> Result<Run, Failure> {
        match self {
            Self::Dir(dir) => {
                if Holder::of(dir)?.is_some() {
                    return Ok(Run::Live);
                }
                let has_ended = LastWords::of(dir)?.is_none_or(|last| last.outcome.is_some());
                Ok(if has_ended { Run::Ended } else { Run::Away })
            }
            Self::Coordinator(remote) => Ok(remote.look().await),
            Self::Nobody => Ok(Run::Ended),
        }
    }
}

impl Remote {
    /// Where the run's snapshots are.
    async fn store(&mut self) -> Result<String, Failure> {
        let status = self.client.status(v1::StatusRequest {}).await;
        let store = status.map_err(|status| Failure::failed(status.message()))?.into_inner().store;
        if store.is_empty() {
            return Err(Failure::failed(format!(
                "the coordinator at {} is starting, and does not say yet where its snapshots are. Ask again in a moment.",
                self.address
            )));
        }
        if store.contains("://") || PathBuf::from(&store).is_dir() {
            return Ok(store);
        }
        Err(Failure::bad_input(format!(
            "the run keeps its snapshots in {store} of its coordinator's host, and there is no such directory here. Say with \
             --run where this machine sees it."
        )))
    }

    async fn look(&mut self) -> Run {
        match self.client.status(v1::StatusRequest {}).await {
            Ok(status) if status.get_ref().outcome.is_some() => Run::Ended,
            Ok(_) => Run::Live,
            Err(_) => {
                // One that was started again.
                if let Ok(client) = live::connect(&self.address, self.identity.clone()).await {
                    self.client = client;
                }
                Run::Away
            }
        }
    }
}
