//! `lsgan sweep`: a run for each combination of values and seeds, on a shared pool of workers of this machine, and of others.
//!
//! Each is an ordinary run in its own directory, started by `lsgan up`, so that its weights are those of the run alone, and all
//! commands know it. What is finished is known by the runs' journals: a sweep that was killed goes on by the same command.
//!
//! - [`axes`]: what is said on the command line. [`plan`]: the runs that it makes.
//! - [`pool`]: runs them. [`offers`]: the workers of other hosts. [`ledger`]: the time that runs took, which no journal knows.
//! - [`halving`]: settings that are behind are given up early.
//! - [`table`], [`plot`]: what came out.

pub mod axes;
pub mod halving;
pub mod ledger;
pub mod offers;
pub mod plan;
pub mod plot;
pub mod pool;
pub mod table;

use std::num::NonZero;
use std::path::PathBuf;

use lsgan_console::{Failure, Interrupt, interrupts, product, say};
use lsgan_launch::load_file;
use lsgan_runfile::Override;
use lsgan_spec::Metric;
use tokio::sync::mpsc;

use axes::{Axis, Seeds};
use ledger::Ledger;
use offers::{Door, Offers};
use plan::Sweep;
use pool::{Ended, Pool};
use table::Results;

use crate::words::words;

/// The arguments of `lsgan sweep`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The run's YAML file that all runs have in common.
    #[arg(value_name = "FILE")]
    pub config: PathBuf,
    /// A field and its values, as `--set optimizer.generator.adam.learning_rate=1e-4,2e-4`; may be given again, and each
    /// combination is a run. A comma in quotes, brackets or braces is part of a value, as in
    /// `--set 'objective={least_squares: {a: 0, b: 1, c: 1}},non_saturating'`. One value sets the field in all runs.
    #[arg(long = "set", value_name = "PATH=VALUES")]
    pub sets: Vec<Axis>,
    /// Every combination with each of these seeds: 1..5 are five of them, and 1,7 two. By default the file's.
    #[arg(long, value_name = "SEEDS")]
    pub seeds: Option<Seeds>,
    /// Workers of this machine that train at once, shared among the runs: each run has one, or more where there are fewer runs than
    /// workers. By default as many as this machine's CPUs feed with `compute.threads`. 0 with --listen: other hosts' alone.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=1024))]
    pub workers: Option<u32>,
    #[command(flatten)]
    pub door: Door,
    /// The sweep's folder, with a folder for each run; by default runs/NAME-sweep. The same command goes on from what is there.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Give up the worse half of the settings again and again, by the median of this score over their seeds: at a half, a
    /// quarter, … of the steps.
    #[arg(long, value_name = "METRIC", value_parser = words::<Metric>())]
    pub halving: Option<Metric>,
    /// Print one JSON object, which is also in DIR/sweep.json.
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print CSV, which is also in DIR/sweep.csv.
    #[arg(long)]
    pub csv: bool,
}

/// What trains the runs.
#[derive(Default)]
pub struct Means {
    /// How many workers of this machine; none for as many as its CPUs feed.
    pub workers: Option<u32>,
    /// Those of other hosts.
    pub offers: Option<Offers>,
    /// What each run's `lsgan up` is told beside the run: where it listens, and how its processes show who they are.
    pub arguments: Vec<String>,
}

/// Runs all that is not finished, and prints the table.
///
/// # Errors
/// A file, path or value that is wrong, before anything is started, with exit code 2; a run that failed, with 1; a sweep that was
/// stopped before its end with 130 for SIGINT, 143 for SIGTERM.
pub async fn sweep(args: Args) -> Result<(), Failure> {
    let read = |sets: &[Override]| load_file(&args.config, sets);
    let sweep = Sweep::plan(read, &args.sets, args.seeds.as_ref(), args.out.as_deref())?;
    sweep.check().await?;
    if let Some(metric) = args.halving {
        halving::check(&sweep, metric)?;
    }
    if args.workers == Some(0) && args.door.listen.is_none() {
        return Err(Failure::bad_input(
            "--workers 0 leaves the runs without workers; with --listen HOST:PORT other hosts bring theirs.",
        ));
    }
    let mut interrupts = interrupts()?;
    let offers = Offers::open(&args.door).await?;
    let listen = offers.iter().map(|offers| format!("--listen={}", offers.listen()));
    let safety = [args.door.tls.to_arguments(), args.door.open.to_arguments()].concat();
    let arguments = listen.chain(safety).collect();
    let mut means = Means { workers: args.workers, offers, arguments };
    let ended = match args.halving {
        None => run(&sweep, &mut means, &mut interrupts).await?,
        Some(metric) => halving::run(&sweep, metric, &mut means, &mut interrupts).await?,
    };
    if let Some(offers) = means.offers {
        offers.end(if ended.stopped.is_some() { "the sweep was stopped" } else { "the sweep is over" }).await;
    }
    let results = Results::of(&sweep, &ended)?;
    results.write(&sweep.out)?;
    match (args.json, args.csv) {
        (true, _) => product!("{:#}", results.json())?,
        (_, true) => product!("{}", results.csv().trim_end())?,
        _ => product!("{}\nall of it is in {}", results.text(), sweep.out.display())?,
    }
    ended.result()
}

/// Runs the runs of a sweep that are not finished.
///
/// # Errors
/// A folder that cannot be written, or a program that cannot be started.
pub async fn run(
    sweep: &Sweep,
    means: &mut Means,
    interrupts: &mut mpsc::Receiver<Interrupt>,
) -> Result<Ended, Failure> {
    let ledger = Ledger::open(&sweep.out)?;
    let cpus = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = sweep.jobs[0].file.spec.compute.threads as usize;
    let workers = means.workers.unwrap_or(u32::try_from((cpus / threads).max(1)).unwrap_or(1));
    let (all, done) = (sweep.jobs.len(), sweep.done()?);
    let here = if means.offers.is_some() { " here" } else { "" };
    say!("{all} runs in {}, {done} of them finished; {workers} workers at once{here}", sweep.out.display());
    Pool::new(sweep, workers, means, ledger).run(interrupts).await
}
