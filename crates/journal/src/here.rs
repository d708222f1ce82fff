//! Which journals this process writes.
//!
//! A lock of POSIX ends when its process closes any descriptor of the locked file. So the file of a journal that is open for
//! writing is opened by SQLite alone, which knows this: without the writer's lock another program that closes the journal takes
//! itself for the last one, and deletes the log of what is not in the file yet (<https://sqlite.org/howtocorrupt.html>, 2.2).

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

static WRITTEN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A journal that this process writes, until this is dropped.
#[derive(Debug)]
pub(crate) struct Here(PathBuf);

impl Here {
    /// The file is there.
    pub fn of(path: &Path) -> Self {
        let path = whole(path);
        written().push(path.clone());
        Self(path)
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        let mut written = written();
        if let Some(at) = written.iter().position(|path| *path == self.0) {
            written.swap_remove(at);
        }
    }
}

/// Whether this process writes the journal at `path`.
pub(crate) fn is_written(path: &Path) -> bool {
    written().contains(&whole(path))
}

fn whole(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn written() -> MutexGuard<'static, Vec<PathBuf>> {
    // A list of paths is never half changed.
    WRITTEN.lock().unwrap_or_else(PoisonError::into_inner)
}
