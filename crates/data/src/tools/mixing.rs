//! Of how many classes the pictures of a batch are: of few, where a data set is sorted by class and little of it is mixed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use lsgan_plan::{Geometry, Plan};
use lsgan_spec::{BatchSpec, DataSpec, Step, VirtualRank};
use serde::Serialize;

use super::inspect::spread_over;
use crate::{SampleShape, Source};

/// Records whose classes are counted, spread over the data set.
const COUNTED_MAX: u64 = 1 << 18;
/// Samples of batches that are looked at, over all steps; one step is looked at in any case.
const SAMPLES_MAX: u64 = 4096;
/// Steps that are looked at, spread over the first epoch.
const STEPS_MAX: u64 = 32;
/// Below this share of the classes that a shuffled data set's batches have, the user is warned.
const POOR: f64 = 0.7;
/// With this share a `data.mix` is good enough to be named.
const GOOD: f64 = 0.85;
/// The largest `data.mix`.
const MIX_MAX: u32 = 1024;

/// What a run's batches are mixed of.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassMixing {
    /// Classes in the data set; records without one are one more.
    pub classes: u64,
    /// The run's `data.mix`.
    pub mix: u32,
    /// Of a virtual rank's samples in a step.
    pub rank: ClassCount,
    /// Of all virtual ranks' together.
    pub step: ClassCount,
    /// The smallest power of 2 for `data.mix` that mends it, where it is poor.
    pub better: Option<u32>,
}

/// The classes of some samples that are seen together; means over some steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClassCount {
    /// Samples.
    pub samples: u64,
    /// Classes among them.
    pub classes: f64,
    /// Classes among them if each were drawn from all of the data set.
    pub shuffled: f64,
}

impl ClassCount {
    fn share(self) -> f64 {
        self.classes / self.shuffled
    }
}

impl ClassMixing {
    /// Whether batches have much fewer classes than those of a shuffled data set: then batch normalisation sees other
    /// numbers from step to step, and the networks forget what they have not seen for a while.
    #[must_use]
    pub fn is_poor(&self) -> bool {
        self.rank.share().min(self.step.share()) < POOR
    }
}

/// One sentence; where it is poor, with what to do.
impl fmt::Display for ClassMixing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { classes, mix, rank, step, better } = self;
        write!(
            f,
            "of the {classes} classes a virtual rank's {} samples have {:.1} on average (shuffled: {:.1}), a step's {} have \
             {:.1} (shuffled: {:.1})",
            rank.samples, rank.classes, rank.shuffled, step.samples, step.classes, step.shuffled
        )?;
        if !self.is_poor() {
            return Ok(());
        }
        write!(f, ": the data set is sorted by class, and data.mix is {mix}. ")?;
        match better {
            Some(better) => write!(f, "Set data.mix to {better}")?,
            None => write!(f, "Set data.mix to {MIX_MAX} and data.shard_records lower")?,
        }
        f.write_str("; the weights depend on it, so do it for a new run, or with --fork")
    }
}

/// Looks at the batches of some steps of a run over `source`. None where there are no classes, or one alone, and where
/// there is no plan for such a run.
#[must_use]
pub fn mixing(source: &dyn Source, data: &DataSpec, batch: &BatchSpec, seed: u64) -> Option<ClassMixing> {
    let geometry =
        Geometry::new(source.len(), data.shard_records, batch.virtual_ranks, batch.per_rank).ok()?;
    mixing_of(source, &Plan::new(seed, geometry.with_mix(data.mix).ok()?))
}

fn mixing_of(source: &dyn Source, plan: &Plan) -> Option<ClassMixing> {
    if matches!(source.sample_shape(), SampleShape::Point2) {
        return None; // made up, in no order of classes
    }
    let counts = counts(source);
    let classes = (counts.len() as u64).max(source.class_names().len() as u64);
    if counts.len() < 2 {
        return None;
    }
    let (rank, step) = measure(source, plan, &counts);
    let mut mixing = ClassMixing { classes, mix: plan.geometry().mix(), rank, step, better: None };
    if mixing.is_poor() {
        let powers = std::iter::successors(Some(2), |mix| Some(mix * 2)).take_while(|mix| *mix <= MIX_MAX);
        mixing.better = powers.filter(|mix| *mix > mixing.mix).find(|mix| {
            let geometry = plan.geometry().with_mix(*mix).expect("it is not 0");
            let (rank, step) = measure(source, &Plan::new(plan.seed(), geometry), &counts);
            rank.share().min(step.share()) >= GOOD
        });
    }
    Some(mixing)
}

/// How many of the records that are counted are of which class.
fn counts(source: &dyn Source) -> BTreeMap<Option<u32>, u64> {
    let mut counts = BTreeMap::new();
    for record in spread_over(source.len(), COUNTED_MAX) {
        *counts.entry(source.class(record)).or_default() += 1;
    }
    counts
}

fn measure(
    source: &dyn Source,
    plan: &Plan,
    counts: &BTreeMap<Option<u32>, u64>,
) -> (ClassCount, ClassCount) {
    let (ranks, per_rank) = (plan.geometry().virtual_ranks(), u64::from(plan.geometry().per_rank()));
    let per_step = u64::from(ranks) * per_rank;
    let epoch_steps = (plan.geometry().records() / per_step).clamp(1, plan.steps_max().max(1));
    let steps = spread_over(epoch_steps, (SAMPLES_MAX / per_step).clamp(1, STEPS_MAX));
    let (mut of_ranks, mut of_steps) = (0, 0);
    for step in &steps {
        let mut seen = BTreeSet::new();
        for rank in 0..ranks {
            let batch = plan.batch(VirtualRank(rank), Step(*step));
            let classes: BTreeSet<_> = batch.map(|it| source.class(it.record)).collect();
            of_ranks += classes.len();
            seen.extend(classes);
        }
        of_steps += seen.len();
    }
    let mean = |sum: usize, of: u64| sum as f64 / (steps.len() as u64 * of) as f64;
    let mixed = |samples, classes| ClassCount { samples, classes, shuffled: expected(counts, samples) };
    (mixed(per_rank, mean(of_ranks, u64::from(ranks))), mixed(per_step, mean(of_steps, 1)))
}

/// The mean number of classes among `samples` records that are drawn from all: Σ 1 − (1 − p)ⁿ over the classes.
fn expected(counts: &BTreeMap<Option<u32>, u64>, samples: u64) -> f64 {
    let all: u64 = counts.values().sum();
    let missed = |count: &u64| (1.0 - *count as f64 / all as f64).powf(samples as f64);
    counts.values().map(|count| 1.0 - missed(count)).sum()
}

#[cfg(test)]
mod tests {
    use lsgan_plan::Geometry;

    use super::*;
    use crate::{Fingerprint, RecordError};

    /// Pictures of one pixel, whose class is a function of their number.
    struct Classed {
        records: u64,
        class: fn(u64) -> Option<u32>,
    }

    impl Source for Classed {
        fn kind(&self) -> &'static str {
            "classed"
        }
        fn len(&self) -> u64 {
            self.records
        }
        fn sample_shape(&self) -> SampleShape {
            SampleShape::Image { size: 1, channels: 1 }
        }
        fn read(&self, _: u64, out: &mut [f32]) -> Result<(), RecordError> {
            out.fill(0.0);
            Ok(())
        }
        fn fingerprint(&self) -> Fingerprint {
            Fingerprint::from_bytes([1; 32])
        }
        fn class(&self, record: u64) -> Option<u32> {
            (self.class)(record)
        }
    }

    fn of(class: fn(u64) -> Option<u32>, mix: u32) -> Option<ClassMixing> {
        let geometry = Geometry::new(100_000, 256, 4, 32).unwrap().with_mix(mix).unwrap();
        mixing_of(&Classed { records: 100_000, class }, &Plan::new(1, geometry))
    }

    #[test]
    fn a_data_set_that_is_sorted_by_class_is_told_from_one_that_is_not() {
        let sorted = |record: u64| u32::try_from(record / 1000).ok();
        let poor = of(sorted, 1).unwrap();
        assert!(poor.is_poor() && poor.classes == 100 && poor.rank.classes < 3.0, "{poor:?}");
        let better = poor.better.unwrap();
        assert!((8..=128).contains(&better), "{better}");
        assert!(!of(sorted, better).unwrap().is_poor());
        assert!(poor.to_string().ends_with(&format!(
            ": the data set is sorted by class, and data.mix is 1. Set data.mix to {better}; the weights depend on it, so do \
             it for a new run, or with --fork"
        )));
        let mixed = of(|record| u32::try_from(record % 100).ok(), 1).unwrap();
        assert!(!mixed.is_poor() && mixed.better.is_none(), "{mixed:?}");
        assert!(
            (0.9..1.1).contains(&mixed.rank.share()) && (0.9..1.1).contains(&mixed.step.share()),
            "{mixed:?}"
        );
    }

    #[test]
    fn without_classes_there_is_nothing_to_mix() {
        assert_eq!(of(|_| None, 1), None);
        assert_eq!(of(|_| Some(3), 1), None);
        assert!(of(|record| (record < 50_000).then_some(0), 1).unwrap().is_poor(), "half of them have none");
    }
}
