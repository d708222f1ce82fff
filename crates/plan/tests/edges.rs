//! The ends of the ranges: zero, one, and more than 64 bits can number.

use lsgan_plan::{Cursor, Geometry, Plan, PlanError};
use lsgan_spec::{Position, Shard, Step, VirtualRank};

fn plan(records: u64, shard_records: u64, virtual_ranks: u32, per_rank: u32) -> Plan {
    Plan::new(1, Geometry::new(records, shard_records, virtual_ranks, per_rank).unwrap())
}

fn records(plan: &Plan, rank: u32, step: u64) -> Vec<u64> {
    plan.batch(VirtualRank(rank), Step(step)).map(|it| it.record).collect()
}

#[test]
fn a_number_that_is_0_is_refused_by_name() {
    assert_eq!(Geometry::new(0, 0, 0, 0), Err(PlanError::NoRecords));
    assert_eq!(Geometry::new(1, 0, 1, 1), Err(PlanError::EmptyShards));
    assert_eq!(Geometry::new(1, 1, 0, 1), Err(PlanError::NoVirtualRanks));
    assert_eq!(Geometry::new(1, 1, 1, 0), Err(PlanError::EmptyBatch));
    assert_eq!(Geometry::new(1, 1, 1, 1).unwrap().with_mix(0), Err(PlanError::NoMix));
    let text = "the data set has 0 records; an epoch needs at least 1. Point data.source at a data set that has \
                records.";
    assert_eq!(PlanError::NoRecords.to_string(), text);
}

#[test]
fn one_record_is_seen_again_and_again() {
    let plan = plan(1, 256, 3, 4);
    assert_eq!(records(&plan, 2, 1000), [0; 4]);
    assert_eq!(plan.cursor(VirtualRank(2), Step(1000)), Cursor { ordinal: 4000, offset: 0 });
}

#[test]
fn a_shard_larger_than_the_data_set_is_one_short_shard() {
    let plan = plan(10, 256, 1, 10);
    assert_eq!((plan.geometry().full_shards(), plan.geometry().shards_per_epoch()), (0, 1));
    let mut seen = records(&plan, 0, 5);
    seen.sort_unstable();
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
}

/// 2 shards, 5 virtual ranks: each position of an epoch is another rank's, and all get data at every step.
#[test]
fn more_virtual_ranks_than_shards_go_round() {
    let plan = plan(8, 4, 5, 4);
    for rank in 0..5 {
        let batch: Vec<_> = plan.batch(VirtualRank(rank), Step(3)).collect();
        assert_eq!(batch[0].position, Position(3 * 5 + u64::from(rank)));
        assert_eq!(batch[0].epoch, (3 * 5 + u64::from(rank)) / 2);
        assert_eq!(batch.len(), 4);
    }
}

#[test]
fn a_tail_of_one_record_is_the_last_place_of_every_epoch() {
    let plan = plan(9, 4, 1, 9);
    for epoch in 0..20 {
        assert_eq!(plan.shard_at(Position(3 * epoch + 2)), Shard(2));
        assert_eq!(plan.record_count(Position(3 * epoch + 2)), 1);
        assert_eq!(records(&plan, 0, epoch)[8], 8);
    }
}

#[test]
fn a_step_far_beyond_any_run_costs_no_walk() {
    let plan = plan(3_033_042, 256, 64, 64);
    let step = 1_000_000_000_000;
    let batch: Vec<_> = plan.batch(VirtualRank(63), Step(step)).collect();
    assert!(batch.iter().all(|it| it.record < 3_033_042));
    assert!(plan.steps_max() > step * 1_000_000);
}

/// A cursor exists for all ranks before the last numbered step; the check names that step.
#[test]
fn more_steps_than_64_bits_number_are_refused() {
    let plan = plan(1_000, 7, 4096, 65_536);
    let last = plan.steps_max();
    assert_eq!(plan.check_steps(last), Ok(()));
    for rank in [0, 1, 4095] {
        let cursor = plan.cursor(VirtualRank(rank), Step(last));
        let _ = plan.position(VirtualRank(rank), cursor.ordinal);
        assert_eq!(records(&plan, rank, last - 1).len(), 65_536);
    }
    let error = plan.check_steps(last + 1).unwrap_err();
    assert!(matches!(error, PlanError::TooManySteps { last: l, .. } if l == last));
    assert_eq!(
        error.to_string(),
        format!(
            "steps is {}; with 4096 virtual ranks of 65536 samples and shards of 7 records the positions after \
             step {last} do not fit in 64 bits. Set steps to at most {last}.",
            last + 1
        )
    );
}

#[test]
#[should_panic(expected = "step 18446744073709551615 of virtual rank 0 lies beyond the last position")]
fn a_step_beyond_64_bits_panics_and_does_not_wrap() {
    let _ = plan(1000, 1, 2, 2).cursor(VirtualRank(0), Step(u64::MAX));
}

#[test]
#[should_panic(expected = "virtual rank 4 of a plan for 4, counted from 0")]
fn a_virtual_rank_that_does_not_exist_panics() {
    let _ = plan(1000, 10, 4, 2).cursor(VirtualRank(4), Step(0));
}
