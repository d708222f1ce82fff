//! Finding, checking and loading.

use std::collections::BTreeMap;
use std::sync::Arc;

use lsgan_spec::{Part, Step};
use object_store::ObjectMeta;
use object_store::path::Path;

use crate::error::Error;
use crate::layout;
use crate::manifest::{self, Manifest, PartEntry};
use crate::snapshot::{self, Snapshot};
use crate::store::{Store, blocking};

/// The largest part that is read: more than 4 billion parameters. A sparse file has any length for nothing.
const PART_BYTES_MAX: u64 = 16 << 30;

/// What lies in the store for one step.
#[derive(Debug)]
pub struct Entry {
    pub step: Step,
    /// The manifest, or what is wrong with the snapshot.
    pub state: Result<Manifest, Error>,
}

/// The snapshot to go on from.
#[derive(Debug)]
pub struct Found {
    /// The newest valid snapshot; none where there is none at all.
    pub manifest: Option<Manifest>,
    /// Those that were passed over, newest first. Where this is not empty and `manifest` is none, the run's
    /// progress is in snapshots that cannot be used: starting anew is the user's decision.
    pub skipped: Vec<Skipped>,
}

/// A snapshot that was passed over.
#[derive(Debug)]
pub struct Skipped {
    pub step: Step,
    pub reason: Error,
}

impl Store {
    /// What lies in the store, oldest first, with manifests read and parts' sizes compared but not hashed.
    ///
    /// # Errors
    /// A store that does not answer.
    pub async fn list(&self) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        for step in self.steps().await? {
            match self.look(step).await {
                Err(error) if !error.is_damage() => return Err(error),
                // Gone since the folders were listed.
                Err(Error::NoSnapshot { .. }) => {}
                state => entries.push(Entry { step, state }),
            }
        }
        Ok(entries)
    }

    /// Checks a snapshot: its manifest, and the size and BLAKE3 hash of every part.
    ///
    /// # Errors
    /// What is wrong with it, by kind; or a store that does not answer.
    pub async fn verify(&self, step: Step) -> Result<Manifest, Error> {
        let manifest = self.look(step).await?;
        for entry in &manifest.parts {
            self.verify_part(&manifest, entry).await?;
        }
        Ok(manifest)
    }

    /// The newest snapshot that [`Store::verify`] accepts, and those that it had to pass over.
    ///
    /// # Errors
    /// A store that does not answer: nothing is then known of the snapshots, and none is passed over.
    pub async fn newest_valid(&self) -> Result<Found, Error> {
        let mut skipped = Vec::new();
        for step in self.steps().await?.into_iter().rev() {
            match self.verify(step).await {
                Ok(manifest) => return Ok(Found { manifest: Some(manifest), skipped }),
                Err(Error::NoSnapshot { .. }) => {}
                Err(reason) if reason.is_damage() => skipped.push(Skipped { step, reason }),
                Err(error) => return Err(error),
            }
        }
        Ok(Found { manifest: None, skipped })
    }

    /// Loads a snapshot, verifying while reading. At most one part is held twice.
    ///
    /// # Errors
    /// As [`Store::verify`]; also a part with the right hash that is no part of a snapshot.
    pub async fn load(&self, step: Step) -> Result<Snapshot, Error> {
        let manifest = self.manifest(step).await?;
        let mut parts = Vec::new();
        for entry in &manifest.parts {
            parts.push(Arc::new(self.read_part(&manifest, entry).await?));
        }
        let Manifest { step, identity, data_fingerprint, numerics, spec_yaml, parts: _ } = manifest;
        Ok(Snapshot { step, identity, data_fingerprint, numerics, spec_yaml, parts })
    }

    /// Loads one part of a snapshot, verifying it: what `sample` needs of G is not all of the state.
    ///
    /// # Errors
    /// As [`Store::load`], and [`Error::NoPart`].
    pub async fn load_part(&self, manifest: &Manifest, part: &str) -> Result<Part, Error> {
        match manifest.part(part) {
            Some(entry) => self.read_part(manifest, entry).await,
            None => Err(Error::NoPart {
                path: self.show(&self.manifest_path(manifest.step)),
                part: part.to_owned(),
                parts: manifest::join_names(&manifest.parts),
            }),
        }
    }

    /// Reads a step's manifest, and nothing else.
    ///
    /// # Errors
    /// What is wrong with the manifest, by kind; or a store that does not answer.
    pub async fn manifest(&self, step: Step) -> Result<Manifest, Error> {
        let path = self.manifest_path(step);
        let shown = self.show(&path);
        let Some(object) = self.get(&path).await? else {
            let dir = layout::step_dir(&self.prefix, step);
            let nothing = self.list_below(&dir).await?.is_empty();
            let path = self.show(&dir);
            return Err(if nothing { Error::NoSnapshot { step, path } } else { Error::Unfinished { path } });
        };
        let len_bytes = object.meta.size;
        if len_bytes > manifest::MAX_BYTES {
            return Err(Error::Damaged {
                text: format!(
                    "manifest `{shown}` has {len_bytes} bytes; at most {} are accepted. Use another snapshot.",
                    manifest::MAX_BYTES
                ),
            });
        }
        Manifest::from_bytes(&self.read(&path, object).await?, step, &shown)
    }

    /// A step's manifest, if its parts are there and have the right sizes.
    ///
    /// # Errors
    /// What is wrong with the snapshot, by kind; or a store that does not answer.
    pub async fn look(&self, step: Step) -> Result<Manifest, Error> {
        let manifest = self.manifest(step).await?;
        self.check_sizes(&manifest).await?;
        Ok(manifest)
    }

    /// The BLAKE3 hash of a final part's file, as 64 hex digits; none if it is not there.
    ///
    /// # Errors
    /// A store that does not answer.
    pub async fn hash_final(&self, part: &str) -> Result<Option<String>, Error> {
        let path = self.final_file(part);
        match self.get(&path).await? {
            Some(object) => Ok(Some(self.hash(&path, object).await?.to_hex().to_string())),
            None => Ok(None),
        }
    }

    /// That all parts are there and have the right sizes: one list, nothing is read.
    pub(crate) async fn check_sizes(&self, manifest: &Manifest) -> Result<(), Error> {
        let objects = self.list_below(&layout::step_dir(&self.prefix, manifest.step)).await?;
        let sizes: BTreeMap<Path, u64> = objects.into_iter().map(|meta| (meta.location, meta.size)).collect();
        for entry in &manifest.parts {
            let path = self.part_path(manifest.step, &entry.file);
            match sizes.get(&path) {
                Some(&found) => self.expect_size(&path, entry, found)?,
                None => return Err(missing(&self.show(&path))),
            }
        }
        Ok(())
    }

    /// That a part is there, with the right size and hash.
    pub(crate) async fn verify_part(&self, manifest: &Manifest, entry: &PartEntry) -> Result<(), Error> {
        let path = self.part_path(manifest.step, &entry.file);
        let Some(object) = self.get(&path).await? else {
            return Err(missing(&self.show(&path)));
        };
        self.expect_size(&path, entry, object.meta.size)?;
        let found = self.hash(&path, object).await?;
        expect_hash(&self.show(&path), entry, found)
    }

    async fn read_part(&self, manifest: &Manifest, entry: &PartEntry) -> Result<Part, Error> {
        let path = self.part_path(manifest.step, &entry.file);
        let shown = self.show(&path);
        let Some(object) = self.get(&path).await? else {
            return Err(missing(&shown));
        };
        // Before anything is allocated: from here on the size is the store's, not only the manifest's.
        self.expect_size(&path, entry, object.meta.size)?;
        let bytes = self.read(&path, object).await?;
        let entry = entry.clone();
        let decode = move || {
            expect_hash(&shown, &entry, blake3::hash(&bytes))?;
            snapshot::from_bytes(&entry.name, &bytes, &shown)
        };
        blocking(decode).await
    }

    fn expect_size(&self, path: &Path, entry: &PartEntry, found_bytes: u64) -> Result<(), Error> {
        if found_bytes > PART_BYTES_MAX {
            return Err(Error::Damaged {
                text: format!(
                    "`{}` has {found_bytes} bytes; a part has at most {PART_BYTES_MAX}. It is damaged: use another snapshot.",
                    self.show(path)
                ),
            });
        }
        if found_bytes == entry.len_bytes {
            return Ok(());
        }
        Err(Error::Damaged {
            text: format!(
                "`{}` has {found_bytes} bytes; its manifest says {}. It is damaged: use another snapshot.",
                self.show(path),
                entry.len_bytes
            ),
        })
    }

    /// The steps that have a folder, oldest first.
    pub(crate) async fn steps(&self) -> Result<Vec<Step>, Error> {
        let folders = self.list_folders(&self.prefix.clone().join(layout::SNAPSHOTS)).await?;
        let mut steps: Vec<Step> = folders.iter().filter_map(|name| layout::parse_step(name)).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// What lies in a published snapshot's folder and is not named by its manifest.
    pub(crate) async fn strays(&self, manifest: &Manifest) -> Result<Vec<Path>, Error> {
        let objects = self.objects_of(manifest.step).await?;
        let named = |path: &Path| {
            path.filename() == Some(layout::MANIFEST)
                || manifest.parts.iter().any(|part| path.filename() == Some(part.file.as_str()))
        };
        Ok(objects.into_iter().map(|meta| meta.location).filter(|path| !named(path)).collect())
    }

    /// What lies right in a step's folder. What lies deeper is not written by this crate.
    pub(crate) async fn objects_of(&self, step: Step) -> Result<Vec<ObjectMeta>, Error> {
        let dir = layout::step_dir(&self.prefix, step);
        let mut objects = self.list_below(&dir).await?;
        objects.retain(|meta| meta.location.prefix_match(&dir).is_some_and(|below| below.count() == 1));
        Ok(objects)
    }

    pub(crate) fn manifest_path(&self, step: Step) -> Path {
        layout::step_dir(&self.prefix, step).join(layout::MANIFEST)
    }

    pub(crate) fn part_path(&self, step: Step, file: &str) -> Path {
        layout::step_dir(&self.prefix, step).join(file)
    }
}

fn expect_hash(path: &str, entry: &PartEntry, found: blake3::Hash) -> Result<(), Error> {
    let found = found.to_hex();
    if found.as_str() == entry.blake3 {
        return Ok(());
    }
    Err(Error::Damaged {
        text: format!(
            "`{path}` has the BLAKE3 hash {found}; its manifest says {}. It is damaged: use another snapshot.",
            entry.blake3
        ),
    })
}

fn missing(path: &str) -> Error {
    Error::Damaged {
        text: format!("`{path}` is missing, though its manifest names it. Use another snapshot."),
    }
}
