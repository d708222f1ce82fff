//! What can be said on the coordinator's command line.

use std::path::PathBuf;

use lsgan_console::Log;
use lsgan_spec::Override;
use lsgan_wire::Listen;

/// Coordinates a distributed LSGAN training run: membership, shards, metrics, checkpoints.
///
/// The first line on standard output says where it listens, the last ones what the run wrote.
/// Workers attach with `worker --coordinator http://HOST:PORT`. Started again, it goes on where the run was.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "coordinator", version = env!("LSGAN_VERSION"))]
pub struct Args {
    #[command(flatten)]
    /// Which run.
    pub run: RunArgs,
    /// Address to listen on; port 0 takes a free one, and [::] is all of this host's, IPv4 as well.
    #[arg(long, default_value = "127.0.0.1:7070", value_name = "HOST:PORT")]
    pub listen: Listen,
    /// Form the first generation as soon as this many workers are there, instead of after `cluster.gather`.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub expect_workers: u32,
    /// Whoever starts this coordinator starts the workers too, `--expect-workers` of them, and follows `lsgan scale`.
    #[arg(long, hide = true, requires = "expect_workers")]
    pub supervised: bool,
    /// Form of the log; with `json`, standard output has objects too: `{"listening": "http://…"}` first, the outcome last.
    #[arg(long, value_enum, default_value_t = Log::Text, value_name = "FORM")]
    pub log: Log,
    /// Show no progress.
    #[arg(long)]
    pub quiet: bool,
}

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
    pub fault_patience: Option<std::time::Duration>,
    /// Branch off from the snapshot of this step instead of the newest.
    #[arg(long, value_name = "STEP", requires = "fork")]
    pub fork_at: Option<u64>,
}
