//! Records what others say on this host's loopback, as somebody on the way does: root alone may.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::ring::Members;
use super::{ELSEWHERE, Shared};

/// All protocols (linux/if_ether.h), as the kernel takes it.
const ETH_P_ALL: u16 = 0x0003;
const ETHERNET_HEADER_BYTES: usize = 14;
const TCP: u8 = 6;
const SYN: u8 = 2;
const ACK: u8 = 16;
/// What loopback carries in one piece, and more.
const PACKET_BYTES_MAX: usize = 128 << 10;
/// Enough for a handshake and the first frames of the ring.
const RECORDING_BYTES_MAX: usize = 32 << 10;
const RECORDINGS_MAX: usize = 32;

/// A connection, from its dialer's end: from where to where.
type Way = (SocketAddr, SocketAddr);

/// The beginnings of connections.
#[derive(Default)]
pub struct Recordings {
    is_on: AtomicBool,
    members: Mutex<Members>,
    /// Whose ports are listened to.
    ports: Mutex<Vec<SocketAddr>>,
    all: Mutex<VecDeque<(SocketAddr, Vec<u8>)>>,
}

impl Recordings {
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Who the members are now, whose ports are listened to from now on.
    pub fn expect_of(&self, members: Members, shared: &Shared) {
        let mut ports = members.addresses.clone();
        // Without encryption an eavesdropper has what a worker shows itself with: a run is not protected from that.
        if shared.target.certificates.is_some() {
            ports.push(shared.coordinator());
        }
        *self.ports.lock().expect("nothing panics there") = ports;
        *self.members.lock().expect("nothing panics there") = members;
    }

    pub fn members(&self) -> Members {
        self.members.lock().expect("nothing panics there").clone()
    }

    /// What was recorded, and where it was said.
    pub fn recordings(&self) -> Vec<(SocketAddr, Vec<u8>)> {
        self.all.lock().expect("nothing panics there").iter().cloned().collect()
    }
}

/// Records on a thread of its own until the attack is over. Without root nothing is.
pub fn listen(shared: Arc<Shared>) {
    let protocol = Protocol::from(i32::from(ETH_P_ALL.to_be()));
    let Ok(mut socket) = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)) else { return };
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out can be set");
    shared.heard.is_on.store(true, Ordering::Relaxed);
    std::thread::spawn(move || {
        let mut packet = vec![0; PACKET_BYTES_MAX];
        let mut flows = BTreeMap::new();
        while !shared.is_over() {
            let Ok(len) = socket.read(&mut packet) else { continue };
            if let Some(segment) = segment(&packet[..len]) {
                record(&shared.heard, &mut flows, &segment);
            }
        }
    });
}

/// A connection that is recorded.
struct Flow {
    next: u32,
    said: Vec<u8>,
}

struct Segment<'a> {
    way: Way,
    sequence: u32,
    opens: bool,
    data: &'a [u8],
}

/// The segment of TCP in a packet of IPv4.
fn segment(packet: &[u8]) -> Option<Segment<'_>> {
    let ip = packet.get(ETHERNET_HEADER_BYTES..)?;
    let header = usize::from(ip.first()? & 15) * 4;
    if ip.first()? >> 4 != 4 || *ip.get(9)? != TCP {
        return None;
    }
    let host = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(ip.get(at..at + 4)?).ok()?));
    let tcp = ip.get(header..)?;
    let port = |at: usize| Some(u16::from_be_bytes(tcp.get(at..at + 2)?.try_into().ok()?));
    let way = ((host(12)?, port(0)?).into(), (host(16)?, port(2)?).into());
    let sequence = u32::from_be_bytes(tcp.get(4..8)?.try_into().ok()?);
    let data = tcp.get(usize::from(tcp.get(12)? >> 4) * 4..)?;
    let opens = tcp.get(13)? & (SYN | ACK) == SYN;
    Some(Segment { way, sequence, opens, data })
}

/// Keeps what a dialer says first. A packet on loopback comes twice: as it is sent and as it is received.
fn record(heard: &Recordings, flows: &mut BTreeMap<Way, Flow>, segment: &Segment<'_>) {
    let (from, to) = segment.way;
    let is_ours = from.ip() == ELSEWHERE;
    if is_ours || !heard.ports.lock().expect("nothing panics there").contains(&to) {
        return;
    }
    if segment.opens {
        flows.insert(segment.way, Flow { next: segment.sequence.wrapping_add(1), said: Vec::new() });
    }
    let Some(flow) = flows.get_mut(&segment.way) else { return };
    if segment.sequence != flow.next || segment.data.is_empty() {
        return;
    }
    flow.next = flow.next.wrapping_add(segment.data.len() as u32);
    flow.said.extend(segment.data);
    let is_whole = flow.said.len() >= RECORDING_BYTES_MAX;
    let mut all = heard.all.lock().expect("nothing panics there");
    all.retain(|(_, said)| !flow.said.starts_with(said));
    all.push_back((to, flow.said.clone()));
    while all.len() > RECORDINGS_MAX {
        all.pop_front();
    }
    if is_whole {
        flows.remove(&segment.way);
    }
}
