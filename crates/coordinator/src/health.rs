//! The gRPC health service (`grpc.health.v1`), which a supervisor of containers probes.
//!
//! The empty name serves as soon as the port is bound. [`READINESS`] serves while the run takes workers. [`LIVENESS`] stops
//! serving when the shell hangs, and not while the coordinator starts: a slow object store is no reason to kill it.
//!
//! It has a port of its own: the probes of a kubelet speak no TLS and know no secret, and a flood on the coordinator's port must
//! not look like a hang.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lsgan_console::{Failure, vital};
use lsgan_wire::{Incoming, Limits, Listen};
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};

use crate::status::{Heard, StatusFeed};

/// The name that serves unless the shell hangs.
pub const LIVENESS: &str = "liveness";
/// The name that serves while the run takes workers.
pub const READINESS: &str = "readiness";

/// A supervisor has a connection or two. Whoever opens more must not use up the files that workers' connections need.
const LIMITS: Limits = Limits { connections_max: 256, connections_per_address_max: 64 };

/// How long the shell may be silent. It publishes its status every second and waits for nothing else; on machines that are
/// so busy that living processes are silent, they are for up to 15 s (`cluster.failure_timeout`).
const SILENT_MAX: Duration = Duration::from_secs(30);

/// The health service of a coordinator that starts.
#[derive(Debug)]
pub struct Health {
    address: SocketAddr,
    reporter: HealthReporter,
    silent_max: Duration,
}

impl Health {
    /// Listens on `address`: the coordinator is alive, and not ready.
    ///
    /// # Errors
    /// The address is taken, or is none of this host's.
    pub async fn start(address: &Listen) -> Result<Self, Failure> {
        let listener = crate::listen(address).await.map_err(|error| {
            Failure::failed(format!(
                "cannot listen on {address} for the health service: {error}. Give another address with --health-listen."
            ))
        })?;
        let (reporter, service) = health_reporter();
        reporter.set_service_status(READINESS, ServingStatus::NotServing).await;
        reporter.set_service_status(LIVENESS, ServingStatus::Serving).await;
        let address = listener.local_addr()?;
        tracing::info!(%address, "health service");
        let incoming = Incoming::new(listener, None, Arc::default(), LIMITS);
        vital::task("health server", async move {
            let server = Server::builder().add_service(service);
            // Without it the kubelet would kill a coordinator that is well, and not know why.
            server.serve_with_incoming(incoming).await.expect("the server does not end");
        });
        Ok(Self { address, reporter, silent_max: SILENT_MAX })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same with another patience with the shell, for tests.
    #[must_use]
    pub fn patient_for(self, silent_max: Duration) -> Self {
        Self { silent_max, ..self }
    }

    /// The run takes workers: from now on the shell, which publishes its status in `feed`, is watched.
    pub fn watch(self, mut feed: StatusFeed) {
        let Self { reporter, silent_max, .. } = self;
        vital::task("health task", async move {
            reporter.set_service_status(READINESS, ServingStatus::Serving).await;
            loop {
                let liveness = match feed.next_within(silent_max).await {
                    Heard::Status => ServingStatus::Serving,
                    Heard::Nothing => {
                        tracing::error!("the shell has been silent for {} s", silent_max.as_secs());
                        ServingStatus::NotServing
                    }
                    Heard::End => break,
                };
                reporter.set_service_status(LIVENESS, liveness).await;
            }
            reporter.set_service_status(READINESS, ServingStatus::NotServing).await;
        });
    }
}
