//! `lsgan up`: a coordinator and some workers as children of this process, from one command.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use lsgan_certs::Role;
use lsgan_console::{
    Failure, Interrupt, Log as Form, Notices, Progress, announce, interrupts, logging, say, vital,
};
use lsgan_launch::{LISTENING, ListenArgs, PAGE, Places, RunArgs, TlsArgs, sibling};
use lsgan_runfile::RunFile;
use lsgan_wire::{Client, Listen, scheme, v1};
use nix::sys::signal::Signal;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::children::{Log, Recipe, Running, first_end};
use crate::scorer::Scorer;
use crate::starting::listening;
use crate::ui::PageArgs;
use crate::{gpus, live, run_file};

/// How long the workers get to end after the run has ended.
const END_TIMEOUT: Duration = Duration::from_secs(15);

/// The coordinator's argument that the number of workers follows.
const EXPECT_WORKERS: &str = "--expect-workers";

/// The arguments of `lsgan up`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: RunArgs,
    /// How many workers; more than `batch.virtual_ranks` stand by. With 0 all of them are elsewhere (`lsgan node`).
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(..=1024)
    )]
    workers: u32,
    /// Address for the coordinator; port 0 takes a free one, and [::] is all of this host's, IPv4 as well.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: Listen,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    open: ListenArgs,
    #[command(flatten)]
    page: PageArgs,
    /// Show no progress.
    #[arg(long)]
    quiet: bool,
    /// Form of all that is printed; with `json`, every line of both streams is an object with `timestamp`, `level` and `message`.
    #[arg(long, value_enum, default_value_t = Form::Text, value_name = "FORM")]
    log: Form,
}

impl Args {
    /// Checks what fits together, and begins to print in the form that is asked for.
    fn begin(&self) -> Result<(), Failure> {
        if self.log == Form::Json {
            logging::start(self.log, "warn");
        }
        self.page.check()
    }

    fn progress(&self) -> Progress {
        if self.quiet { Progress::quiet(Notices::Shown) } else { Progress::new(Notices::Shown) }
    }
}

/// Trains until the run ends or is interrupted. The first SIGINT or SIGTERM stops it with a snapshot, the second ends
/// everything at once.
///
/// # Errors
/// Bad input with exit code 2, a run that failed with 1; a run that was stopped before its end with 130 for SIGINT and
/// `lsgan stop`, 143 for SIGTERM.
pub async fn up(mut args: Args) -> Result<(), Failure> {
    args.begin()?;
    // Errors in the run's file are reported before anything is started.
    let file = run_file::load(&mut args.run)?;
    let (wish, asked) = (file.spec.compute.device, args.workers);
    if asked > 0 {
        lsgan_train::device::check(wish).map_err(Failure::bad_input_of)?;
    }
    let places = lsgan_train::device::places(wish);
    let (workers, told) = gpus::within(asked, places);
    args.workers = workers;
    if let Some(told) = told {
        say!("{told}");
    }
    let mut interrupts = interrupts()?;

    let (to_lines, mut lines) = mpsc::channel(64);
    let recipe = coordinator(&args, &file, args.listen.to_string())?;
    let mut coordinator_child = Running::start(recipe, to_lines.clone())?;
    let Some(address) = listening(&mut coordinator_child, &mut lines, &mut interrupts).await? else {
        return Ok(());
    };
    let run_dir = match &args.run.fork {
        Some(_) => None,
        None => Some(Places::of(&file.spec, args.run.run_dir.as_deref()).run_dir),
    };
    let identity = args.tls.open(&[Role::Operator])?;
    let (reached, peers) = for_workers(&address)?;
    let mut cluster = Cluster {
        coordinator: coordinator_child,
        lines,
        workers: Vec::new(),
        client: live::connect(&reached, identity).await?,
        progress: args.progress(),
        to_lines,
        stopping: None,
        program: sibling("worker")?,
        address: reached,
        safety: [args.tls.to_arguments(), args.open.to_arguments()].concat(),
        peers,
        logs: PathBuf::new(),
        scorer: Scorer::default(),
        places,
        asked,
        wanted: args.workers,
        started: 0,
    };
    let run_dir = match run_dir {
        Some(dir) => dir,
        None => cluster.status().await.map(|status| status.run_dir.into()).unwrap_or_default(),
    };
    cluster.logs = run_dir.join("logs");
    cluster.coordinator.recipe.log.open(&cluster.logs.join("coordinator.log"))?;
    say!("the coordinator listens on {address}; logs are in {}", cluster.logs.display());
    // A coordinator that is started again must be found where it was, and must not start anew again.
    cluster.coordinator.recipe.arguments = again(&cluster.coordinator.recipe.arguments, &address);
    args.page.follow(&mut cluster.lines, &mut cluster.coordinator.recipe.arguments).await;
    for _ in 0..args.workers {
        cluster.start_worker()?;
    }
    cluster.scorer = Scorer::start(&file.spec.evaluate, &run_dir, &cluster.logs)?;
    cluster.watch_until_ended(&mut interrupts).await
}

fn coordinator(args: &Args, file: &RunFile, listen: String) -> Result<Recipe, Failure> {
    let mut arguments = args.run.to_arguments(file);
    let workers = args.workers.to_string();
    arguments.extend([args.tls.to_arguments(), args.open.to_arguments(), args.page.to_arguments()].concat());
    let ours = ["--quiet", "--supervised", EXPECT_WORKERS, &workers, "--listen", &listen];
    arguments.extend(ours.map(str::to_owned));
    Ok(Recipe {
        label: "coordinator".to_owned(),
        program: sibling("coordinator")?,
        arguments,
        secrets: run_file::secrets(&file.spec),
        log: Log::default(),
    })
}

/// The arguments of a coordinator that is started again at `address`.
fn again(arguments: &[String], address: &str) -> Vec<String> {
    let mut arguments: Vec<String> = arguments.iter().filter(|a| *a != "--fresh").cloned().collect();
    let listen = arguments.last_mut().expect("the address is the last argument");
    *listen = authority(address).to_owned();
    arguments
}

/// An address without its scheme.
fn authority(address: &str) -> &str {
    address.split_once("://").map_or(address, |(_, authority)| authority)
}

/// Where workers on this host reach the coordinator that listens at `address`, and where they listen for each other: on the
/// same address, so that workers on other hosts reach them as they reach the coordinator.
fn for_workers(address: &str) -> Result<(String, String), Failure> {
    let listens = authority(address).parse()?;
    let reached = lsgan_wire::from_here(listens);
    Ok((
        format!("{}{reached}", scheme(address.starts_with("https"))),
        SocketAddr::new(reached.ip(), 0).to_string(),
    ))
}

struct Cluster {
    coordinator: Running,
    /// What the coordinator prints.
    lines: mpsc::Receiver<String>,
    workers: Vec<Running>,
    client: Client,
    progress: Progress,
    to_lines: mpsc::Sender<String>,
    /// Which signal, or `lsgan stop`, asked the run to stop.
    stopping: Option<Interrupt>,
    /// What a worker is started with.
    program: PathBuf,
    address: String,
    peers: String,
    /// The arguments of TLS, the same for all.
    safety: Vec<String>,
    logs: PathBuf,
    scorer: Scorer,
    /// How many GPUs they can use; none where they compute on the CPU.
    places: Option<u32>,
    /// How many workers were asked for, how many of them are wanted, and how many were ever started.
    asked: u32,
    wanted: u32,
    started: u32,
}

/// Whether the supervision goes on.
enum Go {
    On,
    /// The run is finished.
    Ended,
    /// The run was stopped before its end; with the exit code.
    Stopped(u8),
    /// The user did not wait for the snapshot; with the exit code.
    AtOnce(u8),
}

impl Cluster {
    async fn watch_until_ended(mut self, interrupts: &mut mpsc::Receiver<Interrupt>) -> Result<(), Failure> {
        let result = loop {
            let step = tokio::select! {
                step = self.watch() => step,
                asked = interrupts.recv() => self.interrupted(asked.unwrap_or(Interrupt::System)),
            };
            match step {
                Ok(Go::On) => {}
                Ok(Go::Ended) => break Ok(()),
                Ok(Go::Stopped(code)) => break Err(Failure::stopped(code)),
                Ok(Go::AtOnce(code)) => {
                    self.progress.end();
                    self.kill();
                    let text = "ended at once; the newest snapshot is kept".to_owned();
                    return Err(Failure { code, text });
                }
                Err(failure) => break Err(failure),
            }
        };
        self.progress.end();
        let scorer = std::mem::take(&mut self.scorer);
        if result.is_ok() {
            scorer.finish(interrupts).await;
        }
        self.end(result).await
    }

    fn start_worker(&mut self) -> Result<(), Failure> {
        self.started += 1;
        let number = self.started;
        let log = Log::default();
        log.open(&self.logs.join(format!("worker-{number}.log")))?;
        let name = format!("up:{number}");
        let local_rank = (number - 1).to_string();
        let arguments = ["--coordinator", &self.address, "--name", &name, "--peer-listen", &self.peers];
        let arguments = [&arguments[..], &["--local-rank", &local_rank]].concat();
        let recipe = Recipe {
            label: format!("worker {number}"),
            program: self.program.clone(),
            arguments: arguments.into_iter().map(str::to_owned).chain(self.safety.iter().cloned()).collect(),
            secrets: Vec::new(),
            log,
        };
        self.workers.push(Running::start(recipe, self.to_lines.clone())?);
        Ok(())
    }

    /// Starts workers, or has the youngest leave at a step boundary, until there are as many as are asked for.
    fn scale(&mut self, asked: u32) -> Result<(), Failure> {
        if asked == self.asked || self.stopping.is_some() {
            return Ok(());
        }
        self.asked = asked;
        say!("from {} to {asked} workers, as lsgan scale asked", self.wanted);
        let (wanted, told) = gpus::within(asked, self.places);
        if let Some(told) = told {
            say!("{told}");
        }
        self.wanted = wanted;
        // A coordinator that is started again must not ask for the old number.
        let arguments = &mut self.coordinator.recipe.arguments;
        let at = arguments.iter().position(|argument| argument == EXPECT_WORKERS).expect("it is one of ours");
        arguments[at + 1] = wanted.to_string();
        let stay = self.workers.iter().filter(|worker| !worker.leaving).count();
        for _ in stay..wanted as usize {
            self.start_worker()?;
        }
        let leave = stay.saturating_sub(wanted as usize);
        for worker in self.workers.iter_mut().rev().filter(|worker| !worker.leaving).take(leave) {
            worker.leaving = true;
            worker.signal(Signal::SIGTERM);
        }
        Ok(())
    }

    /// Waits for the next event and handles it.
    async fn watch(&mut self) -> Result<Go, Failure> {
        let mut beat = interval(Duration::from_millis(200));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beat.tick() => {
                    // A coordinator that is away is noticed by its end.
                    if let Some(status) = self.status().await {
                        self.progress.show(&status);
                        self.scale(status.workers_wanted.unwrap_or(self.asked))?;
                    }
                }
                line = self.scorer.line() => say!("{line}"),
                status = self.coordinator.ended() => return self.coordinator_ended(status).await,
                (index, status) = first_end(&mut self.workers) => {
                    self.worker_ended(index, status).await?;
                    return Ok(Go::On);
                }
            }
        }
    }

    /// A coordinator that exits has said how the run ended; one that was killed is started again.
    async fn coordinator_ended(&mut self, status: Option<ExitStatus>) -> Result<Go, Failure> {
        match status.and_then(|status| status.code()) {
            Some(0) => Ok(Go::Ended),
            Some(code) if code == i32::from(Interrupt::Person.exit_code()) => {
                let asked = self.stopping.unwrap_or(Interrupt::Person);
                Ok(Go::Stopped(asked.exit_code()))
            }
            Some(code) if code != vital::PANICKED => {
                let text = self.coordinator.last_error().await;
                let text = text.unwrap_or_else(|| format!("the coordinator ended with exit code {code}"));
                Err(Failure { code: u8::try_from(code).unwrap_or(Failure::FAILED), text })
            }
            Some(_) | None => {
                say!("warning: the coordinator died and is started again; the workers go on without it");
                self.coordinator.restart(self.to_lines.clone()).await?;
                Ok(Go::On)
            }
        }
    }

    async fn worker_ended(&mut self, index: usize, status: Option<ExitStatus>) -> Result<(), Failure> {
        let code = status.and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
        let stopped = [Interrupt::Person, Interrupt::System].map(Interrupt::exit_code);
        if self.workers[index].leaving || code.is_some_and(|code| code == 0 || stopped.contains(&code)) {
            // It left, or its run has ended; the coordinator's status tells which.
            self.workers.remove(index);
            return Ok(());
        }
        if code == Some(Failure::BAD_INPUT) && self.stopping.is_none() {
            // Another try would end in the same way.
            let mut worker = self.workers.remove(index);
            let text = worker.last_error().await.unwrap_or_else(|| "it did not say why".to_owned());
            say!("warning: {} cannot take part: {text}", worker.recipe.label);
            if self.workers.is_empty() {
                self.coordinator.signal(Signal::SIGTERM);
                return Err(Failure::bad_input(format!("no worker can take part: {text}")));
            }
            return Ok(());
        }
        let worker = &mut self.workers[index];
        let how = status.map_or_else(|| "died".to_owned(), |status| format!("died ({status})"));
        say!("warning: {} {how} and is started again", worker.recipe.label);
        worker.restart(self.to_lines.clone()).await
    }

    async fn status(&mut self) -> Option<v1::RunStatus> {
        let reply = timeout(Duration::from_secs(2), self.client.status(v1::StatusRequest {})).await;
        reply.ok()?.ok().map(tonic::Response::into_inner)
    }

    /// The user interrupts: the first time the run stops with a snapshot, the second time at once.
    fn interrupted(&mut self, asked: Interrupt) -> Result<Go, Failure> {
        if self.stopping.is_some() {
            return Ok(Go::AtOnce(asked.exit_code()));
        }
        self.stopping = Some(asked);
        say!("stopping with a snapshot; once more ends at once");
        self.coordinator.signal(Signal::SIGINT);
        Ok(Go::On)
    }

    /// Waits for the workers to end, and prints the coordinator's last line.
    async fn end(mut self, result: Result<(), Failure>) -> Result<(), Failure> {
        let all = async {
            for child in &mut self.workers {
                child.ended().await;
            }
        };
        if timeout(END_TIMEOUT, all).await.is_err() {
            self.kill();
        }
        self.coordinator.last_error().await; // all that it printed is read then
        while let Ok(line) = self.lines.try_recv() {
            if !line.starts_with(LISTENING) && !line.starts_with(PAGE) {
                announce!("{line}");
            }
        }
        result
    }

    fn kill(&self) {
        for child in self.workers.iter().chain([&self.coordinator]) {
            child.signal(Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn workers_listen_where_they_reach_the_coordinator() {
        let told = |address: &str| super::for_workers(address).map_err(|failure| failure.text);
        let expected = |coordinator: &str, peers: &str| Ok((coordinator.to_owned(), peers.to_owned()));
        for ip in ["127.0.0.1", "[::1]", "10.0.0.5"] {
            let address = format!("http://{ip}:7070");
            assert_eq!(told(&address), expected(&address, &format!("{ip}:0")));
        }
        assert_eq!(told("https://[::1]:7070"), expected("https://[::1]:7070", "[::1]:0"));
        assert_eq!(told("http://0.0.0.0:7070"), expected("http://127.0.0.1:7070", "127.0.0.1:0"));
        assert!(told("no address").is_err());
    }
}
