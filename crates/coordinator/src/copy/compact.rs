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

/// When the next base is due, and the one that is being made.
#[derive(Debug)]
pub struct Compaction {
    journal: PathBuf,
    /// The number of the piece by which this coordinator took the lead: all later ones are its own, and none of them a fence.
    fence: u64,
    /// Pieces since the newest base, and their bytes.
    pieces: u64,
    len_bytes: u64,
    running: Option<JoinHandle<()>>,
}

impl Compaction {
    /// Of the journal in the file `journal`; `pieces` have no base yet, and its coordinator took the lead by piece `fence`.
    #[must_use]
    pub fn of(journal: &Path, pieces: u64, fence: u64) -> Self {
        Self { journal: journal.to_owned(), fence, pieces, len_bytes: 0, running: None }
    }

    /// One more piece is there.
    pub fn count(&mut self, len_bytes: usize) {
        self.pieces += 1;
        self.len_bytes += len_bytes as u64;
    }

    /// Begins to make a base of all pieces up to `until`, if one is due and none is being made.
    pub fn begin(&mut self, runtime: &Handle, log: &Log, until: u64) {
        if !self.is_due() || self.running.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        (self.pieces, self.len_bytes) = (0, 0);
        let (log, journal, fence) = (log.clone(), self.journal.clone(), self.fence);
        let _entered = runtime.enter();
        self.running = Some(vital::task("compaction", async move {
            if let Err(why) = compact(&log, &journal, until, fence).await {
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

/// Writes base `until`, and deletes what it stands for. The pieces after `fence` are those of one coordinator.
///
/// # Errors
/// In a sentence; nothing is lost by it.
pub async fn compact(log: &Log, journal: &Path, until: u64, fence: u64) -> Result<(), String> {
    let file = journal.with_extension("base");
    let (from, to) = (journal.to_owned(), file.clone());
    let saved = tokio::task::spawn_blocking(move || {
        // One may be left of a coordinator that was killed.
        let _ = std::fs::remove_file(&to);
        let saved = Writer::save_as(&from, &to).map_err(|error| error.to_string());
        let bytes = saved.and_then(|()| std::fs::read(&to).map_err(|error| error.to_string()));
        let _ = std::fs::remove_file(&to);
        bytes
    });
    let bytes = saved.await.map_err(|error| error.to_string())??;
    // The journal may have more than the pieces up to `until`: to write a row again changes nothing.
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
