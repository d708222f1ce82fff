//! The run's store as this worker reaches it, and the proof that it is the coordinator's.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use lsgan_console::exit::chain;
use lsgan_control::Report;
use lsgan_control::report::StoreProof;
use lsgan_snapshots::Store;

use crate::outbox::Outbox;

/// How long after a proof that failed it is tried again: a directory may be mounted late, a bucket may be away.
const AGAIN: Duration = Duration::from_secs(30);

/// A run that starts waits for every worker's proof, and a store without keys may be silent for a minute.
const WITHIN: Duration = Duration::from_secs(10);

fn failed(why_not: String) -> StoreProof {
    StoreProof { why_not, ..StoreProof::default() }
}

/// Where the run keeps its snapshots. A worker that does not get there computes all the same.
#[derive(Debug)]
pub struct RunStore {
    /// An absolute directory or a URL, as the coordinator says.
    place: String,
    opened: OnceLock<Store>,
}

impl RunStore {
    /// The store at `place`, not opened yet.
    #[must_use]
    pub fn at(place: &str) -> Self {
        Self { place: place.to_owned(), opened: OnceLock::new() }
    }

    /// The store, opened. A directory that is not there is not made: the coordinator has made it, if it is the same.
    ///
    /// # Errors
    /// Why this worker does not get there, in a sentence.
    pub fn open(&self) -> Result<&Store, String> {
        if let Some(store) = self.opened.get() {
            return Ok(store);
        }
        let store = Store::open_existing(&self.place).map_err(|error| chain(&error))?;
        Ok(self.opened.get_or_init(|| store))
    }

    /// Proves to the coordinator that this worker sees its store; while that fails, says why and tries again.
    pub async fn prove(self: Arc<Self>, outbox: Arc<Outbox>) {
        let mut said = None;
        loop {
            let tried = tokio::time::timeout(WITHIN, self.try_to_prove()).await;
            let proof = tried.unwrap_or_else(|_| failed(format!("{} does not answer", self.place)));
            let proved = proof.why_not.is_empty();
            if said.as_ref() != Some(&proof.why_not) {
                said = Some(proof.why_not.clone());
                if !proved {
                    tracing::warn!("this worker cannot write snapshots: {}", proof.why_not);
                }
                outbox.say(Report::StoreProof(proof));
            }
            if proved {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn try_to_prove(&self) -> StoreProof {
        let store = match self.open() {
            Ok(store) => store,
            Err(why) => return failed(why),
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let answer = format!("{}-{}", std::process::id(), now.as_nanos());
        match store.answer_witness(&answer).await {
            Ok(Some(secret)) => StoreProof { secret, answer, why_not: String::new() },
            Ok(None) => failed(format!(
                "what the coordinator wrote into {} is not there on this host: it is another disk, or nothing is mounted \
                 there",
                self.place
            )),
            Err(error) => failed(chain(&error)),
        }
    }
}
