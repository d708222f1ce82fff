//! `lsgan metrics`, `lsgan events`, `lsgan tensorboard`: what a run's journal says, for other programs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lsgan_console::{Failure, clock, product, say};
use lsgan_journal::{FILE, LastWords, Reader, wall_ms};
use lsgan_observe::metrics::{Event, Events, Form, Lines, ROWS, Row, Steps, named};
use lsgan_observe::tensorboard::Follower;
use lsgan_snapshots::Holder;
use lsgan_spec::scalars::Scalar;
use lsgan_wire::v1::{self, read_journal_request::Kind};
use tonic::Streaming;

use crate::live::{Found, Live, Target, found_again};
use crate::place::waiting;

/// Between two looks at a run that is followed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The arguments of `lsgan metrics`.
#[derive(Clone, Debug, clap::Args)]
pub struct MetricsArgs {
    #[command(flatten)]
    target: Target,
    /// Go on as the run does, until it has ended.
    #[arg(long)]
    follow: bool,
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
    target: Target,
    /// Go on as the run does, until it has ended.
    #[arg(long)]
    follow: bool,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// The arguments of `lsgan tensorboard`.
#[derive(Clone, Debug, clap::Args)]
pub struct TensorboardArgs {
    /// The run's directory.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Go on as the run does, until it has ended.
    #[arg(long)]
    follow: bool,
    /// Folder for the event file, which is written anew; without it `tensorboard` in the run's directory.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Write the scalars of every so many steps. All of a step take about 600 bytes.
    #[arg(long, value_name = "STEPS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum FormWord {
    /// A title line, then a line a row
    Csv,
    /// A JSON object a row
    Jsonl,
}

/// What is printed of a journal, wherever that is.
trait Listing {
    /// Prints what is next in the journal of this machine. Returns how much it was.
    fn print_next(&mut self, journal: &mut Reader) -> Result<usize, Failure>;

    /// What a coordinator is asked for: what comes next.
    fn asked(&self) -> Kind;

    /// Prints what a coordinator has sent.
    fn print(&mut self, page: v1::JournalPage) -> Result<(), Failure>;
}

struct Scalars {
    wanted: Vec<Scalar>,
    lines: Lines,
    next_step: u64,
}

impl Scalars {
    fn print_rows(&mut self, rows: &[Row]) -> Result<(), Failure> {
        if let Some((step, ..)) = rows.last() {
            self.next_step = step + 1;
            let lines: Vec<_> = rows.iter().map(|row| self.lines.line(row)).collect();
            product!("{}", lines.join("\n"))?;
        }
        Ok(())
    }
}

impl Listing for Scalars {
    fn print_next(&mut self, journal: &mut Reader) -> Result<usize, Failure> {
        let rows = Steps::new(self.wanted.clone(), self.next_step, ROWS).next(journal)?;
        self.print_rows(&rows)?;
        Ok(rows.len())
    }

    fn asked(&self) -> Kind {
        let names = self.wanted.iter().map(|scalar| scalar.name.to_owned()).collect();
        Kind::Metrics(v1::MetricsFrom { step: self.next_step, names })
    }

    fn print(&mut self, page: v1::JournalPage) -> Result<(), Failure> {
        let values = |row: &v1::StepMetrics| {
            self.wanted.iter().map(|scalar| row.scalars.get(scalar.name).copied()).collect()
        };
        let rows: Vec<Row> = page.rows.iter().map(|row| (row.step, row.wall_ms, values(row))).collect();
        self.print_rows(&rows)
    }
}

struct Happened {
    json: bool,
    seen: u64,
}

impl Happened {
    fn print_events(&mut self, events: &[Event]) -> Result<(), Failure> {
        for event in events {
            let warning = if event.warning { "warning: " } else { "" };
            match self.json {
                true => product!("{}", event.to_json())?,
                false => product!("{}  {warning}{}", clock(event.at_ms, wall_ms()), event.text)?,
            }
            self.seen = event.id;
        }
        Ok(())
    }
}

impl Listing for Happened {
    fn print_next(&mut self, journal: &mut Reader) -> Result<usize, Failure> {
        let events = Events::new(self.seen, ROWS).next(journal)?;
        self.print_events(&events)?;
        Ok(events.len())
    }

    fn asked(&self) -> Kind {
        Kind::Events(v1::EventsAfter { id: self.seen })
    }

    fn print(&mut self, page: v1::JournalPage) -> Result<(), Failure> {
        let event = |v1::JournalEvent { id, at_ms, warning, text }| Event { id, at_ms, warning, text };
        let events: Vec<_> = page.events.into_iter().map(event).collect();
        self.print_events(&events)
    }
}

/// Prints the scalars of all steps.
///
/// # Errors
/// No such run or scalar, a journal that cannot be read, or a coordinator that does not answer.
pub async fn metrics(args: MetricsArgs) -> Result<(), Failure> {
    let form = match args.format {
        FormWord::Csv => Form::Csv,
        FormWord::Jsonl => Form::Jsonl,
    };
    let wanted = named(&args.names).map_err(|why| Failure::bad_input(format!("--names: {why}")))?;
    let lines = Lines::new(wanted.clone(), form);
    let source = source(&args.target).await?;
    if let Some(title) = lines.title() {
        product!("{title}")?;
    }
    let mut scalars = Scalars { wanted, lines, next_step: 0 };
    source.print((&args.target, args.follow), &mut scalars).await
}

/// Prints all events, the oldest first.
///
/// # Errors
/// No such run, a journal that cannot be read, or a coordinator that does not answer.
pub async fn events(args: EventsArgs) -> Result<(), Failure> {
    let source = source(&args.target).await?;
    let mut happened = Happened { json: args.json, seen: 0 };
    source.print((&args.target, args.follow), &mut happened).await
}

/// Writes an event file for TensorBoard.
///
/// # Errors
/// No such run, a journal that cannot be read, or a file that cannot be written.
pub async fn tensorboard(args: TensorboardArgs) -> Result<(), Failure> {
    let TensorboardArgs { run, follow, to, every } = args;
    check(&run)?;
    let to = to.unwrap_or_else(|| run.join("tensorboard"));
    let mut journal = waiting(|| Reader::open(&run.join(FILE)))?;
    let mut follower = Follower::begin(&run, &mut journal, &to, every)?;
    drop(journal);
    say!("writing {}; look at it with: tensorboard --logdir {}", follower.path().display(), to.display());
    each(&run, follow, |journal| Ok(follower.next(journal)?)).await
}

/// Where a journal is read.
enum Source {
    /// From its file.
    Directory(PathBuf),
    /// Over its coordinator.
    Coordinator(Box<Live>),
}

/// A directory is read by itself, whether or not the run is live; an address asks the coordinator there.
async fn source(target: &Target) -> Result<Source, Failure> {
    if let Some(dir) = target.dir() {
        check(dir)?;
        return Ok(Source::Directory(dir.to_owned()));
    }
    Ok(match target.find().await? {
        Found::Away(away) => Source::Directory(away.dir),
        Found::Live(live) => match &live.dir {
            Some(dir) if target.address().is_none() => Source::Directory(dir.clone()),
            _ => Source::Coordinator(Box::new(live)),
        },
    })
}

impl Source {
    async fn print(
        self,
        (target, follow): (&Target, bool),
        listing: &mut impl Listing,
    ) -> Result<(), Failure> {
        match self {
            Self::Directory(dir) => each(&dir, follow, |journal| listing.print_next(journal)).await,
            Self::Coordinator(live) => pages(*live, (target, follow), listing).await,
        }
    }
}

/// Prints what the coordinator sends, and where the run is followed what the one sends that comes after it.
async fn pages(
    mut live: Live,
    (target, follow): (&Target, bool),
    listing: &mut impl Listing,
) -> Result<(), Failure> {
    let again = live.again(target);
    let failed = |status: tonic::Status| Failure::failed(status.message());
    let sent = ask(&mut live, listing.asked(), follow).await.map_err(failed)?;
    let mut over = (live, sent);
    loop {
        match over.1.message().await {
            Ok(Some(page)) => listing.print(page)?,
            Ok(None) => return Ok(()),
            Err(status) if !follow => return Err(failed(status)),
            Err(status) => {
                let next = listing.asked();
                let ask = async |live: &mut Live| ask(live, next.clone(), follow).await.ok();
                match found_again(&again, status.message(), ask).await? {
                    Some(found) => over = found,
                    // It has ended, which only its directory tells: what it left is there.
                    None => break,
                }
            }
        }
    }
    match &over.0.dir {
        Some(dir) => each(dir, false, |journal| listing.print_next(journal)).await,
        None => Ok(()),
    }
}

async fn ask(live: &mut Live, kind: Kind, follow: bool) -> Result<Streaming<v1::JournalPage>, tonic::Status> {
    let asked = v1::ReadJournalRequest { kind: Some(kind), follow };
    Ok(live.client.read_journal(asked).await?.into_inner())
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
        "{} holds no run. Name a run's directory: it has a {FILE}, and `lsgan up` and `lsgan status` print it. Or name its \
         coordinator's address, http[s]://HOST:PORT.",
        dir.display()
    )))
}

/// Calls `next` with the journal until it has no more, and where the run is followed again as long as it goes on.
async fn each(
    dir: &Path,
    follow: bool,
    mut next: impl FnMut(&mut Reader) -> Result<usize, Failure>,
) -> Result<(), Failure> {
    loop {
        // Before the last look: what is written until then is read.
        let has_ended = !follow || has_ended(dir)?;
        // Opened anew each time: a file that nobody had open is not read any further.
        let mut journal = waiting(|| Reader::open(&dir.join(FILE)))?;
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
