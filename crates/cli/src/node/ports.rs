//! The ports at which the workers of a host listen for their peers.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// Where the workers of a host listen for their peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerPorts {
    ip: IpAddr,
    first: u16,
    last: u16,
}

impl FromStr for PeerPorts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{text}` is neither IP:PORT nor IP:FIRST-LAST, as 0.0.0.0:7100-7107");
        let (ip, ports) = text.rsplit_once(':').ok_or_else(wrong)?;
        let ip = ip.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| wrong())?;
        let port = |text: &str| text.parse::<u16>().map_err(|_| wrong());
        let (first, last) = match ports.split_once('-') {
            Some((first, last)) => (port(first)?, port(last)?),
            None => (port(ports)?, u16::MAX),
        };
        if first > last || first == 0 && last != u16::MAX {
            return Err(format!("`{text}`: ports go from FIRST to LAST, both above 0"));
        }
        Ok(Self { ip, first, last })
    }
}

impl PeerPorts {
    /// Where the worker of this number, counted from 1, listens.
    #[must_use]
    pub fn of(self, number: u32) -> Option<SocketAddr> {
        if self.first == 0 {
            return Some(SocketAddr::new(self.ip, 0));
        }
        let port = u32::from(self.first) + number - 1;
        u16::try_from(port).ok().filter(|&port| port <= self.last).map(|port| SocketAddr::new(self.ip, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_has_a_port_of_its_own() {
        let ports: PeerPorts = "10.0.0.1:7100-7101".parse().unwrap();
        let of = |number| ports.of(number).map(|address| address.to_string());
        assert_eq!(of(1).as_deref(), Some("10.0.0.1:7100"));
        assert_eq!(of(2).as_deref(), Some("10.0.0.1:7101"));
        assert_eq!(of(3), None);
        let base: PeerPorts = "[::]:7100".parse().unwrap();
        assert_eq!(base.of(9).unwrap().to_string(), "[::]:7108");
        let free: PeerPorts = "0.0.0.0:0".parse().unwrap();
        assert_eq!(free.of(5).unwrap().port(), 0);
        for wrong in ["7100", "host:7100", "0.0.0.0:7101-7100", "0.0.0.0:0-5", "0.0.0.0:x"] {
            assert!(wrong.parse::<PeerPorts>().is_err(), "{wrong}");
        }
    }
}
