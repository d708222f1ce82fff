//! Which run a command is about, and how its coordinator is reached: by the run's directory, by an address, or by looking
//! for the one run that is live here.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lsgan_certs::{Credential, Identity, Role};
use lsgan_console::{Failure, say};
use lsgan_journal::{LastWords, OutcomeKind};
use lsgan_launch::TlsArgs;
use lsgan_snapshots::{Holder, host_name};
use lsgan_wire::{Address, Client, dial, scheme, v1};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::place::waiting;

/// Where runs are looked for when none is named.
const RUNS: &str = "runs";
/// Where a coordinator listens that was told nothing else.
const DEFAULT_ADDRESS: &str = "127.0.0.1:7070";
/// The environment variable with the coordinator's address.
const VARIABLE: &str = "LSGAN_COORDINATOR";

/// How long a coordinator may be away while it is followed: `lsgan up` or a cluster starts it again.
const AWAY_MAX: Duration = Duration::from_secs(30);
/// Between two tries to reach it.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Which run is meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Target {
    /// The run's directory, which says where its coordinator listens; or its coordinator's address. Without either: the one
    /// live run below ./runs.
    #[arg(long, value_name = "DIR|URL")]
    pub run: Option<PathBuf>,
    /// The coordinator's address, instead of the run's directory; also as LSGAN_COORDINATOR in the environment.
    #[arg(long, value_name = "http[s]://HOST:PORT", conflicts_with = "run")]
    pub coordinator: Option<String>,
    #[command(flatten)]
    pub tls: TlsArgs,
}

/// Which run, and in which form to answer.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Which run.
    #[command(flatten)]
    pub target: Target,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// A run.
pub enum Found {
    /// Its coordinator answers.
    Live(Live),
    /// It has none.
    Away(Away),
}

/// A run whose coordinator answers.
pub struct Live {
    /// Asks the coordinator.
    pub client: Client,
    /// The run's directory, if it is on this machine.
    pub dir: Option<PathBuf>,
}

/// A run without a coordinator.
#[derive(Clone, Debug)]
pub struct Away {
    /// Its directory.
    pub dir: PathBuf,
    /// The summary that its journal gives.
    pub last: LastWords,
}

impl Target {
    /// The run's directory, where one is named.
    #[must_use]
    pub fn dir(&self) -> Option<&Path> {
        self.run.as_deref().filter(|run| url(run).is_none())
    }

    /// The coordinator's address, where one is named and no directory.
    #[must_use]
    pub fn address(&self) -> Option<String> {
        if let Some(run) = &self.run {
            return url(run).map(str::to_owned);
        }
        let variable = || std::env::var(VARIABLE).ok().filter(|address| !address.is_empty());
        self.coordinator.clone().or_else(variable)
    }

    /// Finds the run.
    ///
    /// # Errors
    /// No such run, several that may be meant, or a coordinator that does not answer.
    pub async fn find(&self) -> Result<Found, Failure> {
        let dial = Dial { identity: self.tls.open(&[Role::Operator, Role::Viewer])? };
        if let Some(dir) = self.dir() {
            return dial.in_dir(dir).await;
        }
        if let Some(address) = self.address() {
            return dial.at(&address).await.map(Found::Live);
        }
        let runs = runs_below(Path::new(RUNS));
        let live: Vec<_> = runs.iter().filter(|dir| matches!(Holder::of(dir), Ok(Some(_)))).collect();
        match live[..] {
            [dir] => dial.in_dir(dir).await,
            [] => {
                let found = dial.at(&dial.address(DEFAULT_ADDRESS)).await;
                found.map(Found::Live).map_err(|_| Failure::failed(no_run(&runs)))
            }
            _ => Err(Failure::failed(format!(
                "several runs are live below ./{RUNS}; say which one:{}",
                choices(&live)
            ))),
        }
    }

    /// Finds a run that is live.
    ///
    /// # Errors
    /// As [`Self::find`], and a run that is not live, with its last words.
    pub async fn find_live(&self) -> Result<Live, Failure> {
        match self.find().await? {
            Found::Live(live) => Ok(live),
            Found::Away(away) => Err(Failure::failed(away)),
        }
    }
}

impl Live {
    /// How the run is found again after a restart of its coordinator, which may listen at another address then: by its
    /// directory if that is known, else as `target` found it.
    #[must_use]
    pub fn again(&self, target: &Target) -> Target {
        match &self.dir {
            Some(dir) => Target { run: Some(dir.clone()), coordinator: None, tls: target.tls.clone() },
            None => target.clone(),
        }
    }

    /// The run at this moment.
    ///
    /// # Errors
    /// The coordinator does not answer any more.
    pub async fn status(&mut self) -> Result<v1::RunStatus, tonic::Status> {
        self.client.status(v1::StatusRequest {}).await.map(tonic::Response::into_inner)
    }

    /// Whether a coordinator holds the run's directory; none if that cannot be seen from here.
    #[must_use]
    pub fn is_held(&self) -> Option<bool> {
        Holder::of(self.dir.as_ref()?).ok().map(|holder| holder.is_some())
    }
}

/// What is named as a run, if it is a coordinator's address.
fn url(run: &Path) -> Option<&str> {
    run.to_str().filter(|run| run.starts_with("http://") || run.starts_with("https://"))
}

/// The coordinator that was started again, and its answer to `ask`; none if the run has ended. `why` is what broke the
/// connection.
///
/// # Errors
/// No coordinator answers for so long that none may come.
pub async fn found_again<T>(
    again: &Target,
    why: &str,
    mut ask: impl AsyncFnMut(&mut Live) -> Option<T>,
) -> Result<Option<(Live, T)>, Failure> {
    let since = Instant::now();
    say!("the coordinator is away: {why}");
    while since.elapsed() < AWAY_MAX {
        sleep(LOOK_EVERY).await;
        match again.find().await {
            Ok(Found::Live(mut live)) => {
                if let Some(answer) = ask(&mut live).await {
                    return Ok(Some((live, answer)));
                }
            }
            Ok(Found::Away(away)) if away.last.outcome.is_some() => return Ok(None),
            Ok(Found::Away(_)) | Err(_) => {}
        }
    }
    Err(Failure::failed(format!(
        "the coordinator has been away for {} s: {why}. Follow again when it is back.",
        AWAY_MAX.as_secs()
    )))
}

/// Connects to a coordinator, with the certificate of this process if it has one.
///
/// # Errors
/// A malformed address, or no coordinator there.
pub async fn connect(address: &str, identity: Option<Arc<Identity>>) -> Result<Client, Failure> {
    let parsed: Address = address.parse().map_err(Failure::bad_input)?;
    let parsed = parsed.by(identity.map(Credential::Certificate)).map_err(Failure::bad_input)?;
    let refused = |why| Failure::failed(format!("no coordinator answers at {address}: {why}."));
    dial(&parsed).await.map_err(refused)
}

/// How coordinators are dialled.
struct Dial {
    identity: Option<Arc<Identity>>,
}

impl Dial {
    /// What is written before `HOST:PORT`, where nobody has written it.
    fn address(&self, authority: &str) -> String {
        format!("{}{authority}", scheme(self.identity.is_some()))
    }

    async fn at(&self, address: &str) -> Result<Live, Failure> {
        let mut live = Live { client: connect(address, self.identity.clone()).await?, dir: None };
        // On the coordinator's machine the lock in the directory tells when the run has ended; a connection may only be broken.
        let status = live.status().await.map_err(|status| Failure::failed(status.message()))?;
        let dir = PathBuf::from(status.run_dir);
        live.dir = Some(dir).filter(|dir| matches!(Holder::of(dir), Ok(Some(_))));
        Ok(live)
    }

    async fn in_dir(&self, dir: &Path) -> Result<Found, Failure> {
        let Some(holder) = Holder::of(dir)? else {
            let Some(last) = waiting(|| LastWords::of(dir))? else {
                return Err(Failure::bad_input(no_run_in(dir)));
            };
            return Ok(Found::Away(Away { dir: dir.to_owned(), last }));
        };
        let Some(address) = holder.reached_at(host_name().as_deref()) else {
            return Err(Failure::failed(format!(
                "the coordinator of {} ({holder}) is starting and does not listen yet. Ask again in a moment.",
                dir.display()
            )));
        };
        let client = connect(&self.address(&address), self.identity.clone()).await.map_err(|failure| {
            Failure::failed(format!(
                "the coordinator of {} ({holder}) does not answer: {} If it runs on another machine, name the address at \
                 which it is reached from here with --coordinator.",
                dir.display(),
                failure.text
            ))
        })?;
        Ok(Found::Live(Live { client, dir: Some(dir.to_owned()) }))
    }
}

/// The directories of runs below `dir`, sorted.
fn runs_below(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut runs: Vec<_> =
        entries.map(|entry| entry.path()).filter(|path| path.join(lsgan_journal::FILE).is_file()).collect();
    runs.sort();
    runs
}

fn choices<P: AsRef<Path>>(runs: &[P]) -> String {
    runs.iter().map(|dir| format!("\n  --run {}", dir.as_ref().display())).collect()
}

fn no_run(runs: &[PathBuf]) -> String {
    let known = match runs {
        [] => String::new(),
        runs => format!(" Runs that are not live:{}", choices(runs)),
    };
    format!(
        "no run is live below ./{RUNS}, and no coordinator answers at http://{DEFAULT_ADDRESS}. Name the run's directory with \
         --run, or the coordinator's address with --coordinator.{known}"
    )
}

fn no_run_in(dir: &Path) -> String {
    let what = if dir.is_dir() { "holds no run" } else { "is no directory" };
    let known = match &runs_below(dir)[..] {
        [] => String::new(),
        runs => format!(" Below it:{}", choices(runs)),
    };
    format!(
        "{} {what}. Name a run's directory: it has a journal.sqlite, and `lsgan up` and `lsgan status` print it.{known}",
        dir.display()
    )
}

/// The user and host that give this command, for people: `anna@box`.
#[must_use]
pub fn operator() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok();
    [user, host_name()].into_iter().flatten().collect::<Vec<_>>().join("@")
}

impl Away {
    /// Steps asked for; none if the run's file is of another version.
    #[must_use]
    pub fn steps(&self) -> Option<u64> {
        let yaml = self.last.spec_yaml.as_deref()?;
        lsgan_runfile::parse(yaml, "the journal", &[]).ok().map(|spec| spec.steps)
    }

    /// As JSON, with the names of a live run's status.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let LastWords { run, identity, step, snapshot_step, paused_by, outcome, why, .. } = &self.last;
        let outcome = outcome.map(|outcome| json!({ "outcome": outcome.word(), "why": why }));
        json!({
            "live": false, "run": run, "identity": identity, "run_dir": self.dir, "step": step, "steps": self.steps(),
            "snapshot_step": snapshot_step, "paused_by": paused_by, "outcome": outcome,
        })
    }
}

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LastWords { run, step, snapshot_step, paused_by, outcome, why, .. } = &self.last;
        let of = self.steps().map(|steps| format!(" of {steps}")).unwrap_or_default();
        writeln!(f, "the run `{run}` in {} is not live: it has no coordinator", self.dir.display())?;
        match outcome {
            Some(OutcomeKind::Complete) => writeln!(f, "it is finished: {step}{of} steps are done")?,
            Some(OutcomeKind::Stopped) => writeln!(f, "it was stopped {why}{of}")?,
            Some(OutcomeKind::Failed | OutcomeKind::Refused) => {
                writeln!(f, "it failed at step {step}{of}: {why}")?
            }
            None => writeln!(f, "its coordinator ended before it, at step {step}{of} or later")?,
        }
        if let Some(by) = paused_by {
            writeln!(f, "it is paused, by {by}: started again it waits for `lsgan resume`")?;
        }
        match (outcome, snapshot_step) {
            (Some(OutcomeKind::Complete), _) => write!(
                f,
                "pictures: lsgan sample --run {}; more steps: the command that started it, with --set steps=N",
                self.dir.display()
            ),
            (_, Some(snapshot)) => write!(
                f,
                "the command that started it goes on from the snapshot of step {snapshot}; workers that still live go on \
                 from their own state"
            ),
            (_, None) => write!(f, "the command that started it begins at step 0: there is no snapshot yet"),
        }
    }
}
