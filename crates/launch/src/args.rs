//! The arguments that say which run.

use std::path::PathBuf;
use std::time::Duration;

use lsgan_console::Failure;
use lsgan_runfile::Override;
use lsgan_spec::RunSpec;

/// Which run, and what of it is to be different; the same for `coordinator` and `lsgan up`.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// The run's YAML file; configs/reference.yaml shows every field.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Override a field of the file, as `--set data.image.size=64`; may be given again.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub sets: Vec<Override>,
    /// Keep journal, samples and snapshots here instead of where `checkpoint.to` says.
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Start anew: move the old run aside (to DIR.old-1, …), never delete it.
    #[arg(long, conflicts_with = "fork")]
    pub fresh: bool,
    /// Go on from what there is, although the journal knows of steps that the store has not: from an older snapshot, or
    /// from step 0. Those steps are done again.
    #[arg(long, visible_alias = "from-scratch", conflicts_with_all = ["fresh", "fork"])]
    pub accept_loss: bool,
    /// Branch off: a new run of this name, beside the old one, that goes on from its newest snapshot.
    #[arg(long, value_name = "NAME", value_parser = lsgan_spec::checked_name)]
    pub fork: Option<String>,
    /// For tests: how long a generation may stand, or take to form or to park.
    #[arg(long, value_name = "DURATION", hide = true, value_parser = humantime::parse_duration)]
    pub fault_patience: Option<Duration>,
    /// Branch off from the snapshot of this step instead of the newest.
    #[arg(long, value_name = "STEP", requires = "fork")]
    pub fork_at: Option<u64>,
}

impl RunArgs {
    /// Reads the run's file with its overrides.
    ///
    /// # Errors
    /// All that is wrong with it, with exit code 2.
    pub fn load_spec(&self) -> Result<RunSpec, Failure> {
        crate::load_spec(&self.config, &self.sets)
    }

    /// The same arguments for another process. [`Self::fault_patience`] is not handed on.
    #[must_use]
    pub fn to_arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--config".to_owned(), self.config.display().to_string()];
        let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        for set in &self.sets {
            add("--set", set.to_string());
        }
        if let Some(dir) = &self.run_dir {
            add("--run-dir", dir.display().to_string());
        }
        if let Some(name) = &self.fork {
            add("--fork", name.clone());
        }
        if let Some(step) = self.fork_at {
            add("--fork-at", step.to_string());
        }
        let flags = [("--fresh", self.fresh), ("--accept-loss", self.accept_loss)];
        arguments.extend(flags.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name.to_owned()));
        arguments
    }
}
