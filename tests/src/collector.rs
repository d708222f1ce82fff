//! A collector of spans, over OTLP and real gRPC, which keeps all that it is sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
pub use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::client::runtime;

type Received = Arc<Mutex<Vec<ResourceSpans>>>;

/// A collector that listens. Dropping it ends it.
pub struct Collector {
    address: SocketAddr,
    received: Received,
    serving: JoinHandle<()>,
}

struct Service(Received);

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut received = self.0.lock().expect("nothing panics while it is locked");
        received.extend(request.into_inner().resource_spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// One at a free port of `host`.
    pub fn start(host: &str) -> Self {
        let received = Received::default();
        let service = TraceServiceServer::new(Service(received.clone()));
        let listener = runtime().block_on(TcpListener::bind((host, 0))).expect("there is a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let serving = runtime().spawn(async move {
            let server = Server::builder().add_service(service);
            server.serve_with_incoming(TcpIncoming::from(listener)).await.expect("it goes on");
        });
        Self { address, received, serving }
    }

    /// Where it listens, as `http://127.0.0.1:4317`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the spans are said to be of, each time.
    pub fn resources(&self) -> Vec<Vec<KeyValue>> {
        let received = self.received.lock().expect("nothing panics while it is locked");
        let resources = received.iter().filter_map(|all| all.resource.clone());
        resources.map(|resource| resource.attributes).collect()
    }

    /// All spans that have come.
    pub fn spans(&self) -> Vec<Span> {
        let received = self.received.lock().expect("nothing panics while it is locked");
        let scopes = received.iter().flat_map(|all| &all.scope_spans);
        scopes.flat_map(|scope| scope.spans.iter().cloned()).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// An attribute that is a text; none if there is none of this name, or it is none.
pub fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}
