//! Unix sockets between members on one host: they move values for a third of the CPU time that TCP takes over loopback.
//!
//! A listener's Unix socket is named after its TCP address, in the abstract namespace, which is one for each network namespace,
//! as TCP addresses are. So a dialer finds it exactly where that address is one of its own host's, and in no other container;
//! whoever does not find it takes TCP. The first bytes and the proofs are the same. What does not leave the host is not
//! encrypted.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::ffi::OsStrExt;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;
use socket2::{Domain, SockAddr, Socket, Type};

use super::RingKey;

/// One member dials, and what waits is taken at once (`door`).
const BACKLOG: i32 = 128;

/// Listens beside this TCP address. None where the system has no such sockets, or another program took the name: then members
/// come over TCP.
pub(super) fn listen(address: SocketAddr) -> Option<Socket> {
    let opened = || -> io::Result<Socket> {
        let socket = open()?;
        socket.bind(&name(address)?)?;
        socket.listen(BACKLOG)?;
        Ok(socket)
    };
    opened().ok()
}

/// Connects to the listener that is told to be at this address. None where it is not on this host, or not of this user.
pub(super) fn dial(address: SocketAddr) -> Option<Socket> {
    // A listener on all addresses has none of its own in its name; whether `address` is of this host must be looked at.
    let everywhere =
        [IpAddr::from([0; 4]), IpAddr::from([0; 16])].map(|ip| SocketAddr::new(ip, address.port()));
    let everywhere = everywhere.into_iter().filter(|_| is_of_this_host(address.ip()));
    std::iter::once(address).chain(everywhere).find_map(|named| {
        let socket = open().ok()?;
        socket.connect(&name(named).ok()?).ok()?;
        let theirs = getsockopt(&socket, PeerCredentials).ok()?;
        (theirs.uid() == geteuid().as_raw()).then_some(socket)
    })
}

/// Whether both ends of this connection are on this host.
pub(crate) fn is_local(socket: &Socket) -> bool {
    socket.domain().is_ok_and(|domain| domain == Domain::UNIX)
}

/// What the two ends of this connection prove to each other, and whether they encrypt.
pub(super) fn key_on(socket: &Socket, key: &RingKey) -> RingKey {
    RingKey { sealed: key.sealed && !is_local(socket), ..*key }
}

fn open() -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn name(address: SocketAddr) -> io::Result<SockAddr> {
    let name = format!("\0lsgan ring {address}");
    SockAddr::unix(std::ffi::OsStr::from_bytes(name.as_bytes()))
}

fn is_of_this_host(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_at_its_own_address_and_no_other() {
        let here = SocketAddr::from(([127, 0, 0, 1], 9));
        let elsewhere = SocketAddr::from(([127, 0, 0, 2], 9));
        let listener = listen(here).expect("nobody listens there");
        assert!(listen(here).is_none(), "the name is taken");
        assert!(dial(elsewhere).is_none(), "another program may listen there");
        let dialed = dial(here).expect("it listens");
        assert!(is_local(&dialed));
        drop(listener);
        assert!(dial(here).is_none(), "a name ends with its listener");
    }

    #[test]
    fn a_listener_on_all_addresses_is_found_at_those_of_this_host() {
        let everywhere = SocketAddr::from(([0; 4], 10));
        let _listener = listen(everywhere).expect("nobody listens there");
        assert!(dial(SocketAddr::from(([127, 0, 0, 1], 10))).is_some());
        // An address for documentation, which no host has.
        assert!(dial(SocketAddr::from(([192, 0, 2, 1], 10))).is_none());
    }
}
