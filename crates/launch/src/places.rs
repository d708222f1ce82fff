//! Where a run keeps its files.

use std::path::{Path, PathBuf};

use lsgan_snapshots::Store;
use lsgan_spec::RunSpec;

/// Where a run keeps its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Directory of the journal, the samples and the logs; always local.
    pub run_dir: PathBuf,
    /// Directory or URL of the snapshots.
    pub store: String,
}

impl Places {
    /// As the run's file says, or with the run directory `chosen` on the command line.
    #[must_use]
    pub fn of(spec: &RunSpec, chosen: Option<&Path>) -> Self {
        let to = &spec.checkpoint.to;
        let remote = Store::is_remote(to);
        let run_dir = match (chosen, remote) {
            (Some(chosen), _) => chosen.to_owned(),
            (None, false) => PathBuf::from(to.strip_prefix("file://").unwrap_or(to)),
            (None, true) => Path::new("runs").join(&spec.run),
        };
        let store = if remote { to.clone() } else { run_dir.display().to_string() };
        Self { run_dir, store }
    }

    /// The bucket of a run's snapshots, by its file as its journal has it; none where they are in a directory, or the file is one of
    /// another version.
    #[must_use]
    pub fn bucket_of(spec_yaml: &str) -> Option<String> {
        let spec = lsgan_runfile::parse(spec_yaml, "the journal's specification", &[]).ok()?;
        Some(spec.checkpoint.to).filter(|to| Store::is_remote(to))
    }

    /// Those of a run of this name beside these.
    #[must_use]
    pub fn beside(&self, name: &str) -> Self {
        let beside = |place: &str| match place.trim_end_matches('/').rsplit_once('/') {
            // Nothing lies beside a whole bucket; a run's own folders in it have other names.
            Some((scheme, _)) if scheme.ends_with(":/") => {
                format!("{}/{name}", place.trim_end_matches('/'))
            }
            Some((above, _)) => format!("{above}/{name}"),
            None => name.to_owned(),
        };
        Self {
            run_dir: PathBuf::from(beside(&self.run_dir.display().to_string())),
            store: beside(&self.store),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_lies_beside_its_run_and_in_a_bucket_of_its_own_below_it() {
        for (run_dir, store, expected_dir, expected_store) in [
            ("runs/one", "runs/one", "runs/two", "runs/two"),
            ("one/", "one/", "two", "two"),
            ("/srv/one", "s3://bucket/a/one", "/srv/two", "s3://bucket/a/two"),
            ("/srv/one", "s3://bucket/", "/srv/two", "s3://bucket/two"),
        ] {
            let places = Places { run_dir: run_dir.into(), store: store.to_owned() };
            let expected = Places { run_dir: expected_dir.into(), store: expected_store.to_owned() };
            assert_eq!(places.beside("two"), expected);
        }
    }
}
