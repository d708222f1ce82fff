//! Groups whose ranks all live in this process, on the loopback interface.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod double;
pub mod raw;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use lsgan_collective::tcp::{Listener, Membership, RunToken, TcpGroup, connect};
use lsgan_collective::{Aborter, GroupError};
use lsgan_spec::Generation;

/// The run that these tests belong to.
pub const TOKEN: RunToken = RunToken([7; 32]);

/// Long enough for anything that should succeed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A listener on a free port of the loopback interface.
pub fn listener() -> Listener {
    Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("loopback has free ports")
}

/// A new aborter.
pub fn aborter() -> Aborter {
    Aborter::new().expect("there are file descriptors left")
}

/// What rank `rank` of these members joins.
pub fn membership(generation: u64, rank: usize, members: &[SocketAddr]) -> Membership {
    Membership { token: TOKEN, generation: Generation(generation), rank, members: members.to_vec() }
}

/// Joins with a generous deadline.
pub fn join(listener: &mut Listener, membership: &Membership) -> Result<TcpGroup, GroupError> {
    connect(listener, membership, Instant::now() + PATIENCE, &aborter())
}

/// A group of this size, by rank.
pub fn form(size: usize) -> Vec<TcpGroup> {
    let mut listeners: Vec<_> = (0..size).map(|_| listener()).collect();
    form_over(&mut listeners, 1)
}

/// The group of this generation over these listeners, by rank.
pub fn form_over(listeners: &mut [Listener], generation: u64) -> Vec<TcpGroup> {
    let members: Vec<_> = listeners.iter().map(Listener::local_addr).collect();
    thread::scope(|scope| {
        let joining: Vec<_> = listeners
            .iter_mut()
            .enumerate()
            .map(|(rank, listener)| {
                let membership = membership(generation, rank, &members);
                scope.spawn(move || join(listener, &membership))
            })
            .collect();
        joining
            .into_iter()
            .map(|thread| thread.join().expect("joining does not panic").expect("all members are there"))
            .collect()
    })
}
