//! Runs below directories: whatever has a journal.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

/// Folders are looked through so far down.
const DEPTH_MAX: usize = 6;
/// Files and folders that are looked at. A data set that lies there too must not hold up the page.
const ENTRIES_MAX: usize = 50_000;
/// Runs that are shown.
const RUNS_MAX: usize = 1000;

/// The runs below `places`, by their ids. A run's own folder is not looked through.
pub(crate) fn below(places: &[PathBuf]) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut looked_at = 0;
    for place in places {
        let walk = WalkDir::new(place).max_depth(DEPTH_MAX).sort_by_file_name();
        let mut walk = walk.into_iter();
        while let Some(entry) = walk.next() {
            looked_at += 1;
            if looked_at > ENTRIES_MAX || found.len() >= RUNS_MAX {
                return found;
            }
            // What may not be read holds no run that could be shown.
            let Ok(entry) = entry else { continue };
            if !entry.path().is_dir() {
                continue;
            }
            if entry.path().join(lsgan_journal::FILE).is_file() {
                found.insert(id_of(entry.path()), entry.path().to_owned());
                walk.skip_current_dir();
            } else if is_hidden(&entry) {
                walk.skip_current_dir();
            }
        }
    }
    found
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".")
}

/// Stands for a run in addresses: its folder's name, and a hash of where it lies, so that a link leads to the same run after
/// a restart.
pub(crate) fn id_of(dir: &Path) -> String {
    let whole = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let name = whole.file_name().unwrap_or_default().to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let word: String = name.chars().take(40).map(|c| if is_plain(c) { c } else { '_' }).collect();
    let hash = blake3::hash(whole.as_os_str().as_encoded_bytes()).to_hex();
    format!("{word}-{}", &hash[..6])
}

#[cfg(test)]
mod tests {
    use std::fs;

    #[test]
    fn runs_are_found_at_any_place_below_and_not_inside_each_other() {
        let dir = tempfile::tempdir().unwrap();
        for run in ["a", "more/b c", "a/inside", ".hidden/x"] {
            fs::create_dir_all(dir.path().join(run)).unwrap();
            fs::write(dir.path().join(run).join("journal.sqlite"), "").unwrap();
        }
        let found = super::below(&[dir.path().to_owned(), dir.path().join("more")]);
        let names: Vec<_> = found.keys().map(|id| id.rsplit_once('-').unwrap().0).collect();
        assert_eq!(names, ["a", "b_c"], "the second place has a run that is known already");
        assert_eq!(super::below(&[dir.path().join("a")]).len(), 1, "a run itself may be named");
        assert_eq!(super::below(&[dir.path().join("none")]).len(), 0);
    }
}
