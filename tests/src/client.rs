//! A coordinator's status by gRPC.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lsgan_certs::{Credential, Identity};
use lsgan_wire::v1::{self, RunStatus};
use lsgan_wire::{Address, dial};
use tokio::runtime::Runtime;

use crate::wait::until;

/// A coordinator that does not answer for so long counts as away.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A client of one coordinator.
#[derive(Clone, Debug)]
pub struct Client {
    address: String,
    identity: Option<Arc<Identity>>,
}

impl Client {
    /// A client of the coordinator at `address`, as `http://127.0.0.1:7070`.
    pub fn new(address: impl Into<String>) -> Self {
        Self::with(address, None)
    }

    /// The same, at an `https` address with a certificate.
    pub fn with(address: impl Into<String>, identity: Option<Arc<Identity>>) -> Self {
        Self { address: address.into(), identity }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn status(&self) -> Result<RunStatus, String> {
        let address =
            self.address.parse::<Address>()?.by(self.identity.clone().map(Credential::Certificate))?;
        let ask = async {
            let reply = dial(&address).await?.status(v1::StatusRequest {}).await;
            reply.map(tonic::Response::into_inner).map_err(|status| status.to_string())
        };
        let answer = runtime().block_on(async { tokio::time::timeout(ANSWER_TIMEOUT, ask).await });
        answer.unwrap_or_else(|_| Err(format!("no answer in {} s", ANSWER_TIMEOUT.as_secs())))
    }

    /// Waits until the status is as wanted; returns it.
    #[track_caller]
    pub fn wait_until(&self, awaited: &str, wanted: impl Fn(&RunStatus) -> bool) -> RunStatus {
        until(awaited, || match self.status() {
            Ok(status) if wanted(&status) => Ok(status),
            Ok(status) => Err(in_short(&status)),
            Err(error) => Err(error),
        })
    }

    /// Waits until so many steps are done, as far as the coordinator has heard.
    #[track_caller]
    pub fn wait_for_step(&self, step: u64) -> RunStatus {
        self.wait_until(&format!("step {step} is done"), |status| status.step >= step)
    }
}

fn in_short(status: &RunStatus) -> String {
    let workers = status.workers.iter().map(|w| format!("{} is {} at {:?}", w.name, w.role(), w.applied));
    let workers: Vec<_> = workers.collect();
    let notices: Vec<_> = status.notices.iter().map(|n| n.text.as_str()).collect();
    format!(
        "{} in generation {}, step {} of {}; workers: {workers:?}; notices: {notices:#?}",
        status.phase(),
        status.generation,
        status.step,
        status.steps
    )
}

/// One for all tests of a process; tests themselves are plain threads.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made")
    })
}
