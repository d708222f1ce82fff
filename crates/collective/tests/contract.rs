//! The table of implementations, each held to the whole contract.

mod local;

use lsgan_collective::Group;
use lsgan_collective::contract::{DeadPeer, Implementation, Mismatch, contract};

/// One line for each implementation.
const IMPLEMENTATIONS: &[Implementation] = &[Implementation {
    name: "tcp",
    make: make_tcp,
    size_max: 8,
    dead_peer: DeadPeer::FailsTheCall,
    mismatch: Mismatch::FailsTheCall,
}];

fn make_tcp(size: usize) -> Vec<Box<dyn Group>> {
    local::form(size).into_iter().map(|group| Box::new(group) as Box<dyn Group>).collect()
}

#[test]
fn every_implementation_keeps_the_contract() {
    IMPLEMENTATIONS.iter().for_each(contract);
}
