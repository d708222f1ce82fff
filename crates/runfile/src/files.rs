//! The files that a run needs on this host. What is in them, and whether it is what the source reads, the data crate
//! says, which knows formats.

use std::io::ErrorKind;
use std::path::Path;

use lsgan_spec::leaves::Leaf;
use lsgan_spec::table::{self, Kind};

use crate::errors::Problem;
use crate::tree::quoted;

/// What is wrong with the file that this field names, where its row says that there is one.
pub(crate) fn missing(leaf: &Leaf) -> Option<Problem> {
    let Kind::Text(form) = table::find(&leaf.path)?.field.kind else { return None };
    let (accepted, path) = (form.file?, leaf.value.to_string());
    let (reason, fix) = unusable(Path::new(&path))?;
    Some(Problem::NoFile {
        path: leaf.path.clone(),
        found: quoted(&path),
        reason,
        accepted: accepted.to_owned(),
        fix: fix.to_owned(),
    })
}

/// Why nothing at `path` can be read, and what to do.
fn unusable(path: &Path) -> Option<(String, &'static str)> {
    const CORRECT: &str =
        "Correct the path; a relative one is taken from the directory where the command runs.";
    const PACK: &str = "This source reads this machine's disks. From a bucket only tar shards are read, which `lsgan \
                        dataset pack` makes: data.source.webdataset.shards.";
    const ALLOW: &str = "Let this user read it, or correct the path.";
    let opened = |error: std::io::Error| (format!("which cannot be read ({error})"), ALLOW);
    if path.to_string_lossy().contains("://") {
        return Some(("which is a URL".to_owned(), PACK));
    }
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => std::fs::read_dir(path).err().map(opened),
        Ok(meta) if !meta.is_file() => Some(("which is not a plain file".to_owned(), CORRECT)),
        Ok(_) => std::fs::File::open(path).err().map(opened),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let is_link = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink());
            let what = if is_link { "which is a link that leads nowhere" } else { "which does not exist" };
            Some((what.to_owned(), CORRECT))
        }
        Err(error) => Some(opened(error)),
    }
}
