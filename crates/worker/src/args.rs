//! What can be said on a worker's command line.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lsgan_console::Log;

use crate::faults::Faults;

/// Trains on one device for a coordinator, which tells it everything else.
///
/// SIGTERM, SIGINT, SIGHUP and SIGUSR1 make it leave at the next step boundary; a second one ends it at once.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "worker", version = env!("LSGAN_VERSION"))]
pub struct Args {
    /// The coordinator's address.
    #[arg(long, value_name = "http://HOST:PORT", env = "LSGAN_COORDINATOR")]
    pub coordinator: String,
    /// A label for people.
    #[arg(long, value_name = "NAME", default_value_t = default_name())]
    pub name: String,
    /// Address to listen on for peers; port 0 takes a free one, and [::] is all of this host's, IPv4 as well.
    #[arg(long, value_name = "IP:PORT", default_value = "[::]:0")]
    pub peer_listen: SocketAddr,
    /// IP address that peers are told; by default the one that reaches the coordinator.
    #[arg(long, value_name = "IP")]
    pub advertise: Option<IpAddr>,
    /// Give up when the coordinator cannot be reached for so long; 0s means never.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
    pub give_up_after: Duration,
    /// After SIGTERM, end without waiting any longer when no step boundary was reached for so long.
    #[arg(long, value_name = "DURATION", default_value = "25s", value_parser = humantime::parse_duration)]
    pub grace: Duration,
    /// Which of this host's workers this is, counting from 0: they take one GPU after another.
    #[arg(long, value_name = "N", env = "LSGAN_LOCAL_RANK", default_value_t = 0)]
    pub local_rank: u32,
    /// For a container that is replaced as soon as it ends: take 30 s to fail.
    #[arg(long)]
    pub in_pod: bool,
    /// Print what this host has to compute with, and end; `worker --probe --help` says more.
    #[arg(long)]
    pub probe: bool,
    #[command(flatten)]
    pub faults: Faults,
    /// Print a line for each turn in the worker's life on standard output, for the process that supervises it.
    #[arg(long, hide = true)]
    pub supervised: bool,
    /// Form of the log.
    #[arg(long, value_enum, default_value_t = Log::Text, value_name = "FORM")]
    pub log: Log,
}

fn default_name() -> String {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    format!("{}:{}", host.unwrap_or_else(|| "worker".to_owned()), std::process::id())
}
