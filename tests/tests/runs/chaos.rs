//! A few fixed seeds of the random faults; `make chaos` runs fresh ones.

use lsgan_tests::chaos::{Schedule, run};

#[track_caller]
fn round(seed: u64) {
    let schedule = Schedule::of(seed);
    println!("seed {seed}, {schedule}; `make chaos ROUNDS=1 SEED={seed}` does it again");
    run(&schedule);
}

#[test]
fn faults_of_seeds_1_to_4_change_no_bit() {
    (1..=4).for_each(round);
}

#[test]
fn faults_of_seeds_5_to_8_change_no_bit() {
    (5..=8).for_each(round);
}
