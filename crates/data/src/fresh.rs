//! Files that take their name when they are whole.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

/// A new file. What a former process left under this name is deleted; of a link, the link, and not the file behind it.
pub(crate) fn file(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => File::create_new(path),
    }
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
