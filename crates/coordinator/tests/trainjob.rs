//! Progress for a Kubeflow TrainJob, over HTTPS to a server as Kubeflow Trainer has one.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use lsgan_certs::authority::{Authority, Wanted};
use lsgan_certs::{Files, Role};
use lsgan_coordinator::status::{self, Publisher};
use lsgan_coordinator::trainjob::{AUTHORITY, TOKEN, TrainJob, URL};
use lsgan_wire::v1::{Phase, RunStatus, Shutdown, StepMetrics};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Much longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(20);
const PATH: &str = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/a/trainjobs/b/status";

/// What came: the path, the token, the status.
type Posted = (String, String, Value);

/// A server of Kubeflow Trainer's kind, which answers with these codes one after the other, and then with 200.
struct Server {
    dir: TempDir,
    address: SocketAddr,
    posted: mpsc::Receiver<Posted>,
}

impl Server {
    async fn start(codes: &[u16]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let names = vec!["127.0.0.1".parse().expect("a name")];
        Authority::init(dir.path(), &Wanted { names, days: 1 }).expect("an empty directory");
        fs::write(dir.path().join("token"), "first\n").expect("it can be written");
        let files = Files::in_folder(&dir.path().join(Role::Coordinator.word()));
        let certificate = CertificateDer::from_pem_file(&files.certificate).expect("it was written");
        let key = PrivateKeyDer::from_pem_file(&files.key).expect("it was written");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring speaks them")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("they fit");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let (sender, posted) = mpsc::channel(1024);
        let mut codes = codes.to_vec().into_iter();
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            loop {
                let (socket, _) = listener.accept().await.expect("it goes on");
                let Ok(stream) = acceptor.accept(socket).await else { continue };
                let (sender, code) = (sender.clone(), codes.next().unwrap_or(200));
                let answer = service_fn(move |request| answer(request, code, sender.clone()));
                // A client that hangs up has its answer.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            }
        });
        Self { dir, address, posted }
    }

    fn trainjob(&self) -> TrainJob {
        trainjob(self.dir.path(), self.address)
    }

    async fn next(&mut self) -> Posted {
        timeout(DEADLINE, self.posted.recv()).await.expect("it comes in time").expect("the server goes on")
    }
}

async fn answer(
    request: Request<Incoming>,
    code: u16,
    posted: mpsc::Sender<Posted>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = format!("{} {}", request.method(), request.uri().path());
    let token = request.headers()["authorization"].to_str().expect("it is text").to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let status = serde_json::from_slice(&body).expect("it is JSON");
    posted.send((path, token, status)).await.expect("the test listens");
    Ok(Response::builder().status(code).body(Full::default()).expect("a right code"))
}

/// The TrainJob of a server with its authority and token in `dir`.
fn trainjob(dir: &Path, address: SocketAddr) -> TrainJob {
    let variable = |name: &str| match name {
        URL => Some(format!("https://{address}{PATH}")),
        AUTHORITY => Some(dir.join("ca.crt").display().to_string()),
        TOKEN => Some(dir.join("token").display().to_string()),
        _ => None,
    };
    TrainJob::of(variable).expect("all three are set").every(Duration::from_millis(50))
}

/// A run of 200 steps that has done so many.
fn at(step: u64) -> RunStatus {
    let scalars =
        [("loss_d".to_owned(), 0.25), ("loss_g".to_owned(), 1e-300), ("d_real".to_owned(), f64::NAN)];
    RunStatus {
        phase: Phase::Stepping.into(),
        step,
        steps: 200,
        metrics: Some(StepMetrics { step, scalars: scalars.into(), ..StepMetrics::default() }),
        ..RunStatus::default()
    }
}

fn follow(job: TrainJob, first: RunStatus) -> (Publisher, JoinHandle<()>) {
    let (publisher, feed) = status::feed(first);
    (publisher, tokio::spawn(job.follow(feed)))
}

fn end(publisher: &mut Publisher) {
    publisher.publish(RunStatus { outcome: Some(Shutdown::default()), ..at(200) }, u64::MAX);
}

fn metric<'a>(posted: &'a Value, name: &str) -> Option<&'a str> {
    let metrics = posted["trainerStatus"]["metrics"].as_array().expect("a list");
    metrics.iter().find(|metric| metric["name"] == name)?["value"].as_str()
}

#[tokio::test]
async fn percent_time_left_and_metrics_are_posted_with_the_token_of_the_moment_and_once_more_at_the_end() {
    let mut server = Server::start(&[]).await;
    let (mut publisher, reports) = follow(server.trainjob(), at(50));
    let (path, token, posted) = server.next().await;
    assert_eq!((path.as_str(), token.as_str()), (format!("POST {PATH}").as_str(), "Bearer first"));
    let trainer = &posted["trainerStatus"];
    assert_eq!(trainer["progressPercentage"], 25);
    assert_eq!(trainer["estimatedRemainingSeconds"], Value::Null, "no step was seen to be done");
    assert_eq!(metric(&posted, "loss_d"), Some("0.25"));
    assert_eq!(metric(&posted, "loss_g"), Some("1e-300"), "a value has 64 characters at most");
    assert_eq!(metric(&posted, "d_real"), None, "it is no number");
    assert_eq!((metric(&posted, "step"), metric(&posted, "steps")), (Some("50"), Some("200")));
    let time = trainer["lastUpdatedTime"].as_str().expect("it is text");
    assert!(time.len() == 20 && time.ends_with('Z'), "{time} is RFC 3339");

    fs::write(server.dir.path().join("token"), "second").expect("it can be written");
    publisher.publish(at(199), u64::MAX);
    let (token, posted) = loop {
        let (_, token, posted) = server.next().await;
        if posted["trainerStatus"]["progressPercentage"] != 25 && token != "Bearer first" {
            break (token, posted);
        }
    };
    assert_eq!(
        (token.as_str(), &posted["trainerStatus"]["progressPercentage"]),
        ("Bearer second", &99.into())
    );
    assert!(posted["trainerStatus"]["estimatedRemainingSeconds"].is_u64(), "{posted}");

    end(&mut publisher);
    timeout(DEADLINE, reports).await.expect("it ends with the run").expect("without a panic");
    server.posted.close();
    let mut last = posted;
    while let Some((_, _, posted)) = server.posted.recv().await {
        last = posted;
    }
    assert_eq!(last["trainerStatus"]["progressPercentage"], 100);
}

#[tokio::test]
async fn a_server_that_refuses_is_asked_again() {
    let mut server = Server::start(&[403, 500]).await;
    let (mut publisher, reports) = follow(server.trainjob(), at(50));
    for _ in 0..3 {
        server.next().await;
    }
    end(&mut publisher);
    timeout(DEADLINE, reports).await.expect("it ends with the run").expect("without a panic");
}

#[tokio::test]
async fn a_server_that_another_authority_has_signed_gets_no_token() {
    let (mut server, other) = (Server::start(&[]).await, Server::start(&[]).await);
    let job = trainjob(other.dir.path(), server.address);
    let (mut publisher, reports) = follow(job, at(50));
    end(&mut publisher);
    timeout(DEADLINE, reports).await.expect("it ends with the run").expect("without a panic");
    server.posted.close();
    assert_eq!(server.posted.recv().await, None);
}

/// The coordinator gives up the last report after a while; here nothing ever answers.
#[tokio::test]
async fn a_server_that_says_nothing_holds_up_a_report_and_no_more() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
    let server = Server::start(&[]).await;
    let job = trainjob(server.dir.path(), silent.local_addr().expect("it is bound"));
    let begin = Instant::now();
    let (mut publisher, reports) = follow(job, at(50));
    end(&mut publisher);
    timeout(DEADLINE, reports).await.expect("it gives up").expect("without a panic");
    assert!(begin.elapsed() >= Duration::from_secs(4), "it has waited for an answer");
}

#[test]
fn without_all_three_variables_nothing_is_reported() {
    assert!(TrainJob::of(|_| None).is_none());
    let empty = |name: &str| Some(if name == URL { "https://a/b".to_owned() } else { String::new() });
    assert!(TrainJob::of(empty).is_none());
}
