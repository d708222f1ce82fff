//! A TCP proxy that can stall one or both directions and reset connections, as a network does that fails.
//!
//! Not here: links between workers, which dial each other at the addresses that they bound (`network` cuts those).

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::client::runtime;

const PIECE_BYTES: usize = 16 << 10;

/// The directions that are cut. Data waits there, as in a kernel that retransmits, and arrives once the cut is healed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    Whole,
    /// From the process that dialed to its target.
    Forth,
    /// From the target to the process that dialed.
    Back,
    /// Both; new connections are accepted and stay silent.
    Both,
}

/// What all connections obey.
#[derive(Clone, Copy, Debug)]
struct State {
    cut: Cut,
    /// Connections of an earlier number are over.
    resets: u64,
}

/// A proxy before one address. Dropping it closes everything.
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// One at a free port of `host`, before `target`, which need not listen yet.
    pub fn before(target: &str, host: &str) -> Self {
        let target: SocketAddr = target.parse().expect("a target is IP:PORT");
        let listener = runtime().block_on(TcpListener::bind((host, 0))).expect("there is a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let (state, seen) = watch::channel(State { cut: Cut::Whole, resets: 0 });
        let accepting = runtime().spawn(async move {
            while let Ok((dialer, _)) = listener.accept().await {
                tokio::spawn(carry(dialer, target, seen.clone()));
            }
        });
        Self { address, state, accepting }
    }

    /// Where it listens, as `http://127.0.0.1:7070`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Cuts, or heals with [`Cut::Whole`].
    pub fn cut(&self, cut: Cut) {
        self.state.send_modify(|state| state.cut = cut);
    }

    pub fn reset(&self) {
        self.state.send_modify(|state| state.resets += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.reset();
    }
}

/// Carries one connection until it ends or is reset.
async fn carry(dialer: TcpStream, target: SocketAddr, mut state: watch::Receiver<State>) {
    let resets = state.borrow_and_update().resets;
    let Ok(dialed) = TcpStream::connect(target).await else { return }; // which closes the dialer's too
    // Small messages: they must not wait for each other.
    let _ = (dialer.set_nodelay(true), dialed.set_nodelay(true));
    let ((from_dialer, to_dialer), (from_dialed, to_dialed)) = (dialer.into_split(), dialed.into_split());
    let over = Arc::new(tokio::sync::Notify::new());
    let forth = pump(from_dialer, to_dialed, state.clone(), |cut| matches!(cut, Cut::Forth | Cut::Both));
    let back = pump(from_dialed, to_dialer, state.clone(), |cut| matches!(cut, Cut::Back | Cut::Both));
    let (forth, back) = (tokio::spawn(ending(forth, over.clone())), tokio::spawn(ending(back, over.clone())));
    tokio::select! {
        _ = state.wait_for(|state| state.resets != resets) => {}
        () = over.notified() => {}
    }
    // The end of its pump tells a side that the other has ended.
    forth.abort();
    back.abort();
}

async fn ending(pump: impl Future<Output = ()>, over: Arc<tokio::sync::Notify>) {
    pump.await;
    over.notify_one();
}

/// Carries one direction, except while `stalls` is true of the cut.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    stalls: impl Fn(Cut) -> bool,
) {
    let resets = state.borrow().resets;
    // So that closing sends a reset.
    let _ = (from.as_ref().set_zero_linger(), to.as_ref().set_zero_linger());
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let Ok(len_bytes @ 1..) = from.read(&mut piece).await else { return };
        let passes = |state: &State| !stalls(state.cut) || state.resets != resets;
        if !state.wait_for(passes).await.is_ok_and(|state| state.resets == resets) {
            return;
        }
        if to.write_all(&piece[..len_bytes]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    fn pair() -> (Proxy, std::net::TcpStream, std::net::TcpStream) {
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::before(&target.local_addr().unwrap().to_string(), "127.0.0.1");
        let dialer = std::net::TcpStream::connect(proxy.address).unwrap();
        let (dialed, _) = target.accept().unwrap();
        for stream in [&dialer, &dialed] {
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        }
        (proxy, dialer, dialed)
    }

    fn one_byte(stream: &mut std::net::TcpStream) -> std::io::Result<u8> {
        let mut byte = [0];
        stream.read_exact(&mut byte).map(|()| byte[0])
    }

    #[test]
    fn a_one_way_cut_holds_one_way_until_it_is_healed() {
        let (proxy, mut dialer, mut dialed) = pair();
        proxy.cut(Cut::Forth);
        dialer.write_all(&[1]).unwrap();
        dialed.write_all(&[2]).unwrap();
        assert_eq!(one_byte(&mut dialer).unwrap(), 2);
        dialed.set_nonblocking(true).unwrap();
        assert!(one_byte(&mut dialed).is_err(), "it is cut");
        dialed.set_nonblocking(false).unwrap();
        proxy.cut(Cut::Whole);
        assert_eq!(one_byte(&mut dialed).unwrap(), 1);
    }

    #[test]
    fn a_reset_ends_both_sides_and_the_next_connection_is_whole() {
        let (proxy, mut dialer, mut dialed) = pair();
        proxy.cut(Cut::Both);
        proxy.reset();
        assert!(one_byte(&mut dialer).is_err());
        assert!(one_byte(&mut dialed).is_err());
    }
}
