//! A disk that is soon full, where root allows it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::wait::until;

/// A tmpfs of its own. Unmounted when it is dropped: declare it before what has files there open.
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// One of so many bytes, as mount(8) takes them (`8m`).
    pub fn mount(size: &str) -> Result<Self, String> {
        let dir = TempDir::with_prefix("lsgan-disk-").expect("a temporary directory can be made");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "lsgan-test"]).arg(dir.path());
        match mount.output() {
            Ok(output) if output.status.success() => Ok(Self { dir }),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes until nothing fits any more. Returns the file, whose removal makes room again.
    pub fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = OpenOptions::new().append(true).create(true).open(&path).expect("a file can be made");
        fill(&mut file, &[0; 1 << 16]);
        fill(&mut file, &[0; 1]);
        path
    }
}

fn fill(file: &mut File, with: &[u8]) {
    while file.write_all(with).is_ok() {}
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let path = self.path().to_owned();
        let unmount = || match Command::new("umount").arg(&path).output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(error.to_string()),
        };
        if std::thread::panicking() {
            // What failed before may still have it open.
            let _ = unmount();
        } else {
            until("the small disk is unmounted", unmount);
        }
    }
}
