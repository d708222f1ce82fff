//! The properties that the crate's head names, each tested under its name.

use std::collections::{BTreeMap, BTreeSet};

use lsgan_plan::{Cursor, Geometry, Plan, RecordRef};
use lsgan_spec::{Position, Shard, Step, VirtualRank};
use proptest::prelude::*;

/// Few records, so that whole epochs can be walked; every number is at an edge as often as inside its range.
fn geometries() -> impl Strategy<Value = Geometry> {
    let records = prop_oneof![Just(1u64), Just(256), Just(257), Just(1023), 1u64..600];
    let shard_records = prop_oneof![Just(1u64), Just(16), Just(256), Just(5000), 1u64..80];
    let virtual_ranks = prop_oneof![Just(1u32), Just(2), Just(40), 1u32..12];
    let per_rank = prop_oneof![Just(1u32), Just(32), 1u32..100];
    (records, shard_records, virtual_ranks, per_rank)
        .prop_map(|(n, s, v, b)| Geometry::new(n, s, v, b).expect("none of the ranges holds a 0"))
}

fn plans() -> impl Strategy<Value = Plan> {
    (any::<u64>(), geometries()).prop_map(|(seed, geometry)| Plan::new(seed, geometry))
}

fn ranks(plan: &Plan) -> impl Iterator<Item = VirtualRank> + use<> {
    (0..plan.geometry().virtual_ranks()).map(VirtualRank)
}

/// All records that a virtual rank sees from step 0 on, step by step, for as long as `wanted` says so.
fn walk(plan: &Plan, rank: VirtualRank, wanted: impl Fn(&RecordRef) -> bool) -> Vec<RecordRef> {
    (0..).flat_map(|step| plan.batch(rank, Step(step)).collect::<Vec<_>>()).take_while(wanted).collect()
}

/// Where walking leads: positions one after another, each with as many records as it says.
struct Walker {
    ordinal: u64,
    offset: u64,
}

impl Walker {
    fn skip(&mut self, plan: &Plan, rank: VirtualRank, mut records: u64) {
        while records > 0 {
            let left = plan.record_count(plan.position(rank, self.ordinal)) - self.offset;
            let taken = left.min(records);
            records -= taken;
            self.offset += taken;
            if taken == left {
                *self = Self { ordinal: self.ordinal + 1, offset: 0 };
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn exactly_once_in_an_epoch_the_virtual_ranks_together_see_every_record(plan in plans(), epochs in 1u64..4) {
        let mut seen: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for rank in ranks(&plan) {
            for it in walk(&plan, rank, |it| it.epoch < epochs) {
                prop_assert_eq!(plan.rank_of(it.position), rank);
                seen.entry(it.epoch).or_default().push(it.record);
            }
        }
        prop_assert_eq!(seen.len() as u64, epochs);
        for (epoch, mut records) in seen {
            records.sort_unstable();
            let all: Vec<u64> = (0..plan.geometry().records()).collect();
            prop_assert!(records == all, "epoch {} has {} of {} records", epoch, records.len(), all.len());
        }
    }

    /// The same numbers in another plan, asked for in the reverse order and after other questions.
    #[test]
    fn pure_the_order_depends_on_the_seed_and_the_geometry_and_nothing_else(plan in plans(), steps in 1u64..20) {
        let g = plan.geometry();
        let same = Geometry::new(g.records(), g.shard_records(), g.virtual_ranks(), g.per_rank()).unwrap();
        let again = Plan::new(plan.seed(), same);
        let forward: Vec<_> = (0..steps)
            .flat_map(|t| ranks(&plan).map(move |v| (t, v)))
            .map(|(t, v)| plan.batch(v, Step(t)).collect::<Vec<_>>())
            .collect();
        let questions: Vec<_> = (0..steps).flat_map(|t| ranks(&plan).map(move |v| (t, v))).collect();
        let mut backward: Vec<_> =
            questions.into_iter().rev().map(|(t, v)| again.batch(v, Step(t)).collect::<Vec<_>>()).collect();
        backward.reverse();
        prop_assert_eq!(forward, backward);
    }

    #[test]
    fn seekable_the_cursor_of_step_t_is_where_t_steps_of_walking_lead(plan in plans(), steps in 1u64..200) {
        for rank in ranks(&plan) {
            let mut walker = Walker { ordinal: 0, offset: 0 };
            for step in 0..steps {
                let cursor = plan.cursor(rank, Step(step));
                prop_assert_eq!(cursor, Cursor { ordinal: walker.ordinal, offset: walker.offset });
                prop_assert_eq!(plan.completed_ordinals(rank, step), walker.ordinal);
                prop_assert_eq!(plan.ordinals_needed(rank, step), walker.ordinal + u64::from(walker.offset > 0));
                walker.skip(&plan, rank, u64::from(plan.geometry().per_rank()));
            }
        }
    }

    /// A batch's records are those of the walk, and the last of them lies before the ordinals that are needed.
    #[test]
    fn seekable_a_batch_begins_at_the_cursor_and_ends_within_the_ordinals_needed(
        plan in plans(), step in 0u64..10_000,
    ) {
        for rank in ranks(&plan) {
            let batch: Vec<_> = plan.batch(rank, Step(step)).collect();
            prop_assert_eq!(batch.len(), plan.geometry().per_rank() as usize);
            let cursor = plan.cursor(rank, Step(step));
            prop_assert_eq!(plan.ordinal_of(batch[0].position), cursor.ordinal);
            prop_assert_eq!(batch[0].offset, cursor.offset);
            let last = plan.ordinal_of(batch[batch.len() - 1].position);
            prop_assert_eq!(last + 1, plan.ordinals_needed(rank, step + 1));
            for it in &batch {
                prop_assert_eq!(*it, plan.visit(it.position).record(it.offset));
                prop_assert_eq!(Shard(it.record / plan.geometry().shard_records()), plan.shard_at(it.position));
            }
        }
    }

    #[test]
    fn bijection_an_epoch_visits_every_shard_once_and_the_short_one_last(plan in plans(), epoch in any::<u32>()) {
        let shards = plan.geometry().shards_per_epoch();
        let first = u64::from(epoch) * shards;
        let order: Vec<_> = (first..first + shards).map(|p| plan.shard_at(Position(p)).0).collect();
        prop_assert_eq!(order.iter().copied().collect::<BTreeSet<_>>(), (0..shards).collect::<BTreeSet<_>>());
        if plan.geometry().tail_records() > 0 {
            prop_assert_eq!(*order.last().unwrap(), shards - 1);
        }
        let counts: u64 = (first..first + shards).map(|p| plan.record_count(Position(p))).sum();
        prop_assert_eq!(counts, plan.geometry().records());
    }

    #[test]
    fn bounded_no_virtual_rank_touches_more_positions_in_n_steps_than_the_bound(
        plan in plans(), from in 0u64..500, steps in 0u64..40,
    ) {
        let bound = plan.max_positions_per_steps(steps);
        for rank in ranks(&plan) {
            let first = plan.cursor(rank, Step(from)).ordinal;
            let touched = if steps == 0 { 0 } else { plan.ordinals_needed(rank, from + steps) - first };
            prop_assert!(touched <= bound, "{rank}: {touched} positions, bound {bound}");
        }
    }
}

/// With one sample a step every offset is a start, so the bound is reached and not just kept.
#[test]
fn bounded_the_bound_is_reached() {
    for (records, shard_records, virtual_ranks) in [(1023, 256, 4), (257, 256, 2), (10, 3, 3), (7, 7, 1)] {
        let plan = Plan::new(1, Geometry::new(records, shard_records, virtual_ranks, 1).unwrap());
        for steps in [1, 2, 3, 50, 300, 1100] {
            let touched =
                |from, rank| plan.ordinals_needed(rank, from + steps) - plan.cursor(rank, Step(from)).ordinal;
            let most = ranks(&plan).flat_map(|rank| (0..5000).map(move |from| touched(from, rank))).max();
            assert_eq!(most, Some(plan.max_positions_per_steps(steps)), "{records} records, {steps} steps");
        }
    }
}

/// χ² of shard over place, 39 shards in 20,000 epochs. (39 − 1)² degrees of freedom: mean 1,444, deviation 53.7;
/// the bound lies five deviations above. Places beside each other are counted in the same way: the difference of
/// two neighbours takes 38 values.
#[test]
fn uniform_over_the_epochs_every_shard_is_as_often_at_one_place_as_at_another() {
    const SHARDS: usize = 39;
    const EPOCHS: usize = 20_000;
    let plan = Plan::new(7, Geometry::new(39 * 256, 256, 4, 32).unwrap());
    let mut at_place = vec![0u32; SHARDS * SHARDS];
    let mut differences = [0u32; SHARDS];
    for epoch in 0..EPOCHS {
        let shard = |place: usize| plan.shard_at(Position((epoch * SHARDS + place) as u64)).0 as usize;
        for place in 0..SHARDS {
            at_place[place * SHARDS + shard(place)] += 1;
        }
        differences[(shard(1) + SHARDS - shard(0)) % SHARDS] += 1;
    }
    let chi2 = |counts: &[u32], expected: f64| -> f64 {
        counts.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum()
    };
    let places = chi2(&at_place, EPOCHS as f64 / SHARDS as f64);
    assert!(
        (1444.0 - 5.0 * 53.7..1444.0 + 5.0 * 53.7).contains(&places),
        "χ² of shard over place: {places:.0}"
    );
    assert_eq!(differences[0], 0, "two places of one epoch with the same shard");
    let neighbours = chi2(&differences[1..], EPOCHS as f64 / (SHARDS - 1) as f64);
    assert!(neighbours < 37.0 + 5.0 * 8.6, "χ² of the difference of neighbours: {neighbours:.0}");
}

#[test]
fn two_seeds_two_epochs_and_two_shards_have_different_orders() {
    let geometry = Geometry::new(39 * 256, 256, 4, 32).unwrap();
    let (plan, other) = (Plan::new(1, geometry), Plan::new(2, geometry));
    let order = |plan: &Plan, epoch: u64| {
        (0..39).map(|i| plan.shard_at(Position(epoch * 39 + i))).collect::<Vec<_>>()
    };
    assert_ne!(order(&plan, 0), order(&plan, 1));
    assert_ne!(order(&plan, 0), order(&other, 0));
    let records = |p| {
        let visit = plan.visit(Position(p));
        (0..256).map(move |i| visit.record(i).record % 256).collect::<Vec<_>>()
    };
    assert_ne!(records(0), records(1));
    let in_epoch =
        |epoch: u64| (39 * epoch..39 * (epoch + 1)).find(|&p| plan.shard_at(Position(p)) == Shard(5));
    assert_ne!(records(in_epoch(0).unwrap()), records(in_epoch(1).unwrap()));
    assert_ne!(records(0), (0..256).collect::<Vec<_>>());
}

/// A changed order would change the bits of every run: it has to be a decision.
#[test]
fn the_order_stays_as_it_was_released() {
    let plan = Plan::new(1, Geometry::new(1000, 64, 4, 8).unwrap());
    let records: Vec<_> = plan.batch(VirtualRank(3), Step(100)).map(|it| it.record).collect();
    assert_eq!(records, [127, 75, 67, 69, 105, 92, 71, 95]);
}
