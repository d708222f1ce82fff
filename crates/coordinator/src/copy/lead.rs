//! How a coordinator that starts finds the newest state, and takes the lead.
//!
//! Its own journal is the newest one if the last piece is of that journal: what the copy has, the journal had before. Else
//! another host led the run since, and the journal is brought back from the copy.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lsgan_console::Failure;
use lsgan_journal::{Changes, Writer, wall_ms};
use lsgan_snapshots::{Error, Listing, Log, Store, host_name};
use tokio::runtime::Handle;

use super::compact::Compaction;
use super::piece::{Kind, Leader, Piece};
use super::restore::{read, restore};
use super::{Copy, create, deposed};
use crate::startup::{new_token, waiting};

/// The fact that names a journal; a copy of it on another host gets another name.
pub(super) const NAME: &str = "copy_name";
/// Rows may be younger than the last piece of their journal; clocks of one host go back by less.
const OVERLAP_MS: u64 = 60_000;
/// How long a store may be away when a coordinator starts, as when a run ends. In a pod giving up costs one of its Job's lives and
/// helps nobody; a person has read after a few seconds what is awaited.
const PATIENCE: Duration = Duration::from_secs(600);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a copy with a gap is looked at again: pieces become a base while they are read, and a store may list late.
const SETTLES_WITHIN: Duration = Duration::from_secs(2);

/// A coordinator that does not lead yet.
#[derive(Debug)]
pub struct Candidate {
    log: Log,
    journal: PathBuf,
    leader: Leader,
    /// The number of the next piece, and what the last one says.
    next: u64,
    last: Option<Piece>,
    /// Pieces without a base.
    loose: u64,
    /// What a person is to know.
    pub sentences: Vec<String>,
}

impl Candidate {
    /// Looks for the newest state, and brings it to `run_dir` if it is not there. With `fresh` nothing is brought: the run
    /// begins anew.
    ///
    /// # Errors
    /// A store that does not answer, or a copy that is damaged.
    pub async fn find(store: Store, run_dir: &Path, fresh: bool) -> Result<Self, Failure> {
        let (log, mut gap_since) = (Log::of(store), None);
        loop {
            let listing = patiently(|| log.list()).await?;
            match Self::look(log.clone(), &listing, run_dir, fresh).await {
                Err(_) if gap_since.get_or_insert_with(Instant::now).elapsed() < SETTLES_WITHIN => {
                    tokio::time::sleep(PAUSE).await;
                }
                found => return found,
            }
        }
    }

    async fn look(log: Log, listing: &Listing, run_dir: &Path, fresh: bool) -> Result<Self, Failure> {
        let journal = run_dir.join(lsgan_journal::FILE);
        let newest = listing.pieces.last().copied();
        let last = match newest {
            Some(number) if !fresh => Some(read(&log, number).await?),
            _ => None,
        };
        let host = host_name().unwrap_or_default();
        let leader = Leader { journal: String::new(), host, run_dir: run_dir.display().to_string() };
        let base = listing.bases.last().copied().unwrap_or_default();
        let mut found = Self {
            next: newest.unwrap_or_default().max(base) + 1,
            loose: listing.pieces.iter().filter(|piece| **piece > base).count() as u64,
            log,
            journal,
            leader,
            last,
            sentences: Vec::new(),
        };
        if let Some(last) = &found.last
            && !has(&found.journal, last)?
        {
            let aside = restore(&found.log, listing, &found.journal, &new_token()?).await?;
            found.sentences.push(restored(&found.log, last, aside.as_deref()));
        }
        Ok(found)
    }

    /// Takes the lead: from now on no other coordinator of the run creates the next piece. Returns rows that another one has
    /// created meanwhile: they are to be written into the journal before the next call. None: this one leads.
    ///
    /// # Errors
    /// A store that does not answer, or a journal that cannot be written.
    pub async fn take_over(&mut self, journal: &mut Writer) -> Result<Option<Vec<Changes>>, Failure> {
        self.leader.journal = name(journal)?;
        let since = self.last.as_ref().map_or(0, |last| last.wall_ms.saturating_sub(OVERLAP_MS));
        let changes = vec![waiting(|| journal.watch(since))?];
        let kind = if self.last.is_some() { Kind::TakesOver } else { Kind::Begins };
        let (leader, entries) = (self.leader.clone(), journal.entries());
        let bytes = Piece { leader, kind, wall_ms: wall_ms(), entries, changes }.encode();
        let there = patiently(|| create(&self.log, self.next, &bytes)).await?;
        self.next += 1;
        self.loose += 1;
        match there.map(|theirs| (Piece::decode(&theirs), theirs)) {
            None => self.expect_nothing_beyond().await.map(|()| None),
            Some((Ok(piece), _)) if self.last.is_some() && piece.kind == Kind::Goes => {
                let changes = piece.changes.clone();
                self.last = Some(piece);
                Ok(Some(changes))
            }
            // Another coordinator starts at the same moment.
            Some((_, theirs)) => Err(Failure::bad_input(deposed(&theirs))),
        }
    }

    /// The piece just created is the last one. Of a coordinator that was held up since it looked, the number that it tries may have
    /// become part of a base and be free again, while another one leads far beyond it. A base has a higher number than all that is
    /// deleted for it, and is there before; so a listing after the creation tells.
    async fn expect_nothing_beyond(&self) -> Result<(), Failure> {
        let listing = patiently(|| self.log.list()).await?;
        match listing.pieces.last().max(listing.bases.last()).copied() {
            Some(newest) if newest >= self.next => {
                let theirs = patiently(|| self.log.piece(newest)).await?.unwrap_or_default();
                Err(Failure::bad_input(deposed(&theirs)))
            }
            _ => Ok(()),
        }
    }

    /// The copy, once it leads.
    #[must_use]
    pub fn leads(self) -> Copy {
        let Self { log, journal, leader, next, loose, .. } = self;
        Copy {
            log,
            runtime: Handle::current(),
            leader,
            next,
            lacks: Vec::new(),
            since: None,
            tried: None,
            retry_at: None,
            led_at: Instant::now(),
            // The last piece is the one by which this coordinator took the lead.
            compaction: Compaction::of(&journal, loose, next - 1),
        }
    }
}

/// Whether the journal at `path` is the one that `last` was copied from, with all that it had then.
fn has(path: &Path, last: &Piece) -> Result<bool, Failure> {
    if !path.exists() {
        return Ok(false);
    }
    let journal = waiting(|| Writer::open(path))?;
    let name = waiting(|| journal.fact(NAME))?;
    Ok(name.as_ref() == Some(&last.leader.journal) && journal.entries() >= last.entries)
}

/// The name of this journal.
fn name(journal: &mut Writer) -> Result<String, Failure> {
    if let Some(name) = waiting(|| journal.fact(NAME))? {
        return Ok(name);
    }
    let name = new_token()?;
    waiting(|| journal.set_fact(NAME, &name))?;
    Ok(name)
}

fn restored(log: &Log, last: &Piece, aside: Option<&Path>) -> String {
    let age_s = wall_ms().saturating_sub(last.wall_ms) / 1000;
    let kept = aside.map(|path| format!("; the older journal that was here is now {}", path.display()));
    format!(
        "the journal is brought back from {}, as the coordinator on {} left it {age_s} s ago: metrics of its last {} s may be \
         missing, and no step is{}",
        log.place(),
        last.leader.host,
        super::LAG.as_secs(),
        kept.unwrap_or_default()
    )
}

/// Asks the store again while it is away.
async fn patiently<T, F: Future<Output = Result<T, Error>>>(mut ask: impl FnMut() -> F) -> Result<T, Error> {
    let (begin, mut told) = (Instant::now(), String::new());
    loop {
        match ask().await {
            Err(error) if error.is_away() && begin.elapsed() < PATIENCE => {
                let why = error.to_string();
                if why != told {
                    tracing::warn!("the start waits for the journal's copy: {why}");
                    told = why;
                }
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
}
