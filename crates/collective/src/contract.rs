//! What every implementation must do, as tests that any of them can run.
//!
//! One entry, [`contract`], runs all of [`CASES`]; a table of [`Implementation`]s feeds it (`tests/contract.rs`).
//! What an implementation cannot do is said in its row and changes what a case expects, never whether it runs.
//!
//! All ranks of [`contract`] are in one process. [`apart`] is for those that must be processes of their own.

pub mod apart;
mod ending;
mod sums;
mod support;

use std::time::Instant;

use crate::Group;

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Implementation {
    /// As it is known to users.
    pub name: &'static str,
    /// Forms a new group of this many ranks, all in this process; the one of rank r at index r.
    pub make: fn(usize) -> Vec<Box<dyn Group>>,
    /// The most ranks that `make` can form here. At least 2.
    pub size_max: usize,
    /// How a rank that is gone shows.
    pub dead_peer: DeadPeer,
    /// How calls that differ between the ranks show.
    pub mismatch: Mismatch,
}

/// How the others find out that a rank is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadPeer {
    /// Their calls fail.
    FailsTheCall,
    /// Their calls hang until somebody aborts them.
    HangsUntilAbort,
}

/// How the ranks find out that they make different calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// All fail, and one of them says what differs.
    FailsTheCall,
    /// Undefined: such a call must not be made.
    Undefined,
}

/// A case's name, and what it does; it panics where the implementation is wrong.
pub type Case = (&'static str, fn(&Implementation));

macro_rules! cases {
    ($($module:ident::$case:ident),* $(,)?) => { &[$((stringify!($case), $module::$case)),*] };
}

/// Every case.
pub const CASES: &[Case] = cases![
    sums::ranks_size_and_generation_are_told,
    sums::integer_sums_are_exact,
    sums::a_large_sum_is_exact,
    sums::float_sums_have_the_same_bits_on_every_rank,
    sums::many_calls_of_changing_length_follow_each_other,
    sums::everybody_gets_the_bytes_of_any_root,
    sums::a_rank_may_leave_after_its_last_call,
    sums::a_group_of_one_keeps_its_values,
    sums::a_barrier_waits_for_the_last_rank,
    ending::a_root_that_does_not_exist_is_refused,
    ending::an_abort_before_a_call_ends_it,
    ending::an_abort_in_the_middle_of_a_call_ends_it_at_once,
    ending::nothing_is_written_after_an_abort,
    ending::an_abort_racing_with_completion_leaves_exact_sums,
    ending::all_ranks_may_abort_at_once,
    ending::a_dead_peer_ends_the_call_of_every_other,
    ending::different_lengths_are_noticed,
    ending::different_kinds_are_noticed,
    ending::different_roots_are_noticed,
    ending::a_group_that_failed_stays_failed,
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
