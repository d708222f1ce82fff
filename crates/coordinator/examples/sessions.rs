//! Opens as many sessions with a coordinator as a very large cluster would have: `make bench PART=recovery` measures
//! what that costs the coordinator.
//!
//! ```text
//! sessions --coordinator http://HOST:PORT [--sessions 10000] [--members 32] [--windows 20] [--window 2s]
//! ```
//!
//! Every session has a connection of its own, as a worker has, with the worker's settings, and says what a worker
//! says: Hello, then heartbeats at a sixth of the run's failure timeout, each session at its own moment. Those that are
//! told to form a generation answer Ready and go on as if they stepped 20 times a second: their heartbeats say what
//! they have applied and how fast they are, they report the positions that they consumed and hashes of their state, and
//! the first rank reports metrics. Nobody computes anything.
//!
//! Once all are attached and the members step, a line of JSON on standard output begins each window and ends the last:
//! what was sent until then, and how many heartbeats are due in a second. A session that is lost ends all of them with
//! an error.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use lsgan_plan::Plan;
use lsgan_snapshots::Store;
use lsgan_spec::{RunSpec, VirtualRank, scalars};
use lsgan_wire::v1::{self, coordinator_message::Kind};
use lsgan_wire::{Address, dial};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, interval_at, timeout_at};
use tokio_stream::wrappers::ReceiverStream;

/// How long a step would take, if somebody computed it.
const STEP: Duration = Duration::from_millis(50);

/// Sessions that are being opened at the same time; more would only wait for the coordinator's journal.
const OPENING_MAX: usize = 64;

/// How long opening all of them may take: the coordinator's journal has a durable line for each.
const OPENING: Duration = Duration::from_secs(300);

/// Sessions that do nothing.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// The coordinator's address.
    #[arg(long, value_name = "http://HOST:PORT")]
    coordinator: String,
    /// How many sessions.
    #[arg(long, default_value_t = 10_000)]
    sessions: u64,
    /// How many of them the coordinator is expected to make members; its run's file decides it.
    #[arg(long, default_value_t = 32)]
    members: u64,
    /// How many windows are measured.
    #[arg(long, default_value_t = 20)]
    windows: u64,
    /// How long each of them is, in seconds.
    #[arg(long, default_value_t = 2.0)]
    window_s: f64,
}

/// What the sessions share.
struct Load {
    args: Args,
    address: Address,
    spec: RunSpec,
    plan: Plan,
    store: Store,
    data_fingerprint: String,
    opening: Semaphore,
    heartbeats: AtomicU64,
    reports: AtomicU64,
    news: mpsc::UnboundedSender<News>,
}

/// What the sessions tell.
enum News {
    Attached,
    Formed,
    Lost(String),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("the operating system gives threads");
    match runtime.block_on(run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), String> {
    lsgan_coordinator::limits::raise_open_files().map_err(|error| error.to_string())?;
    let (news, mut told) = mpsc::unbounded_channel();
    let load = Arc::new(Load::new(args, news).await?);
    for index in 0..load.args.sessions {
        let load = load.clone();
        tokio::spawn(async move {
            let Err(why) = session(&load, index).await;
            // Nobody listens at the end.
            let _ = load.news.send(News::Lost(format!("session {index}: {why}")));
        });
    }
    await_all(&load, &mut told).await?;
    windows(&load, &mut told).await
}

impl Load {
    async fn new(args: Args, news: mpsc::UnboundedSender<News>) -> Result<Self, String> {
        let address: Address = args.coordinator.parse()?;
        let described = dial(&address).await?.describe_run(v1::DescribeRunRequest {}).await;
        let run = described.map_err(|status| status.message().to_owned())?.into_inner();
        let spec = RunSpec::from_json(&run.spec).map_err(|error| error.to_string())?;
        let plan = Plan::of_run(&spec, run.records).map_err(|error| error.to_string())?;
        let store = Store::open_existing(&run.store).map_err(|error| error.to_string())?;
        Ok(Self {
            args,
            address,
            spec,
            plan,
            store,
            data_fingerprint: run.data_fingerprint,
            opening: Semaphore::new(OPENING_MAX),
            heartbeats: AtomicU64::new(0),
            reports: AtomicU64::new(0),
            news,
        })
    }

    /// Shows the coordinator that the session sees its store, as a worker does. Without any that does no generation forms.
    async fn store_proof(&self, index: u64) -> Result<v1::StoreProof, String> {
        let answer = format!("session-{index}");
        let secret = self.store.answer_witness(&answer).await.map_err(|error| error.to_string())?;
        let secret = secret.ok_or("the coordinator has written nothing into its store")?;
        Ok(v1::StoreProof { secret, answer, why_not: String::new() })
    }

    fn heartbeat(&self) -> Duration {
        self.spec.cluster.failure_timeout.least() / 6
    }

    fn tell(&self, news: News) {
        // Nobody listens at the end.
        let _ = self.news.send(news);
    }
}

async fn await_all(load: &Load, told: &mut mpsc::UnboundedReceiver<News>) -> Result<(), String> {
    let begin = Instant::now();
    let (mut attached, mut formed) = (0, 0);
    while attached < load.args.sessions || formed < load.args.members {
        match timeout_at(begin + OPENING, told.recv()).await {
            Ok(Some(News::Attached)) => attached += 1,
            Ok(Some(News::Formed)) => formed += 1,
            Ok(Some(News::Lost(why))) => return Err(why),
            Ok(None) | Err(_) => {
                return Err(format!(
                    "after {OPENING:?} {attached} sessions are attached, {formed} of them members"
                ));
            }
        }
    }
    eprintln!("{attached} sessions, {formed} of them members, after {:.1} s", begin.elapsed().as_secs_f64());
    Ok(())
}

/// Says at the begin and the end of every window what was sent until then.
async fn windows(load: &Load, told: &mut mpsc::UnboundedReceiver<News>) -> Result<(), String> {
    let length = Duration::from_secs_f64(load.args.window_s);
    let due = load.args.sessions as f64 / load.heartbeat().as_secs_f64();
    // The first window begins when what opening left behind is done.
    let mut next = Instant::now() + length;
    for _ in 0..=load.args.windows {
        match timeout_at(next, told.recv()).await {
            Ok(Some(News::Lost(why))) => return Err(why),
            Ok(Some(News::Attached | News::Formed)) => {
                return Err("the members did not stay as they were".into());
            }
            Ok(None) | Err(_) => {}
        }
        let heartbeats = load.heartbeats.load(Ordering::Relaxed);
        let reports = load.reports.load(Ordering::Relaxed);
        println!("{{\"heartbeats\":{heartbeats},\"reports\":{reports},\"due_per_s\":{due:.0}}}");
        next += length;
    }
    Ok(())
}

/// A worker that takes part.
struct Member {
    generation: u64,
    first_rank: bool,
    ranks: Vec<VirtualRank>,
    /// Steps that were done when it began.
    from: u64,
    since: Instant,
    /// Steps that it has reported.
    reported: u64,
}

/// One session, from its connection to its loss.
async fn session(load: &Load, index: u64) -> Result<std::convert::Infallible, String> {
    let permit = load.opening.acquire().await.map_err(|error| error.to_string())?;
    let mut client = dial(&load.address).await?;
    let (outbound, messages) = mpsc::channel::<v1::WorkerMessage>(64);
    outbound.try_send(hello(load, index).into()).expect("an empty queue takes one message");
    let opened = client.session(ReceiverStream::new(messages)).await;
    let mut inbound = opened.map_err(|status| status.message().to_owned())?.into_inner();

    let mut permit = Some(permit);
    let mut member: Option<Member> = None;
    let (mut beat, mut step) = (beats(load, index), interval(STEP));
    loop {
        tokio::select! {
            message = inbound.message() => {
                let message = message.map_err(|status| status.message().to_owned())?.ok_or("its stream ended")?;
                match message.kind {
                    Some(Kind::Welcome(_)) => {
                        drop(permit.take());
                        load.tell(News::Attached);
                        send(&outbound, load.store_proof(index).await?).await?;
                    }
                    Some(Kind::Form(form)) => {
                        send(&outbound, v1::Ready { generation: form.generation, applied: form.from }).await?;
                        member = Some(Member::of(&form));
                        load.tell(News::Formed);
                    }
                    Some(Kind::TryPeers(order)) => {
                        send(&outbound, v1::TriedPeers { round: order.round, unreached: Vec::new() }).await?;
                    }
                    Some(Kind::Lease(_) | Kind::MetricsStored(_)) => {}
                    other => return Err(format!("it was told {other:?}")),
                }
            }
            _ = beat.tick() => {
                let applied = member.as_ref().map(Member::applied);
                // None is much slower than the others.
                let pace_us = member.is_some().then_some(20_000 + index % 1_000);
                send(&outbound, v1::Heartbeat { applied, pace_us }).await?;
                load.heartbeats.fetch_add(1, Ordering::Relaxed);
            }
            _ = step.tick(), if member.is_some() => {
                let Some(member) = &mut member else { continue };
                for report in member.reports(load) {
                    send(&outbound, report).await?;
                    load.reports.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

async fn send(
    to: &mpsc::Sender<v1::WorkerMessage>,
    message: impl Into<v1::WorkerMessage>,
) -> Result<(), String> {
    to.send(message.into()).await.map_err(|_| "its stream is closed".to_owned())
}

/// Ticks for the heartbeats of a session, spread over the time between two.
fn beats(load: &Load, index: u64) -> Interval {
    let every = load.heartbeat();
    let place = index as f64 / load.args.sessions as f64;
    let mut beats = interval_at(Instant::now() + every.mul_f64(place), every);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats
}

fn hello(load: &Load, index: u64) -> v1::Hello {
    v1::Hello {
        name: format!("rack-{}:{}", index / 64, index % 64),
        address: format!("10.{}.{}.{}:40000", index >> 16 & 255, index >> 8 & 255, index & 255),
        numerics: Some(v1::Numerics { device: v1::DeviceKind::Cpu.into(), ..v1::Numerics::default() }),
        holds: None,
        resume: None,
        data_fingerprint: load.data_fingerprint.clone(),
        pass: None,
    }
}

impl Member {
    fn of(form: &v1::Form) -> Self {
        let me = &form.members[form.rank as usize];
        let ranks = me.first_virtual_rank..me.first_virtual_rank + me.virtual_rank_count;
        Self {
            generation: form.generation,
            first_rank: form.rank == 0,
            ranks: ranks.map(VirtualRank).collect(),
            from: form.from / 2,
            since: Instant::now(),
            reported: form.from / 2,
        }
    }

    fn steps_done(&self) -> u64 {
        self.from + (self.since.elapsed().as_secs_f64() / STEP.as_secs_f64()) as u64
    }

    fn applied(&self) -> u64 {
        2 * self.steps_done()
    }

    /// What it has to say of the steps since it was asked last.
    fn reports(&mut self, load: &Load) -> Vec<v1::WorkerMessage> {
        let mut reports = Vec::new();
        let spec = &load.spec;
        while self.reported < self.steps_done() {
            let (before, done) = (self.reported, self.reported + 1);
            for &rank in &self.ranks {
                let ordinals = load.plan.completed_ordinals(rank, done);
                if ordinals > load.plan.completed_ordinals(rank, before) {
                    reports.push(v1::Consumed { virtual_rank: rank.0, ordinals }.into());
                }
            }
            if self.first_rank && done.is_multiple_of(spec.report.every) {
                reports.push(v1::Metrics { rows: vec![row(before)] }.into());
            }
            let every = spec.report.state_hash_every;
            if every > 0 && done.is_multiple_of(every) {
                // All members say the same of the same step.
                let hash = [self.generation.to_le_bytes(), done.to_le_bytes()].concat().repeat(2);
                reports.push(v1::StateHash { step: done, hash }.into());
            }
            self.reported = done;
        }
        reports
    }
}

fn row(step: u64) -> v1::StepMetrics {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    v1::StepMetrics {
        step,
        wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
        scalars: scalars::ALL.iter().map(|scalar| (scalar.name.to_owned(), 0.5)).collect(),
    }
}
