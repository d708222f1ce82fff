//! Groups whose ranks are all in this process, on the loopback interface.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod double;
pub mod raw;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use lsgan_collective::tcp::{Listener, Membership, RingKey, RunToken, TcpGroup, connect};
use lsgan_collective::{Aborter, GroupError};
use lsgan_spec::Generation;

pub const TOKEN: RunToken = RunToken([7; 32]);
pub const KEY: RingKey = RingKey { secret: [9; 32], sealed: false };

/// Long enough for anything that should succeed.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn listener() -> Listener {
    Listener::on(raw::listener().0).expect("a socket that listens")
}

pub fn aborter() -> Aborter {
    Aborter::new().expect("there are file descriptors left")
}

pub fn membership(generation: u64, rank: usize, members: &[SocketAddr]) -> Membership {
    let generation = Generation(generation);
    Membership { token: TOKEN, key: KEY, generation, rank, members: members.to_vec() }
}

pub fn join(listener: &mut Listener, membership: &Membership) -> Result<TcpGroup, GroupError> {
    connect(listener, membership, Instant::now() + PATIENCE, &aborter())
}

/// All ranks of a group of this size.
pub fn form(size: usize) -> Vec<TcpGroup> {
    let mut listeners: Vec<_> = (0..size).map(|_| listener()).collect();
    form_over(&mut listeners, 1)
}

/// The same, encrypted.
pub fn form_sealed(size: usize) -> Vec<TcpGroup> {
    let mut listeners: Vec<_> = (0..size).map(|_| listener()).collect();
    form_with(&mut listeners, 1, RingKey { sealed: true, ..KEY })
}

/// The same over Unix sockets.
pub fn form_local(size: usize) -> Vec<TcpGroup> {
    let mut listeners: Vec<_> = (0..size).map(|_| listener().also_local()).collect();
    form_over(&mut listeners, 1)
}

/// All ranks of this generation's group over these listeners.
pub fn form_over(listeners: &mut [Listener], generation: u64) -> Vec<TcpGroup> {
    form_with(listeners, generation, KEY)
}

fn form_with(listeners: &mut [Listener], generation: u64, key: RingKey) -> Vec<TcpGroup> {
    let members: Vec<_> = listeners.iter().map(Listener::local_addr).collect();
    thread::scope(|scope| {
        let joining: Vec<_> = listeners
            .iter_mut()
            .enumerate()
            .map(|(rank, listener)| {
                let membership = Membership { key, ..membership(generation, rank, &members) };
                scope.spawn(move || join(listener, &membership))
            })
            .collect();
        joining
            .into_iter()
            .map(|thread| thread.join().expect("joining does not panic").expect("all members are there"))
            .collect()
    })
}
