//! The registry of scalars: everything that is measured of a step, one row each.
//!
//! A new scalar is a row here and the place that computes it. The wire carries scalars by name; the journal's table
//! `metrics` has a column for each row but the [derived](Origin::Derived) ones, and `lsgan status --json` a field.

use crate::ids::Half;

/// One measured number of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// Its name: on the wire, in the journal, in JSON. Lower case, digits and `_`.
    pub name: &'static str,
    /// Its unit; empty for a number without one.
    pub unit: &'static str,
    /// Where it comes from.
    pub origin: Origin,
    /// What it is, in a sentence.
    pub help: &'static str,
}

/// Where a scalar comes from, and so whether all workers measure the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The mean over all virtual ranks; it is summed with the gradients of this half, so that all workers have the same. A
    /// virtual rank's own number is said where the half is computed, in `train/src/step.rs`.
    Mean(Half),
    /// Computed from the summed gradients of this half, which all workers hold.
    Sum(Half),
    /// Counted or timed by the reporting worker, a mean over the steps since the row before.
    Clock,
    /// It follows from the step, the samples of a step and other scalars of the row ([`derived`]): stored nowhere, and there in
    /// rows of before it was thought of.
    Derived,
}

macro_rules! scalars {
    ($($id:ident: $name:literal, $unit:literal, $origin:expr, $help:literal;)*) => {
        $(#[doc = $help]
        pub const $id: Scalar = Scalar { name: $name, unit: $unit, origin: $origin, help: $help };)*

        /// All of them, in the order in which they are shown.
        pub const ALL: &[Scalar] = &[$($id),*];
    };
}

scalars! {
    IMAGES_PER_S: "images_per_s", "images/s", Origin::Clock, "Samples of the global batch per second.";
    STEP_MS: "step_ms", "ms", Origin::Clock, "Time of a step.";
    DATA_WAIT_MS: "data_wait_ms", "ms", Origin::Clock, "Of step_ms, waiting for data.";
    REDUCE_MS: "reduce_ms", "ms", Origin::Clock, "Of step_ms, waiting for the all-reduce and so for peers.";
    KIMG: "kimg", "", Origin::Derived, "Thousands of samples that the run has been trained on, with this step.";
    S_PER_KIMG: "s_per_kimg", "s/kimg", Origin::Derived, "Time of a thousand samples: 1,000 / images_per_s.";
    SUMS_REPEATED: "sums_repeated", "", Origin::Clock, "Parts of sums that travelled again in 64 bits, in a step.";
    LOSS_D: "loss_d", "", Origin::Mean(Half::Discriminator), "The discriminator's loss.";
    LOSS_G: "loss_g", "", Origin::Mean(Half::Generator), "The generator's loss.";
    D_REAL: "d_real", "", Origin::Mean(Half::Discriminator), "Mean of D(x).";
    D_FAKE: "d_fake", "", Origin::Mean(Half::Discriminator), "Mean of D(G(z)).";
    D_FAKE_IN_G: "d_fake_in_g", "", Origin::Mean(Half::Generator), "Mean of D(G(z)) in G's half, after D's update.";
    FAKE_STD: "fake_std", "", Origin::Mean(Half::Generator), "Standard deviation of the fakes of a batch; it falls when G collapses.";
    GRAD_NORM_D: "grad_norm_d", "", Origin::Sum(Half::Discriminator), "Euclidean norm of D's mean gradient.";
    GRAD_NORM_G: "grad_norm_g", "", Origin::Sum(Half::Generator), "Euclidean norm of G's mean gradient.";
}

/// The scalars that rows have of their own, which the journal stores.
pub fn measured() -> impl Iterator<Item = Scalar> {
    ALL.iter().copied().filter(|scalar| scalar.origin != Origin::Derived)
}

/// The derived scalars of a row that can be known, with their values. `step` counts from 0, and `global_batch` samples are
/// of each step. The journal's readers compute the same in SQL (`journal/src/derived.rs`).
pub fn derived(
    step: u64,
    global_batch: u64,
    images_per_s: Option<f64>,
) -> impl Iterator<Item = (Scalar, f64)> {
    let kimg = (step as f64 + 1.0) * global_batch as f64 / 1000.0;
    let s_per_kimg = images_per_s.filter(|rate| *rate > 0.0).map(|rate| 1000.0 / rate);
    let all = [(KIMG, Some(kimg)), (S_PER_KIMG, s_per_kimg)];
    all.into_iter().filter_map(|(scalar, value)| Some((scalar, value?)))
}

/// The most means that one of the halves has: so many words of a sum's header carry them.
pub const MEANS_MAX: usize = {
    let (d, g) = (means_before(Half::Discriminator, ALL.len()), means_before(Half::Generator, ALL.len()));
    if d > g { d } else { g }
};

/// How many of the first `count` scalars are means of this half.
const fn means_before(half: Half, count: usize) -> usize {
    let (mut found, mut index) = (0, 0);
    while index < count {
        match (ALL[index].origin, half) {
            (Origin::Mean(Half::Discriminator), Half::Discriminator)
            | (Origin::Mean(Half::Generator), Half::Generator) => found += 1,
            _ => {}
        }
        index += 1;
    }
    found
}

/// The means of a half, in the order of their words in a sum's header.
pub fn means_of(half: Half) -> impl Iterator<Item = Scalar> {
    ALL.iter().copied().filter(move |scalar| scalar.origin == Origin::Mean(half))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_can_be_columns() {
        let mut names: Vec<_> = ALL.iter().map(|scalar| scalar.name).collect();
        let is_column = |name: &&str| {
            name.starts_with(|c: char| c.is_ascii_lowercase())
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        assert!(names.iter().all(is_column), "{names:?}");
        names.extend(["step", "wall_ms"]); // columns of their own
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a name is given once");
    }

    #[test]
    fn every_derived_scalar_is_derived() {
        let wanted = ALL.iter().copied().filter(|scalar| scalar.origin == Origin::Derived);
        // Step 9 of 64 samples each is the tenth.
        let found: Vec<_> = derived(9, 64, Some(500.0)).collect();
        assert_eq!(found, [(KIMG, 0.64), (S_PER_KIMG, 2.0)]);
        assert!(wanted.eq(found.iter().map(|(scalar, _)| *scalar)));
        assert_eq!(measured().count() + found.len(), ALL.len());
        for unknown in [None, Some(0.0)] {
            assert_eq!(derived(0, 64, unknown).collect::<Vec<_>>(), [(KIMG, 0.064)]);
        }
    }

    #[test]
    fn the_header_has_a_word_for_each_mean_of_either_half() {
        let counts = [Half::Discriminator, Half::Generator].map(|half| means_of(half).count());
        assert_eq!(counts.iter().max(), Some(&MEANS_MAX));
    }
}
