//! A full disk: the write fails by name with its cause, nothing of it stays, older snapshots are untouched, and
//! it can be done again once there is room.

use std::error::Error as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use lsgan_snapshots::snapshot::to_bytes;
use lsgan_snapshots::{Error, NamedTensor, Part, Snapshot, Store};
use lsgan_spec::Step;
use tempfile::TempDir;

use crate::common::{Fault, Fixture, snapshot};

#[tokio::test]
async fn a_store_that_fills_up_at_any_put_keeps_the_snapshot_before_and_nothing_else() {
    let sizes =
        snapshot(200, 0).parts.into_iter().map(|part| to_bytes(&part).expect("it is valid").len() as u64);
    let mut room = 0;
    // No room for the first part, for the second, for the third, for the manifest.
    for size in sizes.chain([0]) {
        let fixture = Fixture::with(&[100]).await;
        let before = fixture.files();
        let (store, faulty) = fixture.faulty(Fault::FullAfter(room));
        let error = store.write(&snapshot(200, 0)).await.expect_err("it is full");
        assert!(faulty.reached());
        assert!(matches!(error, Error::Full { .. }) && !error.is_damage(), "{error}");
        assert!(error.source().is_some(), "the cause is kept");
        assert_eq!(fixture.files(), before, "with room for {room} bytes");
        assert!(!fixture.step_dir(200).exists());
        fixture.store.write(&snapshot(200, 0)).await.expect("there is room again");
        room += size;
    }
}

/// A small file system of its own, for those who may mount one.
struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let dir = TempDir::new().expect("a temporary directory can be made");
        let options = format!("size={size}");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).output();
        mount.is_ok_and(|mount| mount.status.success()).then_some(Self { dir })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.dir.path()).status();
        assert!(
            unmounted.is_ok_and(|status| status.success()),
            "{} stays mounted",
            self.dir.path().display()
        );
    }
}

fn large(step: u64, len_bytes: usize) -> Snapshot {
    let tensor = NamedTensor::f32("w", [len_bytes / 4], vec![step as f32; len_bytes / 4]);
    let part = |name: &str| Arc::new(Part { name: name.to_owned(), tensors: vec![tensor.clone()] });
    Snapshot { parts: vec![part("generator"), part("discriminator")], ..snapshot(step, 0) }
}

#[tokio::test]
async fn a_real_full_disk_keeps_the_snapshot_before_and_takes_the_next_one_when_there_is_room() {
    let Some(disk) = SmallDisk::mount("4m") else {
        eprintln!("skipped: a tmpfs cannot be mounted here (it takes root)");
        return;
    };
    let store = Store::open(disk.dir.path().to_str().expect("it is UTF-8")).expect("it can be opened");
    let snapshots = disk.dir.path().join("snapshots");
    store.write(&large(100, 1 << 20)).await.expect("2 of 4 MiB");
    // The first part fits, the second does not.
    let error = store.write(&large(200, 3 << 19)).await.expect_err("5 of 4 MiB");
    assert!(matches!(error, Error::Full { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("No space left on device") && text.contains("discriminator.safetensors"), "{text}");
    let left: Vec<PathBuf> =
        fs::read_dir(&snapshots).expect("it is there").flatten().map(|e| e.path()).collect();
    assert_eq!(left.len(), 1, "nothing of the failed write stays: {left:?}");
    let found = store.newest_valid().await.expect("the store answers");
    assert_eq!(found.manifest.map(|manifest| manifest.step), Some(Step(100)));
    fs::remove_dir_all(snapshots.join("step-0000000100")).expect("it can be removed");
    store.write(&large(200, 3 << 19)).await.expect("3 of 4 MiB");
    store.verify(Step(200)).await.expect("it is whole");
}
