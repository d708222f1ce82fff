//! Random groups and calls against plain arithmetic.

mod local;

use std::thread;

use lsgan_collective::Group;
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum RandomCall {
    Sum { length: usize },
    Broadcast { root: usize, length: usize },
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0_usize), 1_usize..10, 0_usize..5000, Just(40_000_usize)]
}

fn random_call() -> impl Strategy<Value = RandomCall> {
    prop_oneof![
        length().prop_map(|length| RandomCall::Sum { length }),
        (0_usize..7, length()).prop_map(|(root, length)| RandomCall::Broadcast { root, length }),
    ]
}

/// Any 64 bits; sums wrap as the trait says.
fn value(seed: u64, rank: usize, index: usize) -> i64 {
    (seed ^ (rank as u64) << 40 ^ index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) as i64
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Any sequence of calls on a group of any size gives what plain arithmetic gives, on every rank.
    #[test]
    fn calls_give_the_plain_result(size in 1_usize..7, seed in any::<u64>(), calls in vec(random_call(), 1..8)) {
        let ranks: Vec<_> = local::form(size)
            .into_iter()
            .map(|mut group| {
                let calls = calls.clone();
                thread::spawn(move || calls.iter().all(|call| gives_the_plain_result(&mut group, seed, call)))
            })
            .collect();
        for (rank, thread) in ranks.into_iter().enumerate() {
            prop_assert!(thread.join().expect("healthy groups do not fail"), "rank {rank}");
        }
    }
}

fn gives_the_plain_result(group: &mut dyn Group, seed: u64, call: &RandomCall) -> bool {
    let (rank, size) = (group.rank(), group.size());
    match *call {
        RandomCall::Sum { length } => {
            let mut values: Vec<_> = (0..length).map(|index| value(seed, rank, index)).collect();
            group.all_reduce_i64(&mut values).expect("a healthy group sums");
            let sum = |index| (0..size).fold(0_i64, |sum, rank| sum.wrapping_add(value(seed, rank, index)));
            values.iter().enumerate().all(|(index, value)| *value == sum(index))
        }
        RandomCall::Broadcast { root, length } => {
            let root = root % size;
            let mut bytes: Vec<_> = (0..length).map(|index| value(seed, rank, index) as u8).collect();
            group.broadcast(root, &mut bytes).expect("a healthy group broadcasts");
            bytes.iter().enumerate().all(|(index, byte)| *byte == value(seed, root, index) as u8)
        }
    }
}
