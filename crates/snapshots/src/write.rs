//! Publishing: parts first, the manifest last.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use lsgan_spec::Part;
use object_store::path::Path;

use crate::error::Error;
use crate::layout;
use crate::manifest::{self, Manifest, PartEntry};
use crate::snapshot::{self, Snapshot};
use crate::store::{Put, Store, blocking};

/// How often a write starts over when a rival takes away what it has put in place. A rival does so once: by
/// publishing its own snapshot, which is then found, or by failing.
const ATTEMPTS: u32 = 3;

/// One file that a finished run hands over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalPart {
    /// The part's name: `generator`, …
    pub name: String,
    /// The file, as a person finds it.
    pub path: String,
    /// Size of the file.
    pub len_bytes: u64,
    /// BLAKE3 hash of the file, as 64 hex digits.
    pub blake3: String,
}

/// A part's file in memory.
struct Encoded {
    bytes: Bytes,
    blake3: String,
}

/// A part that is in the store, and whether this write put it there.
struct Stored {
    entry: PartEntry,
    put: Put,
}

impl Store {
    /// Writes a snapshot: all parts, then the manifest by a create-only put, which makes it a snapshot.
    ///
    /// Done already, by this process or another one, it is a success: the manifest in the store is returned.
    /// What an unfinished or damaged write left at this step is replaced. At most one part at a time is held
    /// in memory beside the snapshot. On an error, the parts that this call had put there are taken back,
    /// unless another writer's manifest names them.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Store`]; [`Error::OtherSnapshot`] where the step has a valid snapshot of
    /// another state; [`Error::Format`] where it has one of another version; a part that cannot be
    /// written.
    pub async fn write(&self, snapshot: &Snapshot) -> Result<Manifest, Error> {
        let mut names = BTreeSet::new();
        if let Some(part) = snapshot.parts.iter().find(|part| !names.insert(&part.name)) {
            return Err(Error::part(&part.name, "its name is there twice"));
        }
        let mut written = self.write_once(snapshot).await;
        for _ in 1..ATTEMPTS {
            match written {
                Err(error) if error.is_damage() && !matches!(error, Error::Format { .. }) => {
                    written = self.write_once(snapshot).await;
                }
                _ => break,
            }
        }
        written
    }

    /// Writes `final/<part>.safetensors` for each part, in place of what a shorter run had left there. Where `final` is a
    /// link to a folder with other files of these names, the link is moved to `final.old-1`, or the next free number.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Store`]; a part that cannot be written.
    pub async fn write_final(&self, parts: &[Arc<Part>]) -> Result<Vec<FinalPart>, Error> {
        let dir = self.prefix.clone().join(layout::FINAL);
        let mut written = Vec::with_capacity(parts.len());
        for part in parts {
            let encoded = encode(part).await?;
            let path = dir.clone().join(layout::part_file(&part.name));
            if self.link_above(&path).is_some()
                && self.get(&path).await?.is_some()
                && !self.holds(&path, &encoded).await?
            {
                // What an earlier run handed over lies in an archive.
                self.move_final_link_aside().await?;
            }
            let Encoded { bytes, blake3 } = encoded;
            let len_bytes = bytes.len() as u64;
            self.overwrite(&path, bytes).await?;
            written.push(FinalPart { name: part.name.clone(), path: self.show(&path), len_bytes, blake3 });
        }
        Ok(written)
    }

    async fn write_once(&self, snapshot: &Snapshot) -> Result<Manifest, Error> {
        if let Some(published) = self.published(snapshot).await? {
            self.tidy(&published).await;
            return Ok(published);
        }
        let mut created = Vec::new();
        match self.publish(snapshot, &mut created).await {
            Ok(manifest) => self.settle(manifest).await,
            Err(error) => {
                self.take_back(snapshot, &created).await;
                Err(error)
            }
        }
    }

    /// Looks after publishing whether a failing rival has taken back a part that this write found in place; if
    /// so, the next attempt mends it. That the store does not answer now does not make the snapshot less published.
    async fn settle(&self, published: Manifest) -> Result<Manifest, Error> {
        match self.check_sizes(&published).await {
            Err(error) if error.is_damage() => Err(error),
            _ => {
                self.tidy(&published).await;
                Ok(published)
            }
        }
    }

    /// The valid manifest of this very snapshot, if it is published; a damaged one is mended or removed.
    async fn published(&self, snapshot: &Snapshot) -> Result<Option<Manifest>, Error> {
        let theirs = match self.manifest(snapshot.step).await {
            Ok(theirs) => theirs,
            Err(Error::NoSnapshot { .. } | Error::Unfinished { .. }) => return Ok(None),
            Err(error @ Error::Format { .. }) => return Err(error),
            Err(error) if error.is_damage() => return self.unpublish(snapshot).await,
            Err(error) => return Err(error),
        };
        let mut entries = Vec::with_capacity(snapshot.parts.len());
        for part in &snapshot.parts {
            let encoded = encode(part).await?;
            let ours = encoded.entry(&part.name, layout::part_file(&part.name));
            if let Some(entry) = theirs.part(&part.name).filter(|theirs| theirs.holds_the_same_as(&ours)) {
                self.mend(&theirs, entry, encoded.bytes).await?;
            }
            entries.push(ours);
        }
        let ours = manifest_of(snapshot, entries);
        if ours.difference(&theirs).is_none() {
            return Ok(Some(theirs));
        }
        match self.verify(snapshot.step).await {
            Ok(theirs) => Err(self.other_snapshot(&ours, &theirs)),
            Err(error) if error.is_damage() => self.unpublish(snapshot).await,
            Err(error) => Err(error),
        }
    }

    /// Removes a manifest that makes no snapshot, so that this write can create its own.
    async fn unpublish(&self, snapshot: &Snapshot) -> Result<Option<Manifest>, Error> {
        self.delete(&self.manifest_path(snapshot.step)).await?;
        Ok(None)
    }

    /// Puts a published part's own bytes back where they are missing or damaged.
    async fn mend(&self, manifest: &Manifest, entry: &PartEntry, bytes: Bytes) -> Result<(), Error> {
        match self.verify_part(manifest, entry).await {
            Err(error) if error.is_damage() => {
                self.overwrite(&self.part_path(manifest.step, &entry.file), bytes).await
            }
            other => other,
        }
    }

    async fn publish(&self, snapshot: &Snapshot, created: &mut Vec<Path>) -> Result<Manifest, Error> {
        let mut entries = Vec::with_capacity(snapshot.parts.len());
        for part in &snapshot.parts {
            let stored = self.store_part(snapshot, part).await?;
            if matches!(stored.put, Put::Created) {
                created.push(self.part_path(snapshot.step, &stored.entry.file));
            }
            entries.push(stored.entry);
        }
        let ours = manifest_of(snapshot, entries);
        let bytes = Bytes::from(ours.to_bytes());
        let len_bytes = bytes.len() as u64;
        if len_bytes > manifest::MAX_BYTES {
            return Err(Error::Unwritable {
                text: format!(
                    "the manifest of step {} would have {len_bytes} bytes; at most {} are accepted. Shorten the run's file.",
                    ours.step,
                    manifest::MAX_BYTES
                ),
            });
        }
        let put = self.create(&self.manifest_path(snapshot.step), bytes).await;
        let theirs = match put {
            Ok(Put::Created) => ours.clone(),
            // A put that failed may have been done all the same, its answer lost.
            Ok(Put::Exists) => self.manifest(snapshot.step).await?,
            Err(error) => self.manifest(snapshot.step).await.map_err(|_| error)?,
        };
        match ours.difference(&theirs) {
            None => Ok(theirs),
            Some(_) => Err(self.other_snapshot(&ours, &theirs)),
        }
    }

    /// Creates a part's file. A name that is taken by the same bytes is used as it is; one that is taken by
    /// others is left alone, since another writer's manifest may be about to name it.
    async fn store_part(&self, snapshot: &Snapshot, part: &Arc<Part>) -> Result<Stored, Error> {
        let encoded = encode(part).await?;
        let usual = layout::part_file(&part.name);
        let by_hash = layout::part_file_by_hash(&part.name, &encoded.blake3);
        // What is put in pieces may take another's place, and so has a name that nothing else can have.
        let names = if self.in_pieces(&encoded.bytes) { vec![] } else { vec![usual, by_hash.clone()] };
        for file in names {
            let path = self.part_path(snapshot.step, &file);
            let put = self.create(&path, encoded.bytes.clone()).await?;
            if matches!(put, Put::Created) || self.holds(&path, &encoded).await? {
                return Ok(Stored { entry: encoded.entry(&part.name, file), put });
            }
        }
        let path = self.part_path(snapshot.step, &by_hash);
        if self.in_pieces(&encoded.bytes) && self.holds(&path, &encoded).await? {
            return Ok(Stored { entry: encoded.entry(&part.name, by_hash), put: Put::Exists });
        }
        // Only these bytes belong under a name with their hash: what is there is damaged.
        self.overwrite(&path, encoded.bytes.clone()).await?;
        Ok(Stored { entry: encoded.entry(&part.name, by_hash), put: Put::Created })
    }

    /// Whether the object at `path` has these bytes.
    async fn holds(&self, path: &Path, encoded: &Encoded) -> Result<bool, Error> {
        match self.get(path).await? {
            Some(object) if object.meta.size == encoded.bytes.len() as u64 => {
                Ok(self.hash(path, object).await?.to_hex().as_str() == encoded.blake3)
            }
            _ => Ok(false),
        }
    }

    /// Takes back the parts that a failed write has created, as far as the store lets it: what stays is
    /// found and used by the next write of this step, and goes with [`Store::clean`] otherwise.
    async fn take_back(&self, snapshot: &Snapshot, created: &[Path]) {
        let named: BTreeSet<Path> = match self.manifest(snapshot.step).await {
            Ok(theirs) => theirs.parts.iter().map(|part| self.part_path(theirs.step, &part.file)).collect(),
            Err(Error::NoSnapshot { .. } | Error::Unfinished { .. }) => BTreeSet::new(),
            Err(_) => return,
        };
        for path in created.iter().filter(|path| !named.contains(*path)) {
            // The error that made the write fail is the one to report.
            let _ = self.delete_own(path).await;
        }
    }

    /// Removes what the manifest does not name from a published snapshot's folder: no other write of this
    /// step can be published any more. What cannot be removed now goes with [`Store::clean`].
    async fn tidy(&self, manifest: &Manifest) {
        for path in self.strays(manifest).await.unwrap_or_default() {
            let _ = self.delete(&path).await;
        }
    }

    fn other_snapshot(&self, ours: &Manifest, theirs: &Manifest) -> Error {
        let path = self.show(&layout::step_dir(&self.prefix, ours.step));
        let (what, theirs, ours) = ours.difference(theirs).expect("only snapshots that differ come here");
        Error::OtherSnapshot { path, what, theirs, ours }
    }
}

impl Encoded {
    fn entry(&self, name: &str, file: String) -> PartEntry {
        let len_bytes = self.bytes.len() as u64;
        PartEntry { name: name.to_owned(), file, len_bytes, blake3: self.blake3.clone() }
    }
}

async fn encode(part: &Arc<Part>) -> Result<Encoded, Error> {
    let part = Arc::clone(part);
    let encode = move || {
        let bytes = snapshot::to_bytes(&part)?;
        let blake3 = blake3::hash(&bytes).to_hex().to_string();
        Ok(Encoded { bytes, blake3 })
    };
    blocking(encode).await
}

fn manifest_of(snapshot: &Snapshot, parts: Vec<PartEntry>) -> Manifest {
    Manifest {
        step: snapshot.step,
        identity: snapshot.identity.clone(),
        data_fingerprint: snapshot.data_fingerprint.clone(),
        numerics: snapshot.numerics.clone(),
        spec_yaml: snapshot.spec_yaml.clone(),
        parts,
    }
}
