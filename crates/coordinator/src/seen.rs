//! Looks into the store before a snapshot counts as written, or a worker as one that sees the store: a worker can have
//! another store at the same place.

use std::collections::BTreeMap;
use std::time::Duration;

use lsgan_console::{exit::chain, vital};
use lsgan_control::report::{FinalFile, PublishedSnapshot, StoreProof};
use lsgan_control::{Event, SessionId};
use lsgan_snapshots::Store;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::rows;
use crate::service::Input;
use crate::shell::Shell;

/// How long a worker's write may take to be seen here: network file systems cache directories for some seconds.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// When, and how often, a worker's answer that was not seen is looked for again: the store may be away for a while.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
const LOOKS_MAX: u32 = 100;
/// How long to wait for a store that does not answer.
const PROOF_WITHIN: Duration = Duration::from_secs(60);
/// Claims that were not checked yet. Workers write one snapshot after another.
const CLAIMS_MAX: usize = 1024;

/// What a worker says that it wrote.
#[derive(Debug)]
pub enum Claim {
    /// A snapshot.
    Snapshot(PublishedSnapshot),
    /// What closes the run.
    Task(Vec<FinalFile>),
}

/// What the coordinator found of it.
#[derive(Debug)]
pub struct Found {
    session: SessionId,
    claim: Claim,
    /// Why it does not count.
    missing: Option<String>,
}

/// Starts to look after claims, in the order in which they come.
pub fn start(store: Store, inputs: mpsc::Sender<Input>) -> mpsc::Sender<(SessionId, Claim)> {
    let (claims, mut queue) = mpsc::channel::<(SessionId, Claim)>(CLAIMS_MAX);
    vital::task("store task", async move {
        // What closes a run is no better than the snapshot that goes with it.
        let mut unseen = BTreeMap::new();
        while let Some((session, mut claim)) = queue.recv().await {
            let missing = match &mut claim {
                Claim::Snapshot(written) => {
                    let missing = look_for_snapshot(&store, written).await.err();
                    unseen.insert(session, missing.clone());
                    missing
                }
                Claim::Task(files) => match unseen.remove(&session).flatten() {
                    Some(missing) => Some(missing),
                    None => look_for_files(&store, files).await.err(),
                },
            };
            if inputs.send(Input::Found(Found { session, claim, missing })).await.is_err() {
                return;
            }
        }
    });
    claims
}

/// Where it is and how large is from now on what was found there; the worker may say otherwise. An error says why it does not
/// count.
async fn look_for_snapshot(store: &Store, written: &mut PublishedSnapshot) -> Result<(), String> {
    let (step, wanted, place) = (written.step, &written.blake3, store.snapshot_path(written.step));
    let at = &place;
    let found = until_seen(|| async move {
        let manifest = store.look(step).await.map_err(|error| chain(&error))?;
        if manifest.blake3() == *wanted {
            return Ok(manifest);
        }
        Err(format!("{at} holds another snapshot than the worker wrote"))
    })
    .await?;
    written.len_bytes = found.parts.iter().map(|part| part.len_bytes).sum();
    written.url = place;
    Ok(())
}

/// The same of final files.
async fn look_for_files(store: &Store, files: &mut [FinalFile]) -> Result<(), String> {
    for file in files {
        let place = store.final_path(&file.name);
        let (name, wanted, at) = (&file.name, &file.blake3, &place);
        until_seen(|| async move {
            let found = store.hash_final(name).await.map_err(|error| chain(&error))?;
            match found {
                Some(hash) if hash == *wanted => Ok(()),
                Some(_) => Err(format!("{at} has other bytes than the worker wrote")),
                None => Err(format!("{at} is not there")),
            }
        })
        .await?;
        file.url = place;
    }
    Ok(())
}

/// Looks until it is there, or long enough. An error says why it is not.
async fn until_seen<T, F: Future<Output = Result<T, String>>>(look: impl Fn() -> F) -> Result<T, String> {
    let until = Instant::now() + SEEN_WITHIN;
    loop {
        match look().await {
            Err(_) if Instant::now() < until => sleep(LOOK_EVERY).await,
            seen => return seen,
        }
    }
}

/// Whether the answer of a worker is in this store, and holds the secret that was posted.
async fn look_for_answer(store: &Store, secret: &str, proof: &StoreProof) -> Option<String> {
    if !proof.why_not.is_empty() {
        return Some(proof.why_not.clone());
    }
    if proof.secret != secret {
        return Some("it sees another run's store".to_owned());
    }
    let seen = until_seen(|| async {
        let answer = store.take_answer(&proof.answer).await.map_err(|error| chain(&error))?;
        if answer.as_deref() == Some(secret) {
            return Ok(());
        }
        Err("what it writes into the store does not arrive where the coordinator reads".to_owned())
    });
    let seen = timeout(PROOF_WITHIN, seen).await;
    seen.unwrap_or_else(|_| Err("the store does not answer".to_owned())).err()
}

impl Shell {
    /// Looks whether the worker sees this store; says so to the machine later.
    pub(crate) fn look_for_answer(&self, session: SessionId, proof: StoreProof) {
        let (store, secret, inputs) = (self.store.clone(), self.secret.clone(), self.inputs.clone());
        vital::task("store task", async move {
            for _ in 0..LOOKS_MAX {
                let why_not = look_for_answer(&store, &secret, &proof).await;
                // The worker reports again itself once it sees the store.
                let may_come = why_not.is_some() && proof.why_not.is_empty() && proof.secret == secret;
                // The shell may have ended.
                if inputs.send(Input::StoreProved(session, why_not)).await.is_err() || !may_come {
                    return;
                }
                sleep(LOOK_AGAIN).await;
            }
        });
    }

    /// Looks for what the worker wrote; goes on with it later.
    pub(crate) fn look_for(&mut self, session: SessionId, claim: Claim) {
        match self.claims.try_send((session, claim)) {
            Ok(()) => {}
            Err(_) => self.notice(true, "a worker says that it wrote more than can be looked at".to_owned()),
        }
    }

    fn final_files_written(&mut self, files: &[FinalFile]) {
        if !files.is_empty() {
            self.final_files = files.iter().map(rows::written).collect();
            let rows: Vec<_> = files.iter().map(|f| (&f.name, &f.url, &f.blake3)).collect();
            let json = serde_json::to_string(&rows).expect("strings turn into JSON");
            self.journal.set_fact("final_files", json);
        }
    }

    pub(crate) fn found(&mut self, found: Found) {
        let Found { session, claim, missing } = found;
        match (claim, missing) {
            (Claim::Snapshot(written), None) => {
                self.snapshot_written(&written);
                self.apply(Event::SnapshotWritten { session, step: written.step })
            }
            (Claim::Snapshot(written), Some(why)) => {
                let text = format!(
                    "{} says that it wrote the snapshot of step {}, and the coordinator does not find it: {why}",
                    self.name_of(session),
                    written.step
                );
                self.notice(true, text);
                self.apply(Event::SnapshotFailed { session })
            }
            (Claim::Task(files), None) => {
                // Its sender may have lost the task while the store was looked at.
                if self.run.task_of(session).is_some() {
                    self.final_files_written(&files);
                    self.apply(Event::TaskDone { session })
                }
            }
            (Claim::Task(_), Some(why)) => {
                let why =
                    format!("the coordinator does not find what {} wrote: {why}", self.name_of(session));
                self.apply(Event::TaskFailed { session, why })
            }
        }
    }
}
