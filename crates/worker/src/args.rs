//! What can be said on a worker's command line.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use lsgan_certs::Credential;
use lsgan_console::{Failure, Log};
use lsgan_launch::{JoinArgs, ListenArgs};
use lsgan_snapshots::host_name;
use lsgan_wire::Address;

use crate::faults::Faults;

/// Trains on one device for a coordinator, which tells it everything else.
///
/// SIGTERM, SIGINT, SIGHUP and SIGUSR1 make it leave at the next step boundary; a second one ends it at once.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "worker", version = env!("LSGAN_VERSION"))]
pub struct Args {
    /// The coordinator's address.
    #[arg(long, value_name = "http[s]://HOST:PORT", env = "LSGAN_COORDINATOR")]
    pub coordinator: String,
    #[command(flatten)]
    pub join: JoinArgs,
    /// Who it is, once that is opened.
    #[arg(skip)]
    pub credential: Option<Credential>,
    /// A label for people.
    #[arg(long, value_name = "NAME", default_value_t = default_name())]
    pub name: String,
    /// Address to listen on for peers; port 0 takes a free one, and [::] is all of this host's, IPv4 as well. By default
    /// [::]:0, and loopback where the coordinator is dialled on loopback.
    #[arg(long, value_name = "IP:PORT")]
    pub peer_listen: Option<SocketAddr>,
    #[command(flatten)]
    pub open: ListenArgs,
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

impl Args {
    /// Opens what `--tls` or `--join-token` names.
    ///
    /// # Errors
    /// The files, or the address of the coordinator, are wrong; or this worker would listen for peers without TLS where
    /// other hosts reach it. Exit code 2.
    pub fn opened(mut self) -> Result<Self, Failure> {
        self.credential = self.join.open()?;
        self.address()?;
        self.open.check(self.listens(), self.credential.is_some(), ("this worker", "--peer-listen"))?;
        Ok(self)
    }

    /// The coordinator's address, and who dials it.
    ///
    /// # Errors
    /// It is none, or it does not fit to these. Exit code 2.
    pub fn address(&self) -> Result<Address, Failure> {
        let address: Address = self.coordinator.parse().map_err(Failure::bad_input)?;
        address.by(self.credential.clone()).map_err(Failure::bad_input)
    }

    /// Where it listens for peers. Where the coordinator is dialled on loopback all workers of the run are on this host,
    /// unless it tells its peers another address.
    #[must_use]
    pub fn listens(&self) -> SocketAddr {
        let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let elsewhere = self.advertise.is_some_and(|ip| !ip.to_canonical().is_loopback());
        let host = self.coordinator.parse().ok().map(|address: Address| address.host().to_owned());
        self.peer_listen.unwrap_or(match host.as_deref() {
            Some(_) if elsewhere => everywhere,
            Some("localhost") => (Ipv4Addr::LOCALHOST, 0).into(),
            Some(host) => match host.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
                Ok(ip) if ip.is_loopback() => (ip, 0).into(),
                _ => everywhere,
            },
            None => everywhere,
        })
    }
}

fn default_name() -> String {
    format!("{}:{}", host_name().unwrap_or_else(|| "worker".to_owned()), std::process::id())
}
