//! What can be said on the coordinator's command line.

use lsgan_console::Log;
use lsgan_launch::{ListenArgs, RunArgs, TlsArgs};
use lsgan_wire::Listen;

/// Coordinates a distributed LSGAN training run: membership, shards, metrics, snapshots.
///
/// The first line on standard output says where it listens, the last ones what the run wrote.
/// Workers attach with `worker --coordinator http://HOST:PORT`, or https with --tls. Started again, it goes on where the run was.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "coordinator", version = env!("LSGAN_VERSION"))]
pub struct Args {
    #[command(flatten)]
    /// Which run.
    pub run: RunArgs,
    /// Address to listen on; port 0 takes a free one, and [::] is all of this host's, IPv4 as well.
    #[arg(long, default_value = "127.0.0.1:7070", value_name = "HOST:PORT")]
    pub listen: Listen,
    /// Who it is: without TLS it listens on loopback alone.
    #[command(flatten)]
    pub tls: TlsArgs,
    #[command(flatten)]
    pub open: ListenArgs,
    /// Address of the gRPC health service, for probes: `readiness` serves while the run takes workers, `liveness` unless the
    /// coordinator hangs. Without encryption; it tells nothing else.
    #[arg(long, value_name = "HOST:PORT")]
    pub health_listen: Option<Listen>,
    /// Address of the run's page, in plain HTTP, which asks nobody who he is; port 0 takes a free one. Without it there is none.
    #[arg(long, value_name = "HOST:PORT")]
    pub http: Option<Listen>,
    /// Let readers of the page stop, pause and scale the run and have it write snapshots, each after a question. Where other hosts
    /// reach the page, or with --tls, they need its key, which `lsgan page` tells operators.
    #[arg(long, requires = "http")]
    pub http_actions: bool,
    /// For a container that is replaced as soon as it ends: wait for a run directory that the coordinator before still holds;
    /// end when the run's file has changed and is good, so that the next one reads it; tell workers that come late of the
    /// run's end, for a minute; take 30 s to fail.
    #[arg(long)]
    pub in_pod: bool,
    /// Form the first generation as soon as this many workers are there, instead of after `cluster.gather`.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub expect_workers: u32,
    /// The parent process starts the workers too, `--expect-workers` of them, and follows `lsgan scale`.
    #[arg(long, hide = true, requires = "expect_workers")]
    pub supervised: bool,
    /// Form of the log; with `json`, standard output has objects too: `{"listening": "http://…"}` (or https) first, the outcome last.
    #[arg(long, value_enum, default_value_t = Log::Text, value_name = "FORM")]
    pub log: Log,
    /// Show no progress.
    #[arg(long)]
    pub quiet: bool,
}
