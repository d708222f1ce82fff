//! The health service, asked over real gRPC as a kubelet asks it.

use std::time::Duration;

use lsgan_coordinator::health::{Health, LIVENESS, READINESS};
use lsgan_coordinator::status;
use lsgan_wire::v1::RunStatus;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// Much longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(20);

async fn start(silent_max: Duration) -> (Health, HealthClient<Channel>) {
    let listen = "127.0.0.1:0".parse().expect("it is an address");
    let Ok(health) = Health::start(&listen).await else { panic!("there is a free port") };
    let address = Endpoint::from_shared(format!("http://{}", health.address())).expect("it is an address");
    let channel = address.connect().await.expect("it listens");
    (health.patient_for(silent_max), HealthClient::new(channel))
}

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

/// Waits until the service of this stream is said to be so.
async fn becomes(wanted: ServingStatus, changes: &mut Streaming<HealthCheckResponse>) {
    let heard = async {
        loop {
            let change = changes.message().await.expect("the stream goes on").expect("it does not end");
            if change.status() == wanted {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, heard).await.unwrap_or_else(|_| panic!("never {wanted:?}"));
}

#[tokio::test]
async fn a_coordinator_that_starts_is_alive_and_not_ready() {
    let (_health, mut client) = start(DEADLINE).await;
    for (service, expected) in [
        ("", ServingStatus::Serving),
        (LIVENESS, ServingStatus::Serving),
        (READINESS, ServingStatus::NotServing),
    ] {
        let answer = client.check(of(service)).await.expect("it answers").into_inner();
        assert_eq!(answer.status(), expected, "{service}");
    }
    let unknown = client.check(of("readyness")).await.expect_err("a probe with a wrong name must not pass");
    assert_eq!(unknown.code(), Code::NotFound);
}

/// The shell is whoever publishes statuses: here the test, which stops and goes on.
#[tokio::test]
async fn a_shell_that_hangs_is_not_alive_until_it_goes_on() {
    let (health, mut client) = start(Duration::from_millis(500)).await;
    let mut liveness = client.watch(of(LIVENESS)).await.expect("it answers").into_inner();
    let mut readiness = client.watch(of(READINESS)).await.expect("it answers").into_inner();
    becomes(ServingStatus::NotServing, &mut readiness).await;

    let (mut publisher, feed) = status::feed(RunStatus::default());
    health.watch(feed);
    becomes(ServingStatus::Serving, &mut readiness).await;
    becomes(ServingStatus::NotServing, &mut liveness).await;

    publisher.publish(RunStatus::default(), 0);
    becomes(ServingStatus::Serving, &mut liveness).await;
    becomes(ServingStatus::NotServing, &mut liveness).await;

    // The shell ends: no more workers are taken.
    drop(publisher);
    becomes(ServingStatus::NotServing, &mut readiness).await;
}

/// Anybody may ask, and so anybody may connect. 256 may at a time; what has said nothing for 10 s gives its place back.
#[tokio::test]
async fn connections_that_nobody_needs_are_hung_up_on_and_probes_go_on() {
    let (health, mut client) = start(DEADLINE).await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(health.address()).await.expect("it listens"));
    }
    let mut last = silent.pop().expect("there are some");
    let hung_up = tokio::time::timeout(Duration::from_secs(5), last.read(&mut [0])).await.expect("at once");
    assert!(matches!(hung_up, Ok(0) | Err(_)), "there is no place for it: {hung_up:?}");
    let answer = client.check(of(LIVENESS)).await.expect("it answers").into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
}
