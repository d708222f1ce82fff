//! A copy of the journal beside the snapshots, from which a coordinator on another host goes on.
//!
//! The copy is a sequence of numbered pieces ([`lsgan_snapshots::Log`]), each created once. So it is a fence as well: what a
//! coordinator sends about an entry waits until the piece with that entry is created, and of two coordinators only one creates
//! the next piece. The other one has been deposed: it sends nothing of what it decided, and ends.
//!
//! - [`piece`]: a piece as bytes.
//! - [`lead`]: how a coordinator that starts finds the newest state and takes the lead.
//! - [`restore`]: from the copy to a journal's file.
//! - [`compact`]: many pieces become one base.

pub mod compact;
pub mod lead;
pub mod piece;
pub mod restore;

use std::time::{Duration, Instant};

use lsgan_journal::{Changes, JournalError, Writer, wall_ms};
use lsgan_snapshots::{Error, Log, Store};
use lsgan_spec::RunSpec;
use tokio::runtime::Handle;

use self::compact::Compaction;
use self::piece::{Kind, Leader, Piece};

/// What no message waits for, metrics for one, is in the copy after this time.
const LAG: Duration = Duration::from_secs(2);
/// Between two tries to reach the store.
const RETRY: Duration = Duration::from_millis(500);
/// A coordinator that has nothing to copy looks after so long whether another one leads: workers that wait for it would wait for
/// ever, since they are attached to it and not to the other one.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Where the journal of a run is copied to, whose snapshots are in `snapshots`; none where it is not.
///
/// # Errors
/// A place that cannot be used.
pub fn store(spec: &RunSpec, snapshots: &str) -> Result<Option<Store>, Error> {
    match spec.journal.replicate.as_str() {
        "off" => Ok(None),
        "auto" if Store::is_remote(snapshots) => Store::open_for_journal(snapshots).map(Some),
        "auto" => Ok(None),
        // Runs may have one place in common, and so a branch keeps its parent's.
        place => Store::open_for_journal(&format!("{}/{}", place.trim_end_matches('/'), spec.run)).map(Some),
    }
}

/// The copy, in the hands of the coordinator that leads. It belongs to the journal's thread.
#[derive(Debug)]
pub struct Copy {
    log: Log,
    runtime: Handle,
    leader: Leader,
    /// The number of the next piece.
    next: u64,
    /// What the copy lacks, and since when.
    lacks: Vec<Changes>,
    since: Option<Instant>,
    /// A piece whose creation has not been answered yet. It must not change: it may be there.
    tried: Option<Vec<u8>>,
    /// When the store is tried again.
    retry_at: Option<Instant>,
    /// When the store last said that this one leads.
    led_at: Instant,
    compaction: Compaction,
}

/// Why a piece was not created.
#[derive(Debug)]
pub enum NotCopied {
    /// The store does not answer now.
    Away(Error),
    /// Another coordinator leads, as the sentence says.
    Deposed(String),
}

impl Copy {
    /// Whether it lacks anything that the journal has.
    #[must_use]
    pub fn lacks(&self) -> bool {
        !self.lacks.is_empty() || self.tried.is_some()
    }

    /// How long the journal's thread may sleep before [`Self::put`] is due.
    #[must_use]
    pub fn due_in(&self, hurry: bool) -> Duration {
        let wanted = match self.since {
            _ if !self.lacks() => self.led_at + LOOK_EVERY,
            Some(since) if !hurry => since + LAG,
            _ => Instant::now(),
        };
        let at = self.retry_at.map_or(wanted, |retry| retry.max(wanted));
        at.saturating_duration_since(Instant::now())
    }

    /// Takes up what `journal` has written.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn gather(&mut self, journal: &mut Writer) -> Result<(), JournalError> {
        let changes = journal.take_changes()?;
        if !changes.is_empty() {
            self.lacks.push(changes);
            self.since.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    /// Puts all that the copy lacks there, as `journal` is now; where it lacks nothing, looks whether another coordinator leads.
    /// Blocks until the store has answered, some seconds at most.
    ///
    /// # Errors
    /// The store is away, and what is lacking waits for the next call; or another coordinator leads.
    pub fn put(&mut self, journal: &Writer) -> Result<(), NotCopied> {
        // What was read for a base by now was gathered too: this thread is the one that writes.
        let is_saved = self.compaction.is_saved();
        if self.lacks() {
            self.put_all(journal)?;
        } else {
            self.look()?;
        }
        if is_saved {
            self.compaction.write(&self.runtime, &self.log);
        }
        Ok(())
    }

    /// Creates the pieces that are lacking.
    fn put_all(&mut self, journal: &Writer) -> Result<(), NotCopied> {
        // An earlier try may have created its piece: it is asked for first, as it was.
        while let Some(bytes) = self.tried.take().or_else(|| self.piece(journal)) {
            match self.runtime.block_on(create(&self.log, self.next, &bytes)) {
                Ok(None) => {
                    self.next += 1;
                    (self.retry_at, self.led_at) = (None, Instant::now());
                    self.compaction.count(bytes.len());
                }
                Ok(Some(theirs)) => return Err(NotCopied::Deposed(deposed(&theirs))),
                Err(error) => {
                    self.tried = Some(bytes);
                    self.retry_at = Some(Instant::now() + RETRY);
                    return Err(NotCopied::Away(error));
                }
            }
        }
        self.compaction.begin(&self.runtime, self.next - 1);
        Ok(())
    }

    /// Whether the next number is still free.
    fn look(&mut self) -> Result<(), NotCopied> {
        // A store that is away is no news to a coordinator that needs nothing of it.
        self.led_at = Instant::now();
        match self.runtime.block_on(self.log.piece(self.next)) {
            Ok(Some(theirs)) => Err(NotCopied::Deposed(deposed(&theirs))),
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// The next piece; none if nothing is lacking.
    fn piece(&mut self, journal: &Writer) -> Option<Vec<u8>> {
        let changes = std::mem::take(&mut self.lacks);
        self.since = None;
        let (leader, entries) = (self.leader.clone(), journal.entries());
        let piece = Piece { leader, kind: Kind::Goes, wall_ms: wall_ms(), entries, changes };
        (!piece.changes.is_empty()).then(|| piece.encode())
    }
}

/// Creates piece `number`; returns what is there where another writer did.
async fn create(log: &Log, number: u64, bytes: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    if log.create(number, bytes.to_vec().into()).await? {
        return Ok(None);
    }
    // Its own, where an answer was lost.
    let there = log.piece(number).await?.unwrap_or_default();
    Ok((there != bytes).then(|| there.to_vec()))
}

/// What a coordinator says that found another one's piece in the place of its own.
fn deposed(theirs: &[u8]) -> String {
    let who = match Piece::decode(theirs) {
        Ok(Piece { leader: Leader { host, run_dir, .. }, .. }) => format!("the one on {host} in {run_dir}"),
        Err(why) => format!("another one, whose journal cannot be read ({why})"),
    };
    format!(
        "another coordinator has taken over this run, {who}, and this one ends: its workers go on, and belong to the other one \
         as soon as they reach it. Start only one coordinator of a run."
    )
}
