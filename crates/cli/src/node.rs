//! `lsgan node`: one worker for each device of this host, supervised. The terminal shows what happens to the workers; their
//! own logs are in files.
//!
//! - `offering`: workers that are offered to a sweep, and train for one run after another.
//! - `ports`: where workers listen for their peers.

mod offering;
mod ports;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt};
use lsgan_certs::Credential;
use lsgan_console::{Failure, Interrupt, News, RunEnd, interrupts, logging};
use lsgan_launch::{JoinArgs, ListenArgs, sibling};
use lsgan_snapshots::host_name;
use lsgan_spec::Device as Wish;
use lsgan_wire::Address;
use nix::sys::signal::Signal;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use self::ports::PeerPorts;
use crate::children::{Log, Recipe, Running};

/// The pause before a worker that died soon after its start is started again; doubles each time.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A worker that has lived for so long is started again at once.
const LIVED_WELL: Duration = Duration::from_secs(30);
/// How much longer than their own grace workers get before they are killed.
const GRACE_MORE: Duration = Duration::from_secs(5);
/// The same sentence from several workers within this time is said once.
const SAID_FOR: Duration = Duration::from_secs(4);
/// Lines of a worker that wait to be read: it prints a handful in its life.
const LINES_MAX: usize = 64;

/// The arguments of `lsgan node`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The coordinator's address.
    #[arg(
        long,
        value_name = "http[s]://HOST:PORT",
        env = "LSGAN_COORDINATOR",
        required_unless_present = "sweep"
    )]
    coordinator: Option<String>,
    /// The address of a sweep (`lsgan sweep --listen`), instead of a coordinator's: the workers train for one of its runs after
    /// another, as it says.
    #[arg(long, value_name = "http[s]://HOST:PORT")]
    sweep: Option<String>,
    #[command(flatten)]
    join: JoinArgs,
    /// How many workers; by default one for each device of this host.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Option<u32>,
    /// What the workers' names begin with; by default this host's name. The first is NAME:1.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Directory for the workers' logs.
    #[arg(long, value_name = "DIR", default_value = "logs")]
    logs: PathBuf,
    /// Address to listen on for peers: the first worker takes PORT (or FIRST), the next one the port after it. Port 0 takes
    /// free ones, as is the default.
    #[arg(long, value_name = "IP:PORT|IP:FIRST-LAST")]
    peer_listen: Option<PeerPorts>,
    #[command(flatten)]
    open: ListenArgs,
    /// IP address that peers are told; by default the one that reaches the coordinator.
    #[arg(long, value_name = "IP")]
    advertise: Option<IpAddr>,
    /// Give up when the coordinator cannot be reached for so long; 0s means never.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
    give_up_after: Duration,
    /// After SIGTERM, end without waiting any longer when no step boundary was reached for so long.
    #[arg(long, value_name = "DURATION", default_value = "25s", value_parser = humantime::parse_duration)]
    grace: Duration,
    /// For a container that is replaced as soon as it ends: take 30 s to fail.
    #[arg(long)]
    pub in_pod: bool,
    /// Form of the logs, the workers' as well.
    #[arg(long, value_enum, default_value_t = logging::Log::Text, value_name = "FORM")]
    log: logging::Log,
}

/// How a worker ended that is not started again.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// With its run, and this exit code.
    WithRun(RunEnd, u8, String),
    /// It left because the node was told to end.
    Left,
    /// It had to be killed to leave.
    Killed,
    /// It would fail again: bad input, or a refusal.
    CannotTakePart(String),
    /// It could not reach the coordinator.
    GaveUp(String),
}

/// Runs the workers until the run has ended, or none of them can take part. SIGINT or SIGTERM makes them leave.
///
/// # Errors
/// Exit code 2 when no worker can take part and another try would not change that, 1 when the run failed, the coordinator
/// was not reached, or workers had to be killed; that of the signal when it was told to end.
pub async fn node(args: Args) -> Result<(), Failure> {
    let (address, to) = address(&args)?;
    let count = args.workers.unwrap_or_else(lsgan_train::device::count);
    let recipes = (1..=count).map(|number| recipe(&args, number)).collect::<Result<Vec<_>, _>>()?;
    logging::start(args.log, "info");
    let mut interrupts = interrupts()?;
    if let Some(gpus) = lsgan_train::device::places(Wish::Auto).filter(|gpus| *gpus < count) {
        // The run's file, which this does not have, may want the CPU.
        tracing::warn!(
            count,
            gpus,
            "more workers than GPUs: NCCL takes one worker a GPU, so that a run on GPUs does not form. Leave --workers away"
        );
    }
    tracing::info!("{} for {to}; logs are in {}", workers(count as usize), args.logs.display());
    let (leave, left) = watch::channel(false);
    let sweep = args.sweep.is_some().then_some(address);
    let patience = args.give_up_after;
    let node = Node { said: RefCell::default(), grace: args.grace + GRACE_MORE, sweep, patience };
    // All on this thread: children die with the thread that started them.
    let mut running: FuturesUnordered<_> =
        recipes.into_iter().map(|recipe| node.take_part(recipe, left.clone())).collect();
    let (mut ends, mut asked) = (Vec::new(), None);
    loop {
        tokio::select! {
            end = running.next() => match end {
                Some(end) => {
                    ends.push(end?);
                    if !running.is_empty() {
                        tracing::info!("{} of {} left", running.len(), workers(count as usize));
                    }
                }
                None => {
                    result(ends)?;
                    return asked.map_or(Ok(()), |asked: Interrupt| Err(Failure::stopped(asked.exit_code())));
                }
            },
            interrupt = interrupts.recv(), if asked.is_none() => {
                tracing::info!("leaving at the next step boundary");
                asked = Some(interrupt.unwrap_or(Interrupt::System));
                leave.send_replace(true);
            }
        }
    }
}

/// The address that the workers are for, as this process dials it, and in words.
fn address(args: &Args) -> Result<(Address, String), Failure> {
    let who = args.join.open()?;
    let (text, to) = match (&args.sweep, &args.coordinator) {
        (Some(sweep), _) => (sweep, format!("the sweep at {sweep}")),
        (None, Some(coordinator)) => (coordinator, coordinator.clone()),
        (None, None) => return Err(Failure::bad_input("--coordinator is missing: whom to train for.")),
    };
    if let (Some(_), Some(Credential::Token(_))) = (&args.sweep, &who) {
        return Err(Failure::bad_input(
            "a join token is of one run, and a sweep has many: give a worker's certificate with --tls.",
        ));
    }
    let address = text.parse::<Address>().map_err(Failure::bad_input)?;
    Ok((address.by(who).map_err(Failure::bad_input)?, to))
}

fn workers(count: usize) -> String {
    if count == 1 { "1 worker".to_owned() } else { format!("{count} workers") }
}

/// The node's end, from those of its workers: a worker that ended well counts more than one that could not take part.
fn result(ends: Vec<End>) -> Result<(), Failure> {
    let mut worst: Option<Failure> = None;
    let mut took_part = false;
    let mut kept_out = None;
    for end in ends {
        match end {
            End::WithRun(_, 0, _) | End::Left => took_part = true,
            End::WithRun(RunEnd::Stopped, code, _) => worst = worst.or(Some(Failure::stopped(code))),
            End::WithRun(_, code, text) => worst = worst.or(Some(Failure { code, text })),
            End::Killed => {
                worst = worst.or_else(|| Some(Failure::failed("workers that did not leave were killed")))
            }
            End::CannotTakePart(why) => kept_out = kept_out.or(Some(Failure::bad_input(why))),
            End::GaveUp(why) => kept_out = kept_out.or(Some(Failure::failed(why))),
        }
    }
    match (worst, took_part, kept_out) {
        (Some(failure), _, _) | (None, false, Some(failure)) => Err(failure),
        (None, _, _) => Ok(()),
    }
}

/// How a worker is started; one that is offered to a sweep lacks the coordinator still. Returns its name, too.
fn recipe(args: &Args, number: u32) -> Result<(String, Recipe), Failure> {
    let host = args.name.clone().or_else(host_name).unwrap_or_else(|| "node".to_owned());
    let name = format!("{host}:{number}");
    let log = Log::default();
    log.open(&args.logs.join(format!("worker-{number}.log")))?;
    let mut arguments = vec![];
    let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    if let (None, Some(coordinator)) = (&args.sweep, &args.coordinator) {
        add("--coordinator", coordinator.clone());
    }
    add("--name", name.clone());
    add("--local-rank", (number - 1).to_string());
    add("--give-up-after", humantime::format_duration(args.give_up_after).to_string());
    add("--grace", humantime::format_duration(args.grace).to_string());
    if args.log == logging::Log::Json {
        add("--log", "json".to_owned());
    }
    if let Some(ip) = args.advertise {
        add("--advertise", ip.to_string());
    }
    if let Some(ports) = args.peer_listen {
        let address = ports.of(number).ok_or_else(|| {
            Failure::bad_input(format!(
                "--peer-listen has no port for worker {number}: give a range of as many ports as there are workers"
            ))
        })?;
        add("--peer-listen", address.to_string());
    }
    arguments.extend([args.join.to_arguments(), args.open.to_arguments()].concat());
    arguments.push("--supervised".to_owned());
    let (label, program) = (format!("worker {number}"), sibling("worker")?);
    Ok((name, Recipe { label, program, arguments, secrets: Vec::new(), log }))
}

/// What the workers of a node share.
struct Node {
    /// Sentences, and when they were said last.
    said: RefCell<BTreeMap<String, Instant>>,
    grace: Duration,
    /// The sweep that they are offered to.
    sweep: Option<Address>,
    /// How long it is tried to reach it; zero is for ever.
    patience: Duration,
}

impl Node {
    /// Has a worker of this name take part in a run, or in the runs of a sweep.
    async fn take_part(
        &self,
        (name, recipe): (String, Recipe),
        leave: watch::Receiver<bool>,
    ) -> Result<End, Failure> {
        match &self.sweep {
            None => self.supervise(recipe, leave).await,
            Some(sweep) => self.serve(sweep, (name, recipe), leave).await,
        }
    }

    /// Runs one worker, again and again, until it is not to be started any more.
    async fn supervise(&self, recipe: Recipe, mut leave: watch::Receiver<bool>) -> Result<End, Failure> {
        let label = recipe.label.clone();
        let (to_lines, mut lines) = mpsc::channel(LINES_MAX);
        let mut worker = Running::start(recipe, to_lines.clone())?;
        let (mut began, mut pause) = (Instant::now(), Duration::ZERO);
        loop {
            let mut heard = Heard::default();
            let status = loop {
                tokio::select! {
                    Some(line) = lines.recv() => self.hear(&label, &line, &mut heard),
                    status = worker.ended() => break status,
                    () = told(&mut leave) => return Ok(self.leave(&label, &mut worker).await),
                }
            };
            let error = worker.last_error().await; // all that it printed is read then
            while let Ok(line) = lines.try_recv() {
                self.hear(&label, &line, &mut heard);
            }
            if let Some(end) = self.end_of(&label, status, &heard, error.as_deref()) {
                return Ok(end);
            }
            if began.elapsed() >= LIVED_WELL {
                pause = Duration::ZERO;
            }
            // The members wait for a worker that took part; one that did not is in no hurry.
            let wait = if heard.attached { pause } else { pause.max(PAUSE_FIRST) };
            pause = (wait * 2).clamp(PAUSE_FIRST, PAUSE_MAX);
            let when = match wait {
                Duration::ZERO => String::new(),
                wait => format!(" in {}", humantime::format_duration(wait)),
            };
            let how = status.map_or_else(|| "died".to_owned(), |status| format!("died ({status})"));
            let why = error.map(|error| format!(": {error}")).unwrap_or_default();
            tracing::warn!("{label} {how} and is started again{when}{why}");
            tokio::select! {
                () = sleep(wait) => {}
                () = told(&mut leave) => return Ok(End::Left),
            }
            worker.start_again(to_lines.clone())?;
            began = Instant::now();
        }
    }

    /// Prints a worker's news.
    fn hear(&self, label: &str, line: &str, heard: &mut Heard) {
        match News::of(line) {
            Some(News::Unreachable { why }) => self.warn_once(why),
            Some(News::GaveUp) => heard.gave_up = true,
            Some(News::Attached { run, incarnation, again }) => {
                heard.attached = true;
                let again = if again { " again" } else { "" };
                tracing::info!("{label} takes part{again} in the run `{run}`, as worker {incarnation}");
            }
            Some(News::CutOff { why }) => {
                tracing::warn!("{label} is cut off from the coordinator and goes on without it: {why}");
            }
            Some(News::RunEnded { how }) => heard.run_ended = Some(how),
            None => {}
        }
    }

    /// How a worker ended, if it is not to be started again.
    fn end_of(
        &self,
        label: &str,
        status: Option<ExitStatus>,
        heard: &Heard,
        error: Option<&str>,
    ) -> Option<End> {
        let code = status.and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
        let why = error.unwrap_or("its log says no more").to_owned();
        if let (Some(how), Some(code)) = (heard.run_ended, code) {
            let text = match how {
                RunEnd::Complete => "the run is finished".to_owned(),
                RunEnd::Stopped => "the run was stopped".to_owned(),
                RunEnd::Failed => format!("the run failed: {why}"),
            };
            self.inform_once(&text);
            return Some(End::WithRun(how, code, text));
        }
        match code? {
            // It was told to leave itself, not by its node.
            0 | 130 | 143 => Some(End::Left),
            Failure::BAD_INPUT => {
                self.warn_once(format!(
                    "{label} cannot take part, and another try would not change that: {why}"
                ));
                Some(End::CannotTakePart(why))
            }
            _ if heard.gave_up => Some(End::GaveUp(why)),
            _ => None,
        }
    }

    /// Has a worker leave; kills it if it does not.
    async fn leave(&self, label: &str, worker: &mut Running) -> End {
        worker.signal(Signal::SIGTERM);
        if timeout(self.grace, worker.ended()).await.is_ok() {
            return End::Left;
        }
        tracing::warn!(
            "{label} did not leave within {} and is killed",
            humantime::format_duration(self.grace)
        );
        worker.signal(Signal::SIGKILL);
        worker.ended().await;
        End::Killed
    }

    fn warn_once(&self, text: String) {
        if self.is_news(&text) {
            tracing::warn!("{text}");
        }
    }

    fn inform_once(&self, text: &str) {
        if self.is_news(text) {
            tracing::info!("{text}");
        }
    }

    /// Whether no worker has just said that.
    fn is_news(&self, text: &str) -> bool {
        let mut said = self.said.borrow_mut();
        said.retain(|_, at| at.elapsed() < SAID_FOR);
        said.insert(text.to_owned(), Instant::now()).is_none()
    }
}

/// The news of one process of a worker.
#[derive(Default)]
struct Heard {
    attached: bool,
    gave_up: bool,
    run_ended: Option<RunEnd>,
}

/// Waits until the node is told to end.
async fn told(leave: &mut watch::Receiver<bool>) {
    if leave.wait_for(|leave| *leave).await.is_err() {
        std::future::pending::<()>().await; // the node itself is ending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_ends_badly_only_when_no_worker_could_take_part_or_the_run_did() {
        let code = |ends: Vec<End>| result(ends).map_or_else(|failure| failure.code, |()| 0);
        let complete = || End::WithRun(RunEnd::Complete, 0, String::new());
        let out = || End::CannotTakePart("no data".to_owned());
        assert_eq!(code(vec![complete(), out()]), 0);
        assert_eq!(code(vec![out(), out()]), 2);
        assert_eq!(code(vec![out(), End::WithRun(RunEnd::Failed, 1, String::new())]), 1);
        assert_eq!(code(vec![End::WithRun(RunEnd::Stopped, 143, String::new()), complete()]), 143);
        assert_eq!(code(vec![End::GaveUp("away".to_owned())]), 1);
        assert_eq!(code(vec![End::Left, End::Killed]), 1);
    }
}
