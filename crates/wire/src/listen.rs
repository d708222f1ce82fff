//! Where a server listens: on one address of its host, or on all of them, of both protocols.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::str::FromStr;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Connections that the kernel keeps until they are accepted; it takes less where `net.core.somaxconn` is less.
const BACKLOG: i32 = 1024;

/// An address to listen on, as people write it: an IP address or a name of this host, and a port; port 0 takes a free
/// one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    host: String,
    port: u16,
}

impl Listen {
    /// Listens on the first of its addresses that can be listened on. Looks a name up, so that it may block.
    ///
    /// # Errors
    /// A name that has no address, or what the system said of the last address.
    pub fn bind(&self) -> io::Result<TcpListener> {
        let mut result = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            result = listen(address);
            if result.is_ok() {
                break;
            }
        }
        result
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = || {
            let (host, port) = text.rsplit_once(':')?;
            let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let host = match bracketed {
                Some(host) => host.parse::<Ipv6Addr>().is_ok().then_some(host)?,
                None => Some(host).filter(|host| !host.is_empty() && !host.contains(['[', ']', ':', '/']))?,
            };
            Some(Self { host: host.to_owned(), port: port.parse().ok()? })
        };
        parsed().ok_or_else(|| {
            "write IP:PORT or NAME:PORT, for example 127.0.0.1:7070, localhost:7070, or [::]:7070 for all addresses of \
             this host"
                .to_owned()
        })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Listens on `address`; `[::]` is all addresses of this host, of IPv6 and IPv4.
///
/// A host without IPv6 listens on `0.0.0.0` where `[::]` is asked for, one without IPv4 on `[::1]` where `127.0.0.1`
/// is, so that the defaults work on both.
///
/// # Errors
/// What the system said.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    listen_on(address).or_else(|error| match substitute(address) {
        Some(other) if lacks_protocol(&error) => listen_on(other).map_err(|_| error),
        _ => Err(error),
    })
}

/// Where processes of this host reach what listens at `address`: what listens on all addresses, on loopback.
#[must_use]
pub fn from_here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        // Both protocols are heard there, and this host may lack either.
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            let loopback = listen((Ipv4Addr::LOCALHOST, 0).into()).and_then(|listener| listener.local_addr());
            loopback.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
        }
        named => named,
    };
    SocketAddr::new(ip, address.port())
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // As std does: a server that is started again need not wait for its old connections.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // The system's own choice is `net.ipv6.bindv6only`, which some distributions change.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Where to listen on a host that lacks the protocol of `address`.
fn substitute(address: SocketAddr) -> Option<SocketAddr> {
    let ip = match address.ip() {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V4(Ipv4Addr::LOCALHOST) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        _ => return None,
    };
    Some(SocketAddr::new(ip, address.port()))
}

/// Whether this host cannot have such an address: the kernel lacks the protocol, or no interface has it.
fn lacks_protocol(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn an_address_is_read_as_people_write_it() {
        for text in ["127.0.0.1:7070", "[::1]:0", "[::]:7070", "localhost:7070", "node-3.cluster.local:1"] {
            assert_eq!(text.parse::<Listen>().map(|listen| listen.to_string()).as_deref(), Ok(text));
        }
        for text in
            ["", "7070", ":7070", "::1:7070", "[::1]", "[localhost]:1", "localhost:", "h:65536", "http://h:1"]
        {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }

    #[test]
    fn all_addresses_are_those_of_both_protocols() {
        let listener = listen("[::]:0".parse().expect("it is one")).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it takes IPv4");
        // A host without IPv6 has no such address.
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).expect("it takes IPv6");
        }
    }

    #[test]
    fn what_listens_on_all_addresses_is_reached_on_loopback() {
        let reached = |text: &str| from_here(text.parse().expect("it is one"));
        assert!(reached("[::]:7070").ip().is_loopback());
        assert_eq!(reached("[::]:7070").port(), 7070);
        assert_eq!(reached("0.0.0.0:1").to_string(), "127.0.0.1:1");
        assert_eq!(reached("10.0.0.1:1").to_string(), "10.0.0.1:1");
    }

    #[test]
    fn a_host_that_lacks_a_protocol_listens_with_the_other() {
        let other = |text: &str| {
            substitute(text.parse().expect("it is one")).map(|address: SocketAddr| address.to_string())
        };
        assert_eq!(other("[::]:7070").as_deref(), Some("0.0.0.0:7070"));
        assert_eq!(other("127.0.0.1:7070").as_deref(), Some("[::1]:7070"));
        // What was named is meant.
        assert_eq!(other("10.0.0.1:7070"), None);
        assert_eq!(other("0.0.0.0:7070"), None);
        assert_eq!(other("[::1]:7070"), None);
    }
}
