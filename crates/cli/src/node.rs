//! `lsgan node`: one worker for each device of this host, supervised.

use std::time::Duration;

use lsgan_console::{Failure, Interrupt, interrupts, say};
use nix::sys::signal::Signal;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::children::{Log, Recipe, Running, sibling};
use crate::up::first_end;

/// How long workers get to leave at a step boundary before they are killed.
const GRACE: Duration = Duration::from_secs(25);

/// What can be said on the command line of `lsgan node`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The coordinator's address.
    #[arg(long, value_name = "http://HOST:PORT", env = "LSGAN_COORDINATOR")]
    coordinator: String,
    /// How many workers; by default one for each device of this host.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Option<u32>,
    /// Directory for the workers' logs.
    #[arg(long, value_name = "DIR", default_value = "logs")]
    logs: std::path::PathBuf,
    /// IP address that peers are told; by default the one that reaches the coordinator.
    #[arg(long, value_name = "IP")]
    advertise: Option<std::net::IpAddr>,
}

/// Runs the workers until the run has ended. SIGINT or SIGTERM makes them leave.
///
/// # Errors
/// A worker that dies again and again, or workers that had to be killed.
pub async fn node(args: Args) -> Result<(), Failure> {
    lsgan_wire::endpoint(&args.coordinator).map_err(Failure::bad_input)?;
    let mut interrupts = interrupts().map_err(Failure::failed)?;
    let count = args.workers.unwrap_or_else(lsgan_train::device::count);
    let (to_lines, _lines) = mpsc::channel(1);
    let mut workers = Vec::new();
    for number in 1..=count {
        workers.push(Running::start(recipe(&args, number)?, to_lines.clone())?);
    }
    say!("{count} worker(s) for {}; their logs are in {}", args.coordinator, args.logs.display());
    while !workers.is_empty() {
        tokio::select! {
            (index, status) = first_end(&mut workers) => {
                if status.is_some_and(|status| status.success()) {
                    workers.remove(index);
                    continue;
                }
                let worker = &mut workers[index];
                say!("warning: {} died and is started again", worker.recipe.label);
                worker.restart(to_lines.clone()).await?;
            }
            asked = interrupts.recv() => {
                leave(workers).await?;
                return Err(Failure::stopped(asked.unwrap_or(Interrupt::System).exit_code()));
            }
        }
    }
    Ok(())
}

fn recipe(args: &Args, number: u32) -> Result<Recipe, Failure> {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let name = format!("{}:{number}", host.unwrap_or_else(|| "node".to_owned()));
    let log = Log::default();
    log.open(&args.logs.join(format!("worker-{number}.log")))?;
    let mut arguments = ["--coordinator", &args.coordinator, "--name", &name].map(str::to_owned).to_vec();
    arguments.extend(["--local-rank".to_owned(), (number - 1).to_string()]);
    if let Some(ip) = args.advertise {
        arguments.extend(["--advertise".to_owned(), ip.to_string()]);
    }
    Ok(Recipe { label: format!("worker {number}"), program: sibling("worker")?, arguments, log })
}

async fn leave(mut workers: Vec<Running>) -> Result<(), Failure> {
    say!("leaving at the next step boundary");
    workers.iter().for_each(|worker| worker.signal(Signal::SIGTERM));
    let all = async {
        for worker in &mut workers {
            worker.ended().await;
        }
    };
    if timeout(GRACE, all).await.is_ok() {
        return Ok(());
    }
    workers.iter().for_each(|worker| worker.signal(Signal::SIGKILL));
    Err(Failure::failed(format!("workers that did not leave within {} s were killed", GRACE.as_secs())))
}
