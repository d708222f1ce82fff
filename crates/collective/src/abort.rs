//! Ends a call from another thread.

use std::fmt;
use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::GroupError;

/// Ends one generation's group from any thread, also while the group is being formed.
///
/// It is made before the group, so that the thread that receives the abort has it from the start. A clone is the same
/// aborter.
#[derive(Clone)]
pub struct Aborter {
    shared: Arc<Shared>,
}

struct Shared {
    aborted: AtomicBool,
    /// Gets one byte at the abort, which is never read: the other end stays readable for every poll.
    wake: PipeWriter,
    woken: PipeReader,
}

impl Aborter {
    /// Fails if the process has no file descriptors left.
    pub fn new() -> Result<Self, GroupError> {
        let (woken, wake) = pipe().map_err(|error| GroupError::system("make a pipe", &error))?;
        Ok(Self { shared: Arc::new(Shared { aborted: AtomicBool::new(false), wake, woken }) })
    }

    /// Ends every call on the group, now and later, with [`GroupError::Aborted`]. Returns at once; a second abort does
    /// nothing. A call whose values are complete may still succeed.
    pub fn abort(&self) {
        if !self.shared.aborted.swap(true, Ordering::AcqRel) {
            // One byte into an empty pipe whose reader lives as long as its writer neither blocks nor fails.
            (&self.shared.wake).write_all(&[1]).expect("an empty pipe takes one byte");
        }
    }

    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.shared.aborted.load(Ordering::Acquire)
    }

    /// Becomes readable at the abort and stays readable.
    pub(crate) fn woken(&self) -> BorrowedFd<'_> {
        self.shared.woken.as_fd()
    }
}

impl fmt::Debug for Aborter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aborter").field("aborted", &self.is_aborted()).finish()
    }
}
