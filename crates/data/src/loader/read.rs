//! One batch, with the records that do not decode replaced.

use std::sync::Arc;

use lsgan_plan::{Plan, RecordRef, coin};
use lsgan_spec::{Flip, Step, VirtualRank};

use super::{LoaderError, RankBatch, Replaced};
use crate::leases::Granted;
use crate::pool::Pool;
use crate::transform::mirror;
use crate::{Leases, RecordError, SampleShape, Source};

/// The domain of the coins that mirror.
const FLIP: &str = "flip";

/// What is no record's own fault ends the loading of the step.
fn fatal(error: RecordError) -> LoaderError {
    match error {
        lost @ RecordError::Lost { .. } => LoaderError::Lost(lost),
        bug @ (RecordError::OutOfRange { .. }
        | RecordError::WrongLength { .. }
        | RecordError::Undecodable { .. }) => LoaderError::Record(bug),
    }
}

/// Reads batches; holds nothing that changes but the free buffers.
pub(super) struct Reader {
    pub(super) source: Arc<dyn Source>,
    pub(super) plan: Plan,
    pub(super) pool: Pool,
}

impl Reader {
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
            // A record can be a photograph of ten megapixels: nobody who stops waits for a whole batch of them.
            if stopped() {
                return Err(LoaderError::Stopped);
            }
            match self.source.read(wanted.record, place) {
                Ok(()) => {}
                Err(reason @ RecordError::Undecodable { .. }) => {
                    let by = self.replace(wanted, place, &reason)?;
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

    /// Fills `place` with the next record of the same position that decodes, and says which. A pure function of plan
    /// and data; it stays within the position, and so within the lease.
    fn replace(&self, bad: RecordRef, place: &mut [f32], first: &RecordError) -> Result<u64, LoaderError> {
        let visit = self.plan.visit(bad.position);
        let records = visit.record_count();
        for distance in 1..records {
            let candidate = visit.record((bad.offset + distance) % records);
            match self.source.read(candidate.record, place) {
                Ok(()) => return Ok(candidate.record),
                Err(RecordError::Undecodable { .. }) => {}
                Err(error) => return Err(fatal(error)),
            }
        }
        let (shard, position) = (visit.shard(), bad.position);
        Err(LoaderError::Shard { shard, position, records, first: first.clone() })
    }
}
