//! Progress for a Kubeflow TrainJob, over HTTPS to a server as Kubeflow Trainer has one.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use lsgan_coordinator::status::{self, Publisher};
use lsgan_coordinator::trainjob::{AUTHORITY, TOKEN, TrainJob, URL};
use lsgan_outside::{DEADLINE, Posted, Server};
use lsgan_wire::v1::{Phase, RunStatus, Shutdown, StepMetrics};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const FREE: &str = "127.0.0.1:0";
const PATH: &str = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/a/trainjobs/b/status";

/// A server of Kubeflow Trainer's kind, which answers with these codes one after the other, and then with 200.
async fn trainer(codes: &[u16]) -> Server {
    let server = Server::start("https", FREE, codes).await;
    fs::write(server.dir.path().join("token"), "first\n").expect("it can be written");
    server
}

/// The TrainJob of a server.
fn trainjob(server: &Server) -> TrainJob {
    trainjob_at(&server.url(PATH), server.dir.path())
}

/// The TrainJob at this URL, with its authority and token in `dir`.
fn trainjob_at(url: &str, dir: &Path) -> TrainJob {
    let variable = |name: &str| match name {
        URL => Some(url.to_owned()),
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
    let mut server = trainer(&[]).await;
    let (mut publisher, reports) = follow(trainjob(&server), at(50));
    let Posted { what, authorization, body: posted } = server.next().await;
    assert_eq!((what, authorization.as_str()), (format!("POST {PATH}"), "Bearer first"));
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
        let Posted { authorization, body: posted, .. } = server.next().await;
        if posted["trainerStatus"]["progressPercentage"] != 25 && authorization != "Bearer first" {
            break (authorization, posted);
        }
    };
    assert_eq!(
        (token.as_str(), &posted["trainerStatus"]["progressPercentage"]),
        ("Bearer second", &99.into())
    );
    assert!(posted["trainerStatus"]["estimatedRemainingSeconds"].is_u64(), "{posted}");

    end(&mut publisher);
    timeout(DEADLINE, reports).await.expect("it ends with the run").expect("without a panic");
    let last = server.rest().await.pop().map_or(posted, |last| last.body);
    assert_eq!(last["trainerStatus"]["progressPercentage"], 100);
}

#[tokio::test]
async fn a_server_that_refuses_is_asked_again() {
    let mut server = trainer(&[403, 500]).await;
    let (mut publisher, reports) = follow(trainjob(&server), at(50));
    for _ in 0..3 {
        server.next().await;
    }
    end(&mut publisher);
    timeout(DEADLINE, reports).await.expect("it ends with the run").expect("without a panic");
}

#[tokio::test]
async fn a_server_that_another_authority_has_signed_gets_no_token() {
    let (server, other) = (trainer(&[]).await, trainer(&[]).await);
    let job = trainjob_at(&server.url(PATH), other.dir.path());
    let (mut publisher, reports) = follow(job, at(50));
    end(&mut publisher);
    timeout(DEADLINE, reports).await.expect("it ends with the run").expect("without a panic");
    assert_eq!(server.rest().await, []);
}

/// The coordinator gives up the last report after a while; here nothing ever answers.
#[tokio::test]
async fn a_server_that_says_nothing_holds_up_a_report_and_no_more() {
    let silent = TcpListener::bind(FREE).await.expect("there is a free port");
    let server = trainer(&[]).await;
    let url = format!("https://{}{PATH}", silent.local_addr().expect("it is bound"));
    let job = trainjob_at(&url, server.dir.path());
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
