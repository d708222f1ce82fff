//! Blocks of long runs, kept in the user's cache: the whole table `metrics` of 10 million steps is read once, and not by every
//! server that starts.
//!
//! What is kept is a hint: it is used where its newest row is still in the journal, and made again where it is not.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::blocks::Blocks;

/// Changes with what is kept; files of another version are not read.
const VERSION: u32 = 1;

/// The blocks of one run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    version: u32,
    /// The scalars' names, in the order of the cells.
    pub names: Vec<String>,
    pub blocks: Blocks,
    /// Step and time of the newest row in the blocks.
    pub newest: (u64, u64),
}

impl Kept {
    pub fn new(names: Vec<String>, blocks: Blocks, newest: (u64, u64)) -> Self {
        Self { version: VERSION, names, blocks, newest }
    }

    /// What is kept of the run with this id.
    pub fn read(id: &str) -> Option<Self> {
        let bytes = std::fs::read(path(id)?).ok()?;
        let kept: Self = postcard::from_bytes(&bytes).ok()?;
        (kept.version == VERSION && kept.blocks.is_whole(kept.names.len())).then_some(kept)
    }

    /// Keeps it. Where that is not possible, the table is read again.
    pub fn write(&self, id: &str) {
        let write = || -> Option<()> {
            let path = path(id)?;
            std::fs::create_dir_all(path.parent()?).ok()?;
            // Under another name first: a process that ends here leaves no half of a file.
            let part = path.with_extension(format!("{}.part", std::process::id()));
            std::fs::write(&part, postcard::to_stdvec(self).ok()?).ok()?;
            std::fs::rename(&part, &path).ok()
        };
        if write().is_none() {
            tracing::debug!(id, "curves cannot be kept in the user's cache");
        }
    }
}

/// None without a home.
fn path(id: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("lsgan/curves").join(format!("{id}.bin")))
}
