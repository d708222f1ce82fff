//! The arguments that say which run.

use std::path::PathBuf;
use std::time::Duration;

use lsgan_console::Failure;
use lsgan_runfile::{Override, RunFile};

/// Which run, and what of it is to be different; the same for `coordinator` and `lsgan up`.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// The run's YAML file; configs/reference.yaml shows every field. For `lsgan up` also a run's directory: the file as that run
    /// has it.
    #[arg(long, value_name = "FILE", required_unless_present = "resolved")]
    pub config: Option<PathBuf>,
    /// Override a field of the file, as `--set data.image.size=64`; may be given again.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub sets: Vec<Override>,
    /// The run's file as the process that starts this one has read it.
    #[arg(long, value_name = "JSON", hide = true, conflicts_with_all = ["config", "sets"], value_parser = resolved)]
    pub resolved: Option<Box<RunFile>>,
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
    /// Forget which numerics the run has: those of the workers that train next are the run's. For a run that took them from
    /// machines that are none of it. Bits are equal from here on to those of the same numerics alone.
    #[arg(long)]
    pub new_numerics: bool,
    /// Branch off: a new run of this name, beside the old one, that goes on from its newest snapshot.
    #[arg(long, value_name = "NAME", value_parser = lsgan_spec::checked_name)]
    pub fork: Option<String>,
    /// For tests: how long a generation may stand, or take to form or to park.
    #[arg(long, value_name = "DURATION", hide = true, value_parser = humantime::parse_duration)]
    pub fault_patience: Option<Duration>,
    /// Branch off from the snapshot of this step instead of the newest.
    #[arg(long, value_name = "STEP", requires = "fork")]
    pub fork_at: Option<u64>,
    /// Branch off from another snapshot than the newest: best, of those that `lsgan eval` has scored and that are still there.
    #[arg(long, value_name = "WHICH", requires = "fork", conflicts_with = "fork_at")]
    pub from: Option<From>,
}

/// Which snapshot a branch begins with, by a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum From {
    /// The one with the best score
    Best,
}

impl RunArgs {
    /// Reads the run's file with its overrides.
    ///
    /// # Errors
    /// All that is wrong with it, with exit code 2.
    pub fn load_file(&self) -> Result<RunFile, Failure> {
        match (&self.resolved, &self.config) {
            (Some(file), _) => Ok(RunFile::clone(file)),
            (None, Some(config)) => crate::load_file(config, &self.sets),
            (None, None) => Err(Failure::bad_input("--config FILE is missing: it names the run's file.")),
        }
    }

    /// The same arguments for another process, with `file`, which this one has read. [`Self::fault_patience`] is not handed
    /// on.
    #[must_use]
    pub fn to_arguments(&self, file: &RunFile) -> Vec<String> {
        let mut arguments = vec!["--resolved".to_owned(), file.to_string()];
        let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        if let Some(dir) = &self.run_dir {
            add("--run-dir", dir.display().to_string());
        }
        if let Some(name) = &self.fork {
            add("--fork", name.clone());
        }
        if let Some(step) = self.fork_at {
            add("--fork-at", step.to_string());
        }
        if let Some(From::Best) = self.from {
            add("--from", "best".to_owned());
        }
        let flags = [
            ("--fresh", self.fresh),
            ("--accept-loss", self.accept_loss),
            ("--new-numerics", self.new_numerics),
        ];
        arguments.extend(flags.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name.to_owned()));
        arguments
    }
}

fn resolved(text: &str) -> Result<Box<RunFile>, String> {
    text.parse().map(Box::new).map_err(|error| format!("it is of another version: {error}"))
}
