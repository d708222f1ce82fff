//! Sums that travel in buckets of 32-bit words, some of them while others are computed: the trained bits are those of one
//! worker, which sends nothing. The networks of the other tests are so small that their sums are one call.

use std::sync::OnceLock;

use lsgan_tests::disturb::{Cluster, assert_disturbed, wait_for_members};
use lsgan_tests::lab::BUCKETS;
use lsgan_tests::{Lab, Weights};
use nix::sys::signal::Signal;

/// Of an undisturbed run of [`BUCKETS`] with one worker.
fn undisturbed() -> &'static Weights {
    static WEIGHTS: OnceLock<Weights> = OnceLock::new();
    WEIGHTS.get_or_init(|| {
        let lab = Lab::new();
        lab.up(1, &BUCKETS).succeeds();
        lab.weights()
    })
}

#[test]
fn two_to_eight_workers_train_the_bits_of_one() {
    for workers in [2, 3, 8] {
        let lab = Lab::new();
        lab.up(workers, &BUCKETS).succeeds();
        assert_eq!(lab.journal().generations()[0].members, u64::from(workers));
        assert_eq!(lab.weights(), *undisturbed(), "{workers} workers");
    }
}

#[test]
fn a_kill_a_join_and_a_leave_change_no_bit() {
    let mut cluster = Cluster::of(&[("one", &[]), ("two", &[]), ("three", &[])], &BUCKETS);
    cluster.wait_for_step(5);
    cluster.workers.remove(1).kill();
    wait_for_members(&cluster.lab, 2);
    cluster.join("four", &[]);
    wait_for_members(&cluster.lab, 3);
    cluster.leaves(0);
    let lab = cluster.ends_well();
    assert_disturbed(&lab, "held");
    assert_eq!(lab.weights(), *undisturbed());
}

#[test]
fn a_run_that_is_stopped_and_resumed_with_others_has_the_same_bits() {
    let lab = Lab::new();
    let mut up = lab.up(3, &BUCKETS);
    lab.client(&mut up).wait_for_step(7);
    up.signal(Signal::SIGINT);
    up.wait().expect_code(130);
    lab.up(2, &BUCKETS).succeeds();
    assert_eq!(lab.weights(), *undisturbed());
}
