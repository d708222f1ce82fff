//! The network interface that NCCL is told: the one with the address that peers are told.
//!
//! NCCL would take one by its name and order, and on a host with several, such as containers' bridges, it may be one that the
//! other hosts do not reach. It reads its settings from the environment, once.

use std::net::{IpAddr, ToSocketAddrs};

use lsgan_wire::Address;
use nix::ifaddrs::getifaddrs;

use crate::Args;
use crate::address::route;

/// NCCL's setting, and what it is set to where the user has not: `=` and a whole name. None where no interface has the address,
/// or the coordinator's name is not known yet.
#[must_use]
pub fn for_nccl(args: &Args) -> Option<(&'static str, String)> {
    let listens = Some(args.listens().ip()).filter(|ip| !ip.is_unspecified());
    let ours = args.advertise.or(listens).or_else(|| towards(&args.coordinator))?;
    Some(("NCCL_SOCKET_IFNAME", format!("={}", name_of(ours.to_canonical())?)))
}

/// This host's address on the way to the coordinator; sends nothing.
fn towards(coordinator: &str) -> Option<IpAddr> {
    let coordinator: Address = coordinator.parse().ok()?;
    coordinator.authority().to_socket_addrs().ok()?.find_map(|address| route(address).ok())
}

/// The interface with this address.
fn name_of(ip: IpAddr) -> Option<String> {
    let has = |address: &nix::sys::socket::SockaddrStorage| match ip {
        IpAddr::V4(ip) => address.as_sockaddr_in().is_some_and(|of| of.ip() == ip),
        IpAddr::V6(ip) => address.as_sockaddr_in6().is_some_and(|of| of.ip() == ip),
    };
    let mut interfaces = getifaddrs().ok()?;
    interfaces.find(|of| of.address.as_ref().is_some_and(has)).map(|of| of.interface_name)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn told(arguments: &[&str]) -> Option<String> {
        let args = Args::parse_from(["worker"].iter().chain(arguments).copied());
        for_nccl(&args).map(|(_, value)| value)
    }

    #[test]
    fn nccl_is_told_the_interface_of_the_address_that_peers_are_told() {
        for all_on_this_host in ["http://127.0.0.1:1", "http://localhost:1", "http://[::ffff:127.0.0.1]:1"] {
            assert_eq!(
                told(&["--coordinator", all_on_this_host]).as_deref(),
                Some("=lo"),
                "{all_on_this_host}"
            );
        }
        let elsewhere = ["--coordinator", "http://192.0.2.1:1"];
        for (option, value) in [("--advertise", "127.0.0.1"), ("--peer-listen", "127.0.0.1:0")] {
            assert_eq!(
                told(&[&elsewhere[..], &[option, value]].concat()).as_deref(),
                Some("=lo"),
                "{option}"
            );
        }
    }

    #[test]
    fn nccl_is_told_nothing_where_no_interface_has_the_address() {
        // As behind an address translation.
        assert_eq!(told(&["--coordinator", "http://127.0.0.1:1", "--advertise", "192.0.2.7"]), None);
        assert_eq!(told(&["--coordinator", "http://no-such-host.invalid:1"]), None);
    }
}
