//! The address that a worker's peers are told.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use lsgan_console::Failure;
use lsgan_wire::Address;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::Args;

/// How long one of the coordinator's addresses may take to answer, before the next is tried.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Where peers reach this worker, which listens at `listens`: as the command line says, else at the address from which
/// this host reaches the coordinator.
///
/// # Errors
/// There is no address that other hosts could use; with the remedy.
pub async fn for_peers(args: &Args, listens: SocketAddr) -> Result<SocketAddr, Failure> {
    let ip = match args.advertise {
        Some(ip) => ip,
        None if !listens.ip().is_unspecified() => listens.ip(),
        None => towards(&args.address()?, listens.ip()).await?,
    };
    let ip = ip.to_canonical();
    if ip.is_unspecified() || ip.is_multicast() || is_link_local(ip) {
        return Err(Failure::bad_input(format!(
            "{ip} cannot be the address for peers: other hosts cannot reach it as it is. Name a routable address of \
             this host with --advertise IP."
        )));
    }
    Ok(SocketAddr::new(ip, listens.port()))
}

/// This host's address towards the coordinator. All addresses that the coordinator's name has are tried: first whether
/// something listens there, since a name may have one address of each protocol and the coordinator listen on one.
async fn towards(coordinator: &Address, listens: IpAddr) -> Result<IpAddr, Failure> {
    let authority = coordinator.authority();
    let unknown = |why: String| {
        Failure::failed(format!(
            "the address for peers cannot be found out: {why}. Name one with --advertise IP."
        ))
    };
    let addresses = lookup_host(authority).await.map_err(|error| unknown(error.to_string()))?;
    let addresses: Vec<SocketAddr> = addresses.collect();
    let usable: Vec<SocketAddr> =
        addresses.iter().copied().filter(|address| is_heard(address.ip(), listens)).collect();
    if usable.is_empty() {
        return Err(Failure::bad_input(format!(
            "the coordinator at {authority} is reached over IPv6, and --peer-listen {listens} hears IPv4 alone. Leave it \
             out, or write [::]:0, which hears both; or name an IPv4 address of this host with --advertise IP."
        )));
    }
    for &address in &usable {
        if let Ok(Ok(stream)) = timeout(ANSWER_TIMEOUT, TcpStream::connect(address)).await
            && let Ok(ours) = stream.local_addr()
        {
            return Ok(ours.ip());
        }
    }
    // It may have gone at this very moment; the route to it still says which address is ours.
    let mut why = String::new();
    for &address in &usable {
        match route(address) {
            Ok(ours) => return Ok(ours),
            Err(error) => why = format!("{address}: {error}"),
        }
    }
    Err(unknown(why))
}

/// This host's address on the way to `address`; sends nothing.
pub(crate) fn route(address: SocketAddr) -> std::io::Result<IpAddr> {
    let any = if address.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.local_addr().map(|ours| ours.ip())
}

/// Whether a connection to an address of `ip`'s protocol is heard by what listens on `listens`, which is all addresses:
/// `0.0.0.0` has those of IPv4 alone.
fn is_heard(ip: IpAddr, listens: IpAddr) -> bool {
    listens.is_ipv6() || ip.to_canonical().is_ipv4()
}

/// Such an address means something only together with an interface, which has another number on each host.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false, // one network; hosts do use it without any other
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    async fn told(arguments: &[&str], listens: &str) -> Result<String, String> {
        let args = Args::parse_from(["worker"].iter().chain(arguments).copied());
        let told = for_peers(&args, listens.parse().expect("it is an address")).await;
        told.map(|address| address.to_string()).map_err(|failure| failure.text)
    }

    #[tokio::test]
    async fn peers_are_told_what_the_command_line_says() {
        let some = ["--coordinator", "http://127.0.0.1:1"];
        assert_eq!(told(&some, "10.0.0.7:5").await.as_deref(), Ok("10.0.0.7:5"));
        assert_eq!(told(&some, "[fd00::7]:5").await.as_deref(), Ok("[fd00::7]:5"));
        let advertise = |ip| [&some[..], &["--advertise", ip]].concat();
        assert_eq!(told(&advertise("10.0.0.8"), "[::]:5").await.as_deref(), Ok("10.0.0.8:5"));
        assert_eq!(told(&advertise("::ffff:10.0.0.8"), "[::]:5").await.as_deref(), Ok("10.0.0.8:5"));
        for nowhere in ["0.0.0.0", "::", "fe80::1", "ff02::1"] {
            let refused = told(&advertise(nowhere), "[::]:5").await.expect_err(nowhere);
            assert!(refused.starts_with(&format!("{nowhere} cannot be the address for peers")), "{refused}");
        }
    }

    #[tokio::test]
    async fn peers_are_told_the_address_that_reaches_the_coordinator() {
        // Nothing listens there, so the route decides.
        assert_eq!(
            told(&["--coordinator", "http://127.0.0.1:1"], "[::]:5").await.as_deref(),
            Ok("127.0.0.1:5")
        );
        let mapped = told(&["--coordinator", "http://[::ffff:127.0.0.1]:1"], "0.0.0.0:5").await;
        assert_eq!(mapped.as_deref(), Ok("127.0.0.1:5"));
        let unheard = told(&["--coordinator", "http://[::1]:1"], "0.0.0.0:5").await.expect_err("IPv4 alone");
        assert!(unheard.contains("write [::]:0, which hears both"), "{unheard}");
    }
}
