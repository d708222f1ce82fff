//! Positions, shards, cursors and batches.

use lsgan_spec::{Position, RunSpec, Shard, Step, VirtualRank};

use crate::batch::{Batch, Group, GroupOrder};
use crate::tails::TailGrid;
use crate::{Geometry, PlanError, Shuffle};

const SHARD_ORDER: &str = "lsgan plan v1: order of the shards in an epoch";
const RECORD_ORDER: &str = "lsgan plan v1: order of the records in a shard";
const MIXED_ORDER: &str = "lsgan plan v1: order of the records of several shards of a virtual rank";

/// The samples of every virtual rank at every step: a pure function of the seed and the geometry.
///
/// A virtual rank that is not below V, and a step beyond [`steps_max`](Self::steps_max), are bugs of the caller and panic.
/// [`of_run`](Self::of_run) and [`check_steps`](Self::check_steps) check the steps of a run once.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    seed: u64,
    geometry: Geometry,
    tail_grid: TailGrid,
}

/// The state of a virtual rank before a step: `offset` records of the group of positions that begins at `ordinal`, a
/// multiple of `mix`, are consumed. `offset` is below the number of records in the group. If `mix` is 1, the group is one
/// position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// A position of the virtual rank, counted from 0; all before it are consumed.
    pub ordinal: u64,
    /// Consumed records of the group.
    pub offset: u64,
}

/// A record and its place in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordRef {
    /// The position that holds it.
    pub position: Position,
    /// The epoch of that position, from 0.
    pub epoch: u64,
    /// Its number in the order of the visit, from 0.
    pub offset: u64,
    /// The record's index in the data set.
    pub record: u64,
}

impl Plan {
    #[must_use]
    pub fn new(seed: u64, geometry: Geometry) -> Self {
        Self { seed, geometry, tail_grid: TailGrid::new(&geometry) }
    }

    /// The plan of a run over a data set of `records`, checked for all of the run's steps.
    ///
    /// # Errors
    ///
    /// A number that is 0; more steps than the plan can number.
    pub fn of_run(spec: &RunSpec, records: u64) -> Result<Self, PlanError> {
        let (data, batch) = (&spec.data, &spec.batch);
        let geometry = Geometry::new(records, data.shard_records, batch.virtual_ranks, batch.per_rank)?
            .with_mix(data.mix)?;
        let plan = Self::new(spec.seed, geometry);
        plan.check_steps(spec.steps)?;
        Ok(plan)
    }

    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The position number `ordinal` of a virtual rank: `ordinal`·V + `rank`.
    #[must_use]
    pub fn position(&self, rank: VirtualRank, ordinal: u64) -> Position {
        self.assert_rank(rank);
        let position =
            ordinal.checked_mul(self.virtual_ranks()).and_then(|p| p.checked_add(u64::from(rank.0)));
        Position(position.unwrap_or_else(|| {
            panic!("virtual rank {rank}'s position number {ordinal} does not fit in 64 bits; see Plan::check_steps")
        }))
    }

    /// The virtual rank that a position belongs to: p mod V.
    #[must_use]
    pub fn rank_of(&self, position: Position) -> VirtualRank {
        let rank = position.0 % self.virtual_ranks();
        VirtualRank(u32::try_from(rank).expect("a remainder by V, a u32, fits in u32"))
    }

    /// The epoch of a position: p div N.
    #[must_use]
    pub fn epoch_of(&self, position: Position) -> u64 {
        position.0 / self.geometry.shards_per_epoch()
    }

    /// The shard at a position. An epoch is a seeded permutation of the full shards, then the short one if there is one.
    #[must_use]
    pub fn shard_at(&self, position: Position) -> Shard {
        let place = position.0 % self.geometry.shards_per_epoch();
        let full_shards = self.geometry.full_shards();
        if place == full_shards {
            return Shard(full_shards);
        }
        let epoch = self.epoch_of(position);
        Shard(Shuffle::new(full_shards, SHARD_ORDER, &[self.seed, epoch]).at(place))
    }

    #[must_use]
    pub fn record_count(&self, position: Position) -> u64 {
        let place = position.0 % self.geometry.shards_per_epoch();
        if place == self.geometry.full_shards() {
            self.geometry.tail_records()
        } else {
            self.geometry.shard_records()
        }
    }

    #[must_use]
    pub fn visit(&self, position: Position) -> Visit {
        let shard = self.shard_at(position);
        let epoch = self.epoch_of(position);
        Visit {
            position,
            epoch,
            shard,
            first_record: shard.0 * self.geometry.shard_records(),
            order: Shuffle::new(self.record_count(position), RECORD_ORDER, &[self.seed, epoch, shard.0]),
        }
    }

    /// The state of `rank` before `step`, in closed form: step 10^12 costs the same as step 0.
    #[must_use]
    pub fn cursor(&self, rank: VirtualRank, step: Step) -> Cursor {
        self.assert_rank(rank);
        let sizes = self.tail_grid.sizes(&self.geometry, rank.0);
        let records = self.records_before(step.0);
        let (ordinal, _) = sizes.seek(records);
        match u64::try_from(ordinal) {
            Ok(ordinal) if ordinal <= self.ordinal_max() => {
                let ordinal = ordinal - ordinal % self.mix();
                // Less than a group, which has at most 1,024 shards of 2^20 records in a run.
                Cursor { ordinal, offset: (records - sizes.before(ordinal)) as u64 }
            }
            _ => panic!(
                "step {step} of virtual rank {rank} lies beyond the last position that fits in 64 bits; \
                 see Plan::check_steps"
            ),
        }
    }

    /// The `per_rank` records of `rank` in `step`, in order. They may lie in several positions and epochs.
    #[must_use]
    pub fn batch(&self, rank: VirtualRank, step: Step) -> Batch<'_> {
        let cursor = self.cursor(rank, step);
        Batch {
            plan: self,
            group: self.group(rank, cursor.ordinal),
            offset: cursor.offset,
            left: self.geometry.per_rank(),
        }
    }

    /// The group of `mix` positions of `rank` that begins at `ordinal`, a multiple of `mix`.
    pub(crate) fn group(&self, rank: VirtualRank, ordinal: u64) -> Group {
        if self.mix() == 1 {
            return Group { rank, ordinal, order: GroupOrder::One(self.visit(self.position(rank, ordinal))) };
        }
        let sizes = self.tail_grid.sizes(&self.geometry, rank.0);
        let first = sizes.before(ordinal);
        let records = (sizes.before(ordinal + self.mix()) - first) as u64;
        let numbers = [self.seed, u64::from(rank.0), ordinal];
        let shuffle = Shuffle::new(records, MIXED_ORDER, &numbers);
        Group { rank, ordinal, order: GroupOrder::Mixed { sizes, first, shuffle, visits: Vec::new() } }
    }

    /// The number of `rank`'s positions that are certainly consumed after `steps_done` steps: all before the current
    /// group.
    #[must_use]
    pub fn completed_ordinals(&self, rank: VirtualRank, steps_done: u64) -> u64 {
        self.cursor(rank, Step(steps_done)).ordinal
    }

    /// The number of `rank`'s positions that the first `steps` steps need: ordinals `0..` this.
    #[must_use]
    pub fn ordinals_needed(&self, rank: VirtualRank, steps: u64) -> u64 {
        let cursor = self.cursor(rank, Step(steps));
        cursor.ordinal + if cursor.offset > 0 { self.mix() } else { 0 }
    }

    /// The most positions that a virtual rank touches in any `steps` consecutive steps.
    #[must_use]
    pub fn max_positions_per_steps(&self, steps: u64) -> u64 {
        let records = u128::from(steps) * u128::from(self.geometry.per_rank());
        let mix = u128::from(self.mix());
        if records < 2 {
            return (records * mix) as u64;
        }
        // In the worst case the first and the last group give one record each, and those between are as short as possible.
        let (between, _) = self.tail_grid.shortest_sizes(&self.geometry).seek(records - 2);
        u64::try_from((between / mix + 2) * mix).unwrap_or(u64::MAX)
    }

    /// Checks that 64 bits can number all positions of a run of `steps` steps.
    ///
    /// # Errors
    ///
    /// [`PlanError::TooManySteps`].
    pub fn check_steps(&self, steps: u64) -> Result<(), PlanError> {
        let last = self.steps_max();
        if steps <= last {
            return Ok(());
        }
        Err(PlanError::TooManySteps {
            steps,
            last,
            virtual_ranks: self.geometry.virtual_ranks(),
            per_rank: self.geometry.per_rank(),
            shard_records: self.geometry.shard_records(),
        })
    }

    /// The most steps that this plan can number: a cursor exists before each of the steps `0..=steps_max`.
    #[must_use]
    pub fn steps_max(&self) -> u64 {
        let fits = |steps| {
            let (ordinal, _) = self.tail_grid.shortest_sizes(&self.geometry).seek(self.records_before(steps));
            ordinal <= u128::from(self.ordinal_max())
        };
        let (mut fitting, mut beyond) = (0, u64::MAX);
        if fits(beyond) {
            return beyond;
        }
        while beyond - fitting > 1 {
            let middle = fitting + (beyond - fitting) / 2;
            if fits(middle) { fitting = middle } else { beyond = middle }
        }
        fitting
    }

    /// The records of each virtual rank in the first `steps` steps.
    fn records_before(&self, steps: u64) -> u128 {
        u128::from(steps) * u128::from(self.geometry.per_rank())
    }

    /// The last ordinal of every virtual rank that leaves room for the rest of its group and one more.
    fn ordinal_max(&self) -> u64 {
        u64::MAX / self.virtual_ranks() - self.mix()
    }

    fn mix(&self) -> u64 {
        u64::from(self.geometry.mix())
    }

    fn virtual_ranks(&self) -> u64 {
        u64::from(self.geometry.virtual_ranks())
    }

    fn assert_rank(&self, rank: VirtualRank) {
        let count = self.geometry.virtual_ranks();
        assert!(rank.0 < count, "virtual rank {rank} of a plan for {count}, counted from 0");
    }
}

/// The records of one position, in the order in which they are seen.
#[derive(Clone, Debug)]
pub struct Visit {
    position: Position,
    epoch: u64,
    shard: Shard,
    first_record: u64,
    order: Shuffle,
}

impl Visit {
    /// The position that is visited.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The shard that lies there.
    #[must_use]
    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// How many records it has; at least 1.
    #[must_use]
    pub fn record_count(&self) -> u64 {
        self.order.size()
    }

    /// The record seen as number `offset`, which is below [`record_count`](Self::record_count).
    #[must_use]
    pub fn record(&self, offset: u64) -> RecordRef {
        let record = self.first_record + self.order.at(offset);
        RecordRef { position: self.position, epoch: self.epoch, offset, record }
    }
}
