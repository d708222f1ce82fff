//! Accepts connections at any time, on a thread of its own: [`Door`].
//!
//! A worker looks at its connections only while it forms a generation. Left to the kernel until then, they would fill the
//! listener's queue: a stranger who opens a thousand of them, and says nothing, would make the worker unreachable for its
//! peers. Here the newest connections wait, and no host takes the room of the others.

use std::fmt;
use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;

use crate::GroupError;

/// Connections that wait. One other rank dials this one; the rest of the room is for unrelated programs.
const WAITING_MAX: usize = 64;
/// After accepting failed, as where there are no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A socket that listens. It is closed when this is dropped.
pub(super) struct Door {
    shared: Arc<Shared>,
    /// Its other end wakes the thread for the last time when it is dropped.
    open: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    socket: Socket,
    waiting: Mutex<Vec<Socket>>,
    /// Has one byte while connections wait.
    arrived: PipeReader,
    arrive: PipeWriter,
}

impl Door {
    /// `socket` does not block.
    pub(super) fn open(socket: Socket) -> Result<Self, GroupError> {
        let pipe = || pipe().map_err(|error| GroupError::system("make a pipe", &error));
        let ((arrived, arrive), (closed, open)) = (pipe()?, pipe()?);
        let shared = Arc::new(Shared { socket, waiting: Mutex::default(), arrived, arrive });
        let at_the_door = shared.clone();
        let thread = thread::Builder::new().name("ring door".to_owned());
        let thread = thread.spawn(move || at_the_door.accept_until(&closed));
        let thread = thread.map_err(|error| GroupError::system("start a thread", &error))?;
        Ok(Self { shared, open: Some(open), thread: Some(thread) })
    }

    /// Readable while connections wait.
    pub(super) fn arrived(&self) -> BorrowedFd<'_> {
        self.shared.arrived.as_fd()
    }

    /// The connections that wait, oldest first.
    pub(super) fn take(&self) -> Vec<Socket> {
        let mut waiting = self.shared.waiting();
        if !waiting.is_empty() {
            // The byte is there: it was written under the same lock.
            _ = (&self.shared.arrived).read(&mut [0]);
        }
        std::mem::take(&mut *waiting)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.open.take();
        // If it panicked, the test or the worker has said so.
        _ = self.thread.take().map(JoinHandle::join);
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Door({:?})", self.shared.socket)
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Vec<Socket>> {
        self.waiting.lock().expect("nothing panics while connections are kept")
    }

    /// Accepts until the other end of `closed` is.
    fn accept_until(&self, closed: &PipeReader) {
        loop {
            let mut fds = [self.socket.as_fd(), closed.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            // An interrupted call is made again.
            _ = poll(&mut fds, PollTimeout::NONE);
            if fds[1].any().unwrap_or(true) {
                return;
            }
            match self.socket.accept() {
                Ok((socket, _)) => self.keep(socket),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    _ => thread::sleep(ACCEPT_PAUSE),
                },
            }
        }
    }

    fn keep(&self, socket: Socket) {
        // If the connection broke here, reading it finds that out. A local one delays nothing.
        _ = socket.set_nonblocking(true).and_then(|()| socket.set_tcp_nodelay(true));
        let mut waiting = self.waiting();
        if waiting.is_empty() {
            // One byte into an empty pipe whose reader lives as long as its writer.
            _ = (&self.arrive).write(&[1]);
        }
        waiting.push(socket);
        make_room(&mut waiting, WAITING_MAX, host);
    }
}

/// The host of a connection; none for this host's own, and once it is broken.
pub(super) fn host(socket: &Socket) -> Option<IpAddr> {
    socket.peer_addr().ok().and_then(|address| address.as_socket()).map(|address| address.ip())
}

/// Drops connections until there are at most so many: the first ones of the host that has the most, so that no host takes
/// the room of the others.
pub(super) fn make_room<T>(connections: &mut Vec<T>, max: usize, host: impl Fn(&T) -> Option<IpAddr>) {
    while connections.len() > max {
        let hosts: Vec<_> = connections.iter().map(&host).collect();
        let count = |of: &Option<IpAddr>| hosts.iter().filter(|host| *host == of).count();
        let most = hosts.iter().map(count).max();
        let first = hosts.iter().position(|host| Some(count(host)) == most).expect("there are some");
        connections.remove(first);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Instant;

    use socket2::{Domain, Type};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn a_host_that_fills_the_room_loses_its_own_connections_alone() {
        let [quiet, loud] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(|ip| Some(IpAddr::from(ip)));
        let mut connections = vec![(0, quiet), (1, loud), (2, loud), (3, loud)];
        make_room(&mut connections, 2, |(_, host)| *host);
        assert_eq!(connections, [(0, quiet), (3, loud)]);
        make_room(&mut connections, 1, |(_, host)| *host);
        assert_eq!(connections, [(3, loud)]);
    }

    /// A stranger has opened as many connections as he likes when a member connects, and nobody has looked at them.
    #[test]
    fn who_opens_many_connections_and_says_nothing_keeps_no_member_out() {
        let tcp = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are file descriptors left");
        let socket = tcp();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("there is a free port");
        socket.listen(16).expect("it can listen");
        socket.set_nonblocking(true).expect("sockets can be switched");
        let address = socket.local_addr().expect("it is bound");
        let door = Door::open(socket).expect("there are file descriptors left");

        let strangers: Vec<_> = (0..300)
            .map(|_| {
                let stranger = tcp();
                let elsewhere = SocketAddr::from((Ipv4Addr::new(127, 66, 0, 1), 0));
                stranger.bind(&elsewhere.into()).expect("all of 127.0.0.0/8 is here");
                stranger.connect_timeout(&address, PATIENCE).expect("it is accepted");
                stranger
            })
            .collect();
        let member = tcp();
        member.connect_timeout(&address, PATIENCE).expect("it is accepted too");
        let ours = member.local_addr().expect("it is connected").as_socket();
        let begin = Instant::now();
        let mut kept = 0;
        loop {
            let mut fds = [PollFd::new(door.arrived(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::from(100_u16)).expect("a pipe can be polled");
            let taken = door.take();
            kept += taken.len();
            if taken.iter().any(|socket| socket.peer_addr().ok().and_then(|from| from.as_socket()) == ours) {
                break;
            }
            assert!(begin.elapsed() < PATIENCE, "the member's connection is not among {kept}");
        }
        assert!(kept <= WAITING_MAX + strangers.len() - 200, "{kept} connections were kept");
    }
}
