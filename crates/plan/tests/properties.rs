//! The properties of the crate's documentation, each tested under its name.

use std::collections::{BTreeMap, BTreeSet};

use lsgan_plan::{Cursor, Geometry, Plan, RecordRef};
use lsgan_spec::{Position, Shard, Step, VirtualRank};
use proptest::prelude::*;

/// Few records, so that the tests can walk whole epochs. Every number is at an edge as often as inside its range.
fn geometries() -> impl Strategy<Value = Geometry> {
    let records = prop_oneof![Just(1u64), Just(256), Just(257), Just(1023), 1u64..600];
    let shard_records = prop_oneof![Just(1u64), Just(16), Just(256), Just(5000), 1u64..80];
    let virtual_ranks = prop_oneof![Just(1u32), Just(2), Just(40), 1u32..12];
    let per_rank = prop_oneof![Just(1u32), Just(32), 1u32..100];
    let mix = prop_oneof![3 => Just(1u32), 1 => Just(2), 2 => 1u32..10];
    (records, shard_records, virtual_ranks, per_rank, mix).prop_map(|(n, s, v, b, mix)| {
        let plain = Geometry::new(n, s, v, b).expect("none of the ranges holds a 0");
        plain.with_mix(mix).expect("none of the ranges holds a 0")
    })
}

fn plans() -> impl Strategy<Value = Plan> {
    (any::<u64>(), geometries()).prop_map(|(seed, geometry)| Plan::new(seed, geometry))
}

fn ordinal_of(plan: &Plan, it: &RecordRef) -> u64 {
    it.position.0 / u64::from(plan.geometry().virtual_ranks())
}

fn ranks(plan: &Plan) -> impl Iterator<Item = VirtualRank> + use<> {
    (0..plan.geometry().virtual_ranks()).map(VirtualRank)
}

/// All records of a virtual rank's first `ordinals` positions, step by step. The walk goes to the end of a group, and
/// leaves out the records of later positions.
fn walk(plan: &Plan, rank: VirtualRank, ordinals: u64) -> Vec<RecordRef> {
    let mix = u64::from(plan.geometry().mix());
    let group_end = ordinals.div_ceil(mix) * mix;
    let all: u64 = (0..group_end).map(|ordinal| plan.record_count(plan.position(rank, ordinal))).sum();
    (0..)
        .flat_map(|step| plan.batch(rank, Step(step)).collect::<Vec<_>>())
        .take(all as usize)
        .filter(|it| ordinal_of(plan, it) < ordinals)
        .collect()
}

/// Walks group after group, each with the records of its positions.
struct Walker {
    ordinal: u64,
    offset: u64,
}

impl Walker {
    fn skip(&mut self, plan: &Plan, rank: VirtualRank, mut records: u64) {
        while records > 0 {
            let mix = u64::from(plan.geometry().mix());
            let group = self.ordinal..self.ordinal + mix;
            let size: u64 = group.map(|ordinal| plan.record_count(plan.position(rank, ordinal))).sum();
            let left = size - self.offset;
            let taken = left.min(records);
            records -= taken;
            self.offset += taken;
            if taken == left {
                *self = Self { ordinal: self.ordinal + mix, offset: 0 };
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
            let positions = epochs * plan.geometry().shards_per_epoch();
            let own = positions.saturating_sub(u64::from(rank.0)).div_ceil(u64::from(plan.geometry().virtual_ranks()));
            for it in walk(&plan, rank, own) {
                prop_assert!(it.epoch < epochs);
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

    /// Another plan with the same numbers, queried in the reverse order.
    #[test]
    fn pure_the_order_depends_on_the_seed_and_the_geometry_and_nothing_else(plan in plans(), steps in 1u64..20) {
        let g = plan.geometry();
        let same = Geometry::new(g.records(), g.shard_records(), g.virtual_ranks(), g.per_rank()).unwrap();
        let same = same.with_mix(g.mix()).unwrap();
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
                let open = if walker.offset > 0 { u64::from(plan.geometry().mix()) } else { 0 };
                prop_assert_eq!(plan.ordinals_needed(rank, step), walker.ordinal + open);
                walker.skip(&plan, rank, u64::from(plan.geometry().per_rank()));
            }
        }
    }

    /// A batch's records are those of the walk, and the last one lies within the needed ordinals.
    #[test]
    fn seekable_a_batch_begins_at_the_cursor_and_ends_within_the_ordinals_needed(
        plan in plans(), step in 0u64..10_000,
    ) {
        for rank in ranks(&plan) {
            let batch: Vec<_> = plan.batch(rank, Step(step)).collect();
            prop_assert_eq!(batch.len(), plan.geometry().per_rank() as usize);
            let cursor = plan.cursor(rank, Step(step));
            let mix = u64::from(plan.geometry().mix());
            let group = |it: &RecordRef| ordinal_of(&plan, it) / mix * mix;
            prop_assert_eq!(group(&batch[0]), cursor.ordinal);
            if mix == 1 {
                prop_assert_eq!(batch[0].offset, cursor.offset);
            }
            prop_assert_eq!(group(&batch[batch.len() - 1]) + mix, plan.ordinals_needed(rank, step + 1));
            prop_assert!(batch.windows(2).all(|pair| group(&pair[0]) <= group(&pair[1])));
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

/// With one sample in a step every offset is a start, so the bound is reached.
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
/// the bound lies five deviations above. The same holds for neighbouring places, whose difference takes 38 values.
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

/// 12 shards of 20 records, 4 mixed: a group of 80 records. χ² of shard over tenth of the group, 3 · 9 degrees of
/// freedom for each group, summed over 1,000 groups: 27,000, deviation 232; the bound lies five deviations above. A
/// hypergeometric table is a little narrower than χ², which is why there is no bound below it but a wide one.
#[test]
fn mixed_every_shard_of_a_group_is_as_often_early_as_late() {
    const GROUPS: u64 = 1000;
    let geometry = Geometry::new(240, 20, 1, 80).unwrap().with_mix(4).unwrap();
    let plan = Plan::new(3, geometry);
    let mut chi2 = 0.0;
    for group in 0..GROUPS {
        let mut counts = [[0u32; 10]; 4];
        for (place, it) in plan.batch(VirtualRank(0), Step(group)).enumerate() {
            assert_eq!(it.position.0 / 4, group, "a step is a group here");
            counts[(it.position.0 % 4) as usize][place / 8] += 1;
        }
        chi2 += counts.iter().flatten().map(|&n| (f64::from(n) - 2.0).powi(2) / 2.0).sum::<f64>();
    }
    assert!((20_000.0..27_000.0 + 5.0 * 232.0).contains(&chi2), "χ² of shard over place: {chi2:.0}");
}

/// A data set that is sorted by class: without mixing a batch has one class, with it nearly all.
#[test]
fn mixed_a_sorted_data_set_gives_mixed_batches() {
    let classes = |mix: u32| {
        let geometry = Geometry::new(64 * 100, 100, 2, 32).unwrap().with_mix(mix).unwrap();
        let plan = Plan::new(5, geometry);
        let batches = (0..90).map(|step| plan.batch(VirtualRank(1), Step(step)));
        let distinct = batches.map(|batch| batch.map(|it| it.record / 100).collect::<BTreeSet<_>>().len());
        distinct.sum::<usize>() as f64 / 90.0
    };
    assert!(classes(1) < 1.5, "{} classes in a batch", classes(1));
    assert!(classes(16) > 12.0, "{} classes in a batch", classes(16));
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

/// A changed order would change the weights of every run.
#[test]
fn the_order_stays_as_it_was_released() {
    let plan = Plan::new(1, Geometry::new(1000, 64, 4, 8).unwrap());
    let records: Vec<_> = plan.batch(VirtualRank(3), Step(100)).map(|it| it.record).collect();
    assert_eq!(records, [127, 75, 67, 69, 105, 92, 71, 95]);
    let mixed = Plan::new(1, Geometry::new(1000, 64, 4, 8).unwrap().with_mix(3).unwrap());
    let records: Vec<_> = mixed.batch(VirtualRank(3), Step(100)).map(|it| it.record).collect();
    assert_eq!(records, [581, 124, 637, 81, 609, 196, 628, 600]);
}
