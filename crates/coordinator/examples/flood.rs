//! Floods a coordinator with three clients, as hostile hosts would: `make bench PART=cluster` measures what its run and its
//! operator notice of that.
//!
//! ```text
//! flood --coordinator http://HOST:PORT [--seconds 10]
//! ```
//!
//! One client attaches as a worker and sends warnings of 3 KiB as fast as it can, one does that with rows of metrics, and one
//! begins 48 messages of 60 MiB and does not end them. A fourth asks for the status all the time. At the end a line of
//! JSON says how long the longest answer took, and how much the others sent.

#[path = "../tests/common/half_sent.rs"]
mod half_sent;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use lsgan_wire::{Address, dial, v1};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};
use tokio_stream::wrappers::ReceiverStream;

/// Between two questions for the status.
const ASK_EVERY: Duration = Duration::from_millis(20);
const HALF_BYTES: u32 = 60 << 20;
const HALVES: u32 = 16;
const HALVES_CONNECTIONS: u32 = 3;

/// Three clients that say too much.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// The coordinator's address.
    #[arg(long, value_name = "http://HOST:PORT")]
    coordinator: Address,
    /// For how long.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
}

/// What the clients share.
#[derive(Default)]
struct Flood {
    stop: AtomicBool,
    warnings: AtomicU64,
    metrics: AtomicU64,
    half_sent_bytes: AtomicU64,
    half_sent_ended: AtomicU64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Runtime::new().expect("the operating system gives threads");
    match runtime.block_on(run(&args)) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<serde_json::Value, String> {
    let (flood, mut clients) = (Arc::new(Flood::default()), JoinSet::new());
    let warning = v1::Warning { text: "look at me ".repeat(300) };
    let rows = (0..512).map(|step| v1::StepMetrics { step, ..v1::StepMetrics::default() });
    let metrics = v1::Metrics { rows: rows.collect() };
    clients.spawn(say(args.coordinator.clone(), flood.clone(), warning.into(), |flood| &flood.warnings));
    clients.spawn(say(args.coordinator.clone(), flood.clone(), metrics.into(), |flood| &flood.metrics));
    for _ in 0..HALVES_CONNECTIONS {
        let (address, flood) = (args.coordinator.authority().to_owned(), flood.clone());
        clients.spawn_blocking(move || {
            let path = "/lsgan.v1.Coordinator/Session";
            let taken = half_sent::send(&address, path, HALVES, HALF_BYTES, &flood.stop);
            let taken = taken.map_err(|error| error.to_string())?;
            flood.half_sent_bytes.fetch_add(taken.bytes.unsigned_abs(), Ordering::Relaxed);
            flood.half_sent_ended.fetch_add(taken.ended as u64, Ordering::Relaxed);
            Ok(())
        });
    }
    let longest = ask(args).await;
    flood.stop.store(true, Ordering::Relaxed);
    let longest = longest?;
    while let Some(ended) = clients.join_next().await {
        ended.map_err(|error| error.to_string())??;
    }
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    Ok(json!({
        "status_s": longest.as_secs_f64(),
        "warnings": read(&flood.warnings),
        "metrics": read(&flood.metrics),
        "half_sent_bytes": read(&flood.half_sent_bytes),
        "half_sent_ended": read(&flood.half_sent_ended),
    }))
}

/// The longest time in which a status was not answered.
async fn ask(args: &Args) -> Result<Duration, String> {
    let mut client = dial(&args.coordinator).await?;
    let (begin, mut beat, mut longest) = (Instant::now(), interval(ASK_EVERY), Duration::ZERO);
    while begin.elapsed().as_secs_f64() < args.seconds {
        beat.tick().await;
        let asked = Instant::now();
        client.status(v1::StatusRequest {}).await.map_err(|status| status.message().to_owned())?;
        longest = longest.max(asked.elapsed());
    }
    Ok(longest)
}

/// Attaches as a worker that stands by, and says the same again and again.
async fn say(
    coordinator: Address,
    flood: Arc<Flood>,
    message: v1::WorkerMessage,
    count: fn(&Flood) -> &AtomicU64,
) -> Result<(), String> {
    let mut client = dial(&coordinator).await?;
    let failed = |status: tonic::Status| status.message().to_owned();
    let run = client.describe_run(v1::DescribeRunRequest {}).await.map_err(failed)?.into_inner();
    let (outbound, messages) = mpsc::channel(1024);
    let _inbound = client.session(ReceiverStream::new(messages)).await.map_err(failed)?;
    let hello = v1::Hello {
        name: "flood".to_owned(),
        address: "127.0.0.1:9".to_owned(),
        numerics: Some(v1::Numerics { device: v1::DeviceKind::Cpu.into(), ..v1::Numerics::default() }),
        data_fingerprint: run.data_fingerprint,
        ..v1::Hello::default()
    };
    let mut next = v1::WorkerMessage::from(hello);
    while !flood.stop.load(Ordering::Relaxed) && outbound.send(next).await.is_ok() {
        count(&flood).fetch_add(1, Ordering::Relaxed);
        next = message.clone();
    }
    Ok(())
}
