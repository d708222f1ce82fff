//! An evaluation: real samples once, then any number of snapshots.

use std::num::NonZero;
use std::path::PathBuf;

use lsgan_data::Source;
use lsgan_metrics::kid::Subsets;
use lsgan_metrics::{Options, Score, Set, Statistics, Subject, fid, scores};
use lsgan_spec::{Metric, Part, RunSpec};
use lsgan_train::Sampler;
use lsgan_train::models::SampleShape;

use crate::chunks::{CHUNK, Pictures, extract};
use crate::kept::{self, Kept};
use crate::records::{Spread, chunk_of};
use crate::{Choice, EvaluateError, Extractor, Resize, npz};

/// The most real samples that are compared by default: as many as published FIDs take.
pub const REAL_MAX: u64 = 50_000;

/// What is to be evaluated, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The scores, in this order. Snapshots are compared by the first.
    pub metrics: Vec<Metric>,
    /// How many samples are generated.
    pub samples: usize,
    /// The most records of the data set that are compared, spread over all of it.
    pub real_max: u64,
    /// Which network looks at pictures.
    pub extractor: Choice,
    /// How pictures are scaled for it.
    pub resize: Resize,
    /// Statistics of real samples from elsewhere, for `fid`.
    pub reference: Option<PathBuf>,
    /// No bit depends on it.
    pub threads: NonZero<usize>,
}

/// How far an evaluation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many real samples of so many have their features.
    Real(u64, u64),
    /// So many generated samples of so many.
    Generated(u64, u64),
    /// This metric is computed.
    Metric(Metric),
}

/// Hears of progress, from any thread.
pub type Told<'a> = &'a (dyn Fn(Progress) + Sync);

/// Real samples.
pub struct Reference {
    /// Features; none where only `fid` is asked for, and its statistics come from a file.
    set: Option<Set>,
    /// Mean and covariance of the features.
    pub statistics: Statistics,
    /// Records that do not decode.
    pub left_out: u64,
}

enum Subjects {
    Pictures { extractor: Box<dyn Extractor>, reference: Reference },
    Points,
}

/// What scores snapshots of one run.
pub struct Evaluation {
    spec: RunSpec,
    plan: Plan,
    sampler: Sampler,
    subjects: Subjects,
}

impl Evaluation {
    /// Opens the extractor, and looks at the real samples that `data` opens, unless their features are kept from before.
    ///
    /// # Errors
    /// Weights or statistics that cannot be used, records that cannot be read.
    pub fn new<E: From<EvaluateError>>(
        spec: &RunSpec,
        plan: Plan,
        data: impl FnOnce() -> Result<Box<dyn Source>, E>,
        kept: &Kept,
        told: Told<'_>,
    ) -> Result<Self, E> {
        let sampler = Sampler::new(spec).map_err(EvaluateError::from)?;
        let subjects = match sampler.shape() {
            SampleShape::Point => Subjects::Points,
            SampleShape::Picture { .. } => {
                let extractor = plan.extractor.open(plan.resize)?;
                let reference = match &plan.reference {
                    Some(path) if plan.metrics == [Metric::Fid] => {
                        Reference { set: None, statistics: npz::read(path)?, left_out: 0 }
                    }
                    of_file => {
                        let mut found = real(&*data()?, spec, &plan, &*extractor, kept, told)?;
                        if let Some(path) = of_file {
                            found.statistics = npz::read(path)?;
                        }
                        found
                    }
                };
                Subjects::Pictures { extractor, reference }
            }
        };
        Ok(Self { spec: spec.clone(), plan, sampler, subjects })
    }

    /// The plan that it follows.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Which network looks at pictures; none for points.
    #[must_use]
    pub fn extractor(&self) -> Option<&dyn Extractor> {
        match &self.subjects {
            Subjects::Pictures { extractor, .. } => Some(&**extractor),
            Subjects::Points => None,
        }
    }

    /// The real samples; none for points, which are compared with their mixture.
    #[must_use]
    pub fn reference(&self) -> Option<&Reference> {
        match &self.subjects {
            Subjects::Pictures { reference, .. } => Some(reference),
            Subjects::Points => None,
        }
    }

    /// What a person has to know of these scores, a sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let Subjects::Pictures { extractor, reference } = &self.subjects else { return vec![] };
        let mut warnings = vec![];
        if self.plan.metrics.contains(&Metric::Fid) {
            let samples = self.plan.samples.min(reference.statistics.samples.unwrap_or(usize::MAX));
            warnings.extend(fid::warning(samples, extractor.features()));
        }
        if reference.left_out > 0 {
            warnings.push(format!("{} real pictures do not decode and are left out", reference.left_out));
        }
        warnings
    }

    /// Scores a saved `generator` or `generator_ema`.
    ///
    /// # Errors
    /// Weights of another network, or too few samples.
    pub fn score(&self, part: &Part, told: Told<'_>) -> Result<Vec<Score>, EvaluateError> {
        let options = Options { subsets: Subsets::default(), threads: self.plan.threads };
        let begins = |metric| told(Progress::Metric(metric));
        match &self.subjects {
            Subjects::Points => {
                let weights = self.sampler.load(part)?;
                let points = self.sampler.samples(&weights.as_weights(), self.plan.samples);
                let mixture = self.spec.data.source.mixture().expect("points are of a mixture");
                let subject = Subject::Points { points: &points, mixture };
                Ok(scores(&self.plan.metrics, subject, &options, &begins)?)
            }
            Subjects::Pictures { extractor, reference } => {
                let generated = self.generated(&**extractor, part, told)?;
                let subject = Subject::Pictures {
                    real: reference.set.as_ref(),
                    statistics: &reference.statistics,
                    generated: &generated,
                };
                Ok(scores(&self.plan.metrics, subject, &options, &begins)?)
            }
        }
    }

    /// Features of the first samples of the run's fixed z.
    fn generated(
        &self,
        extractor: &dyn Extractor,
        part: &Part,
        told: Told<'_>,
    ) -> Result<Set, EvaluateError> {
        let weights = self.sampler.load(part)?;
        let SampleShape::Picture { size, channels } = self.sampler.shape() else {
            unreachable!("only pictures have features")
        };
        let latents = self.sampler.latents(self.plan.samples);
        assert!(latents.len() == self.plan.samples.div_ceil(CHUNK), "a batch of z is a chunk");
        let make = |chunk: usize| {
            let samples = self.sampler.samples_of(&weights.as_weights(), &latents[chunk]);
            Ok(Pictures::of_samples(size as usize, channels as usize, &samples))
        };
        let total = self.plan.samples as u64;
        let told = |done: usize| told(Progress::Generated(((done * CHUNK) as u64).min(total), total));
        let values = extract(extractor, self.plan.threads, latents.len(), &make, &told)?;
        Ok(Set::new("generated", extractor.features(), values)?)
    }
}

/// Features of records spread evenly over a data set.
fn real(
    data: &dyn Source,
    spec: &RunSpec,
    plan: &Plan,
    extractor: &dyn Extractor,
    kept: &Kept,
    told: Told<'_>,
) -> Result<Reference, EvaluateError> {
    let total = data.len().min(plan.real_max);
    let key = kept::key(data, &spec.data, total, extractor);
    let values = match kept.read(&key, extractor.features()) {
        Some(values) => values,
        None => {
            let values = of_records(data, total, plan.threads, extractor, told)?;
            // A cache that cannot be written only costs the time of the next evaluation.
            let _ = kept.write(&key, extractor.features(), &values);
            values
        }
    };
    let set = Set::new("real", extractor.features(), values)?;
    if set.len() < 2 {
        return Err(EvaluateError::NothingReal { seen: total });
    }
    let left_out = total - set.len() as u64;
    Ok(Reference { statistics: Statistics::of(&set), set: Some(set), left_out })
}

fn of_records(
    data: &dyn Source,
    total: u64,
    threads: NonZero<usize>,
    extractor: &dyn Extractor,
    told: Told<'_>,
) -> Result<Vec<f32>, EvaluateError> {
    let lsgan_data::SampleShape::Image { size, channels } = data.sample_shape() else {
        unreachable!("a run that makes pictures reads pictures")
    };
    let spread = Spread::over(data.len(), total);
    let make = |chunk: usize| {
        let first = (chunk * CHUNK) as u64;
        Ok(chunk_of(data, spread, first..total.min(first + CHUNK as u64), (size, channels))?.0)
    };
    let told = |done: usize| told(Progress::Real(((done * CHUNK) as u64).min(total), total));
    extract(extractor, threads, total.div_ceil(CHUNK as u64) as usize, &make, &told)
}
