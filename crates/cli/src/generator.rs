//! Which generator a command is about, and how it is opened: what `sample`, `export` and `nearest` begin with.

use lsgan_console::{Failure, exit::chain, say};
use lsgan_data::Source;
use lsgan_launch::{data_fingerprint, open_data};
use lsgan_snapshots::{Manifest, Store};
use lsgan_spec::{RunSpec, SampleWeights, Step};
use lsgan_train::{Draw, OwnedWeights, Sampler};

use crate::place::store_of;
use crate::words::words;

/// The arguments that say which.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct GeneratorArgs {
    /// The run's directory, or what its `checkpoint.to` says.
    #[arg(long, visible_alias = "checkpoint", value_name = "DIR|URL")]
    run: String,
    /// The snapshot of this step instead of the newest whole one.
    #[arg(long, value_name = "STEP")]
    step: Option<u64>,
    /// Which of G's weights; by default those of `samples.weights`.
    #[arg(long, value_name = "WHICH", value_parser = words::<SampleWeights>())]
    weights: Option<SampleWeights>,
}

/// The arguments that say which z samples are made of.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DrawArgs {
    /// Other samples: the noise of this seed. By default the run's own, which its pictures and scores have.
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Draw numbers of the noise beyond ± this again: fewer kinds of samples, and better ones. 0.5 to 1 is usual.
    #[arg(long, value_name = "LIMIT", value_parser = limit)]
    truncation: Option<f32>,
    /// Samples of this class alone, where the run has `model.classes`. By default one class after another: with 10 classes a grid
    /// of 10 columns has one in each.
    #[arg(long, value_name = "CLASS")]
    class: Option<u32>,
}

fn limit(text: &str) -> Result<f32, String> {
    let limit = text.parse().ok().filter(|limit| (0.01..=10.0).contains(limit));
    limit.ok_or_else(|| "accepted: a number, 0.01 to 10".to_owned())
}

/// A generator of a snapshot, ready to make samples.
pub(crate) struct Generator {
    pub manifest: Manifest,
    /// The run's file, as the snapshot has it.
    pub spec: RunSpec,
    /// The part of the snapshot that it is.
    pub name: &'static str,
    pub sampler: Sampler,
    pub weights: OwnedWeights,
}

impl GeneratorArgs {
    /// Finds the snapshot and loads the weights.
    ///
    /// # Errors
    /// No run or whole snapshot there.
    pub async fn open(&self) -> Result<Generator, Failure> {
        let store = store_of(&self.run)?;
        let manifest = match self.step {
            Some(step) => store.verify(Step(step)).await?,
            None => newest(&store, &self.run).await?,
        };
        let spec = spec_of(&manifest)?;
        let name = part_of(self.weights.unwrap_or(spec.samples.weights));
        let sampler = Sampler::new(&spec)?;
        let weights = sampler.load(&store.load_part(&manifest, name).await?)?;
        Ok(Generator { manifest, spec, name, sampler, weights })
    }
}

impl Generator {
    /// What is drawn for samples: by default the run's own noise, and one class after another.
    ///
    /// # Errors
    /// A class that the run does not have.
    pub fn draw(&self, args: &DrawArgs) -> Result<Draw, Failure> {
        let count = self.spec.model.classes.count;
        match args.class {
            Some(class) if count == 0 => Err(Failure::bad_input(format!(
                "--class {class}: this run's networks are told no classes (`model.classes`). Leave it out."
            ))),
            Some(class) if class >= count => Err(Failure::bad_input(format!(
                "--class {class}: this run has the classes 0 to {}.",
                count - 1
            ))),
            class => {
                Ok(Draw { seed: args.seed.unwrap_or(self.spec.seed), truncation: args.truncation, class })
            }
        }
    }

    /// What it makes of a batch of z.
    pub fn samples_of(&self, z: &[f32]) -> Vec<f32> {
        self.sampler.samples_of(&self.weights.as_weights(), z)
    }
}

/// The run's file, as a snapshot has it.
pub(crate) fn spec_of(manifest: &Manifest) -> Result<RunSpec, Failure> {
    lsgan_runfile::parse(&manifest.spec_yaml, "the snapshot's specification", &[])
        .map_err(|errors| Failure::failed(errors.render_plain()))
}

/// The part of a snapshot that these weights are in.
pub(crate) fn part_of(weights: SampleWeights) -> &'static str {
    match weights {
        SampleWeights::Ema => "generator_ema",
        SampleWeights::Raw => "generator",
    }
}

/// The data set that a snapshot was trained on. `otherwise`: what another one would mean, behind a comma.
///
/// # Errors
/// It cannot be opened, or is another one.
pub(crate) fn data_of(
    spec: &RunSpec,
    manifest: &Manifest,
    otherwise: &str,
) -> Result<Box<dyn Source>, Failure> {
    let data = open_data(&spec.data, spec.seed)?;
    let found = data_fingerprint(&*data, &spec.model)?;
    if found == manifest.data_fingerprint {
        return Ok(data);
    }
    Err(Failure::bad_input(format!(
        "the data is not what the run was trained on (fingerprint {} then, {found} now), {otherwise}. Bring the old files back.",
        manifest.data_fingerprint
    )))
}

/// The newest whole snapshot, if there is one; what is skipped is told.
pub(crate) async fn newest_whole(store: &Store) -> Result<Option<Manifest>, Failure> {
    let found = store.newest_valid().await?;
    for skipped in &found.skipped {
        say!("warning: the snapshot of step {} is skipped: {}", skipped.step, chain(&skipped.reason));
    }
    Ok(found.manifest)
}

async fn newest(store: &Store, place: &str) -> Result<Manifest, Failure> {
    newest_whole(store).await?.ok_or_else(|| {
        Failure::failed(format!(
            "{place} holds no whole snapshot. Train until one is written (`checkpoint.every`)."
        ))
    })
}
