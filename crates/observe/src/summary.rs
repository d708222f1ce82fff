//! A run in a few numbers.

use std::collections::BTreeMap;
use std::path::Path;

use lsgan_journal::{FILE, JournalError, Known, Reader};
use lsgan_launch::{ScoreRow, best_score, read_scores};
use lsgan_spec::scalars::IMAGES_PER_S;
use lsgan_spec::{AlertsSpec, RunSpec};
use rusqlite::Connection;
use serde::{Deserialize, Deserializer, Serialize};

use crate::alerts::{Alert, Back, Found, Kind};
use crate::fork::From;
use crate::signs::Signs;
use crate::tables::has_column;

/// Rates are means over so many of the newest rows.
const RATE_ROWS: u32 = 100;

/// A run in a few numbers, as docs/observe.md has them. Of a page of an older version some are missing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// Stands for the run in addresses.
    pub id: String,
    /// The run's name in its file.
    pub name: String,
    /// Where it lies.
    pub dir: String,
    /// In a word: stepping, forming, gathering, paused; complete, stopped, failed, refused; interrupted if its coordinator
    /// ended before it, unreadable if its journal is no journal.
    pub state: String,
    /// A coordinator holds its directory.
    pub live: bool,
    /// More about the state, in a sentence.
    pub why: String,
    /// Steps done, as far as metrics and snapshots tell.
    pub step: u64,
    /// Steps that its file asks for; none if the file is of another version.
    pub steps: Option<u64>,
    /// Samples of a step.
    pub global_batch: Option<u64>,
    /// A mean over the newest rows.
    pub images_per_s: Option<f64>,
    /// Seconds for 1,000 images.
    pub s_per_kimg: Option<f64>,
    /// Seconds that the run still takes at this rate; of a live run alone.
    pub eta_s: Option<f64>,
    /// Time stepping ÷ time since the first generation was formed, over all deaths and stops.
    pub goodput: Option<f64>,
    /// Number of the newest generation.
    pub generation: u64,
    /// Workers that are attached, as far as the journal tells.
    pub workers: u64,
    /// What they take of their hosts' memory together, as they said last.
    pub memory_bytes: Option<u64>,
    /// Steps done in the newest snapshot.
    pub snapshot_step: Option<u64>,
    /// Steps done in the newest grid of samples.
    pub sample_step: Option<u64>,
    /// Number of the newest event.
    pub events_until: u64,
    /// Records that do not decode.
    pub corrupt_records: u64,
    /// The epoch that is being read.
    pub epoch: Option<u64>,
    /// The newest row of scalars.
    #[serde(deserialize_with = "finite")]
    pub newest: BTreeMap<String, f64>,
    /// The best of its scores, and of which step.
    pub best: Option<ScoreRow>,
    /// Side of a sample in the grids, which have 2 pixels between them; none for density plots.
    pub tile_px: Option<u32>,
    /// When its first generation was formed.
    pub began_ms: Option<u64>,
    /// When its newest step ended.
    pub updated_ms: Option<u64>,
    /// What a person should look at.
    pub alerts: Vec<Alert>,
    /// How many alerts have begun since the coordinator started; of a live run alone.
    pub alerts_begun: Option<u64>,
}

/// JSON has no infinity: a scalar that is null there is not known.
fn finite<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, f64>, D::Error> {
    let all = BTreeMap::<String, Option<f64>>::deserialize(from)?;
    Ok(all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
}

/// What the coordinator has found itself, as the journal keeps it in the fact [`Told::FACT`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// How many alerts have begun since it started.
    pub begun: u64,
    /// Those that stand.
    pub alerts: Vec<Alert>,
}

impl Told {
    /// The fact's name.
    pub const FACT: &str = "alerts";
}

/// Times of the generations.
#[derive(Clone, Copy, Debug, Default)]
struct Generation {
    number: u64,
    formed_ms: u64,
    stepping_ms: Option<u64>,
    halted_ms: Option<u64>,
}

/// What else is asked of the tables.
#[derive(Debug, Default)]
struct Counted {
    generations: Vec<Generation>,
    rate: Option<f64>,
    workers: u64,
    memory_bytes: Option<u64>,
    /// Workers of the newest generation.
    members: u64,
    sample_step: Option<u64>,
    epoch: Option<u64>,
}

impl Summary {
    /// Reads it from a run's directory; `live` says whether a coordinator holds it.
    ///
    /// # Errors
    /// A journal that cannot be read.
    pub fn read(id: &str, dir: &Path, live: bool, now_ms: u64) -> Result<Self, JournalError> {
        let mut journal = Reader::open(&dir.join(FILE))?;
        let known = journal.known()?;
        let counted = journal.read(counted)?;
        let yaml = known.fact("spec_yaml");
        let spec = yaml.and_then(|yaml| lsgan_runfile::parse(yaml, "the journal", &[]).ok());
        // Scores that cannot be read are no reason to show nothing; `lsgan checkpoints list` says what is wrong with them.
        let scores = read_scores(dir).unwrap_or_default();
        let best = best_score(&scores, |_| true).cloned();
        let scalars = journal.scalars()?;
        let signs = journal.read(|db| Signs::read(db, &scalars, now_ms))?;
        let stepping_at = (live && state(&known, &counted, live) == "stepping").then_some(now_ms);
        let by_default = AlertsSpec::default();
        let found = Found {
            rules: spec.as_ref().map_or(&by_default, |spec| &spec.alerts),
            signs: &signs,
            scores: &scores,
            best: best.as_ref(),
            stepping_at,
            snapshot_every: spec.as_ref().map_or(0, |spec| spec.checkpoint.every),
            back: Back {
                dir,
                run: known.fact("run").unwrap_or_default(),
                from: snapshot_to_go_back_to(&known, &scores),
                workers: counted.members,
            },
        };
        let mut alerts = found.alerts();
        let told: Option<Told> =
            known.fact(Told::FACT).filter(|_| live).and_then(|json| serde_json::from_str(json).ok());
        // How fast each worker is, the journal does not say.
        let of_workers = |alert: &&Alert| alert.kind == Kind::Straggler && stepping_at.is_some();
        alerts.extend(told.iter().flat_map(|told| &told.alerts).filter(of_workers).cloned());
        Ok(Self {
            id: id.to_owned(),
            dir: dir.display().to_string(),
            live,
            alerts,
            alerts_begun: told.map(|told| told.begun),
            best,
            ..Self::of(&known, &counted, spec.as_ref(), (live, now_ms))
        })
    }

    fn of(known: &Known, counted: &Counted, spec: Option<&RunSpec>, (live, now_ms): (bool, u64)) -> Self {
        let fact = |name| known.fact(name).unwrap_or_default().to_owned();
        let snapshot_step = known.snapshots.last().copied();
        let step = known.metrics_until().max(snapshot_step.unwrap_or(0));
        let steps = spec.map(|spec| spec.steps);
        let global_batch = spec.map(|spec| spec.batch.global());
        let updated_ms = known.newest_step.as_ref().map(|row| row.wall_ms);
        let rate = counted.rate.filter(|rate| *rate > 0.0);
        let state = state(known, counted, live);
        let left = steps.map(|steps| steps.saturating_sub(step)).filter(|_| state == "stepping");
        let eta_s =
            left.zip(global_batch).zip(rate).map(|((left, batch), rate)| (left * batch) as f64 / rate);
        let last_ms = if live { now_ms } else { updated_ms.unwrap_or(0) };
        Self {
            name: fact("run"),
            state: state.to_owned(),
            why: fact("outcome_why"),
            step,
            steps,
            global_batch,
            images_per_s: rate,
            s_per_kimg: rate.map(|rate| 1000.0 / rate),
            eta_s,
            goodput: goodput(&counted.generations, last_ms),
            generation: counted.generations.last().map_or(0, |newest| newest.number),
            workers: if live { counted.workers } else { 0 },
            memory_bytes: counted.memory_bytes.filter(|_| live),
            snapshot_step,
            sample_step: counted.sample_step,
            events_until: known.events_until,
            corrupt_records: known.corrupt.len() as u64,
            epoch: counted.epoch,
            tile_px: spec.and_then(|spec| spec.data.image.as_ref()).map(|image| image.size),
            newest: known.newest_step.as_ref().map(|row| row.scalars.clone()).unwrap_or_default(),
            began_ms: counted.generations.first().map(|first| first.formed_ms),
            updated_ms,
            ..Self::default()
        }
    }

    /// Of a run whose journal cannot be read.
    #[must_use]
    pub fn unreadable(id: &str, dir: &Path, why: String) -> Self {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (id, dir) = (id.to_owned(), dir.display().to_string());
        Self { id, name, dir, state: "unreadable".to_owned(), why, ..Self::default() }
    }
}

/// The snapshot that a branch would begin with, of those that are there: the best one, or the one that is furthest back.
fn snapshot_to_go_back_to(known: &Known, scores: &[ScoreRow]) -> Option<From> {
    let best = best_score(scores, |step| known.snapshots.contains(&step.0));
    let oldest = || known.snapshots.first().map(|step| From::Step(*step));
    best.map(|best| From::Best(best.step.0)).or_else(oldest)
}

fn state(known: &Known, counted: &Counted, live: bool) -> &'static str {
    let newest = counted.generations.last();
    match known.outcome() {
        Some(outcome) => outcome.word(),
        None if known.fact("paused_ms").is_some() => "paused",
        None if !live => "interrupted",
        None => match newest {
            Some(Generation { halted_ms: None, stepping_ms: Some(_), .. }) => "stepping",
            Some(Generation { halted_ms: None, stepping_ms: None, .. }) => "forming",
            _ => "gathering",
        },
    }
}

/// Time stepping ÷ time since the first generation; none before it.
fn goodput(generations: &[Generation], last_ms: u64) -> Option<f64> {
    let began_ms = generations.first()?.formed_ms;
    let end = |generation: &Generation| generation.halted_ms.unwrap_or(last_ms);
    let last_ms = generations.iter().map(end).max()?.max(last_ms);
    let stepping = |generation: &Generation| {
        generation.stepping_ms.map_or(0, |began| end(generation).saturating_sub(began))
    };
    let stepping_ms: u64 = generations.iter().map(stepping).sum();
    let whole_ms = last_ms.saturating_sub(began_ms);
    (whole_ms > 0).then(|| (stepping_ms as f64 / whole_ms as f64).min(1.0))
}

fn counted(db: &Connection) -> rusqlite::Result<Counted> {
    let one = |sql: &str| db.query_row(sql, [], |row| row.get::<_, Option<u64>>(0));
    let sql = "select generation, formed_ms, stepping_ms, halted_ms from generations order by generation";
    let mut query = db.prepare(sql)?;
    let generations = query.query_map([], |row| {
        Ok(Generation {
            number: row.get(0)?,
            formed_ms: row.get(1)?,
            stepping_ms: row.get(2)?,
            halted_ms: row.get(3)?,
        })
    })?;
    let name = IMAGES_PER_S.name;
    let newest = format!("select {name} from metrics order by step desc limit {RATE_ROWS}");
    let members = "select count(*) from members where generation = (select max(generation) from generations)";
    let memory = "select sum(json_extract(load, '$.memory_bytes')) from workers where gone_ms is null and json_valid(load)";
    let has_loads = has_column(db, "workers", "load")?;
    Ok(Counted {
        memory_bytes: if has_loads { one(memory)? } else { None },
        generations: generations.collect::<Result<_, _>>()?,
        rate: db.query_row(&format!("select avg({name}) from ({newest})"), [], |row| row.get(0))?,
        workers: one("select count(*) from workers where gone_ms is null")?.unwrap_or(0),
        members: one(members)?.unwrap_or(0),
        sample_step: one("select max(step) from samples")?,
        epoch: one("select max(epoch) from (select epoch from completions order by position desc limit 1)")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_read_as_it_was_written_also_with_what_json_lacks() {
        let newest = BTreeMap::from([("loss_d".to_owned(), 0.5), ("loss_g".to_owned(), f64::INFINITY)]);
        let summary = Summary { id: "a-1".to_owned(), step: 7, steps: Some(9), newest, ..Summary::default() };
        let mut read: Summary = serde_json::from_str(&serde_json::to_string(&summary).unwrap()).unwrap();
        assert_eq!(read.newest, BTreeMap::from([("loss_d".to_owned(), 0.5)]));
        read.newest.clone_from(&summary.newest);
        assert_eq!(read, summary);
        assert_eq!(serde_json::from_str::<Summary>("{}").unwrap(), Summary::default());
    }

    #[test]
    fn goodput_counts_the_time_between_generations_as_lost() {
        let generation =
            |formed_ms, stepping_ms, halted_ms| Generation { number: 1, formed_ms, stepping_ms, halted_ms };
        assert_eq!(goodput(&[], 5), None);
        let two = [generation(0, Some(100), Some(400)), generation(500, Some(600), None)];
        assert_eq!(goodput(&two, 1000), Some(0.7));
        assert_eq!(goodput(&[generation(0, None, Some(100))], 100), Some(0.0));
    }
}
