//! Retention: which snapshots stay, and when leftovers are deleted.

use std::fs;
use std::path::{Path as FsPath, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use lsgan_spec::Step;
use object_store::path::Path;

use crate::error::Error;
use crate::layout;
use crate::store::{Put, Root, Store, blocking, unusable};

/// How long a leftover must have lain untouched before [`Store::clean`] may take it for one: many times what
/// the largest part takes to write, so that a write in progress is not taken for a leftover.
pub const LEFTOVER_AGE: Duration = Duration::from_secs(60 * 60);

impl Store {
    /// Deletes snapshots older than the `keep_last` newest usable ones, except those of `pinned` steps.
    /// Returns the deleted steps, oldest first.
    ///
    /// A damaged snapshot does not count as one of the `keep_last`: it stays while it is newer than they
    /// are, and goes with the older ones. `keep_last` 0 counts as 1. The manifest goes first: a half deleted
    /// snapshot does not exist. Folders without a manifest are left to [`Store::clean`]. What is a link, or lies behind
    /// one, stays and does not count either.
    ///
    /// # Errors
    /// A store that does not answer.
    pub async fn retain(&self, keep_last: u32, pinned: &[Step]) -> Result<Vec<Step>, Error> {
        let mut entries = self.list().await?;
        entries.retain(|entry| !self.is_linked(entry.step));
        let usable = entries.iter().rev().filter(|entry| entry.state.is_ok());
        let Some(oldest_kept) = usable.map(|entry| entry.step).nth(keep_last.max(1) as usize - 1) else {
            return Ok(Vec::new());
        };
        let mut deleted = Vec::new();
        for entry in entries.iter().filter(|entry| entry.step < oldest_kept && !pinned.contains(&entry.step))
        {
            match entry.state {
                // A write in progress, or a leftover; its age decides.
                Err(Error::Unfinished { .. }) => {}
                // Newer software wrote it: not ours to judge.
                Err(Error::Format { .. }) => {}
                _ => {
                    self.delete_snapshot(entry.step).await?;
                    deleted.push(entry.step);
                }
            }
        }
        Ok(deleted)
    }

    /// Deletes what unfinished writes and deletions left, where nothing was touched for `age`: parts without
    /// a manifest, files that a published manifest does not name, and the local store's temporary files. What lies
    /// deeper than a step's folder, or behind a link, is not ours and stays.
    /// Returns the deleted paths. [`LEFTOVER_AGE`] is a good age.
    ///
    /// # Errors
    /// A store that does not answer.
    pub async fn clean(&self, age: Duration) -> Result<Vec<String>, Error> {
        let before = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut deleted = Vec::new();
        for step in self.steps().await?.into_iter().filter(|step| !self.is_linked(*step)) {
            let folder = self.folder(step).await;
            let objects = self.objects_of(step).await?;
            let mut touched = objects.iter().map(|meta| SystemTime::from(meta.last_modified));
            if folder.touched >= before || touched.any(|touched| touched >= before) {
                continue;
            }
            let leftovers = match self.manifest(step).await {
                Ok(manifest) => self.strays(&manifest).await?,
                Err(Error::Unfinished { .. }) => objects.into_iter().map(|meta| meta.location).collect(),
                // Nothing there but temporary files, or a manifest that a person may want to look at.
                Err(error) if error.is_damage() => Vec::new(),
                Err(error) => return Err(error),
            };
            for path in leftovers {
                self.delete(&path).await?;
                deleted.push(self.show(&path));
            }
            deleted.extend(self.remove_staged(step, folder.staged).await?);
        }
        Ok(deleted)
    }

    /// Moves the snapshots of steps after `step` to `suspect/`, where nothing looks for them. Returns their steps.
    ///
    /// A half moved snapshot does not exist: a directory moves as one, and in a bucket the manifest goes first. Of a
    /// folder that is a link, the link moves.
    ///
    /// # Errors
    /// A store that does not answer; [`Error::Unsafe`] where `snapshots` itself is a link.
    pub async fn set_aside_after(&self, step: Step) -> Result<Vec<Step>, Error> {
        let mut moved = Vec::new();
        for newer in self.steps().await?.into_iter().filter(|newer| *newer > step) {
            match self.step_directory(newer) {
                Some(dir) => self.move_folder_aside(newer, dir).await?,
                None => self.move_objects_aside(newer).await?,
            }
            moved.push(newer);
        }
        Ok(moved)
    }

    async fn move_objects_aside(&self, step: Step) -> Result<(), Error> {
        let manifest = self.manifest_path(step);
        let parts = self.list_below(&layout::step_dir(&self.prefix, step)).await?;
        let parts = parts.into_iter().map(|meta| meta.location).filter(|path| *path != manifest);
        let aside = layout::suspect_dir(&self.prefix, step);
        for path in [manifest.clone()].into_iter().chain(parts) {
            let name = path.filename().expect("an object below a folder has a name");
            self.rename(&path, &aside.clone().join(name)).await?;
        }
        Ok(())
    }

    /// Moves all of the run in a bucket to `<prefix>.old-1`, or the next free number, as [`crate::move_aside`] does with
    /// a directory. Returns where it is now; none if there was nothing, or the store is no bucket.
    ///
    /// All manifests go first: from then on no snapshot of the old run is found, also where this breaks off. The journal's copy is
    /// copied and stays: its numbers are given once, and one that were free again would let an earlier leader take it for its own.
    ///
    /// # Errors
    /// A store that does not answer.
    pub async fn archive(&self) -> Result<Option<String>, Error> {
        if !matches!(self.root, Root::Bucket(..)) {
            return Ok(None);
        }
        let mut objects = Vec::new();
        for folder in [layout::SNAPSHOTS, layout::SUSPECT, layout::FINAL] {
            objects.extend(self.list_below(&self.prefix.clone().join(folder)).await?);
        }
        if objects.is_empty() {
            return Ok(None);
        }
        let old = self.free_name().await?;
        objects.sort_by_key(|meta| meta.location.filename() != Some(layout::MANIFEST));
        let below = |path: &Path| {
            let parts = path.prefix_match(&self.prefix).expect("it was listed below the prefix");
            parts.fold(old.clone(), |to, part| to.join(part))
        };
        for meta in objects {
            self.rename(&meta.location, &below(&meta.location)).await?;
        }
        for meta in self.list_below(&self.prefix.clone().join(layout::JOURNAL)).await? {
            self.copy(&meta.location, &below(&meta.location)).await?;
        }
        Ok(Some(self.show(&old)))
    }

    async fn free_name(&self) -> Result<Path, Error> {
        let mut number = 1_u64;
        loop {
            // The prefix as it is written, not encoded once more.
            let name = match self.prefix.as_ref() {
                "" => format!("old-{number}"),
                prefix => format!("{prefix}.old-{number}"),
            };
            let old = Path::parse(name).expect("a path stays one with some letters more");
            if self.list_below(&old).await?.is_empty() {
                return Ok(old);
            }
            number += 1;
        }
    }

    /// Finds out before a run depends on it whether a bucket can be written, and creates only what is not there.
    /// Directories are known to.
    ///
    /// # Errors
    /// A store that does not answer, credentials that may not write, or [`Error::Unsafe`].
    pub async fn check(&self) -> Result<(), Error> {
        if !matches!(self.root, Root::Bucket(..)) {
            return Ok(());
        }
        // First, since to a write some servers say of a missing bucket only that it is not allowed.
        self.list_folders(&self.prefix).await?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let path = self.prefix.clone().join(format!("check-{}-{}", std::process::id(), now.as_nanos()));
        self.create(&path, Bytes::from_static(b"lsgan checks this store\n")).await?;
        let twice = self.create(&path, Bytes::from_static(b"once more\n")).await;
        self.delete(&path).await?;
        match twice? {
            Put::Exists => Ok(()),
            Put::Created => Err(Error::Unsafe {
                path: self.show(&path),
                text: "was created twice: this store does not know the condition (`If-None-Match: *`, with gs:// \
                       `x-goog-if-generation-match: 0`) by which a snapshot is published only once. Use a newer version of it, another store, or a directory."
                    .to_owned(),
            }),
        }
    }

    async fn delete_snapshot(&self, step: Step) -> Result<(), Error> {
        self.delete(&self.manifest_path(step)).await?;
        if let Some(dir) = self.step_directory(step) {
            return self.remove_folder(step, dir).await;
        }
        for object in self.list_below(&layout::step_dir(&self.prefix, step)).await? {
            self.delete(&object.location).await?;
        }
        Ok(())
    }

    /// What the local store itself does not list of a step's folder. Other stores have nothing such.
    async fn folder(&self, step: Step) -> Folder {
        match self.step_directory(step) {
            Some(dir) => blocking(move || Folder::look(&dir)).await,
            None => Folder { touched: SystemTime::UNIX_EPOCH, staged: Vec::new() },
        }
    }

    async fn remove_staged(&self, step: Step, staged: Vec<PathBuf>) -> Result<Vec<String>, Error> {
        let Some(dir) = self.step_directory(step) else {
            return Ok(Vec::new());
        };
        let remove = move || {
            let mut removed = Vec::new();
            for file in staged {
                match fs::remove_file(&file) {
                    Ok(()) => removed.push(file.display().to_string()),
                    Err(source) => return Err(unusable(&file)(source)),
                }
            }
            // Refused by the system while anything is in it, which is then not ours.
            let _ = fs::remove_dir(&dir);
            Ok(removed)
        };
        blocking(remove).await
    }

    fn step_directory(&self, step: Step) -> Option<PathBuf> {
        match &self.root {
            Root::Directory(root) => Some(root.join(layout::step_dir(&self.prefix, step).as_ref())),
            Root::Bucket(..) | Root::Named(_) => None,
        }
    }
}

/// A step's folder on the local file system.
struct Folder {
    /// When the folder or one of its temporary files was last changed.
    touched: SystemTime,
    /// Files `<name>#<number>`, which the local store writes and renames when they are whole.
    staged: Vec<PathBuf>,
}

impl Folder {
    fn look(dir: &FsPath) -> Self {
        let files = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let staged: Vec<PathBuf> = files.filter(|path| is_staged(path)).collect();
        let touched = staged.iter().map(PathBuf::as_path).chain([dir]).filter_map(touched).max();
        Self { touched: touched.unwrap_or(SystemTime::UNIX_EPOCH), staged }
    }
}

fn is_staged(path: &FsPath) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let number = name.and_then(|name| name.rsplit_once('#'));
    number.is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

fn touched(path: &FsPath) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}
