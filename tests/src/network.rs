//! Hosts on one switch, made of network namespaces: cables can be pulled, and single directions cut.
//!
//! Each namespace lives as long as a process that holds it, which ends with the test: nothing can be left over, and the
//! machine's own network is not touched. It needs root.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::binaries::binary;
use crate::lab::INSECURE;
use crate::process::Process;
use crate::wait::until;

/// An address of the link layer that no host has.
const NOBODY: &str = "02:00:00:00:00:fe";

/// What hosts mount over `/etc/hosts` before they become the program that follows it.
const WITH_NAMES: &str = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";

/// The protocols that the hosts of a network have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    /// IPv4, and IPv6 as a system has it by itself: on loopback, and between hosts for link-local addresses.
    V4,
    /// IPv4, with IPv6 switched off.
    V4Alone,
    /// IPv6, without any address of IPv4, not even on loopback.
    V6Alone,
    Both,
}

/// A switch with hosts 10.77.0.1, 10.77.0.2 … at it; with IPv6 they are fd77::1, fd77::2 …
pub struct Network {
    switch: Process,
    hosts: Vec<Process>,
    protocols: Protocols,
}

impl Network {
    /// Whether this machine allows it.
    pub fn possible() -> Result<(), String> {
        let steps = "ip link add switch type bridge && ip link add v1 type veth peer name v2";
        let tried = Command::new("unshare").args(["--net", "sh", "-c", steps]).output();
        let tried = tried.map_err(|error| format!("unshare cannot be run: {error}"))?;
        match tried.status.success() {
            true => Ok(()),
            false => Err(format!(
                "network namespaces cannot be made: {}",
                String::from_utf8_lossy(&tried.stderr).trim()
            )),
        }
    }

    pub fn possible_with_ipv6() -> Result<(), String> {
        Self::possible()?;
        ipv6()
    }

    /// A network of so many hosts, numbered from 0.
    pub fn of(hosts: usize) -> Self {
        Self::speaking(Protocols::V4, hosts)
    }

    pub fn speaking(protocols: Protocols, hosts: usize) -> Self {
        let network = Self { switch: namespace("switch"), hosts: Vec::new(), protocols };
        let switch = network.switch.id();
        configure(switch, "link add switch type bridge");
        configure(switch, "link set switch up");
        (0..hosts).fold(network, Self::plug_in)
    }

    fn plug_in(mut self, number: usize) -> Self {
        let host = namespace(&format!("host {number}"));
        let switch = self.switch.id();
        configure(switch, &format!("link add port{number} type veth peer name net netns {}", host.id()));
        configure(switch, &format!("link set port{number} master switch up"));
        configure(host.id(), "link set net up");
        configure(host.id(), "link set lo up");
        match self.protocols {
            Protocols::V4 | Protocols::Both => {}
            Protocols::V4Alone => switch_ipv6_off(host.id()),
            Protocols::V6Alone => configure(host.id(), "addr del 127.0.0.1/8 dev lo"),
        }
        if self.protocols != Protocols::V6Alone {
            configure(host.id(), &format!("addr add {}/24 dev net", address(number)));
        }
        if matches!(self.protocols, Protocols::V6Alone | Protocols::Both) {
            // No other host has it. IPv6 would take a second to make sure.
            configure(host.id(), &format!("addr add {}/64 dev net nodad", address_v6(number)));
        }
        self.hosts.push(host);
        self
    }

    /// A command that runs one of the binaries on a host.
    pub fn command(&self, host: usize, name: &str) -> Command {
        let mut command = within(self.hosts[host].id());
        command.arg(binary(name)).env(INSECURE, "true");
        command
    }

    /// The same, on a host that knows these names: the lines of an `/etc/hosts`, which is kept in `file`.
    pub fn command_with_names(&self, host: usize, name: &str, names: &str, file: &Path) -> Command {
        std::fs::write(file, names).expect("a lab's files can be written");
        let mut command = within(self.hosts[host].id());
        command.args(["unshare", "--mount", "sh", "-c", WITH_NAMES]).arg(file).arg(binary(name));
        command.env(INSECURE, "true");
        command
    }

    /// Pulls a host's cable, so that neither side is told.
    pub fn unplug(&self, host: usize) {
        configure(self.switch.id(), &format!("link set port{host} down"));
    }

    pub fn plug(&self, host: usize) {
        configure(self.switch.id(), &format!("link set port{host} up"));
    }

    /// Makes a host's link slow, in both directions.
    pub fn slow_down(&self, host: usize, kbit_per_s: u32) {
        let ends = [(self.switch.id(), format!("port{host}")), (self.hosts[host].id(), "net".to_owned())];
        for (holder, device) in ends {
            let rate = format!("{kbit_per_s}kbit");
            let mut command = within(holder);
            command.args(["tc", "qdisc", "add", "dev", &device, "root", "tbf", "rate", &rate]);
            let done = command.args(["burst", "32kb", "latency", "200ms"]).status();
            assert!(done.expect("nsenter was run before").success(), "tc cannot slow {device} down");
        }
    }

    /// Loses silently whatever `from` sends to `to`. (With a blackhole route `from` would be told.)
    pub fn cut_one_way(&self, from: usize, to: usize) {
        let cut = format!("neigh replace {} lladdr {NOBODY} dev net nud permanent", address(to));
        configure(self.hosts[from].id(), &cut);
    }

    /// Loses whatever these two send to each other.
    pub fn cut(&self, one: usize, other: usize) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Refuses whatever `from` sends to `to`, and tells it so, as a firewall does that rejects.
    pub fn reject(&self, from: usize, to: usize) {
        configure(self.hosts[from].id(), &format!("route add unreachable {}", address(to)));
    }

    /// Ends all cuts between these two.
    pub fn heal(&self, one: usize, other: usize) {
        for (from, to) in [(one, other), (other, one)] {
            // Fails where there is no cut.
            let _ = try_configure(self.hosts[from].id(), &format!("neigh del {} dev net", address(to)));
        }
    }
}

pub fn ipv6() -> Result<(), String> {
    std::net::TcpListener::bind("[::1]:0").map(drop).map_err(|error| format!("no IPv6: {error}"))
}

/// A command that takes the holder's namespace and becomes the program that follows it.
fn within(holder: u32) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--net", "--target", &holder.to_string()]);
    command
}

pub fn address_v6(host: usize) -> String {
    format!("fd77::{:x}", host + 1)
}

pub fn address(host: usize) -> String {
    format!("10.77.0.{}", host + 1)
}

/// A process that holds a new namespace, once it does.
fn namespace(label: &str) -> Process {
    let mut command = Command::new("unshare");
    command.args(["--net", "sleep", "infinity"]);
    let holder = Process::start(label, command);
    let of =
        |process: &str| std::fs::metadata(Path::new("/proc").join(process).join("ns/net")).map(|m| m.ino());
    let ours = of("self").expect("a process has a network");
    until(&format!("the namespace of {label} is there"), || match of(&holder.id().to_string()) {
        Ok(theirs) if theirs != ours => Ok(()),
        seen => Err(seen),
    });
    holder
}

fn switch_ipv6_off(holder: u32) {
    let mut command = within(holder);
    command.args(["sh", "-c"]).arg("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6");
    let done = command.status().expect("nsenter was run before");
    assert!(done.success(), "IPv6 cannot be switched off");
}

fn configure(holder: u32, words: &str) {
    try_configure(holder, words).unwrap_or_else(|error| panic!("ip {words}: {error}"));
}

fn try_configure(holder: u32, words: &str) -> Result<(), String> {
    let done = within(holder).arg("ip").args(words.split_whitespace()).output();
    let done = done.map_err(|error| error.to_string())?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}
