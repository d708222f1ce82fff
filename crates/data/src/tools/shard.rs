//! Writes a reproducible tar file: the same members give the same bytes.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use super::ToolError;
use super::error::writing;
use crate::fresh;

const BLOCK_BYTES: u64 = 512;
const BUFFER_BYTES: usize = 1 << 20;

/// A shard that is being written; it has another name until it is complete.
pub(super) struct TarShard {
    path: PathBuf,
    part: PartFile,
    tar: Builder<BufWriter<File>>,
    /// Written so far.
    len_bytes: u64,
}

impl TarShard {
    pub(super) fn create(path: PathBuf) -> Result<Self, ToolError> {
        let part = PartFile(path.with_extension("tar.part"));
        let file = fresh::file(&part.0).map_err(writing(&part.0))?;
        let tar = Builder::new(BufWriter::with_capacity(BUFFER_BYTES, file));
        Ok(Self { path, part, tar, len_bytes: 0 })
    }

    /// The bytes that [`add`](Self::add) writes for a member of `len` bytes.
    pub(super) fn member_bytes(len: usize) -> u64 {
        BLOCK_BYTES + (len as u64).next_multiple_of(BLOCK_BYTES)
    }

    pub(super) fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    pub(super) fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), ToolError> {
        // The header has no time, host or user.
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(bytes.len() as u64);
        self.len_bytes += Self::member_bytes(bytes.len());
        self.tar.append_data(&mut header, name, bytes).map_err(writing(&self.part.0))
    }

    /// Ends the file, syncs it to the disk and renames it. Returns its [`digest`].
    pub(super) fn finish(self) -> Result<(u64, String), ToolError> {
        let Self { path, part, tar, .. } = self;
        let file = tar.into_inner().and_then(|file| Ok(file.into_inner()?));
        let digest = file.and_then(|file| file.sync_all()).and_then(|()| digest(&part.0));
        let digest = digest.map_err(writing(&part.0))?;
        fs::rename(&part.0, &path).map_err(writing(&path))?;
        Ok(digest)
    }
}

/// The length of a file in bytes, and the BLAKE3 hash of its content.
pub(super) fn digest(path: &Path) -> io::Result<(u64, String)> {
    let file = File::open(path)?;
    let len_bytes = file.metadata()?.len();
    Ok((len_bytes, blake3::Hasher::new().update_reader(file)?.finalize().to_hex().to_string()))
}

/// Deletes a file that was not renamed.
struct PartFile(PathBuf);

impl Drop for PartFile {
    fn drop(&mut self) {
        // After the rename there is no such file. A file that cannot be deleted only takes space.
        let _ = fs::remove_file(&self.0);
    }
}
