//! Spans on their way to a collector, over real gRPC, with TLS and without; and collectors that refuse, are away, or stand still.

use std::collections::VecDeque;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use lsgan_control::{Entry, GoneReason, Outcome, Start};
use lsgan_coordinator::spans::queue::Counts;
use lsgan_coordinator::spans::{About, Exporter, Spans, start};
use lsgan_outside::certified;
use lsgan_spec::{Generation, Incarnation, Reduction};
use lsgan_wire::v1::StepMetrics;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status};

/// Much longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(20);
const NOW_MS: u64 = 1_700_000_000_000;

/// What came in a call: the header `x-api-key`, and the message.
type Call = (Option<String>, ExportTraceServiceRequest);
type Answer = Result<ExportTraceServiceResponse, Status>;

/// A collector that keeps what it is sent.
#[derive(Clone)]
struct Collector {
    calls: mpsc::UnboundedSender<Call>,
    /// What it answers, one after the other; then that all is well.
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let key = request.metadata().get("x-api-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
        let answer = self.answers.lock().expect("no test panics here").pop_front();
        let answer = answer.unwrap_or_else(|| Ok(ExportTraceServiceResponse::default()));
        // A test may have seen enough.
        let _ = self.calls.send((key, request.into_inner()));
        answer.map(Response::new)
    }
}

impl Collector {
    fn answering(answers: impl IntoIterator<Item = Answer>) -> (Self, mpsc::UnboundedReceiver<Call>) {
        let (calls, received) = mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(answers.into_iter().collect()));
        (Self { calls, answers }, received)
    }

    /// Serves all connections, with TLS where there is a configuration.
    fn serve(self, listener: TcpListener, tls: Option<ServerConfig>) {
        let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                match &acceptor {
                    None => self.connection(socket),
                    Some(acceptor) => {
                        // One that does not believe the certificate hangs up.
                        if let Ok(stream) = acceptor.accept(socket).await {
                            self.connection(stream);
                        }
                    }
                }
            }
        });
    }

    fn connection(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = TowerToHyperService::new(TraceServiceServer::new(self.clone()));
        let serving =
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
        tokio::spawn(serving);
    }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// Starts to export to this address, with more variables.
fn exporter(scheme: &str, address: SocketAddr, more: &[(&str, &str)]) -> (Spans, Exporter) {
    let endpoint = format!("{scheme}://{address}");
    let set = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "20")];
    let all = [more, &set].concat();
    let about = About { run: "small", identity: "1234", secret: "secret", adopts: None };
    let variable =
        |name: &str| all.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    start(variable, &about).expect("a collector is named")
}

/// Something happens to the run, so many times.
fn happen(spans: &mut Spans, times: u64) {
    for time in 0..times {
        let told = (false, format!("event {time}"));
        spans.entry(&Entry::StopRequested, Some(&told), NOW_MS + time);
    }
}

async fn next(calls: &mut mpsc::UnboundedReceiver<Call>) -> Call {
    timeout(DEADLINE, calls.recv()).await.expect("it comes in time").expect("the collector goes on")
}

fn spans_of(call: &Call) -> Vec<Span> {
    call.1.resource_spans.iter().flat_map(|all| &all.scope_spans).flat_map(|s| s.spans.clone()).collect()
}

/// All spans of calls that have come.
fn all_spans(calls: &mut mpsc::UnboundedReceiver<Call>) -> Vec<Span> {
    std::iter::from_fn(|| calls.try_recv().ok()).flat_map(|call| spans_of(&call)).collect()
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> &'a str {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{key} is {other:?}"),
    }
}

/// A generation of 25 steps that a worker's death ends, and the next one, in which the run ends. By the clock of the test.
fn two_generations(mut spans: Spans, now: u64) {
    let form = |generation: u64, from: u64| Entry::Generation {
        generation: Generation(generation),
        members: vec![],
        from: Reduction(from),
        start: Start::Held,
    };
    spans.entry(&form(1, 0), None, now + 10);
    spans.entry(&Entry::Stepping(Generation(1)), None, now + 20);
    for step in 0..25 {
        if spans.wants(step) {
            let scalars = [("step_ms".to_owned(), 2.0), ("loss_d".to_owned(), 0.5)].into();
            let row = StepMetrics { step, wall_ms: now + 30 + step, scalars };
            spans.step(&row, now + 100);
        }
    }
    // A clock that is behind: it would end before its generation begins.
    spans.step(&StepMetrics { step: 99, wall_ms: 1, ..StepMetrics::default() }, now + 100);
    let gone =
        Entry::Gone { incarnation: Incarnation(2), name: "anna".to_owned(), reason: GoneReason::StreamBroke };
    spans.entry(&gone, Some(&(true, "worker 2 (anna) is gone".to_owned())), now + 110);
    let halting = Entry::Halting { generation: Generation(1), why: "a member is gone".to_owned() };
    spans.entry(&halting, None, now + 110);
    spans.entry(&form(2, 50), None, now + 150);
    spans.entry(&Entry::Ended(Outcome::Complete), Some(&(false, "all is done".to_owned())), now + 160);
    spans.end(now + 170);
}

#[tokio::test]
async fn the_life_of_two_generations_arrives_with_its_parents_and_times() {
    let (listener, address) = listener().await;
    let (collector, mut calls) = Collector::answering([]);
    collector.serve(listener, None);
    let more = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=a%20b"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=gan,lsgan.run=theirs"),
        ("LSGAN_TRACE_EVERY", "10"),
    ];
    let (spans, exporter) = exporter("http", address, &more);
    let now = lsgan_journal::wall_ms();
    two_generations(spans, now);
    let counts = exporter.finish().await;
    assert_eq!(counts.lost, 0, "{counts:?}");
    let first = next(&mut calls).await;
    assert_eq!(first.0.as_deref(), Some("a b"));
    let resource = first.1.resource_spans[0].resource.clone().expect("it says what it is of").attributes;
    assert_eq!(text(&resource, "lsgan.run"), "theirs", "the user's word goes first");
    assert_eq!((text(&resource, "team"), text(&resource, "lsgan.identity")), ("gan", "1234"));
    assert_eq!(text(&resource, "service.name"), "lsgan-coordinator");

    let all: Vec<_> = spans_of(&first).into_iter().chain(all_spans(&mut calls)).collect();
    assert_eq!(counts.made, all.len() as u64);
    let names: Vec<_> = all.iter().map(|span| span.name.as_str()).collect();
    let expected = "gathering, forming, step, step, step, worker gone, stepping, halted, generation, \
                    run ended, forming, generation";
    assert_eq!(names.join(", "), expected, "in the order in which they end");
    check_family(&all);
    let gone = &all[5];
    assert_eq!(text(&gone.attributes, "lsgan.worker"), "anna");
    assert_eq!(gone.start_time_unix_nano, (now + 110) * 1_000_000);
    assert!(gone.status.as_ref().is_some_and(|status| status.code == 2), "{gone:?}");
    assert_eq!(all[2].end_time_unix_nano - all[2].start_time_unix_nano, 2_000_000, "a step of 2 ms");
}

/// Each root is linked to the one before, and spans lie inside their parents.
fn check_family(all: &[Span]) {
    let roots: Vec<_> = all.iter().filter(|span| span.parent_span_id.is_empty()).collect();
    let ids = |span: &Span| (span.trace_id.clone(), span.span_id.clone());
    for (before, root) in roots.iter().zip(&roots[1..]) {
        let linked: Vec<_> =
            root.links.iter().map(|link| (link.trace_id.clone(), link.span_id.clone())).collect();
        assert_eq!(linked, [ids(before)]);
    }
    for span in all {
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
        if !span.parent_span_id.is_empty() {
            let is_parent = |root: &&&Span| ids(root) == (span.trace_id.clone(), span.parent_span_id.clone());
            let root = roots.iter().find(is_parent).expect("each has a parent");
            assert!(root.start_time_unix_nano <= span.start_time_unix_nano, "{span:?}");
            assert!(root.end_time_unix_nano >= span.end_time_unix_nano, "{span:?}");
        }
    }
}

/// As gRPC speaks TLS.
fn server(dir: &Path) -> ServerConfig {
    let mut config = certified::by_an_authority_in(dir);
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

#[tokio::test]
async fn a_collector_with_tls_is_believed_by_its_authority_and_by_no_other() {
    let (dir, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (listener, address) = listener().await;
    let (collector, mut calls) = Collector::answering([]);
    collector.serve(listener, Some(server(dir.path())));
    server(other.path());
    for (dir, lost) in [(&dir, 0), (&other, 4)] {
        let authority = dir.path().join("ca.crt").display().to_string();
        let more = [("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.as_str())];
        let (mut spans, exporter) = exporter("https", address, &more);
        happen(&mut spans, 3);
        spans.end(NOW_MS);
        assert_eq!(exporter.finish().await, Counts { made: 4, lost });
    }
    assert_eq!(all_spans(&mut calls).len(), 4);
}

#[tokio::test]
async fn a_collector_that_comes_late_gets_the_newest() {
    let (listener, address) = listener().await;
    drop(listener);
    let (mut spans, exporter) = exporter("http", address, &[("OTEL_BSP_MAX_QUEUE_SIZE", "4")]);
    happen(&mut spans, 20);
    let listener = TcpListener::bind(address).await.expect("nobody has taken it");
    let (collector, mut calls) = Collector::answering([]);
    collector.serve(listener, None);
    let first = next(&mut calls).await;
    let texts: Vec<_> =
        spans_of(&first).iter().map(|span| text(&span.attributes, "lsgan.text").to_owned()).collect();
    assert_eq!(texts, ["event 16", "event 17", "event 18", "event 19"]);
    spans.end(NOW_MS);
    let counts = exporter.finish().await;
    assert_eq!(counts, Counts { made: 21, lost: 16 });
}

#[tokio::test]
async fn what_a_collector_refuses_is_lost_and_what_it_cannot_take_now_comes_again() {
    let partial = ExportTracePartialSuccess { rejected_spans: 2, error_message: "no room".to_owned() };
    let answers = [
        Err(Status::unavailable("not now")),
        Ok(ExportTraceServiceResponse { partial_success: Some(partial) }),
        Err(Status::invalid_argument("never")),
    ];
    let (listener, address) = listener().await;
    let (collector, mut calls) = Collector::answering(answers);
    collector.serve(listener, None);
    let (mut spans, exporter) = exporter("http", address, &[]);
    happen(&mut spans, 3);
    let (first, again) = (next(&mut calls).await, next(&mut calls).await);
    assert_eq!(spans_of(&first).len(), 3);
    assert_eq!(spans_of(&first), spans_of(&again));
    happen(&mut spans, 2);
    next(&mut calls).await;
    spans.end(NOW_MS);
    assert_eq!(exporter.finish().await, Counts { made: 6, lost: 4 }, "two of the three, and the next two");
}

/// The kernel accepts for a listener that never does.
#[tokio::test]
async fn a_collector_that_never_answers_costs_the_end_no_more_than_a_moment() {
    let (_listener, address) = listener().await;
    let (mut spans, exporter) = exporter("http", address, &[("OTEL_BSP_MAX_QUEUE_SIZE", "8")]);
    happen(&mut spans, 100);
    spans.end(NOW_MS);
    let begin = Instant::now();
    let counts = exporter.finish().await;
    assert!(begin.elapsed() < DEADLINE / 2, "{:?}", begin.elapsed());
    assert_eq!(counts, Counts { made: 101, lost: 101 });
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_lets_the_run_go_on_without_spans() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("ca.crt");
    fs::write(&file, "no certificate").expect("it can be written");
    let about = About { run: "small", identity: "1234", secret: "secret", adopts: None };
    let variable = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("https://127.0.0.1:1".to_owned()),
        "OTEL_EXPORTER_OTLP_CERTIFICATE" => Some(file.display().to_string()),
        _ => None,
    };
    assert!(start(variable, &about).is_none());
}
