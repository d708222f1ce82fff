//! Where things lie under `<to>`.

use lsgan_spec::Step;
use object_store::path::Path;

/// The folder of snapshots.
pub(crate) const SNAPSHOTS: &str = "snapshots";
/// The folder of snapshots that may be wrong.
pub(crate) const SUSPECT: &str = "suspect";
/// The folder of what a finished run hands over.
pub(crate) const FINAL: &str = "final";
/// The folder of the journal's copy.
pub(crate) const JOURNAL: &str = "journal";
/// The file that makes a snapshot.
pub(crate) const MANIFEST: &str = "manifest.json";

const STEP_PREFIX: &str = "step-";

/// `step-0000000100`: ten digits, so that names sort as numbers; more for steps beyond 9,999,999,999.
pub(crate) fn step_name(step: Step) -> String {
    format!("{STEP_PREFIX}{:010}", step.0)
}

/// The step of a folder's name, or none for a name that this crate does not write.
pub(crate) fn parse_step(name: &str) -> Option<Step> {
    let step = Step(name.strip_prefix(STEP_PREFIX)?.parse().ok()?);
    (step_name(step) == name).then_some(step)
}

/// The usual file of a part.
pub(crate) fn part_file(part: &str) -> String {
    format!("{part}.safetensors")
}

/// The file of a part whose usual name is taken by other bytes. 64 bits of the hash tell apart what can meet
/// in one folder; the manifest has all 256.
pub(crate) fn part_file_by_hash(part: &str, blake3_hex: &str) -> String {
    format!("{part}-{}.safetensors", &blake3_hex[..16])
}

/// Whether a manifest may name this file: a plain name in its own folder.
pub(crate) fn is_plain_file(name: &str) -> bool {
    name.ends_with(".safetensors") && is_plain_name(name.trim_end_matches(".safetensors"), "_-")
}

/// Whether a part may have this name: it becomes a file's name on any store.
pub(crate) fn is_part_name(name: &str) -> bool {
    is_plain_name(name, "_")
}

fn is_plain_name(name: &str, extra: &str) -> bool {
    (1..=100).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || extra.contains(c))
}

/// `<prefix>/snapshots/step-…`.
pub(crate) fn step_dir(prefix: &Path, step: Step) -> Path {
    prefix.clone().join(SNAPSHOTS).join(step_name(step))
}

/// `<prefix>/suspect/step-…`.
pub(crate) fn suspect_dir(prefix: &Path, step: Step) -> Path {
    prefix.clone().join(SUSPECT).join(step_name(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_read_back_from_its_folder_and_foreign_names_are_not() {
        for step in [0, 1, 100, 9_999_999_999, 10_000_000_000, u64::MAX] {
            assert_eq!(parse_step(&step_name(Step(step))), Some(Step(step)));
        }
        for foreign in
            ["step-1", "step-", "step-00000000001", "step--000000001", "step-+000000001", "old", ""]
        {
            assert_eq!(parse_step(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_manifest_cannot_point_out_of_its_folder() {
        assert!(is_plain_file("generator_ema.safetensors"));
        assert!(is_plain_file("generator-0123456789abcdef.safetensors"));
        for hostile in
            ["../a.safetensors", "a/b.safetensors", ".safetensors", "/etc/passwd", "manifest.json", ""]
        {
            assert!(!is_plain_file(hostile), "{hostile}");
        }
    }
}
