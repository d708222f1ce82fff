//! Files that get their names when they are complete.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

/// Creates a new file, and first deletes what a former process left at `path`. A link is deleted, not its target.
pub(crate) fn file(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => File::create_new(path),
    }
}

/// Creates the file `part`, fills it and renames it to `path`, so that readers see the whole file or none.
pub(crate) fn replace(
    part: &Path,
    path: &Path,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let written = file(part).and_then(|mut file| fill(&mut file)).and_then(|()| fs::rename(part, path));
    written.inspect_err(|_| {
        let _ = fs::remove_file(part);
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_leftover_is_replaced_and_what_a_link_leads_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (part, precious) = (dir.path().join("a.part"), dir.path().join("precious"));
        fs::write(&precious, "text").unwrap();
        for leftover in [false, true] {
            if leftover {
                std::os::unix::fs::symlink(&precious, &part).unwrap();
            }
            file(&part).unwrap().write_all(b"new").unwrap();
            assert_eq!(
                (fs::read(&part).unwrap(), fs::read(&precious).unwrap()),
                (b"new".into(), b"text".into())
            );
            fs::remove_file(&part).unwrap();
        }
    }
}
