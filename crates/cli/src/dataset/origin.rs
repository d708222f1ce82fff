//! Which data set: a run's, or one that is named directly.

use std::path::PathBuf;

use lsgan_console::Failure;
use lsgan_data::sources::folder::open_picture;
use lsgan_data::{Source, sources};
use lsgan_launch::{load_file, open_data};
use lsgan_runfile::Override;
use lsgan_spec::{BatchSpec, DataSpec, Fit, IdxSource, ImageSpec, Source as Spec};

use crate::words::words;

/// The default side of a sample in pixels.
const SIZE: u32 = 64;

/// The default batch of a step, as in configs/quickstart.yaml.
const BATCH: BatchSpec = BatchSpec { virtual_ranks: 4, per_rank: 32 };

/// Which data set.
#[derive(Clone, Debug, clap::Args)]
pub struct Origin {
    #[arg(value_name = "SOURCE", required_unless_present = "config", conflicts_with = "config", help = source_help())]
    source: Option<String>,
    /// The data set of this run's file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Override a field of the file, as `--set data.image.fit=crop`; may be given again.
    #[arg(long = "set", value_name = "PATH=VALUE", requires = "config")]
    sets: Vec<Override>,
    /// Side of a sample in pixels, instead of data.image.size.
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub size: Option<u32>,
    /// Channels of a sample, 1 (grey) or 3 (colour), instead of data.image.channels.
    #[arg(long, value_name = "1|3", value_parser = ["1", "3"])]
    channels: Option<String>,
    /// How a picture is made square, instead of data.image.fit.
    #[arg(long, value_name = "HOW", value_parser = words::<Fit>())]
    fit: Option<Fit>,
    /// The labels of an idx file that is named directly.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    labels: Option<PathBuf>,
    /// Threads; by default one for each core. From an object store more are faster.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
}

/// A data set that is open.
pub struct Opened {
    /// What was opened.
    pub spec: DataSpec,
    pub source: Box<dyn Source>,
    /// The run's batch, or the default.
    pub batch: BatchSpec,
}

impl Origin {
    /// Opens it, with a bar where that takes long.
    ///
    /// # Errors
    /// Bad input with exit code 2.
    pub fn open(&self) -> Result<Opened, Failure> {
        let (mut spec, seed, batch) = self.spec()?;
        if let Some(image) = &mut spec.image {
            image.size = self.size.unwrap_or(image.size);
            image.channels =
                self.channels.as_deref().map_or(image.channels, |said| if said == "1" { 1 } else { 3 });
            image.fit = self.fit.unwrap_or(image.fit);
        }
        let source = match &spec.source {
            // A run needs a folder; `dataset inspect` also takes a single picture.
            Spec::Folder(folder) if self.config.is_none() && folder.path.is_file() => {
                let one = open_picture(&folder.path, spec.image.as_ref());
                one.map_err(Failure::bad_input_of)?
            }
            _ => open_data(&spec, seed)?,
        };
        Ok(Opened { spec, source, batch })
    }

    /// Whether a run's file says how large samples are.
    #[must_use]
    pub fn has_config(&self) -> bool {
        self.config.is_some()
    }

    fn spec(&self) -> Result<(DataSpec, u64, BatchSpec), Failure> {
        if let Some(config) = &self.config {
            let spec = load_file(config, &self.sets)?.spec;
            return Ok((spec.data, spec.seed, spec.batch));
        }
        let said = self.source.as_deref().unwrap_or_default();
        let source = match said.split_once(':').filter(|(kind, _)| sources::KINDS.contains(kind)) {
            Some((kind, place)) => named(kind, place)?,
            None => sources::find(said).map_err(Failure::bad_input_of)?,
        };
        let (source, channels) = match source {
            Spec::Idx(idx) => (Spec::Idx(IdxSource { labels: self.labels.clone(), ..idx }), 1),
            _ if self.labels.is_some() => {
                return Err(Failure::bad_input(
                    "--labels is for idx files; the other kinds bring their classes.",
                ));
            }
            other => (other, 3),
        };
        Ok((DataSpec::of(source, Some(ImageSpec::of(SIZE, channels))), 0, BATCH))
    }
}

/// A kind that reads no files has no place.
fn source_help() -> String {
    let kinds: Vec<&str> =
        sources::KINDS.iter().copied().filter(|kind| sources::at(kind, "").is_some()).collect();
    format!(
        "The data set: KIND:PLACE with one of the kinds {}, as lsun:/data/bedroom_train_lmdb; or the place alone, where \
         looking tells the kind",
        kinds.join(", ")
    )
}

/// The source of a kind that was named.
fn named(kind: &str, place: &str) -> Result<Spec, Failure> {
    sources::at(kind, place).ok_or_else(|| {
        Failure::bad_input(format!(
            "`{kind}` cannot be named directly: it has no place. Take --config with a run's file."
        ))
    })
}
