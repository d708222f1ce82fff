//! `lsgan metrics`, `lsgan events`, `lsgan tensorboard`: what a run's journal says, for other programs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lsgan_console::{Failure, clock, product, say};
use lsgan_journal::{FILE, LastWords, Reader, wall_ms};
use lsgan_observe::metrics::{Events, Form, Steps, named};
use lsgan_observe::tensorboard::Follower;
use lsgan_snapshots::Holder;

use crate::place::waiting;

/// Between two looks at a run that is followed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The arguments of `lsgan metrics`.
#[derive(Clone, Debug, clap::Args)]
pub struct MetricsArgs {
    #[command(flatten)]
    of: Followed,
    /// How rows are written; with full precision in both.
    #[arg(long, value_enum, default_value_t = FormWord::Csv)]
    format: FormWord,
    /// Scalars by their names, separated by commas; without it all of them.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    names: Vec<String>,
}

/// The arguments of `lsgan events`.
#[derive(Clone, Debug, clap::Args)]
pub struct EventsArgs {
    #[command(flatten)]
    of: Followed,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// The arguments of `lsgan tensorboard`.
#[derive(Clone, Debug, clap::Args)]
pub struct TensorboardArgs {
    #[command(flatten)]
    of: Followed,
    /// Folder for the event file, which is written anew; without it `tensorboard` in the run's directory.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Write the scalars of every so many steps. All of a step take about 600 bytes.
    #[arg(long, value_name = "STEPS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
}

/// Which run, and whether to go on with it.
#[derive(Clone, Debug, clap::Args)]
struct Followed {
    /// The run's directory.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Go on as the run does, until it has ended.
    #[arg(long)]
    follow: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum FormWord {
    /// A title line, then a line a row
    Csv,
    /// A JSON object a row
    Jsonl,
}

/// Prints the scalars of all steps.
///
/// # Errors
/// No such run or scalar, or a journal that cannot be read.
pub async fn metrics(args: MetricsArgs) -> Result<(), Failure> {
    let form = match args.format {
        FormWord::Csv => Form::Csv,
        FormWord::Jsonl => Form::Jsonl,
    };
    let wanted = named(&args.names).map_err(|why| Failure::bad_input(format!("--names: {why}")))?;
    let mut steps = Steps::new(wanted, form);
    check(&args.of.run)?;
    if let Some(title) = steps.title() {
        product!("{title}")?;
    }
    each(&args.of, |journal| {
        let lines = steps.next(journal)?;
        if !lines.is_empty() {
            product!("{}", lines.join("\n"))?;
        }
        Ok(lines.len())
    })
    .await
}

/// Prints all events, the oldest first.
///
/// # Errors
/// No such run, or a journal that cannot be read.
pub async fn events(args: EventsArgs) -> Result<(), Failure> {
    let mut events = Events::default();
    check(&args.of.run)?;
    each(&args.of, |journal| {
        let next = events.next(journal)?;
        for event in &next {
            let warning = if event.warning { "warning: " } else { "" };
            match args.json {
                true => product!("{}", event.to_json())?,
                false => product!("{}  {warning}{}", clock(event.at_ms, wall_ms()), event.text)?,
            }
        }
        Ok(next.len())
    })
    .await
}

/// Writes an event file for TensorBoard.
///
/// # Errors
/// No such run, a journal that cannot be read, or a file that cannot be written.
pub async fn tensorboard(args: TensorboardArgs) -> Result<(), Failure> {
    check(&args.of.run)?;
    let to = args.to.clone().unwrap_or_else(|| args.of.run.join("tensorboard"));
    let mut journal = waiting(|| Reader::open(&args.of.run.join(FILE)))?;
    let mut follower = Follower::begin(&args.of.run, &mut journal, &to, args.every)?;
    drop(journal);
    say!("writing {}; look at it with: tensorboard --logdir {}", follower.path().display(), to.display());
    each(&args.of, |journal| Ok(follower.next(journal)?)).await
}

/// Refuses a directory that holds no run.
///
/// # Errors
/// Bad input.
pub fn check(dir: &Path) -> Result<(), Failure> {
    if dir.join(FILE).is_file() {
        return Ok(());
    }
    Err(Failure::bad_input(format!(
        "{} holds no run. Name a run's directory: it has a {FILE}, and `lsgan up` and `lsgan status` print it.",
        dir.display()
    )))
}

/// Calls `next` with the journal until it has no more, and where the run is followed again as long as it goes on.
async fn each(
    of: &Followed,
    mut next: impl FnMut(&mut Reader) -> Result<usize, Failure>,
) -> Result<(), Failure> {
    loop {
        // Before the last look: what is written until then is read.
        let has_ended = !of.follow || has_ended(&of.run)?;
        // Opened anew each time: a file that nobody had open is not read any further.
        let mut journal = waiting(|| Reader::open(&of.run.join(FILE)))?;
        while next(&mut journal)? > 0 {}
        drop(journal);
        if has_ended {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether a run has an outcome, and no coordinator any more that could go on with it.
fn has_ended(dir: &Path) -> Result<bool, Failure> {
    let is_held = matches!(Holder::of(dir), Ok(Some(_)));
    let last = waiting(|| LastWords::of(dir))?;
    Ok(!is_held && last.is_some_and(|last| last.outcome.is_some()))
}
