//! One tar file, written so that the same members are the same bytes.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use super::ToolError;
use super::error::writing;
use crate::fresh;

const BLOCK_BYTES: u64 = 512;
const BUFFER_BYTES: usize = 1 << 20;

/// A shard that is being written, under another name until it is whole.
pub(super) struct TarShard {
    path: PathBuf,
    part: Part,
    tar: Builder<Hashing>,
}

/// What a whole shard is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seal {
    pub(super) len_bytes: u64,
    pub(super) hash: blake3::Hash,
}

impl TarShard {
    pub(super) fn create(path: PathBuf) -> Result<Self, ToolError> {
        let mut name = path.clone().into_os_string();
        name.push(".part");
        let part = Part(name.into());
        let file = fresh::file(&part.0).map_err(writing(&part.0))?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        let hashing = Hashing { file, hasher: blake3::Hasher::new(), len_bytes: 0 };
        Ok(Self { path, part, tar: Builder::new(hashing) })
    }

    /// What [`add`](Self::add) writes for a member of so many bytes.
    pub(super) fn member_bytes(len: usize) -> u64 {
        BLOCK_BYTES + (len as u64).next_multiple_of(BLOCK_BYTES)
    }

    /// Bytes that are written.
    pub(super) fn len_bytes(&self) -> u64 {
        self.tar.get_ref().len_bytes
    }

    pub(super) fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), ToolError> {
        // Nothing of today, of this machine or of this user is in it.
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(bytes.len() as u64);
        self.tar.append_data(&mut header, name, bytes).map_err(writing(&self.part.0))
    }

    /// Ends it, waits until the disk has it, and gives it its name.
    pub(super) fn finish(self) -> Result<Seal, ToolError> {
        let Self { path, part, tar } = self;
        let wrong = writing(&part.0);
        let hashing = tar.into_inner().map_err(&wrong)?;
        let seal = Seal { len_bytes: hashing.len_bytes, hash: hashing.hasher.finalize() };
        let file = hashing.file.into_inner().map_err(|error| wrong(error.into_error()))?;
        file.sync_all().map_err(&wrong)?;
        fs::rename(&part.0, &path).map_err(writing(&path))?;
        Ok(seal)
    }
}

/// Of a shard that is there.
pub(super) fn seal_of(path: &Path) -> io::Result<Seal> {
    let file = File::open(path)?;
    let len_bytes = file.metadata()?.len();
    let hash = blake3::Hasher::new().update_reader(file)?.finalize();
    Ok(Seal { len_bytes, hash })
}

/// A file that goes away where it did not get its name.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // It was renamed, or it only takes room.
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
