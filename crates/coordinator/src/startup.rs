//! From the run's file and directory to a machine that is ready, or one clear error before anything starts.

mod config;
mod journaled;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use lsgan_console::{Failure, log_file};
use lsgan_control::{Missing, PassKey, Phase, Recovered, RingKeys, Run};
use lsgan_data::Source;
use lsgan_journal::{Beginning, Known, Writer};
use lsgan_launch::{
    LOG, Newest, Places, RunArgs, branch_off, data_fingerprint, keep_mix, newest_snapshot, open_data,
    something_to_train,
};
use lsgan_plan::Plan;
use lsgan_runfile::RunFile;
use lsgan_snapshots::{Error, RunLock, Store};
use lsgan_spec::{Incarnation, RunSpec, Step};
use lsgan_wire::v1;
use tokio::sync::mpsc;

pub use self::journaled::final_lines;
pub(crate) use self::journaled::{new_token, waiting};

use self::config::config;
use self::journaled::{
    Lost, check_identity, describe, facts, finished, missing_steps, paused, secret, set_suspects_aside,
};
use crate::about_data;
use crate::catalogue::Catalogue;
use crate::causes::Lasts;
use crate::clock::Clock;
use crate::copy::{self, lead::Candidate};
use crate::counts::Counts;
use crate::data_set::DataSet;
use crate::logs::LogBook;
use crate::notices::{Notices, Telling};
use crate::profile::Profiles;
use crate::queue::Queue;
use crate::random;
use crate::rows;
use crate::scores;
use crate::scoring::Scoring;
use crate::seen;
use crate::service::Input;
use crate::shell::Shell;
use crate::spans::{self, Exporter};
use crate::status::{self, StatusFeed};
use crate::tokens::{self, Tokens};
use crate::troubles;

/// Inputs waiting for the shell, which is fast: what 10,000 workers say in a second and a half. Those of one stream are fewer
/// ([`crate::stream`]).
const INPUTS_MAX: usize = 1 << 16;

/// How a start ends.
pub enum Start {
    /// Coordinate this.
    Ready(Box<Prepared>),
    /// Nothing: the run is finished. What to tell the user.
    Finished(String),
}

/// All that a coordinator needs.
pub struct Prepared {
    /// The run directory, held against other coordinators.
    pub lock: RunLock,
    /// What workers are told of the run.
    pub description: v1::RunDescription,
    /// The shell.
    pub shell: Shell,
    /// How the shell is told what happens.
    pub inputs: mpsc::Sender<Input>,
    /// Where it hears it.
    pub queue: mpsc::Receiver<Input>,
    /// What it publishes.
    pub status: StatusFeed,
    /// What sends its spans.
    pub exporter: Option<Exporter>,
}

/// Checks everything, opens everything, and finds where the run goes on.
///
/// # Errors
/// Bad input with exit code 2; a directory in use or a store that cannot be read with exit code 1.
pub async fn prepare(file: RunFile, args: &RunArgs, workers: Workers) -> Result<Start, Failure> {
    let mut asked = Asked::read(file, args).await?;
    let mut held = Held::take(&mut asked, args).await?;
    // Not before: the log in a directory that is held is another process's.
    log_file::open(held.run_dir.join(LOG));
    let (suspect_after, suspects) = set_suspects_aside(&held.known, &held.store).await?;
    let newest = newest_snapshot(&held.store, &mut asked.spec, &asked.data.1).await?;
    something_to_train(&asked.spec, newest.valid)?;
    if let Some(text) = finished(&asked.spec, &held.known, newest.valid, &asked.places.store) {
        return Ok(Start::Finished(text));
    }
    held.keeps.extend(newest.kept.map(str::to_owned));
    held.warnings.extend(newest.warnings.iter().cloned().chain(suspects));
    held.warnings.extend(held.store.linked_folders().into_iter().map(|(link, to)| {
        format!(
            "{link} is a link to {to}: snapshots are written there, and nothing behind a link is ever deleted, whatever \
             checkpoint.keep_last says"
        )
    }));
    held.no_snapshot_after = suspect_after;
    let missing = held.missing(&asked, &newest, args.accept_loss)?;
    Ok(Start::Ready(Box::new(ready(asked, held, (newest.valid, missing), (args, workers)).await?)))
}

/// The run that is asked for: its file and its data, read and checked. Nothing is written yet but a branch.
struct Asked {
    spec: RunSpec,
    /// Whether the file sets `data.mix`.
    sets_mix: bool,
    source: Box<dyn Source>,
    /// Number of records and fingerprint.
    data: (u64, String),
    places: Places,
}

impl Asked {
    async fn read(mut file: RunFile, args: &RunArgs) -> Result<Self, Failure> {
        let spec = &file.spec;
        let source = open_data(&spec.data, spec.seed)?;
        let plan = Plan::of_run(spec, source.len()).map_err(Failure::bad_input_of)?;
        plan.check_steps(spec.steps).map_err(Failure::bad_input_of)?;
        let data = (source.len(), data_fingerprint(&*source, &spec.model)?);
        let mut places = Places::of(spec, args.run_dir.as_deref());
        // Before anything is written: a URL that is wrong, or has a password in it, gets no further.
        if Store::is_remote(&places.store) {
            Store::open(&places.store).map_err(Failure::bad_input_of)?;
        }
        if Store::is_remote(&spec.journal.replicate) {
            copy::store(spec, &places.store).map_err(Failure::bad_input_of)?;
        }
        if let Some(name) = &args.fork {
            places = branch_off(&mut file, (args, name), &places, &data.1).await?;
        }
        let RunFile { spec, sets_mix } = file;
        Ok(Self { spec, sets_mix, source, data, places })
    }

    /// What each virtual rank reads.
    fn plan(&self) -> Result<Plan, Failure> {
        Plan::of_run(&self.spec, self.data.0).map_err(Failure::bad_input_of)
    }
}

/// The run directory, held against other coordinators, with its journal and its store.
struct Held {
    lock: RunLock,
    run_dir: PathBuf,
    journal: Writer,
    /// The copy of it that is kept.
    copy: Option<copy::Copy>,
    /// What it says of the run's earlier lives.
    known: Known,
    store: Store,
    /// Snapshots of later steps are no more, whatever the journal says.
    no_snapshot_after: Option<Step>,
    /// Sentences for people.
    warnings: Vec<String>,
    /// The same about what the run keeps from when it began, which is no warning.
    keeps: Vec<String>,
}

impl Held {
    /// Takes what the run asked for needs, moves an old run aside where that is wished, and checks that what is there is
    /// of this run.
    async fn take(asked: &mut Asked, args: &RunArgs) -> Result<Self, Failure> {
        let places = &mut asked.places;
        let mut lock = RunLock::acquire(&places.run_dir).map_err(in_the_way)?;
        let mut aside = Vec::new();
        if args.fresh {
            let (old, again) = lock.archive()?;
            lock = again;
            aside.extend(old.map(|old| old.display().to_string()));
        }
        let run_dir = lock.dir().to_owned();
        if Path::new(&places.store) == places.run_dir {
            places.store = run_dir.display().to_string();
        }
        let mut candidate = match copy::store(&asked.spec, &places.store)? {
            Some(store) => Some(Candidate::find(store, &run_dir, args.fresh).await?),
            None => None,
        };
        let mut opened = read_journal(&mut asked.spec, asked.sets_mix, &run_dir)?;
        let store = Store::open(&places.store)?;
        store.check().await?;
        if args.fresh {
            aside.extend(store.archive().await?);
        }
        if let Some(candidate) = &mut candidate {
            while let Some(changes) = candidate.take_over(&mut opened.0).await? {
                waiting(|| opened.0.apply(&changes))?;
                opened = read_journal(&mut asked.spec, asked.sets_mix, &run_dir)?;
            }
        }
        let (journal, known, keeps) = opened;
        let old = (!aside.is_empty()).then(|| format!("the old run is kept in {}", aside.join(" and ")));
        let restored = candidate.iter_mut().flat_map(|candidate| std::mem::take(&mut candidate.sentences));
        let warnings = old.into_iter().chain(restored).collect();
        let copy = candidate.map(Candidate::leads);
        Ok(Self { lock, run_dir, journal, copy, known, store, no_snapshot_after: None, warnings, keeps })
    }

    /// The steps that only workers can still bring; an error where none can and their loss is not accepted.
    fn missing(
        &mut self,
        asked: &Asked,
        newest: &Newest,
        accept_loss: bool,
    ) -> Result<Option<Missing>, Failure> {
        let published = self.known.snapshots.iter().map(|step| Step(*step));
        let published =
            published.filter(|step| self.no_snapshot_after.is_none_or(|last| *step <= last)).max();
        let lost = missing_steps(&self.known, published, &asked.spec, newest, &asked.places.store);
        let Some(Lost { known, what, nobody_has_it }) = lost else { return Ok(None) };
        if accept_loss {
            self.warnings.push(format!("{what}; the run goes on without, as --accept-loss says"));
            self.no_snapshot_after = Some(newest.valid.unwrap_or_default());
            return Ok(None);
        }
        if nobody_has_it { Err(Failure::bad_input(known.why)) } else { Ok(Some(known)) }
    }
}

/// Opens the journal, checks that it is of the run asked for, and lets that keep what the run began with. Returns what the
/// journal knows, and sentences about what is kept.
fn read_journal(
    spec: &mut RunSpec,
    sets_mix: bool,
    run_dir: &Path,
) -> Result<(Writer, Known, Vec<String>), Failure> {
    let mut journal = waiting(|| Writer::open(&run_dir.join(lsgan_journal::FILE)))?;
    let known = waiting(|| journal.known())?;
    let mix = known.fact("spec_yaml").and_then(|began| keep_mix(spec, sets_mix, began));
    let reduction = known.fact("identity").and_then(|began| spec.keep_reduction(began));
    let keeps = mix.into_iter().chain(reduction.map(str::to_owned)).collect();
    check_identity(spec, &known, run_dir)?;
    Ok((journal, known, keeps))
}

/// The workers that the command line speaks of.
pub struct Workers {
    /// How many the first generation waits for.
    pub expected: u32,
    /// The coordinator's parent process starts them.
    pub supervised: bool,
    /// All that travels between them is encrypted.
    pub sealed: bool,
    /// By which those without a certificate show that they may take part.
    pub tokens: Arc<Tokens>,
}

/// Recovers the machine from the journal, and builds the shell around it.
#[expect(clippy::too_many_lines, reason = "half of it is a table of the shell's fields")]
async fn ready(
    asked: Asked,
    held: Held,
    (snapshot, missing): (Option<Step>, Option<Missing>),
    (args, workers): (&RunArgs, Workers),
) -> Result<Prepared, Failure> {
    let plan = asked.plan()?;
    let Asked { spec, source, data, places, sets_mix: _ } = asked;
    let Held { lock, run_dir, mut journal, copy, known, store, no_snapshot_after, mut warnings, keeps } =
        held;
    let mut recovered = Recovered { snapshot, missing, ..journal.recovered().clone() };
    if args.new_numerics
        && let Some(numerics) = recovered.numerics.take()
    {
        warnings
            .push(format!("the run's numerics were {numerics}, and are forgotten, as --new-numerics says"));
    }
    let other_data = known.fact("data_fingerprint").is_some_and(|known| known != data.1);
    let corrupt = if other_data { Vec::new() } else { known.corrupt.iter().map(rows::corrupt).collect() };
    let data_set = DataSet::new(data.clone(), spec.data.max_corrupt, corrupt);
    if let (Err(too_many), true) = (data_set.check(), recovered.members.is_empty()) {
        return Err(Failure::bad_input(too_many)); // where workers step, the shell ends the run
    }
    let paused = paused(&known).filter(|_| recovered.paused);
    let token = match known.fact("token") {
        Some(token) => token.to_owned(),
        None => new_token()?,
    };
    let description = describe(&spec, &data, (&token, &places.store));
    workers.tokens.restore(known.fact(tokens::FACT), &description.token);
    let (secret, pass_key) = (secret(&token), PassKey::of(&token));
    let kept = known.snapshots.iter().map(|step| Step(*step));
    let catalogue = Catalogue::of(kept.filter(|step| no_snapshot_after.is_none_or(|last| *step <= last)));
    let no_snapshot_after = no_snapshot_after.map(|step| step.0);
    let beginning = Beginning { facts: facts(&description, &spec, token), other_data, no_snapshot_after };
    waiting(|| journal.begin(&beginning))?;
    store.post_witness(&secret).await?;

    let metrics = known.newest_step.as_ref().map(|row| rows::step_metrics(row, spec.batch));
    let metrics_until = known.metrics_until();
    let counts = Counts::new(recovered.generation.0, recovered.incarnation.0, metrics_until);
    let clock = Clock::start();
    let keys = (pass_key, RingKeys::new(random::secret()?, workers.sealed));
    let config = config(&spec, &plan, (data.0, keys), (workers.expected, args.fault_patience));
    let run = Run::new(config, recovered, clock.now());
    let about = spans::About {
        run: &spec.run,
        identity: &description.identity,
        secret: &secret,
        adopts: (*run.phase() == Phase::Adopting).then(|| run.generation().0),
    };
    let (spans, exporter) = spans::start(|name| std::env::var(name).ok(), &about).unzip();
    let warnings =
        warnings.into_iter().map(|text| (true, text)).chain(keeps.into_iter().map(|text| (false, text)));
    let sentences = warnings.chain(about_data::sentences(&*source, &spec));
    let notices = first_notices(known.events_until, sentences, paused.as_ref());
    let (inputs, queue) = mpsc::channel(INPUTS_MAX);
    let claims = seen::start(store.clone(), inputs.clone());
    let (publisher, status) = status::feed(status::starting(&spec, &run_dir));
    let shell = Shell {
        secret,
        claims,
        goes: false,
        deposed: None,
        scores: scores::follow(run_dir.clone()),
        spec,
        identity: description.identity.clone(),
        run_dir,
        run,
        plan,
        journal: Queue::start(journal, copy)?,
        scoring: Scoring::new(Instant::now()),
        place: description.store.clone(),
        held: Default::default(),
        depends_on: 0,
        abandon_at: None,
        abandoned: None,
        broken: None,
        store,
        sessions: Default::default(),
        notices,
        trouble_rate: troubles::rate(),
        metrics,
        metrics_until,
        data: data_set,
        confirming: Default::default(),
        final_files: Vec::new(),
        outcome: None,
        publisher,
        await_snapshot: Vec::new(),
        paused,
        clock,
        inputs: inputs.clone(),
        catalogue,
        counts: Arc::new(counts),
        tokens: workers.tokens,
        logs: LogBook::default(),
        spans,
        profiles: Profiles::default(),
        workers_wanted: workers.supervised.then_some(workers.expected),
    };
    Ok(Prepared { lock, description, shell, inputs, queue, status, exporter })
}

/// Logs what a person is to know of the start, and keeps it for those who ask for the status. Each sentence comes with
/// whether it is a warning.
fn first_notices(
    events_until: u64,
    sentences: impl Iterator<Item = (bool, String)>,
    paused: Option<&v1::Paused>,
) -> Notices {
    let mut notices = Notices::after(events_until);
    let always = sentences.map(|(warning, text)| (warning, text, Lasts::Always));
    let paused = paused.map(|v1::Paused { by, .. }| {
        (false, format!("the run is paused by {by}: it waits for `lsgan resume`"), Lasts::AWhile)
    });
    for (warning, text, lasts) in always.chain(paused) {
        match warning {
            true => tracing::warn!("{text}"),
            false => tracing::info!("{text}"),
        }
        notices.add(Telling { warning, worker: String::new(), lasts, text }, Incarnation::default());
    }
    notices
}

/// A run directory that cannot be held: another coordinator may end, any other obstacle stays.
fn in_the_way(error: Error) -> Failure {
    match error {
        Error::InUse { .. } => error.into(),
        _ => Failure::bad_input_of(error),
    }
}
