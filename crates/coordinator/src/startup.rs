//! From the run's file and directory to a machine that is ready, or one clear error before anything starts.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsgan_console::{Failure, exit::chain, open_data};
use lsgan_control::{Config, Missing, Recovered, Run};
use lsgan_plan::Plan;
use lsgan_snapshots::{RunLock, Store};
use lsgan_spec::{Incarnation, NumericsPolicy, RunSpec, SpecErrors, Step, StragglerPolicy};
use lsgan_wire::{file_hash, v1};
use tokio::sync::mpsc;

use crate::about_data;
use crate::args::RunArgs;
use crate::causes::Lasts;
use crate::clock::Clock;
use crate::corrupt::CorruptRecords;
use crate::counts::Counts;
use crate::journal::{FinalFile, Journal, Queue};
use crate::notices::{Notices, Telling};
use crate::seen;
use crate::service::Input;
use crate::shell::Shell;
use crate::troubles::Rate;

/// A generation that has not formed after this long is given up. Connecting takes milliseconds; what takes time is
/// the broadcast of the state, a few seconds for gigabytes.
const FORMING_TIMEOUT_MS: u64 = 60_000;

/// A generation that does no step for so long is ended; longer where steps are slow ([`lsgan_control::Run`] says how much).
const STALL_MS: u64 = 60_000;

/// How often workers' paces are compared.
const PACE_EVERY_MS: u64 = 1_000;

/// Inputs waiting for the shell. It is fast; when it waits for a full disk, workers wait with it. While it waits for a
/// slow one, this is what 10,000 workers say in a second and a half: who has spoken must not count as silent.
const INPUTS_MAX: usize = 1 << 16;

/// What there is to do.
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
}

/// Where a run keeps what lasts.
struct Places {
    run_dir: PathBuf,
    /// Directory or URL of the snapshots.
    store: String,
}

/// Checks everything, opens everything, and says where the run goes on.
///
/// # Errors
/// Bad input with exit code 2; a directory in use or a store that cannot be read with exit code 1.
pub async fn prepare(args: &RunArgs, expected_workers: u32, supervised: bool) -> Result<Start, Failure> {
    let mut spec = load_spec(args)?;
    let source = open_data(&spec.data, spec.seed)?;
    let plan = Plan::of_run(&spec, source.len()).map_err(Failure::bad_input_of)?;
    plan.check_steps(spec.steps).map_err(Failure::bad_input_of)?;
    let data = (source.len(), source.fingerprint().to_string());

    let mut places = places(&spec, args.run_dir.as_deref());
    // Before anything is written: a URL that is wrong, or has a password in it, gets no further.
    if Store::is_remote(&places.store) {
        Store::open(&places.store).map_err(Failure::bad_input_of)?;
    }
    if let Some(name) = &args.fork {
        places = fork(&mut spec, &places, (name, args.fork_at.map(Step)), (args, &data.1)).await?;
    }
    let mut lock = RunLock::acquire(&places.run_dir).map_err(|error| in_the_way(&error))?;
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
    let mut journal = Journal::open_for_run(&run_dir.join("journal.sqlite"))?;
    let began = journal.fact("spec_yaml")?;
    let kept = began.and_then(|began| keep_mix(&mut spec, args, &began));
    let plan = Plan::of_run(&spec, source.len()).map_err(Failure::bad_input_of)?;
    check_identity(&spec, &journal, &run_dir)?;

    let store = Store::open(&places.store)?;
    store.check().await?;
    if args.fresh {
        aside.extend(store.archive().await?);
    }
    let suspects = set_suspects_aside(&mut journal, &store).await?;
    let (snapshot, skipped, mut warnings) = newest_snapshot(&store, &spec, &data.1).await?;
    something_to_train(&spec, snapshot)?;
    warnings.extend(suspects);
    warnings.extend(store.linked_folders().into_iter().map(|(link, to)| {
        format!(
            "{link} is a link to {to}: snapshots are written there, and nothing behind a link is ever deleted, whatever \
             checkpoint.keep_last says"
        )
    }));
    if !aside.is_empty() {
        warnings.insert(0, format!("the old run is kept in {}", aside.join(" and ")));
    }
    if let Some(text) = finished(&spec, &journal, snapshot, &places.store)? {
        return Ok(Start::Finished(text));
    }
    let missing = missing_steps(&journal, &spec, (snapshot, skipped), &places.store)?;
    if let (Some(missing), true) = (&missing, args.accept_loss) {
        warnings.push(format!("{}; the run goes on without, as --accept-loss says", missing.what));
        let there = snapshot.unwrap_or_default();
        journal.forget_checkpoints_after(there.0)?;
    }
    let missing = missing.filter(|_| !args.accept_loss);
    if let Some(Lost { known, .. }) = missing.as_ref().filter(|m| m.nobody_has_it) {
        return Err(Failure::bad_input(&known.why));
    }
    let facts = Facts { spec: &spec, data: &data, store: &places.store };
    let description = describe(&mut journal, &facts)?;
    let recovered = Recovered {
        snapshot,
        missing: missing.map(|lost| lost.known),
        ..journal.recover(spec.batch.virtual_ranks)?
    };
    let paused = journal.paused()?;
    let corrupt = journal.corrupt()?;
    let corrupt = CorruptRecords::new(data.0, spec.data.max_corrupt, corrupt);
    if let (Err(too_many), true) = (corrupt.check(), recovered.members.is_empty()) {
        return Err(Failure::bad_input(too_many)); // where somebody steps, the shell ends it
    }
    forget_outcome(&mut journal)?;

    let secret = secret(&journal)?;
    store.post_witness(&secret).await?;
    let mut config = config(&spec, &plan, expected_workers);
    if let Some(patience) = args.fault_patience {
        let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        (config.stall_ms, config.forming_timeout_ms) = (patience_ms, patience_ms);
    }
    let identity = description.identity.clone();
    let metrics = journal.newest_metrics()?;
    let metrics_until = journal.metrics_until()?;
    let counts = Counts::new(recovered.generation.0, recovered.incarnation.0, metrics_until);
    let clock = Clock::start();
    let is_paused = recovered.paused;
    let run = Run::new(config, recovered, clock.now());
    let mut notices = Notices::after(journal.events_until()?);
    let warnings = warnings.into_iter().map(|text| (true, text)).chain(kept.map(|text| (false, text)));
    for (warning, text) in warnings.chain(about_data::sentences(&*source, &spec)) {
        match warning {
            true => tracing::warn!("{text}"),
            false => tracing::info!("{text}"),
        }
        let (worker, lasts) = (String::new(), Lasts::Always);
        notices.add(Telling { warning, worker, lasts, text }, Incarnation::default());
    }
    if let Some(v1::Paused { by, .. }) = paused.as_ref().filter(|_| is_paused) {
        let text = format!("the run is paused by {by}: it waits for `lsgan resume`");
        tracing::info!("{text}");
        let (warning, worker, lasts) = (false, String::new(), Lasts::AWhile);
        notices.add(Telling { warning, worker, lasts, text }, Incarnation::default());
    }
    let (inputs, queue) = mpsc::channel(INPUTS_MAX);
    let claims = seen::start(store.clone(), inputs.clone());
    let shell = Shell {
        secret,
        claims,
        goes: false,
        spec,
        identity,
        data_fingerprint: data.1,
        run_dir,
        run,
        plan,
        journal: Queue::start(journal)?,
        held: Default::default(),
        depends_on: 0,
        abandon_at: None,
        abandoned: None,
        store,
        sessions: Default::default(),
        notices,
        trouble_rate: Rate::new(),
        metrics,
        metrics_until,
        corrupt,
        final_files: Vec::new(),
        outcome: None,
        await_end: Vec::new(),
        await_snapshot: Vec::new(),
        paused: paused.filter(|_| is_paused),
        clock,
        inputs: inputs.clone(),
        retaining: false,
        suspect_after: None,
        counts: Arc::new(counts),
        workers_wanted: supervised.then_some(expected_workers),
    };
    Ok(Start::Ready(Box::new(Prepared { lock, description, shell, inputs, queue })))
}

/// A run directory that cannot be held: another coordinator may end, what else is there stays.
fn in_the_way(error: &lsgan_snapshots::Error) -> Failure {
    match error {
        lsgan_snapshots::Error::InUse { .. } => Failure::failed(chain(error)),
        _ => Failure::bad_input(chain(error)),
    }
}

/// Reads the run's file with its overrides.
///
/// # Errors
/// All that is wrong with it, with exit code 2.
pub fn load_spec(args: &RunArgs) -> Result<RunSpec, Failure> {
    RunSpec::load(&args.config, &args.sets).map_err(|errors| Failure::bad_input(render(&errors)))
}

/// All that is wrong with a specification: with its lines on a terminal, a line each elsewhere.
#[must_use]
pub fn render(errors: &SpecErrors) -> String {
    if std::io::stderr().is_terminal() { errors.render_fancy() } else { errors.render_plain() }
}

/// The run's directory as the arguments and the file say.
#[must_use]
pub fn run_dir(spec: &RunSpec, chosen: Option<&Path>) -> PathBuf {
    places(spec, chosen).run_dir
}

fn places(spec: &RunSpec, chosen: Option<&Path>) -> Places {
    let to = spec.checkpoint.to.clone();
    let remote = Store::is_remote(&to);
    let local = PathBuf::from(to.strip_prefix("file://").unwrap_or(&to));
    let run_dir = match (chosen, remote) {
        (Some(chosen), _) => chosen.to_owned(),
        (None, false) => local,
        (None, true) => Path::new("runs").join(&spec.run),
    };
    let store = if remote { to } else { run_dir.display().to_string() };
    Places { run_dir, store }
}

/// Copies a snapshot of the run, the newest or that of a step, to a new run of this name beside it, under the identity
/// of `spec`.
async fn fork(
    spec: &mut RunSpec,
    old: &Places,
    (name, at): (&str, Option<Step>),
    (args, data): (&RunArgs, &str),
) -> Result<Places, Failure> {
    let failed = |error: lsgan_snapshots::Error| Failure::failed(chain(&error));
    spec.run = name.to_owned();
    let beside = |place: &str| match place.trim_end_matches('/').rsplit_once('/') {
        // A whole bucket has nothing beside it; runs' own folders in it have other names.
        Some((scheme, _)) if scheme.ends_with(":/") => format!("{}/{name}", place.trim_end_matches('/')),
        Some((above, _)) => format!("{above}/{name}"),
        None => name.to_owned(),
    };
    let new = Places {
        run_dir: PathBuf::from(beside(&old.run_dir.display().to_string())),
        store: beside(&old.store),
    };
    if new.run_dir == old.run_dir || new.store == old.store {
        return Err(Failure::bad_input(format!(
            "--fork {name} names the run's own place, {}: a branch lies beside it. Choose another name.",
            old.store
        )));
    }
    spec.checkpoint.to.clone_from(&new.store);
    if new.run_dir.join("journal.sqlite").exists() {
        return Ok(new); // branched off before: goes on
    }
    let from = match Store::open_existing(&old.store) {
        Err(error @ lsgan_snapshots::Error::NoStore { .. }) => {
            return Err(Failure::bad_input(chain(&error)));
        }
        opened => opened.map_err(failed)?,
    };
    let newest = from.newest_valid().await.map_err(failed)?.manifest.map(|manifest| manifest.step);
    let Some(step) = at.or(newest) else {
        return Err(Failure::bad_input(format!(
            "{} holds no snapshot to branch off from. Train until there is one, or start without --fork.",
            old.store
        )));
    };
    if step.0 >= spec.steps {
        return Err(nothing_to_branch(spec, step));
    }
    let mut snapshot = match from.load(step).await {
        Err(error @ lsgan_snapshots::Error::NoSnapshot { .. }) => {
            return Err(Failure::bad_input(chain(&error)));
        }
        loaded => loaded.map_err(failed)?,
    };
    keep_mix(spec, args, &snapshot.spec_yaml);
    snapshot.identity = spec.identity().to_string();
    snapshot.data_fingerprint = data.to_owned();
    snapshot.spec_yaml = spec.to_yaml();
    Store::open(&new.store).map_err(failed)?.write(&snapshot).await.map_err(failed)?;
    Ok(new)
}

/// A branch would end where it begins, and hand over the weights of the run that it comes from as its own.
fn nothing_to_branch(spec: &RunSpec, step: Step) -> Failure {
    Failure::bad_input(format!(
        "there is nothing to train for `{}`: it would begin with the snapshot of step {step}, and steps is {}. Set more \
         steps, for example --set steps={}, or branch off from an earlier snapshot with --fork-at STEP; \
         `lsgan checkpoints list` shows which there are.",
        spec.run,
        spec.steps,
        step.0.saturating_mul(2)
    ))
}

/// A run that has gone beyond the steps that are asked for cannot give the weights of that step any more.
fn something_to_train(spec: &RunSpec, snapshot: Option<Step>) -> Result<(), Failure> {
    let Some(step) = snapshot.filter(|step| step.0 > spec.steps) else { return Ok(()) };
    Err(Failure::bad_input(format!(
        "the run `{}` has gone further: {step} steps are done, of which {} are asked for, and its weights are those of step \
         {step}. Train it longer with --set steps={}, branch off from an earlier snapshot with --fork NAME --fork-at STEP \
         (`lsgan checkpoints list` shows which there are), or start anew with --fresh.",
        spec.run,
        spec.steps,
        step.0.saturating_mul(2)
    )))
}

/// Where the run's file says nothing of `data.mix`, a run goes on with what it began with, whose specification is `began`:
/// the default is not the same in all versions, and a run's mathematics does not change by itself. Returns what to tell.
fn keep_mix(spec: &mut RunSpec, args: &RunArgs, began: &str) -> Option<String> {
    let began = RunSpec::parse(began, "its specification", &[]).ok()?.data;
    let is_other =
        began.source.mix_by_default() == spec.data.source.mix_by_default() && began.mix != spec.data.mix;
    if !is_other || RunSpec::says(&args.config, &args.sets, "data.mix") {
        return None;
    }
    let (now, then) = (spec.data.mix, began.mix);
    spec.data.mix = then;
    Some(format!(
        "data.mix is {then}, as when this run began; the file says nothing of it, and the default is {now} now"
    ))
}

/// A journal of a run with other mathematics is not gone on with.
fn check_identity(spec: &RunSpec, journal: &Journal, run_dir: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::failed(chain(&error));
    let Some(identity) = journal.fact("identity").map_err(failed)? else { return Ok(()) };
    if identity == spec.identity().to_string() {
        return Ok(());
    }
    let theirs = journal.require("spec_yaml").map_err(failed)?;
    Err(other_identity(spec, &theirs, &format!("the run in {}", run_dir.display())))
}

/// Moves away what a run that ended because states differed was still writing then. Returns what to tell of it.
async fn set_suspects_aside(journal: &mut Journal, store: &Store) -> Result<Vec<String>, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::failed(chain(error));
    let equal = journal.fact("suspect_after").map_err(|e| failed(&e))?;
    let Some(equal) = equal.and_then(|step| step.parse().ok()) else { return Ok(Vec::new()) };
    let moved = store.set_aside_after(Step(equal)).await.map_err(|e| failed(&e))?;
    for step in &moved {
        journal.delete_checkpoint(step.0).map_err(|e| failed(&e))?;
    }
    let tell = |step| format!("the snapshot of step {step} may be wrong and is set aside, in suspect/");
    Ok(moved.into_iter().map(tell).collect())
}

fn other_identity(spec: &RunSpec, theirs: &str, what: &str) -> Failure {
    let diff = match RunSpec::parse(theirs, "its specification", &[]) {
        Ok(theirs) => spec.identity_diff(&theirs).iter().map(|d| format!("\n  {d}")).collect(),
        Err(_) => String::from("\n  (its specification is of another version)"),
    };
    Failure::bad_input(format!(
        "{what} has other mathematics than this file:{diff}\nUndo the change, start anew with --fresh (the old run \
         is moved aside, not deleted), or branch off from its newest snapshot with --fork NAME."
    ))
}

/// The newest valid snapshot, the newest one that is there but damaged, and warnings about those that had to be passed over.
async fn newest_snapshot(
    store: &Store,
    spec: &RunSpec,
    data: &str,
) -> Result<(Option<Step>, Option<Step>, Vec<String>), Failure> {
    let found = store.newest_valid().await?;
    let skipped: Vec<String> = found
        .skipped
        .iter()
        .map(|s| format!("the snapshot of step {} is skipped: {}", s.step, chain(&s.reason)))
        .collect();
    let Some(manifest) = found.manifest else {
        let unfinished =
            |s: &lsgan_snapshots::Skipped| !matches!(s.reason, lsgan_snapshots::Error::Unfinished { .. });
        if found.skipped.iter().any(unfinished) {
            return Err(Failure::bad_input(format!(
                "no snapshot of this run can be used:\n  {}\nBring one back from a copy, or start anew with --fresh.",
                skipped.join("\n  ")
            )));
        }
        return Ok((None, None, Vec::new()));
    };
    if manifest.identity != spec.identity().to_string() {
        return Err(other_identity(
            spec,
            &manifest.spec_yaml,
            &format!("the snapshot of step {}", manifest.step),
        ));
    }
    if manifest.data_fingerprint != data {
        return Err(Failure::bad_input(format!(
            "the data has changed since the snapshot of step {} (fingerprint {} then, {data} now), and the weights are \
             a function of it. Bring the old files back, or branch off with --fork NAME.",
            manifest.step, manifest.data_fingerprint
        )));
    }
    let newest_skipped = found.skipped.iter().map(|s| s.step).max();
    Ok((Some(manifest.step), newest_skipped, skipped))
}

/// Steps that the journal knows of, and that neither the store has nor a start from it would do without a word.
struct Lost {
    known: Missing,
    /// What is lost, for people.
    what: String,
    /// No worker can hold them: the journal saw the run's last life end.
    nobody_has_it: bool,
}

/// What would be lost, were the run to start from the store: a snapshot that was published and is not there, or all that was
/// trained, where there is no snapshot although one was due.
fn missing_steps(
    journal: &Journal,
    spec: &RunSpec,
    (snapshot, skipped): (Option<Step>, Option<Step>),
    store: &str,
) -> Result<Option<Lost>, Failure> {
    let failed = |error| Failure::failed(chain(&error));
    let there = snapshot.max(skipped);
    let published = journal.newest_checkpoint_until(u64::MAX >> 1).map_err(failed)?.map(Step);
    let trained = Step(journal.metrics_until().map_err(failed)?);
    // Two snapshots may have been on their way when everything was killed; more than that the training waits for.
    let first_due = Step(spec.checkpoint.every.saturating_mul(3).max(1));
    let (steps, what) = match (published.filter(|step| Some(*step) > there), there) {
        (Some(step), _) => (step, format!("the journal has a snapshot of step {step}, and {store} has not")),
        (None, None) if trained >= first_due => {
            (trained, format!("the journal has {trained} steps of this run, and {store} has no snapshot"))
        }
        (None, _) => return Ok(None),
    };
    let from = there.map_or("step 0".to_owned(), |step| format!("the snapshot of step {step}"));
    let why = format!(
        "{what}. If workers of this run still live, start the coordinator where they look for it; if the snapshots are on \
         another disk or host, bring them back or correct checkpoint.to. --accept-loss goes on from {from}."
    );
    let nobody_has_it = journal.fact("outcome").map_err(failed)?.is_some();
    Ok(Some(Lost { known: Missing { steps, why }, what, nobody_has_it }))
}

/// What is posted in the store. Workers are not told it in another way.
fn secret(journal: &Journal) -> Result<String, Failure> {
    let token = journal.require("token")?;
    Ok(blake3::Hasher::new_derive_key("lsgan: what a worker must find in the run's store")
        .update(token.as_bytes())
        .finalize()
        .to_hex()
        .to_string())
}

/// What to tell the user if there is nothing left to do.
fn finished(
    spec: &RunSpec,
    journal: &Journal,
    snapshot: Option<Step>,
    store: &str,
) -> Result<Option<String>, Failure> {
    let failed = |error| Failure::failed(chain(&error));
    let complete = journal.fact("outcome").map_err(failed)?.as_deref() == Some("complete");
    let Some(step) = snapshot.filter(|step| complete && step.0 == spec.steps) else { return Ok(None) };
    let files = journal.fact("final_files").map_err(failed)?.unwrap_or_default();
    let rows: Vec<(String, String, String)> = serde_json::from_str(&files).unwrap_or_default();
    let files: Vec<_> = rows.into_iter().map(|(name, url, blake3)| FinalFile { name, url, blake3 }).collect();
    Ok(Some(format!(
        "the run `{}` is finished: {step} of {} steps are done\n{}\n\
         to look at more samples:   lsgan sample --run {store} --count 64 --out grid.png\n\
         to train it longer:        the same command with --set steps={}\n\
         to train it anew:          the same command with --fresh",
        spec.run,
        spec.steps,
        final_lines(&files),
        step.0.saturating_mul(2),
    )))
}

/// One line for each final file with its hash.
#[must_use]
pub fn final_lines(files: &[FinalFile]) -> String {
    let lines: Vec<_> = files.iter().map(|f| format!("{}  BLAKE3 {}", f.url, f.blake3)).collect();
    lines.join("\n")
}

struct Facts<'a> {
    spec: &'a RunSpec,
    data: &'a (u64, String),
    store: &'a str,
}

/// Writes the run's facts into the journal, and says them to workers.
fn describe(journal: &mut Journal, facts: &Facts<'_>) -> Result<v1::RunDescription, Failure> {
    let mut write = || {
        let token = match journal.fact("token")? {
            Some(token) => token,
            None => new_token(),
        };
        if journal.fact("data_fingerprint")?.is_some_and(|known| known != facts.data.1) {
            journal.forget_corrupt()?;
        }
        let spec_yaml = facts.spec.to_yaml();
        let identity = facts.spec.identity().to_string();
        journal.set_facts(&[
            ("run", &facts.spec.run),
            ("token", &token),
            ("identity", &identity),
            ("spec_yaml", &spec_yaml),
            ("data_fingerprint", &facts.data.1),
            ("records", &facts.data.0.to_string()),
            ("virtual_ranks", &facts.spec.batch.virtual_ranks.to_string()),
        ])?;
        Ok(v1::RunDescription {
            run: facts.spec.run.clone(),
            spec_yaml,
            identity,
            token: blake3::hash(token.as_bytes()).as_bytes().to_vec(),
            store: facts.store.to_owned(),
            records: facts.data.0,
            data_fingerprint: facts.data.1.clone(),
            // Said as they are when somebody asks.
            generation: 0,
            incarnation: 0,
            metrics_until: 0,
        })
    };
    write().map_err(|error: crate::journal::JournalError| Failure::failed(chain(&error)))
}

/// A run that goes on has no outcome yet.
fn forget_outcome(journal: &mut Journal) -> Result<(), Failure> {
    journal.forget_outcome().map_err(|error| Failure::failed(chain(&error)))
}

/// Digits that no other run has: the standard library's hasher is seeded by the operating system.
fn new_token() -> String {
    use std::hash::{BuildHasher, RandomState};
    let seed: Vec<u8> = (0..4_u64).flat_map(|i| RandomState::new().hash_one(i).to_le_bytes()).collect();
    blake3::hash(&seed).to_hex().to_string()
}

fn config(spec: &RunSpec, plan: &Plan, expected_workers: u32) -> Config {
    let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Config {
        steps: spec.steps,
        virtual_ranks: spec.batch.virtual_ranks,
        min_workers: spec.cluster.min_workers,
        max_workers: spec.cluster.max_workers,
        expected_workers: expected_workers.min(spec.cluster.max_workers).min(spec.batch.virtual_ranks),
        // Somebody who knows how many will come waits for them; starting without one costs a reform.
        gather_ms: if expected_workers > 0 { 30_000 } else { ms(spec.cluster.gather) },
        failure_timeout_ms: ms(spec.cluster.failure_timeout.least()),
        failure_timeout_ms_max: ms(spec.cluster.failure_timeout.most()),
        forming_timeout_ms: FORMING_TIMEOUT_MS,
        // Renewed when less than half is left, and half has to do for the horizon: positions are leased and consumed in
        // groups of data.mix, so a lease of little more than one would end in the middle of a step that nobody can do.
        lease_ordinals: plan.max_positions_per_steps(spec.cluster.lease_horizon_steps).saturating_mul(2),
        any_numerics: spec.cluster.numerics == NumericsPolicy::Any,
        straggler_percent: (spec.cluster.straggler_factor * 100.0).round() as u64,
        pace_every_ms: PACE_EVERY_MS,
        evict_stragglers: spec.cluster.stragglers == StragglerPolicy::Evict,
        spec: file_hash(&spec.to_yaml()),
        stall_ms: STALL_MS,
    }
}
