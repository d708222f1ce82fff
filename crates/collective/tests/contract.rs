//! The table of implementations, each held to the whole contract.

mod local;

use std::sync::LazyLock;

use local::double::{self, Double};
use lsgan_collective::Group;
use lsgan_collective::contract::{DeadPeer, Implementation, Mismatch, contract};
use lsgan_collective::nccl::NcclGroup;

/// One line for each implementation.
const IMPLEMENTATIONS: &[Implementation] = &[
    Implementation {
        name: "tcp",
        make: make_tcp,
        size_max: 8,
        dead_peer: DeadPeer::FailsTheCall,
        mismatch: Mismatch::FailsTheCall,
    },
    Implementation {
        name: "nccl over its double",
        make: make_nccl,
        size_max: 8,
        dead_peer: DeadPeer::FailsTheCall,
        mismatch: Mismatch::Undefined,
    },
    Implementation {
        name: "nccl over its double, whose calls go on in threads of its own",
        make: make_lazy_nccl,
        size_max: 8,
        dead_peer: DeadPeer::FailsTheCall,
        mismatch: Mismatch::Undefined,
    },
];

fn make_tcp(size: usize) -> Vec<Box<dyn Group>> {
    local::form(size).into_iter().map(|group| Box::new(group) as Box<dyn Group>).collect()
}

fn make_nccl(size: usize) -> Vec<Box<dyn Group>> {
    static DOUBLE: LazyLock<Double> = LazyLock::new(|| Double::with(&[]));
    boxed(double::form(&vec![&*DOUBLE; size]))
}

fn make_lazy_nccl(size: usize) -> Vec<Box<dyn Group>> {
    static DOUBLE: LazyLock<Double> = LazyLock::new(|| Double::with(&[("LAZY_MS", 1), ("GARBAGE", 1)]));
    boxed(double::form(&vec![&*DOUBLE; size]))
}

fn boxed(groups: Vec<NcclGroup>) -> Vec<Box<dyn Group>> {
    groups.into_iter().map(|group| Box::new(group) as Box<dyn Group>).collect()
}

#[test]
fn every_implementation_keeps_the_contract() {
    IMPLEMENTATIONS.iter().for_each(contract);
}
