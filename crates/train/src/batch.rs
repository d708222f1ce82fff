//! The real samples of a virtual rank, as a caller gives them.

use lsgan_spec::{RunSpec, VirtualRank};

use crate::TrainError;
use crate::models::SampleShape;

/// One virtual rank's real samples for a step.
#[derive(Clone, Copy, Debug)]
pub struct RankBatch<'a> {
    pub virtual_rank: VirtualRank,
    /// `per_rank` samples in −1..1: `[per_rank, height, width, channels]`, or `[per_rank, 2]` for points.
    pub samples: &'a [f32],
    /// Their classes, where the run's networks are told them; otherwise none.
    pub classes: &'a [u32],
}

impl RankBatch<'_> {
    /// Whether it has the samples and the classes that the run wants.
    pub(crate) fn check(&self, spec: &RunSpec, sample: SampleShape) -> Result<(), TrainError> {
        let (virtual_rank, per_rank, count) =
            (self.virtual_rank, spec.batch.per_rank, spec.model.classes.count);
        let (found, accepted) = (self.samples.len(), sample.len() * per_rank as usize);
        if found != accepted {
            let shape = format!("{per_rank} samples of {sample}");
            return Err(TrainError::BatchLength { virtual_rank, found, accepted, shape });
        }
        let wanted = if count > 0 { per_rank as usize } else { 0 };
        if self.classes.len() != wanted || self.classes.iter().any(|class| *class >= count) {
            let classes = self.classes.len();
            return Err(TrainError::Classes { virtual_rank, classes, wanted, count });
        }
        Ok(())
    }
}
