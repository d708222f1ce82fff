//! One batch, with the records that do not decode replaced.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use lsgan_plan::{Plan, RecordRef, Visit, coin};
use lsgan_spec::{Flip, Position, Step, VirtualRank};

use super::{LoaderError, RankBatch, Replaced};
use crate::pool::Pool;
use crate::transform::mirror;
use crate::{Leases, RecordError, SampleShape, Source};

/// The domain of the coins that decide about mirroring.
const FLIP: &str = "flip";

/// The most other positions that are searched for a replacement. So many bad shards in a row show that the data set is
/// unfit; a search through millions of records would find that out much later.
const POSITIONS_SEARCHED: u64 = 256;

/// The error that ends the loading of a step, for everything but a record that does not decode.
fn fatal(error: RecordError) -> LoaderError {
    match error {
        lost @ RecordError::Lost { .. } => LoaderError::Lost(lost),
        bug @ (RecordError::OutOfRange { .. }
        | RecordError::WrongLength { .. }
        | RecordError::Undecodable { .. }) => LoaderError::Record(bug),
    }
}

/// Reads batches: a pure function of source and plan.
pub(super) struct Reader {
    source: Arc<dyn Source>,
    plan: Plan,
    pub(super) pool: Pool,
    classes: bool,
    /// Records that failed to decode, so that the replacements for a bad shard do not decode all of it again.
    bad: Mutex<HashSet<u64>>,
}

impl Reader {
    pub(super) fn new(source: Arc<dyn Source>, plan: Plan, pool: Pool, classes: bool) -> Self {
        Self { source, plan, pool, classes, bad: Mutex::default() }
    }

    /// Reads the samples of `rank` at `step`, after waiting for the leases of all their positions.
    pub(super) fn read(
        &self,
        step: Step,
        rank: VirtualRank,
        leases: &Leases,
        stopped: impl Fn() -> bool,
    ) -> Result<(RankBatch, Vec<Replaced>), LoaderError> {
        let needed = self.plan.ordinals_needed(rank, step.next().0);
        if !leases.wait_for(rank, needed, &stopped) {
            return Err(LoaderError::Stopped);
        }
        let mut samples = self.pool.take();
        let (mut replaced, mut classes) = (Vec::new(), Vec::new());
        let places = samples.chunks_exact_mut(self.source.sample_len());
        for (wanted, place) in self.plan.batch(rank, step).zip(places) {
            // Stopping waits for at most one record, which can be a photograph of ten megapixels.
            if stopped() {
                return Err(LoaderError::Stopped);
            }
            let record = match self.source.read(wanted.record, place) {
                Ok(()) => wanted.record,
                Err(reason @ RecordError::Undecodable { .. }) => {
                    let by = self.replace(wanted, place, &reason, &stopped)?;
                    replaced.push(Replaced { virtual_rank: rank, record: wanted.record, by, reason });
                    by
                }
                Err(error) => return Err(fatal(error)),
            };
            self.flip(wanted, place);
            if self.classes {
                let class = self.source.class(record);
                classes.push(class.expect("where classes are asked for, every record has one"));
            }
        }
        Ok((RankBatch { virtual_rank: rank, samples, classes }, replaced))
    }

    /// Mirrors a sample if the coin of its place in the order says so. A replacement has the coin of the record it replaces.
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

    /// Fills `place` with the replacement of a bad record and returns its number: the next record that decodes in the same
    /// position, or else in the positions that follow in the epoch, cyclically. In each position the search begins at the
    /// bad record's own offset, so that the records of a bad shard get different replacements. A pure function of plan and
    /// data. It ignores leases, because reading a replacement consumes no position.
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

    /// Reads the first record of a visit that decodes into `place`, searching cyclically from `offset` on.
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
        // Threads only insert into the set, so it is valid even after a panic.
        self.bad.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
