//! The records of one virtual rank at one step.

use lsgan_spec::VirtualRank;

use crate::Shuffle;
use crate::plan::{Plan, RecordRef, Visit};
use crate::tails::Sizes;

/// An iterator over the records of one virtual rank at one step, from [`Plan::batch`].
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) group: Group,
    /// Consumed records of the group.
    pub(crate) offset: u64,
    pub(crate) left: u32,
}

impl Iterator for Batch<'_> {
    type Item = RecordRef;

    fn next(&mut self) -> Option<RecordRef> {
        self.left = self.left.checked_sub(1)?;
        if self.offset == self.group.record_count() {
            let next = self.group.ordinal + u64::from(self.plan.geometry().mix());
            self.group = self.plan.group(self.group.rank, next);
            self.offset = 0;
        }
        let record = self.group.record(self.plan, self.offset);
        self.offset += 1;
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Batch<'_> {}

/// Consecutive positions of a virtual rank, whose records are shuffled together.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) rank: VirtualRank,
    /// The first position.
    pub(crate) ordinal: u64,
    pub(crate) order: GroupOrder,
}

#[derive(Clone, Debug)]
pub(crate) enum GroupOrder {
    /// A single position, with the order of its visit.
    One(Visit),
    /// Several positions. The shuffle permutes the group's records, counted position after position. Within its position, a
    /// record's number is a place in the order of the visit.
    Mixed {
        sizes: Sizes,
        /// The records of the virtual rank before the group.
        first: u128,
        shuffle: Shuffle,
        /// A cache: each visit derives a key.
        visits: Vec<(u64, Visit)>,
    },
}

impl Group {
    fn record_count(&self) -> u64 {
        match &self.order {
            GroupOrder::One(visit) => visit.record_count(),
            GroupOrder::Mixed { shuffle, .. } => shuffle.size(),
        }
    }

    fn record(&mut self, plan: &Plan, offset: u64) -> RecordRef {
        match &mut self.order {
            GroupOrder::One(visit) => visit.record(offset),
            GroupOrder::Mixed { sizes, first, shuffle, visits } => {
                let (ordinal, offset) = sizes.seek(*first + u128::from(shuffle.at(offset)));
                let ordinal = ordinal as u64; // the group's ordinals fit in 64 bits
                let known = visits.iter().position(|(of, _)| *of == ordinal).unwrap_or_else(|| {
                    visits.push((ordinal, plan.visit(plan.position(self.rank, ordinal))));
                    visits.len() - 1
                });
                visits[known].1.record(offset)
            }
        }
    }
}
