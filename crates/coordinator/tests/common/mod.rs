//! A real coordinator of a small run, and streams to it that say what a test wants.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod half_sent;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lsgan_launch::LISTENING;
use lsgan_snapshots::Store;
use lsgan_wire::v1::{self, coordinator_message::Kind};
use lsgan_wire::{Client, dial};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Nothing that is waited for takes nearly as long.
pub const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at the status.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The run's file.
pub const RUN: &str = "
run: small
seed: 1
steps: 1000
data: { source: { gaussian: { modes: { ring: { count: 8, radius: 1.0 } }, sigma: 0.01 } } }
model:
  generator:     { mlp: { latent: { normal: 4 }, width: 4, depth: 1 } }
  discriminator: { mlp: { width: 4, depth: 1 } }
objective: { least_squares: { a: -1, b: 1, c: 0 } }
optimizer:
  generator:     { adam: { learning_rate: 1.0e-3 } }
  discriminator: { adam: { learning_rate: 1.0e-3 } }
batch: { virtual_ranks: 4, per_rank: 4 }
cluster: { min_workers: 1, gather: 100ms, failure_timeout: 20s }
checkpoint: { to: store }
";

/// Writes the file of a run whose store is in the same folder.
pub fn write_run(folder: &Path, run: &str) -> PathBuf {
    let (config, store) = (folder.join("run.yaml"), folder.join("store"));
    let run = run.replace("to: store", &format!("to: {}", store.display()));
    std::fs::write(&config, run).expect("there is room for a file");
    config
}

/// The coordinator's process, and a client of it.
pub struct Coordinator {
    pub process: Child,
    pub address: String,
    pub client: Client,
    pub run: v1::RunDescription,
    pub folder: tempfile::TempDir,
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        // It may have ended, which the test has seen.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A stream to the coordinator.
pub struct Stream {
    pub outbound: mpsc::Sender<v1::WorkerMessage>,
    pub inbound: Streaming<v1::CoordinatorMessage>,
}

impl Coordinator {
    pub async fn start() -> Self {
        Self::start_with(RUN).await
    }

    pub async fn start_with(run: &str) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a directory");
        let config = write_run(folder.path(), run);
        let mut process = Command::new(env!("CARGO_BIN_EXE_coordinator"))
            .args(["--listen", "127.0.0.1:0", "--quiet", "--config"])
            .arg(&config)
            .arg("--run-dir")
            .arg(folder.path().join("run"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let output = process.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("it says where it listens");
        let address = line.trim().strip_prefix(LISTENING).expect("it says where it listens").to_owned();
        let mut client = dial(&address.parse().expect("it is an address")).await.expect("it is there");
        let run = client.describe_run(v1::DescribeRunRequest {}).await.expect("it has a run").into_inner();
        Self { process, address, client, run, folder }
    }

    pub async fn open(&mut self) -> Stream {
        Stream::open(&mut self.client).await
    }

    /// The same on a connection of its own.
    pub async fn open_apart(&self) -> Stream {
        let address = self.address.parse().expect("it is an address");
        Stream::open(&mut dial(&address).await.expect("it is there")).await
    }

    pub fn hello(&self, name: &str) -> v1::Hello {
        v1::Hello {
            name: name.to_owned(),
            address: "127.0.0.1:4000".to_owned(),
            numerics: Some(v1::Numerics { device: v1::DeviceKind::Cpu.into(), ..v1::Numerics::default() }),
            data_fingerprint: self.run.data_fingerprint.clone(),
            ..v1::Hello::default()
        }
    }

    /// A worker that takes part: it is the only member of generation 1, which steps.
    pub async fn with_member(&mut self) -> Stream {
        let mut member = self.open().await;
        member.say(self.hello("member")).await;
        assert!(matches!(member.next().await, Some(Kind::Welcome(_))));
        let store = Store::open_existing(Path::new(&self.run.store).to_str().expect("it is text"));
        let secret = store.expect("it is there").answer_witness("answer").await.expect("it can be written");
        let (secret, answer) = (secret.expect("it was posted"), "answer".to_owned());
        member.say(v1::StoreProof { secret, answer, why_not: String::new() }).await;
        loop {
            match member.next().await {
                Some(Kind::Form(form)) => {
                    member.say(v1::Ready { generation: form.generation, applied: form.from }).await;
                    break;
                }
                Some(_) => {}
                None => panic!("its stream ended"),
            }
        }
        self.until("generation 1 steps", |status| status.phase() == v1::Phase::Stepping).await;
        member
    }

    pub async fn status(&mut self) -> v1::RunStatus {
        self.client.status(v1::StatusRequest {}).await.expect("it answers").into_inner()
    }

    pub async fn until(&mut self, what: &str, holds: impl Fn(&v1::RunStatus) -> bool) -> v1::RunStatus {
        let (begin, mut beat) = (Instant::now(), interval(LOOK_EVERY));
        loop {
            beat.tick().await;
            let status = self.status().await;
            if holds(&status) {
                return status;
            }
            assert!(begin.elapsed() < LIMIT, "not in time: {what}; last was {status:?}");
        }
    }
}

impl Stream {
    async fn open(client: &mut Client) -> Self {
        let (outbound, messages) = mpsc::channel(1024);
        let inbound = client.session(ReceiverStream::new(messages)).await.expect("it opens").into_inner();
        Self { outbound, inbound }
    }

    pub async fn say(&self, message: impl Into<v1::WorkerMessage>) {
        // A coordinator that has closed the stream is an answer too.
        let _ = self.outbound.send(message.into()).await;
    }

    /// Says no more: the coordinator reads all that was said, and then ends the stream.
    pub async fn hang_up(self) {
        let Self { outbound, mut inbound } = self;
        drop(outbound);
        let ended = async { while let Ok(Some(_)) = inbound.message().await {} };
        timeout(LIMIT, ended).await.expect("the coordinator ends it in time");
    }

    pub async fn next(&mut self) -> Option<Kind> {
        let message = timeout(LIMIT, self.inbound.message()).await.expect("it is answered in time");
        message.ok().flatten().and_then(|message| message.kind)
    }
}

/// What people are warned of, with how often.
pub fn warnings(status: &v1::RunStatus) -> Vec<(&str, u32)> {
    status.notices.iter().filter(|n| n.warning).map(|n| (n.text.as_str(), n.count)).collect()
}
