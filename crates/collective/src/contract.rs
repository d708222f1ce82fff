//! The tests that every implementation must pass.
//!
//! [`contract`] runs all of [`CASES`] for each [`Implementation`] in the table of `tests/implementations.rs`. The limits of an
//! implementation are in its row; they change what a case expects, never whether it runs.
//!
//! All ranks of [`contract`] are in one process. [`processes`] is for ranks that must be separate processes.

mod failures;
pub mod processes;
mod sums;
mod support;

use std::time::Instant;

use crate::Group;

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Implementation {
    pub name: &'static str,
    /// Forms a new group of this many ranks in this process, by rank.
    pub make: fn(usize) -> Vec<Box<dyn Group>>,
    /// The most ranks that `make` can form here. At least 2.
    pub size_max: usize,
    pub mismatch: Mismatch,
}

/// What happens when ranks make different calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// All calls fail, and one error says what differs.
    FailsTheCall,
    /// Such calls must not be made.
    Undefined,
}

/// A case's name and function, which panics where the implementation is wrong.
pub type Case = (&'static str, fn(&Implementation));

macro_rules! cases {
    ($($module:ident::$case:ident),* $(,)?) => { &[$((stringify!($case), $module::$case)),*] };
}

pub const CASES: &[Case] = cases![
    sums::ranks_size_and_generation_are_told,
    sums::integer_sums_are_exact,
    sums::sums_of_32_bits_are_exact_and_the_values_stay,
    sums::a_large_sum_is_exact,
    sums::float_sums_have_the_same_bits_on_every_rank,
    sums::many_calls_of_changing_length_follow_each_other,
    sums::every_rank_gets_the_bytes_of_any_root,
    sums::a_rank_may_leave_after_its_last_call,
    sums::a_group_of_one_keeps_its_values,
    sums::a_barrier_waits_for_the_last_rank,
    failures::a_root_that_does_not_exist_is_refused,
    failures::an_abort_before_a_call_ends_it,
    failures::an_abort_in_the_middle_of_a_call_ends_it_at_once,
    failures::nothing_is_written_after_an_abort,
    failures::an_abort_racing_with_completion_leaves_exact_sums,
    failures::an_abort_among_the_buckets_of_a_sum_leaves_whole_ones,
    failures::all_ranks_may_abort_at_once,
    failures::a_dead_peer_ends_the_call_of_every_other,
    failures::different_lengths_are_noticed,
    failures::different_kinds_are_noticed,
    failures::different_roots_are_noticed,
    failures::a_group_that_failed_stays_failed,
];

/// Runs every case; panics at the first that fails, with its name in the output.
pub fn contract(implementation: &Implementation) {
    assert!(implementation.size_max >= 2, "{}: a group needs two ranks to be tested", implementation.name);
    for (name, case) in CASES {
        let started = Instant::now();
        print!("{}: {name} ...", implementation.name);
        case(implementation);
        println!(" {} ms", started.elapsed().as_millis());
    }
}
