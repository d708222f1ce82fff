//! Links to other disks: what is behind them stays, whatever deletes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lsgan_snapshots::{Error, RunLock};
use lsgan_spec::Step;
use tempfile::TempDir;

use crate::common::{Fixture, files_below, snapshot};

/// A directory on another disk, and all that is in it.
struct Archive {
    dir: TempDir,
    before: BTreeMap<PathBuf, Vec<u8>>,
}

impl Archive {
    fn new() -> Self {
        Self { dir: TempDir::new().expect("a temporary directory can be made"), before: BTreeMap::new() }
    }

    /// Moves a file or folder here and links it back.
    fn take(&mut self, path: &Path) -> PathBuf {
        let to = self.dir.path().join(path.file_name().expect("it has a name"));
        fs::rename(path, &to).expect("it can be moved");
        symlink(&to, path).expect("it can be linked");
        self.before = self.files();
        to
    }

    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        files_below(self.dir.path(), self.dir.path())
    }

    fn is_as_it_was(&self) {
        assert!(!self.before.is_empty());
        assert_eq!(self.files(), self.before);
    }
}

async fn steps(fixture: &Fixture) -> Vec<u64> {
    fixture.store.list().await.expect("the store answers").into_iter().map(|entry| entry.step.0).collect()
}

#[tokio::test]
async fn retention_leaves_a_linked_snapshot_alone_and_does_not_count_it() {
    let fixture = Fixture::with(&[100, 200, 300, 400, 500]).await;
    let mut archive = Archive::new();
    archive.take(&fixture.step_dir(100));
    archive.take(&fixture.step_dir(400));
    let deleted = fixture.store.retain(2, &[]).await.expect("the store answers");
    assert_eq!(deleted, [Step(200)], "300 and 500 are the two that stay on this disk");
    assert_eq!(steps(&fixture).await, [100, 300, 400, 500], "those that are linked can still be read");
    fixture.store.verify(Step(100)).await.expect("it is whole");
    archive.is_as_it_was();
    assert!(fixture.step_dir(100).is_symlink());
}

#[tokio::test]
async fn nothing_is_deleted_behind_a_linked_folder_of_snapshots_and_the_store_names_it() {
    let fixture = Fixture::with(&[100, 200, 300]).await;
    assert_eq!(fixture.store.linked_folders(), []);
    fs::remove_file(fixture.step_dir(200).join("manifest.json")).expect("it is there");
    let mut archive = Archive::new();
    let folder = fixture.path().join("snapshots");
    let to = archive.take(&folder);
    assert_eq!(fixture.store.retain(1, &[]).await.expect("the store answers"), []);
    assert_eq!(fixture.store.clean(Duration::ZERO).await.expect("the store answers"), [""; 0]);
    archive.is_as_it_was();
    let shown = |path: &Path| path.canonicalize().expect("it is there").display().to_string();
    let link = format!("{}/snapshots", shown(fixture.path()));
    assert_eq!(fixture.store.linked_folders(), [(link, to.display().to_string())]);
    let error = fixture.store.set_aside_after(Step(200)).await.expect_err("it would empty what is behind");
    assert!(matches!(error, Error::Unsafe { .. }), "{error}");
    assert!(error.to_string().contains("nothing behind a link is deleted or moved"), "{error}");
    archive.is_as_it_was();
    fixture.store.write(&snapshot(400, 0)).await.expect("writing through the link is what it is for");
    assert!(to.join("step-0000000400/manifest.json").is_file());
}

/// A part, a folder of notes, and a leftover are links, each inside a snapshot that goes.
#[tokio::test]
async fn links_inside_a_deleted_snapshot_go_and_what_they_lead_to_stays() {
    let fixture = Fixture::with(&[100, 200]).await;
    let mut archive = Archive::new();
    let notes = fixture.step_dir(100).join("notes");
    fs::create_dir(&notes).expect("it can be made");
    fs::write(notes.join("thesis.tex"), "years of work").expect("it can be written");
    archive.take(&notes);
    archive.take(&fixture.step_dir(100).join("generator.safetensors"));
    assert_eq!(fixture.store.retain(1, &[]).await.expect("the store answers"), [Step(100)]);
    assert!(!fixture.step_dir(100).exists());
    archive.is_as_it_was();
}

#[tokio::test]
async fn cleaning_deletes_linked_leftovers_as_links_and_nothing_deeper() {
    let fixture = Fixture::with(&[100, 200, 300]).await;
    let mut archive = Archive::new();
    let file = |step, name: &str| fixture.step_dir(step).join(name);
    // A stray file and a folder, both linked, in a published snapshot; the same in one without a manifest.
    for (step, stray) in [(100, "stray.safetensors"), (200, "left.safetensors")] {
        fs::write(file(step, stray), "stray").expect("it can be written");
        archive.take(&file(step, stray));
        let deep = file(step, &format!("deep-{step}"));
        fs::create_dir(&deep).expect("it can be made");
        fs::write(deep.join("photo.png"), "a photo").expect("it can be written");
        archive.take(&deep);
    }
    fs::remove_file(file(200, "manifest.json")).expect("it is there");
    // A whole folder without a manifest is a link.
    fs::remove_file(file(300, "manifest.json")).expect("it is there");
    archive.take(&fixture.step_dir(300));
    fixture.store.clean(Duration::ZERO).await.expect("the store answers");
    archive.is_as_it_was();
    for (step, stray) in
        [(100, "stray.safetensors"), (200, "left.safetensors"), (200, "generator.safetensors")]
    {
        assert!(!file(step, stray).is_symlink() && !file(step, stray).exists(), "{step} {stray}");
    }
    fixture.store.verify(Step(100)).await.expect("it is as whole as before");
}

#[tokio::test]
async fn a_linked_snapshot_is_set_aside_by_moving_its_link() {
    let fixture = Fixture::with(&[100, 200, 300]).await;
    let mut archive = Archive::new();
    archive.take(&fixture.step_dir(300));
    for _ in 0..2 {
        let moved = fixture.store.set_aside_after(Step(100)).await.expect("the store answers");
        assert_eq!(moved, [Step(200), Step(300)]);
        assert_eq!(steps(&fixture).await, [100]);
        archive.is_as_it_was();
        // The same steps come again, and are wrong again.
        fixture.store.write(&snapshot(200, 1)).await.expect("there is room");
        symlink(archive.dir.path().join("step-0000000300"), fixture.step_dir(300)).expect("it can be linked");
    }
    let aside = |name: &str| fixture.path().join("suspect").join(name);
    assert!(aside("step-0000000300").is_symlink() && aside("step-0000000300.1").is_symlink());
    assert!(
        aside("step-0000000200/manifest.json").is_file()
            && aside("step-0000000200.1/manifest.json").is_file()
    );
}

#[tokio::test]
async fn a_write_over_a_damaged_linked_snapshot_deletes_nothing_behind_the_link() {
    let fixture = Fixture::with(&[100]).await;
    let mut archive = Archive::new();
    fs::write(fixture.step_dir(100).join("manifest.json"), "{").expect("it can be written");
    archive.take(&fixture.step_dir(100));
    let error = fixture.store.write(&snapshot(100, 0)).await.expect_err("it is in the way");
    assert!(matches!(error, Error::Unsafe { .. }), "{error}");
    archive.is_as_it_was();
}

#[tokio::test]
async fn final_weights_in_an_archive_are_not_overwritten() {
    let fixture = Fixture::new();
    let (old, new) = (snapshot(100, 0).parts, snapshot(200, 0).parts);
    fixture.store.write_final(&old).await.expect("there is room");
    let mut archive = Archive::new();
    let folder = fixture.path().join("final");
    archive.take(&folder);
    fixture.store.write_final(&old).await.expect("there is room");
    assert!(folder.is_symlink(), "the same bytes overwrite nothing");
    fixture.store.write_final(&new).await.expect("there is room");
    archive.is_as_it_was();
    assert!(!folder.is_symlink() && fixture.path().join("final.old-1").is_symlink());
    assert_eq!(fs::read_dir(&folder).expect("it is there").count(), new.len());
}

#[tokio::test]
async fn a_linked_directory_is_what_its_user_means() {
    let fixture = Fixture::with(&[100, 200]).await;
    let above = TempDir::new().expect("a temporary directory can be made");
    let link = above.path().join("run");
    symlink(fixture.path(), &link).expect("it can be linked");
    let store = lsgan_snapshots::Store::open(link.to_str().expect("it is UTF-8")).expect("it can be opened");
    assert_eq!(store.retain(1, &[]).await.expect("the store answers"), [Step(100)]);
}

#[test]
fn a_lock_file_that_is_a_link_is_refused_and_the_file_behind_it_keeps_its_text() {
    let dir = TempDir::new().expect("a temporary directory can be made");
    let precious = dir.path().join("precious");
    fs::write(&precious, "text").expect("it can be written");
    let run = dir.path().join("run");
    fs::create_dir(&run).expect("it can be made");
    symlink(&precious, run.join("coordinator.lock")).expect("it can be linked");
    let error = RunLock::acquire(&run).expect_err("it is a link");
    assert!(matches!(error, Error::Disk { .. }), "{error}");
    assert_eq!(fs::read_to_string(&precious).expect("it is there"), "text");
}
