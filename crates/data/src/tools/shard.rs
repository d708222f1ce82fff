//! Writes a reproducible tar file: the same members give the same bytes.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
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
    tar: Builder<Hashing>,
}

/// The digest of a complete shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShardDigest {
    pub(super) len_bytes: u64,
    pub(super) hash: blake3::Hash,
}

impl TarShard {
    pub(super) fn create(path: PathBuf) -> Result<Self, ToolError> {
        let mut name = path.clone().into_os_string();
        name.push(".part");
        let part = PartFile(name.into());
        let file = fresh::file(&part.0).map_err(writing(&part.0))?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        let hashing = Hashing { file, hasher: blake3::Hasher::new(), len_bytes: 0 };
        Ok(Self { path, part, tar: Builder::new(hashing) })
    }

    /// The bytes that [`add`](Self::add) writes for a member of `len` bytes.
    pub(super) fn member_bytes(len: usize) -> u64 {
        BLOCK_BYTES + (len as u64).next_multiple_of(BLOCK_BYTES)
    }

    /// The bytes written so far.
    pub(super) fn len_bytes(&self) -> u64 {
        self.tar.get_ref().len_bytes
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
        self.tar.append_data(&mut header, name, bytes).map_err(writing(&self.part.0))
    }

    /// Ends the file, syncs it to the disk and renames it.
    pub(super) fn finish(self) -> Result<ShardDigest, ToolError> {
        let Self { path, part, tar } = self;
        let wrong = writing(&part.0);
        let hashing = tar.into_inner().map_err(&wrong)?;
        let digest = ShardDigest { len_bytes: hashing.len_bytes, hash: hashing.hasher.finalize() };
        let file = hashing.file.into_inner().map_err(|error| wrong(error.into_error()))?;
        file.sync_all().map_err(&wrong)?;
        fs::rename(&part.0, &path).map_err(writing(&path))?;
        Ok(digest)
    }
}

/// The digest of an existing shard.
pub(super) fn digest_of(path: &Path) -> io::Result<ShardDigest> {
    let file = File::open(path)?;
    let len_bytes = file.metadata()?.len();
    let hash = blake3::Hasher::new().update_reader(file)?.finalize();
    Ok(ShardDigest { len_bytes, hash })
}

/// Deletes a file that was not renamed.
struct PartFile(PathBuf);

impl Drop for PartFile {
    fn drop(&mut self) {
        // After the rename there is no such file. A file that cannot be deleted only takes space.
        let _ = fs::remove_file(&self.0);
    }
}

struct Hashing {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    len_bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.len_bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
