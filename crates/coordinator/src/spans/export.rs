//! Sends spans to a collector, by OTLP over gRPC: [`Exporter`].
//!
//! What a collector does not take for the moment is sent again, while newer spans wait; what it refuses is lost. Source: "OTLP/gRPC
//! Response" of the OpenTelemetry protocol's specification.

use std::time::Duration;

use lsgan_snapshots::host_name;
use lsgan_spec::{chain, printable};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::queue::Counts;
use super::{About, Queue, Settings, number, text};

/// How long the end of the process waits for the last spans.
pub const LAST_WITHIN: Duration = Duration::from_secs(1);
/// Before spans that were not taken are sent again; twice as long each time, up to the second.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(30);

/// The task that sends spans.
#[derive(Debug)]
pub struct Exporter {
    queue: Queue,
    place: String,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Starts to send what is in the queue.
    #[must_use]
    pub fn start(settings: Settings, queue: Queue, about: &About<'_>) -> Self {
        let (place, resource) = (settings.place(), resource(&settings, about));
        let client = TraceServiceClient::new(settings.channel());
        let sender = Sender { client, settings, resource, queue: queue.clone(), fails: 0 };
        // Not vital: a run whose spans are not sent goes on.
        Self { queue, place, task: tokio::spawn(sender.send_all()) }
    }

    /// What it sends.
    #[must_use]
    pub fn queue(&self) -> Queue {
        self.queue.clone()
    }

    /// Waits until all spans are sent, after the last one was made, but for [`LAST_WITHIN`] at most. Says how many are lost.
    pub async fn finish(mut self) -> Counts {
        // What is late is lost, and is counted.
        let _ = timeout(LAST_WITHIN, &mut self.task).await;
        self.task.abort();
        let counts = self.queue.counts();
        if counts.lost > 0 {
            let place = &self.place;
            tracing::warn!("{} of {} spans are lost: {place} has not taken them", counts.lost, counts.made);
        }
        counts
    }
}

struct Sender {
    client: TraceServiceClient<Channel>,
    settings: Settings,
    resource: Resource,
    queue: Queue,
    /// So many calls in a row have failed.
    fails: u32,
}

/// Why spans have not arrived.
struct Failed {
    why: String,
    /// Another try may have another end.
    again: bool,
}

impl Sender {
    async fn send_all(mut self) {
        loop {
            let (spans, most) = match self.fails {
                0 => (self.settings.batch_max, self.settings.delay),
                // However many there are: a collector that is away is asked from time to time only.
                fails => (usize::MAX, again_after(fails)),
            };
            self.queue.due(spans, most).await;
            let is_last = self.queue.is_closed();
            while self.send_batch().await {}
            if is_last {
                return;
            }
        }
    }

    /// Sends some spans. Whether there may be more to send at once.
    async fn send_batch(&mut self) -> bool {
        let batch = self.queue.take(self.settings.batch_max);
        if batch.is_empty() {
            return false;
        }
        match self.send(&batch).await {
            Ok(rejected) => {
                self.queue.arrived_but(rejected);
                if self.fails > 0 {
                    tracing::info!("spans are taken again by {}", self.settings.place());
                }
                self.fails = 0;
            }
            Err(Failed { why, again }) => {
                if self.fails == 0 {
                    let place = self.settings.place();
                    tracing::warn!("spans are not taken by {place}, and the run goes on: {why}");
                }
                self.fails += 1;
                match again {
                    true => self.queue.put_back(batch),
                    false => self.queue.arrived_but(batch.len() as u64),
                }
                // The connection may be the reason.
                self.client = TraceServiceClient::new(self.settings.channel());
                return false;
            }
        }
        true
    }

    /// Sends spans. How many of them the collector did not want.
    async fn send(&mut self, spans: &[Span]) -> Result<u64, Failed> {
        let scope = InstrumentationScope { name: "lsgan".to_owned(), ..InstrumentationScope::default() };
        let spans = ScopeSpans { scope: Some(scope), spans: spans.to_vec(), ..ScopeSpans::default() };
        let resource = Some(self.resource.clone());
        let all = ResourceSpans { resource, scope_spans: vec![spans], ..ResourceSpans::default() };
        let mut request = Request::new(ExportTraceServiceRequest { resource_spans: vec![all] });
        *request.metadata_mut() = self.settings.headers.clone();
        let within = self.settings.timeout;
        match timeout(within, self.client.export(request)).await {
            Ok(Ok(response)) => {
                let rejected = response.into_inner().partial_success.map_or(0, |part| part.rejected_spans);
                Ok(u64::try_from(rejected).unwrap_or(0))
            }
            Ok(Err(status)) => Err(Failed { why: words(&status), again: may_end_otherwise(status.code()) }),
            Err(_) => Err(Failed { why: format!("no answer within {} ms", within.as_millis()), again: true }),
        }
    }
}

fn again_after(fails: u32) -> Duration {
    AGAIN_AFTER.saturating_mul(1 << (fails - 1).min(16)).min(AGAIN_AFTER_MAX)
}

/// What kind of failure it is, and what was said about it.
fn words(status: &Status) -> String {
    let kind = status.code().description();
    let cause = std::error::Error::source(status).map(|cause| format!(": {}", chain(cause)));
    format!("{kind}: {}{}", printable(status.message()), cause.unwrap_or_default())
}

/// Whether the specification lets the same spans be sent again. What gRPC does not know is mostly a connection that broke.
fn may_end_otherwise(code: Code) -> bool {
    match code {
        Code::Cancelled | Code::DeadlineExceeded | Code::Aborted | Code::OutOfRange => true,
        Code::Unavailable | Code::DataLoss | Code::ResourceExhausted | Code::Unknown => true,
        Code::Ok | Code::InvalidArgument | Code::NotFound | Code::AlreadyExists => false,
        Code::PermissionDenied | Code::FailedPrecondition | Code::Unimplemented | Code::Internal => false,
        Code::Unauthenticated => false,
    }
}

/// What the spans are of: the user's words before ours.
fn resource(settings: &Settings, about: &About<'_>) -> Resource {
    let ours = [
        Some(text("service.name", "lsgan-coordinator")),
        Some(text("service.version", env!("CARGO_PKG_VERSION"))),
        Some(number("process.pid", std::process::id().into())),
        host_name().map(|host| text("host.name", host)),
        Some(text("lsgan.run", about.run)),
        Some(text("lsgan.identity", about.identity)),
    ];
    let mut attributes: Vec<KeyValue> = Vec::new();
    let theirs = settings.attributes.iter().rev().map(|(key, value)| text(key, value));
    for attribute in theirs.chain(ours.into_iter().flatten()) {
        if attributes.iter().all(|known| known.key != attribute.key) {
            attributes.push(attribute);
        }
    }
    Resource { attributes, ..Resource::default() }
}
