//! From the copy to a journal's file.

use std::path::{Path, PathBuf};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use lsgan_console::Failure;
use lsgan_journal::{Changes, Writer};
use lsgan_snapshots::{Listing, Log};

use super::lead::NAME;
use super::piece::{Kind, Piece};

/// Pieces that are read at once: each waits for the network.
const AT_ONCE: usize = 32;
/// Rows that are written in one transaction.
const ROWS_AT_ONCE: usize = 100_000;

/// Writes the journal that `listing` has to `path`, in place of what is there, which is moved aside. Returns where to.
/// It gets this `name`: it is no longer the journal of the host that it comes from.
///
/// # Errors
/// A store that does not answer, a piece that is missing or damaged, a journal that cannot be written.
pub async fn restore(
    log: &Log,
    listing: &Listing,
    path: &Path,
    name: &str,
) -> Result<Option<PathBuf>, Failure> {
    let new = path.with_extension("restored");
    remove(&new)?;
    let base = listing.bases.last().copied().unwrap_or_default();
    if let Some(bytes) = log.base(base).await? {
        std::fs::write(&new, bytes)?;
    }
    let mut journal = Writer::open(&new)?;
    let numbers: Vec<_> = listing.pieces.iter().copied().filter(|number| *number > base).collect();
    if let Some(missing) = missing(base, &numbers) {
        return Err(damaged(log, missing, "it is missing"));
    }
    let pieces = stream::iter(numbers).map(|number| read(log, number)).buffered(AT_ONCE);
    let mut pieces = std::pin::pin!(pieces);
    let mut changes: Vec<Changes> = Vec::new();
    while let Some(piece) = pieces.try_next().await? {
        if piece.kind == Kind::Begins {
            // What was before it is another run's, or an earlier beginning of this one.
            drop(journal);
            remove(&new)?;
            (journal, changes) = (Writer::open(&new)?, Vec::new());
        }
        changes.extend(piece.changes);
        if changes.iter().map(Changes::len).sum::<usize>() >= ROWS_AT_ONCE {
            journal.apply(&std::mem::take(&mut changes))?;
        }
    }
    journal.apply(&changes)?;
    drop(journal);
    // Before it is in its place, where it would pass for the other host's. Without a second file beside it, so that it can be moved.
    Writer::open(&new)?.set_fact(NAME, name)?;
    let aside = move_aside(path)?;
    std::fs::rename(&new, path)?;
    Ok(aside)
}

/// Reads a piece.
///
/// # Errors
/// It is not there, or damaged.
pub async fn read(log: &Log, number: u64) -> Result<Piece, Failure> {
    let bytes = log.piece(number).await?.ok_or_else(|| damaged(log, number, "it is missing"))?;
    Piece::decode(&bytes).map_err(|why| damaged(log, number, &why))
}

/// The first number that should be there and is not. Without a base the first piece has everything.
fn missing(base: u64, numbers: &[u64]) -> Option<u64> {
    let first = if base == 0 { *numbers.first()? } else { base + 1 };
    (first..).zip(numbers).find(|(expected, found)| expected != *found).map(|(expected, _)| expected)
}

fn damaged(log: &Log, number: u64, why: &str) -> Failure {
    Failure::failed(format!(
        "{}: piece {number} of the journal's copy cannot be used: {why}. Start the coordinator on the host that has the run's \
         directory, or begin anew with --fresh.",
        log.place()
    ))
}

/// The files of a journal.
fn files(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|end| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        name.into()
    })
}

/// Removes a journal that was not finished, if there is one.
fn remove(path: &Path) -> std::io::Result<()> {
    files(path).iter().try_for_each(|file| match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    })
}

/// Moves a journal to `journal.old-1.sqlite`, or the next free number.
fn move_aside(path: &Path) -> std::io::Result<Option<PathBuf>> {
    if !path.exists() {
        return Ok(None);
    }
    let free = (1_u32..).map(|n| path.with_extension(format!("old-{n}.sqlite"))).find(|old| !old.exists());
    let old = free.expect("there are more numbers than files");
    for (from, to) in files(path).into_iter().zip(files(&old)) {
        if from.exists() {
            std::fs::rename(from, to)?;
        }
    }
    Ok(Some(old))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_follow_each_other_without_a_gap() {
        assert_eq!(missing(0, &[]), None);
        assert_eq!(missing(0, &[1, 2, 3]), None);
        assert_eq!(missing(0, &[5, 6]), None);
        assert_eq!(missing(0, &[5, 7]), Some(6));
        assert_eq!(missing(4, &[5, 6]), None);
        assert_eq!(missing(4, &[]), None);
        assert_eq!(missing(4, &[6]), Some(5));
    }

    #[test]
    fn a_journal_is_moved_aside_with_all_its_files() {
        let dir = tempfile::tempdir().expect("there is room");
        let path = dir.path().join("journal.sqlite");
        assert_eq!(move_aside(&path).expect("nothing is there"), None);
        for round in 1..=2 {
            for file in files(&path) {
                std::fs::write(file, "x").expect("there is room");
            }
            let old = move_aside(&path).expect("it can be moved").expect("it was there");
            assert!(old.ends_with(format!("journal.old-{round}.sqlite")), "{old:?}");
            assert!(
                files(&old).iter().all(|file| file.exists())
                    && files(&path).iter().all(|file| !file.exists())
            );
        }
    }
}
