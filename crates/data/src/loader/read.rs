//! One batch, with the records that do not decode replaced.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use lsgan_plan::{Plan, RecordRef, Visit, coin};
use lsgan_spec::{Flip, Position, Step, VirtualRank};

use super::{LoaderError, RankBatch, Replaced};
use crate::leases::Granted;
use crate::pool::Pool;
use crate::transform::mirror;
use crate::{Leases, RecordError, SampleShape, Source};

/// The domain of the coins that mirror.
const FLIP: &str = "flip";

/// Other positions that are searched for a record in the place of a bad one. So many bad shards in a row do not come by
/// chance: the data set is unfit, and the search through millions of records would say so much later.
const POSITIONS_SEARCHED: u64 = 256;

/// What is no record's own fault ends the loading of the step.
fn fatal(error: RecordError) -> LoaderError {
    match error {
        lost @ RecordError::Lost { .. } => LoaderError::Lost(lost),
        bug @ (RecordError::OutOfRange { .. }
        | RecordError::WrongLength { .. }
        | RecordError::Undecodable { .. }) => LoaderError::Record(bug),
    }
}

/// Reads batches; holds nothing that changes what is read.
pub(super) struct Reader {
    source: Arc<dyn Source>,
    plan: Plan,
    pub(super) pool: Pool,
    /// Records that were met and do not decode: where a whole shard is bad, each of its places searches all of it.
    bad: Mutex<HashSet<u64>>,
}

impl Reader {
    pub(super) fn new(source: Arc<dyn Source>, plan: Plan, pool: Pool) -> Self {
        Self { source, plan, pool, bad: Mutex::default() }
    }

    /// The samples of `rank` at `step`, once all positions that they lie in are leased.
    pub(super) fn read(
        &self,
        step: Step,
        rank: VirtualRank,
        leases: &Leases,
        stopped: impl Fn() -> bool,
    ) -> Result<(RankBatch, Vec<Replaced>), LoaderError> {
        let needed = self.plan.ordinals_needed(rank, step.next().0);
        if leases.wait_for(rank, needed, &stopped) == Granted::Stopped {
            return Err(LoaderError::Stopped);
        }
        let mut samples = self.pool.take();
        let mut replaced = Vec::new();
        let places = samples.chunks_exact_mut(self.source.sample_len());
        for (wanted, place) in self.plan.batch(rank, step).zip(places) {
            // A record can be a photograph of ten megapixels: a stop does not wait for a whole batch of them.
            if stopped() {
                return Err(LoaderError::Stopped);
            }
            match self.source.read(wanted.record, place) {
                Ok(()) => {}
                Err(reason @ RecordError::Undecodable { .. }) => {
                    let by = self.replace(wanted, place, &reason, &stopped)?;
                    replaced.push(Replaced { virtual_rank: rank, record: wanted.record, by, reason });
                }
                Err(error) => return Err(fatal(error)),
            }
            self.flip(wanted, place);
        }
        Ok((RankBatch { virtual_rank: rank, samples }, replaced))
    }

    /// Mirrors a sample if the coin for its place in the order says so; one that took another's place keeps the coin.
    fn flip(&self, wanted: RecordRef, sample: &mut [f32]) {
        match (self.source.flip(), self.source.sample_shape()) {
            (Flip::Random, SampleShape::Image { size, channels }) => {
                if coin(FLIP, self.plan.seed(), wanted.position, wanted.offset) {
                    mirror(sample, size, channels);
                }
            }
            (Flip::Never, _) | (Flip::Random, SampleShape::Point2) => {}
        }
    }

    /// Fills `place` with the next record that decodes, and says which: of the same position, or where that has none, of
    /// the positions that follow in its epoch, from the epoch's end on from its start. In each the search begins at the
    /// bad record's own offset, so that the places of a bad shard get different records. A pure function of plan and
    /// data; which positions are leased says nothing about it, for nothing is consumed by being read here.
    fn replace(
        &self,
        bad: RecordRef,
        place: &mut [f32],
        first: &RecordError,
        stopped: &impl Fn() -> bool,
    ) -> Result<u64, LoaderError> {
        self.bad().insert(bad.record);
        let shards = self.plan.geometry().shards_per_epoch();
        let (epoch_begin, own) = (bad.epoch * shards, bad.position.0 - bad.epoch * shards);
        let searched = shards.min(1 + POSITIONS_SEARCHED);
        for next in 0..searched {
            let visit = self.plan.visit(Position(epoch_begin + (own + next) % shards));
            if let Some(record) = self.first_good(&visit, bad.offset, place, stopped)? {
                return Ok(record);
            }
        }
        let shard = self.plan.shard_at(bad.position);
        let whole = searched == shards;
        Err(LoaderError::NothingDecodes { shard, others: searched - 1, whole, first: first.clone() })
    }

    /// The first record of a visit that decodes, from `offset` on and from its end on from its start; it is in `place`.
    fn first_good(
        &self,
        visit: &Visit,
        offset: u64,
        place: &mut [f32],
        stopped: &impl Fn() -> bool,
    ) -> Result<Option<u64>, LoaderError> {
        let records = visit.record_count();
        for distance in 0..records {
            let record = visit.record((offset + distance) % records).record;
            if self.bad().contains(&record) {
                continue;
            }
            if stopped() {
                return Err(LoaderError::Stopped);
            }
            match self.source.read(record, place) {
                Ok(()) => return Ok(Some(record)),
                Err(RecordError::Undecodable { .. }) => self.bad().insert(record),
                Err(error) => return Err(fatal(error)),
            };
        }
        Ok(None)
    }

    fn bad(&self) -> std::sync::MutexGuard<'_, HashSet<u64>> {
        // A set that a panicking thread held is whole: an insertion is all that is done to it.
        self.bad.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
