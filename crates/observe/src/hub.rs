//! The runs below some directories, and what is known of each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use lsgan_journal::{FILE, JournalError, Reader, wall_ms};
use lsgan_launch::SCORES;
use lsgan_snapshots::Holder;
use serde_json::Value;

use crate::curves::{Ask, Index};
use crate::find;
use crate::losses::{Counting, Losses};
use crate::stepping::Stepping;
use crate::summary::Summary;

/// How often new runs are looked for.
const FIND_EVERY: Duration = Duration::from_secs(5);

/// A live run that writes nothing is looked at so often.
const TICK_MS: u64 = 5000;

/// Files that were written within so short a time are read again at the next look: SQLite writes what is new before it says that it
/// counts, so that a look in between sees the file as it stays, and not what is in it.
const SETTLED: Duration = Duration::from_secs(1);

/// All runs.
#[derive(Debug)]
pub struct Hub {
    places: Vec<PathBuf>,
    runs: Mutex<Runs>,
    /// None where no coordinator shows its own run.
    counting: Option<Counting>,
}

#[derive(Debug, Default)]
struct Runs {
    by_id: BTreeMap<String, Arc<Run>>,
    found: Option<Instant>,
}

/// One run.
#[derive(Debug)]
pub struct Run {
    /// Stands for it in addresses.
    pub id: String,
    /// Where it lies.
    pub dir: PathBuf,
    seen: Mutex<Option<Seen>>,
    /// None before the first look.
    curves: Mutex<Option<Index>>,
}

/// What was seen of a run last.
#[derive(Debug)]
struct Seen {
    /// None while files may say more than was read of them.
    stamp: Option<Stamp>,
    summary: Arc<Summary>,
}

/// Changes when a run has written something.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    live: bool,
    /// Of a live run: its rates and alerts change with the time, too.
    tick: Option<u64>,
    /// Of the journal, what is to be moved into it, and the scores.
    files: [Option<(u64, SystemTime)>; 3],
}

impl Stamp {
    fn of(dir: &Path) -> Self {
        let stamp = |name: &str| {
            let metadata = std::fs::metadata(dir.join(name)).ok()?;
            Some((metadata.len(), metadata.modified().ok()?))
        };
        let wal = format!("{FILE}-wal");
        let live = matches!(Holder::of(dir), Ok(Some(_)));
        Self { live, tick: live.then(|| wall_ms() / TICK_MS), files: [FILE, &wal, SCORES].map(stamp) }
    }

    /// Whether all files have stood still. A clock that was set back counts as if they had not.
    fn is_settled(&self) -> bool {
        let stands = |at: SystemTime| at.elapsed().is_ok_and(|since| since >= SETTLED);
        self.files.iter().flatten().all(|(_, modified)| stands(*modified))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whatever panicked has left a value that the next look at the journal replaces.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// Of the runs below these directories, which may come later.
    #[must_use]
    pub fn new(places: Vec<PathBuf>) -> Self {
        Self { places, runs: Mutex::default(), counting: None }
    }

    /// The same in the process of a coordinator, which counts what it drops.
    #[must_use]
    pub fn counting(self, counting: Counting) -> Self {
        Self { counting: Some(counting), ..self }
    }

    /// What this process has dropped, if it is a coordinator's.
    #[must_use]
    pub fn losses(&self) -> Option<Losses> {
        self.counting.as_ref().map(Counting::read)
    }

    /// All runs as they are now. Reads files.
    #[must_use]
    pub fn runs(&self) -> Vec<Arc<Run>> {
        let mut runs = lock(&self.runs);
        if runs.found.is_none_or(|at| at.elapsed() >= FIND_EVERY) {
            let mut found = find::below(&self.places);
            runs.by_id.retain(|id, _| found.remove(id).is_some());
            runs.by_id.extend(found.into_iter().map(|(id, dir)| {
                let run = Run { id: id.clone(), dir, seen: Mutex::default(), curves: Mutex::default() };
                (id, Arc::new(run))
            }));
            runs.found = Some(Instant::now());
        }
        runs.by_id.values().cloned().collect()
    }

    /// The run with this id.
    #[must_use]
    pub fn run(&self, id: &str) -> Option<Arc<Run>> {
        self.runs().into_iter().find(|run| run.id == id)
    }
}

impl Run {
    /// The run in a few numbers; read again where something has changed.
    #[must_use]
    pub fn summary(&self) -> Arc<Summary> {
        let mut seen = lock(&self.seen);
        // Before the files are read: what is written meanwhile is seen the next time.
        let stamp = Stamp::of(&self.dir);
        let is_settled = stamp.is_settled();
        if let Some(seen) = seen.as_ref().filter(|seen| seen.stamp.as_ref() == Some(&stamp)) {
            return seen.summary.clone();
        }
        let read = Summary::read(&self.id, &self.dir, stamp.live, wall_ms());
        let passes = read.as_ref().is_err_and(JournalError::passes);
        if let Some(seen) = seen.as_ref().filter(|_| passes) {
            return seen.summary.clone();
        }
        let unreadable = |error: JournalError| Summary::unreadable(&self.id, &self.dir, error.to_string());
        let summary = Arc::new(read.unwrap_or_else(unreadable));
        if !passes {
            let stamp = is_settled.then_some(stamp);
            *seen = Some(Seen { stamp, summary: summary.clone() });
        }
        summary
    }

    /// Its journal.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn journal(&self) -> Result<Reader, JournalError> {
        Reader::open(&self.dir.join(FILE))
    }

    /// Curves of scalars. The first call reads the whole table `metrics`.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn curves(&self, ask: &Ask) -> Result<Value, JournalError> {
        let mut journal = self.journal()?;
        let mut curves = lock(&self.curves);
        let index = curves.get_or_insert_with(|| Index::kept(&self.id));
        index.follow(&mut journal)?;
        index.keep(&self.id);
        let mut curves = index.curves(&mut journal, ask)?;
        let stepping = journal.read(Stepping::read)?;
        let times = curves["wall_ms"].as_array().into_iter().flatten().filter_map(Value::as_u64);
        let stepped: Value = times.map(|wall_ms| stepping.at(wall_ms)).collect();
        curves["stepping_ms"] = stepped;
        Ok(curves)
    }
}
