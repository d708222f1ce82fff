//! What every engine must do, as tests that any of them can run.
//!
//! One entry, [`contract`], runs all of [`CASES`]; a table of [`Row`]s feeds it (`tests/engines.rs`). What an engine cannot
//! do is said in its row.

mod bits;
mod queue;
mod refusals;

use lsgan_spec::{
    AugmentSpec, BatchNorm, ClassesSpec, Decay, Objective, Optimizer, OptimizersSpec, Precision, R1Spec,
    ReductionMode, RunSpec, ScheduleSpec,
};

use crate::rehearsal::runs::{run_halves, small_dcgan, small_mlp};
use crate::replica::Replica;

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// As it is known to users.
    pub name: &'static str,
    /// Builds a replica with this engine.
    pub make: fn(&RunSpec) -> Replica,
    /// Builds one whose bits it must have.
    pub reference: fn(&RunSpec) -> Replica,
    /// It has a queue of updates.
    pub has_queue: bool,
    /// Its halves are recorded and replayed.
    pub records: bool,
    /// Its sums travel in 32 bits where they fit.
    pub is_narrow: bool,
}

/// A case's name, and what it does; it panics where the engine is wrong.
pub type Case = (&'static str, fn(&Row));

macro_rules! cases {
    ($($module:ident::$case:ident),* $(,)?) => { &[$((stringify!($case), $module::$case)),*] };
}

/// Every case.
pub const CASES: &[Case] = cases![
    bits::every_half_has_the_bits_of_the_reference,
    bits::what_is_computed_ahead_of_a_step_has_the_same_bits,
    bits::words_that_leave_early_have_the_same_bits,
    bits::numbers_that_do_not_fit_into_32_bits_travel_again_and_change_no_bit,
    bits::any_grouping_of_the_virtual_ranks_gives_the_same_state,
    bits::members_that_hold_the_same_state_have_one_fingerprint_and_a_flipped_bit_shows,
    bits::the_number_of_threads_never_changes_a_bit,
    bits::a_fake_that_is_computed_again_is_the_same,
    bits::a_step_back_is_the_beginning_of_the_step_and_the_same_bits_follow,
    bits::a_replica_that_came_in_at_the_middle_of_a_step_cannot_step_back,
    bits::a_worker_can_enter_at_either_half,
    bits::a_half_that_was_never_applied_leaves_no_trace,
    bits::half_a_state_is_never_kept,
    bits::an_idle_half_changes_nothing_but_the_count,
    bits::all_read_the_same_metrics_whatever_the_grouping,
    bits::all_read_how_many_workers_wish_what,
    bits::halves_are_recorded_anew_for_other_virtual_ranks,
    refusals::a_rank_that_is_not_finite_is_named_by_all_and_changes_nothing,
    refusals::a_rank_beyond_the_range_of_the_exact_sum_is_named,
    refusals::a_sum_that_lacks_a_rank_or_holds_one_twice_is_not_applied,
    refusals::a_sum_is_applied_once,
    refusals::thousands_of_virtual_ranks_have_their_marks,
    refusals::work_that_does_not_fit_is_refused,
    queue::a_queue_is_where_the_row_says,
    queue::an_aborted_sum_never_reaches_the_weights,
    queue::halves_that_run_ahead_of_the_updates_have_the_same_bits,
    queue::what_ran_ahead_of_an_update_that_was_not_made_is_void,
    queue::what_ran_ahead_of_a_sum_that_travels_again_is_void,
    queue::a_sum_of_another_reduction_is_not_applied,
];

/// Runs every case. Panics with the engine's name where it breaks one.
pub fn contract(row: &Row) {
    CASES.iter().for_each(|(_, case)| case(row));
}

/// Warm-up, the step that is proved, and steps that are replayed, where halves are recorded.
const HALVES: u64 = 12;

impl Row {
    fn members(&self, spec: &RunSpec, count: usize) -> Vec<Replica> {
        (0..count).map(|_| (self.make)(spec)).collect()
    }

    /// The hash of the reference's state after some halves.
    fn wanted(&self, spec: &RunSpec, halves: u64) -> blake3::Hash {
        let mut alone = [(self.reference)(spec)];
        run_halves(&mut alone, &[crate::rehearsal::runs::ALL], halves);
        alone[0].state_hash()
    }

    fn assert_state(&self, members: &[Replica], wanted: blake3::Hash, what: &str) {
        for (index, member) in members.iter().enumerate() {
            assert_eq!(member.state_hash(), wanted, "{}: {what}, member {index}", self.name);
        }
    }
}

fn in_words(spec: &RunSpec) -> String {
    format!("{:?} {:?}", spec.reduction, spec.precision)
}

/// Runs whose sums are the same whatever the grouping.
fn exact_runs() -> [RunSpec; 6] {
    let bf16 = RunSpec { precision: Precision::Bf16, ..small_dcgan() };
    [small_dcgan(), bf16, small_mlp(), with_more(), wgan_gp(), conditional()]
}

/// One whose D's half reads the real samples twice, and draws more than z.
fn wgan_gp() -> RunSpec {
    let mut spec = small_dcgan();
    spec.objective = Objective::WganGp { penalty: 10.0 };
    spec.model.batch_norm = BatchNorm::Generator;
    spec
}

/// One whose networks are told the classes of samples. All classes come at every step: the first gradients of one that comes later do
/// not fit beside second moments of 0.
fn conditional() -> RunSpec {
    let mut spec = RunSpec { precision: Precision::Bf16, ..small_dcgan() };
    spec.model.classes = ClassesSpec { count: 3, embedding: 8, ..ClassesSpec::default() };
    spec
}

/// One with all that is off by default.
fn with_more() -> RunSpec {
    let mut spec = small_dcgan();
    spec.optimizer = OptimizersSpec::of(
        Optimizer::AdamW { learning_rate: 2e-4, beta1: 0.5, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.1 },
        Optimizer::RmsProp { learning_rate: 2e-4, alpha: 0.99, epsilon: 1e-8, momentum: 0.3 },
    );
    spec.optimizer.schedule =
        ScheduleSpec { warm_up_steps: 2, decay: Decay::Cosine, decay_steps: 6, floor: 0.1 };
    // Not so short that the gradients no longer fit into 32 bits, beside second moments of clipped ones.
    spec.optimizer.clip_norm = 4.0;
    spec.model.spectral_norm = true;
    spec.ema.ramp = 0.5;
    spec.augment = AugmentSpec { color: true, translation: 0.125, cutout: 0.5 };
    // Not at the step that is recorded, and at one that would be replayed.
    spec.regularization.r1 = R1Spec { gamma: 1e-4, every: 3 };
    spec
}

/// One whose gradients are all clipped, to a part of their length beside which they do not fit into 32 bits.
fn clipped() -> RunSpec {
    let mut spec = with_more();
    spec.optimizer.clip_norm = 0.1;
    spec
}

/// Runs with several updates of D for each of G's, whose sums are the same whatever the grouping. Idle halves come before the step
/// that is recorded and behind it.
fn with_idle_halves() -> [RunSpec; 2] {
    [(2, small_dcgan()), (3, with_more())].map(|(discriminator_steps, spec)| {
        let optimizer = OptimizersSpec { discriminator_steps, ..spec.optimizer };
        RunSpec { optimizer, ..spec }
    })
}

/// The same runs with every kind of sum.
fn with_every_sum<const N: usize>(runs: [RunSpec; N]) -> Vec<RunSpec> {
    let of = |reduction| runs.clone().map(|spec| RunSpec { reduction, ..spec });
    [ReductionMode::Exact, ReductionMode::Exact64, ReductionMode::Fast].map(of).concat()
}

fn runs() -> Vec<RunSpec> {
    with_every_sum(exact_runs())
}

/// Those whose every half has metrics, and others.
fn all_runs() -> Vec<RunSpec> {
    [runs(), with_every_sum(with_idle_halves())].concat()
}
