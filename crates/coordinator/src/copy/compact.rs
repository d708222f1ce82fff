//! Many pieces become one base, so that a coordinator on another host reads few objects.

use std::path::{Path, PathBuf};

use lsgan_console::vital;
use lsgan_journal::Writer;
use lsgan_snapshots::Log;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::piece::Piece;

/// A base is made after so many pieces, if they are a quarter of the journal ...
const PIECES: u64 = 256;
/// ... and after so many in any case: as many as are read in a second.
const PIECES_MAX: u64 = 2048;

/// A journal's bytes, or why there are none, in a sentence.
type Saved = Result<Vec<u8>, String>;

/// When the next base is due, and the one that is being made.
#[derive(Debug)]
pub struct Compaction {
    journal: PathBuf,
    /// The number of the piece by which this coordinator took the lead: all later ones are its own, and none of them a fence.
    fence: u64,
    /// Pieces since the newest base, and their bytes.
    pieces: u64,
    len_bytes: u64,
    /// The journal as it was after this piece, which is being read.
    saving: Option<(u64, JoinHandle<Saved>)>,
    writing: Option<JoinHandle<()>>,
}

impl Compaction {
    /// Of the journal in the file `journal`; `pieces` have no base yet, and its coordinator took the lead by piece `fence`.
    #[must_use]
    pub fn of(journal: &Path, pieces: u64, fence: u64) -> Self {
        Self { journal: journal.to_owned(), fence, pieces, len_bytes: 0, saving: None, writing: None }
    }

    /// One more piece is there.
    pub fn count(&mut self, len_bytes: usize) {
        self.pieces += 1;
        self.len_bytes += len_bytes as u64;
    }

    /// Begins to read what is to be a base of all pieces up to `until`, if one is due and none is being made.
    pub fn begin(&mut self, runtime: &Handle, until: u64) {
        let is_writing = self.writing.as_ref().is_some_and(|writing| !writing.is_finished());
        if self.saving.is_some() || is_writing || !self.is_due() {
            return;
        }
        (self.pieces, self.len_bytes) = (0, 0);
        let journal = self.journal.clone();
        self.saving = Some((until, runtime.spawn_blocking(move || save(&journal))));
    }

    /// Whether that is read. It may have rows that no piece has yet.
    #[must_use]
    pub fn is_saved(&self) -> bool {
        self.saving.as_ref().is_some_and(|(_, saving)| saving.is_finished())
    }

    /// Begins to write the base. Not before all that was read is in pieces: of a coordinator that has been deposed the journal has
    /// rows that no piece will ever have, and a base with them would be another run's past.
    pub fn write(&mut self, runtime: &Handle, log: &Log) {
        let Some((until, saving)) = self.saving.take() else { return };
        let (log, fence) = (log.clone(), self.fence);
        let _entered = runtime.enter();
        self.writing = Some(vital::task("compaction", async move {
            let written = match saving.await {
                Ok(Ok(bytes)) => replace(&log, bytes, until, fence).await,
                Ok(Err(why)) => Err(why),
                Err(error) => Err(error.to_string()),
            };
            if let Err(why) = written {
                // The pieces are all there, and the next one tries again.
                tracing::warn!("the pieces of the journal's copy stay as they are: {why}");
            }
        }));
    }

    /// The file is looked at only where its size decides: this is asked after each piece.
    fn is_due(&self) -> bool {
        let journal_bytes = || std::fs::metadata(&self.journal).map_or(0, |file| file.len());
        self.pieces >= PIECES_MAX || self.pieces >= PIECES && self.len_bytes >= journal_bytes() / 4
    }
}

/// The journal in a file, as bytes of a file of its own. Blocks for as long as the disk takes.
///
/// # Errors
/// In a sentence.
pub fn save(journal: &Path) -> Saved {
    let file = journal.with_extension("base");
    // One may be left of a coordinator that was killed.
    let _ = std::fs::remove_file(&file);
    let saved = Writer::save_as(journal, &file).map_err(|error| error.to_string());
    let bytes = saved.and_then(|()| std::fs::read(&file).map_err(|error| error.to_string()));
    let _ = std::fs::remove_file(&file);
    bytes
}

/// Writes base `until`, and deletes what it stands for. The pieces after `fence` are those of one coordinator. `bytes` has all of the
/// pieces up to `until`, and nothing that no piece has.
///
/// # Errors
/// In a sentence; nothing is lost by it.
pub async fn replace(log: &Log, bytes: Vec<u8>, until: u64, fence: u64) -> Result<(), String> {
    // It may have more than the pieces up to `until`: to write a row again changes nothing.
    log.write_base(until, bytes.into()).await.map_err(|error| error.to_string())?;
    clear(log, until, fence).await.map_err(|error| error.to_string())
}

/// Deletes the pieces and bases that base `until` stands for, but the fences. Piece `until` stays too: it says whose journal it
/// is. Of pieces up to `fence`, which are of earlier coordinators, each says itself whether it is one.
async fn clear(log: &Log, until: u64, fence: u64) -> Result<(), lsgan_snapshots::Error> {
    let listing = log.list().await?;
    for base in listing.bases.into_iter().filter(|base| *base < until) {
        log.delete_base(base).await?;
    }
    for number in listing.pieces.into_iter().filter(|piece| *piece < until) {
        if number > fence || goes(log, number).await? {
            log.delete_piece(number).await?;
        }
    }
    Ok(())
}

/// Whether a piece is there, whole, and no fence.
async fn goes(log: &Log, number: u64) -> Result<bool, lsgan_snapshots::Error> {
    let piece = log.piece(number).await?.map(|bytes| Piece::decode(&bytes));
    Ok(matches!(piece, Some(Ok(piece)) if !piece.kind.is_a_fence()))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use lsgan_snapshots::Store;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(flavor = "multi_thread")]
    async fn a_base_is_not_written_before_all_of_it_is_in_pieces() {
        let dir = tempfile::tempdir().expect("there is room");
        let store = dir.path().join("store");
        let store =
            Store::open_for_journal(store.to_str().expect("it is UTF-8")).expect("a directory is made");
        let (log, journal) = (Log::of(store), dir.path().join("journal.sqlite"));
        drop(Writer::open(&journal).expect("it is made"));
        let (mut compaction, runtime) = (Compaction::of(&journal, PIECES_MAX, 1), Handle::current());
        let begin = Instant::now();
        compaction.begin(&runtime, 7);
        while !compaction.is_saved() {
            assert!(begin.elapsed() < LIMIT, "the journal is read in time");
            tokio::task::yield_now().await;
        }
        // Here its coordinator may find that it has been deposed.
        assert!(log.list().await.expect("it answers").bases.is_empty());
        compaction.write(&runtime, &log);
        while log.list().await.expect("it answers").bases != [7] {
            assert!(begin.elapsed() < LIMIT, "the base is written in time");
        }
        assert!(!compaction.is_saved(), "it is written once");
    }
}
