//! How many grids of samples a run keeps: [`MAX`]. Beyond that every second one of the older half goes, again and again, so that they
//! are sparser the older they are. The first and the newer half always stay.

use std::io::ErrorKind;
use std::path::Path;

/// So many. At 300 KB each they take 1.2 GB.
pub(crate) const MAX: u64 = 4000;

/// Deletes grids that the journal forgets, by their names beside `newest`. In a folder that is a link nothing is deleted: people link
/// what they keep on another disk.
pub(crate) fn delete(newest: &Path, files: &[String]) {
    let Some(folder) = newest.parent().filter(|_| !files.is_empty()) else { return };
    if !std::fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_dir()) {
        return;
    }
    for name in files.iter().filter_map(|file| Path::new(file).file_name()) {
        match std::fs::remove_file(folder.join(name)) {
            Ok(()) => {}
            // Tried before, and the journal could not be written.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(%error, file = %name.display(), "an old grid of samples could not be deleted")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_beside_the_newest_are_deleted_and_none_behind_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (samples, link) = (dir.path().join("samples"), dir.path().join("link"));
        std::fs::create_dir(&samples).unwrap();
        std::os::unix::fs::symlink(&samples, &link).unwrap();
        for name in ["a.png", "b.png", "../c.png"] {
            std::fs::write(samples.join(name), "").unwrap();
        }
        let files = ["/elsewhere/a.png", "../c.png", "missing.png"].map(str::to_owned);
        delete(&link.join("b.png"), &files);
        assert!(samples.join("a.png").exists());
        delete(&samples.join("b.png"), &files);
        assert!(!samples.join("a.png").exists());
        assert!(samples.join("b.png").exists() && dir.path().join("c.png").exists());
    }
}
