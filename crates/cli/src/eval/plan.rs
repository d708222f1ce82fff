//! What `lsgan eval` is asked for.

use std::num::NonZero;
use std::path::PathBuf;

use clap::ValueEnum;
use lsgan_console::Failure;
use lsgan_evaluate::evaluation::REAL_MAX;
use lsgan_evaluate::{Choice, Plan, Resize};
use lsgan_launch::TlsArgs;
use lsgan_spec::{Metric, RunSpec, SampleWeights};

use crate::words::words;

/// The arguments of `lsgan eval`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The run's directory, or what its `checkpoint.to` says. Scores are kept in the directory, in scores.jsonl.
    #[arg(
        long,
        visible_alias = "checkpoint",
        value_name = "DIR|URL",
        required_unless_present = "coordinator"
    )]
    pub run: Option<String>,
    /// Report the scores to the run's coordinator at this address, which keeps them in the run's directory. So any machine that
    /// reaches the snapshots scores a live run; without --run they are where the coordinator says.
    #[arg(long, value_name = "http[s]://HOST:PORT")]
    pub coordinator: Option<String>,
    #[command(flatten)]
    pub tls: TlsArgs,
    /// The snapshot of this step instead of the newest whole one.
    #[arg(long, value_name = "STEP", conflicts_with_all = ["all", "follow"])]
    pub step: Option<u64>,
    /// All snapshots that are there.
    #[arg(long, conflicts_with = "follow")]
    pub all: bool,
    /// Score every snapshot that has no such score yet, a line each, until the run has ended. Training does not wait for it.
    #[arg(long)]
    pub follow: bool,
    /// The scores, with commas; snapshots are compared by the first. By default those of `evaluate.metrics`, which by default
    /// are for pictures fid,kid,precision,recall, or kid,precision,recall where the samples are fewer than the features; for
    /// 2-D points modes,high_quality.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = words::<Metric>())]
    pub metrics: Vec<Metric>,
    /// How many samples are generated; by default `evaluate.samples`, which is 5,000 by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub samples: Option<u32>,
    /// The most real samples that they are compared with, spread over the data set.
    #[arg(long, value_name = "N", default_value_t = REAL_MAX, value_parser = clap::value_parser!(u64).range(2..))]
    pub real: u64,
    /// Which of G's weights, with commas; by default those of `evaluate.weights`.
    #[arg(long, value_name = "WHICH", value_delimiter = ',', value_parser = words::<SampleWeights>())]
    pub weights: Vec<SampleWeights>,
    /// The network that makes features of pictures: clothes (for Fashion-MNIST, part of this program), efficientnet_lite0
    /// (ImageNet; scripts/get-efficientnet-lite0 fetches it), or a TorchScript file, as inception-2015-12-05.pt, which
    /// is a program: take it from where you take programs. By default clothes for Fashion-MNIST's files and efficientnet_lite0 for all others.
    #[arg(long, value_name = "NAME|FILE.pt", value_parser = Choice::parse)]
    pub extractor: Option<Choice>,
    /// How pictures get the size that the network accepts.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = ResizeWord::Antialiased)]
    pub resize: ResizeWord,
    /// Take mean and covariance of the real features from this file of pytorch-fid or clean-fid, for fid.
    #[arg(long, value_name = "FILE.npz")]
    pub reference: Option<PathBuf>,
    /// Write mean and covariance of the real features to this file, which pytorch-fid and clean-fid read.
    #[arg(long, value_name = "FILE.npz")]
    pub save_reference: Option<PathBuf>,
    /// How many threads compute; the scores do not depend on it. By default all that the machine has.
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZero<usize>>,
    /// For `lsgan up`: with --follow, only the snapshots that `evaluate.every` names, in the time that others leave.
    #[arg(long, hide = true, requires = "follow")]
    pub beside: bool,
    /// For workers: in the time that others leave, print the score as a line of scores.jsonl, and keep it nowhere.
    #[arg(long, hide = true, requires = "step", conflicts_with_all = ["coordinator", "json"])]
    pub row: bool,
    /// Print one JSON object, or with --follow one for each line.
    #[arg(long)]
    pub json: bool,
}

/// How pictures are scaled, as the command line says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ResizeWord {
    /// As PIL and clean-fid do
    Antialiased,
    /// Without anti-aliasing, as pytorch-fid does; a TorchScript file scales them itself
    Legacy,
}

impl From<ResizeWord> for Resize {
    fn from(word: ResizeWord) -> Self {
        match word {
            ResizeWord::Antialiased => Self::Antialiased,
            ResizeWord::Legacy => Self::Legacy,
        }
    }
}

impl Args {
    /// What is to be done for a run.
    ///
    /// # Errors
    /// Metrics of another kind of samples than the run makes.
    pub fn plan(&self, spec: &RunSpec) -> Result<Plan, Failure> {
        let samples = self.samples.unwrap_or(spec.evaluate.samples) as usize;
        let is_pictures = spec.data.source.gives_pictures();
        let extractor = self.extractor.clone().unwrap_or_else(|| Choice::for_data(&spec.data));
        let asked = Some(self.metrics.clone()).filter(|metrics| !metrics.is_empty());
        let metrics = match (asked.or_else(|| spec.evaluate.named_metrics()), is_pictures) {
            (Some(metrics), _) => metrics,
            (None, false) => vec![Metric::Modes, Metric::HighQuality],
            (None, true) => {
                let distances = [Metric::Fid, Metric::Kid, Metric::Precision, Metric::Recall];
                let first = usize::from(extractor.features().is_none_or(|features| samples < features));
                distances[first..].to_vec()
            }
        };
        if let Some(metric) = metrics.iter().find(|metric| metric.is_of_points() == is_pictures) {
            let of = |is_pictures: bool| if is_pictures { "pictures" } else { "2-D points" };
            let others = Metric::ALL.iter().filter(|metric| metric.is_of_points() != is_pictures);
            let others: Vec<_> = others.map(|metric| metric.word()).collect();
            return Err(Failure::bad_input(format!(
                "--metrics {metric} scores {}, and this run makes {}. Use some of {}.",
                of(!is_pictures),
                of(is_pictures),
                others.join(", ")
            )));
        }
        Ok(Plan {
            metrics,
            samples,
            real_max: self.real,
            extractor,
            resize: self.resize.into(),
            reference: self.reference.clone(),
            threads: self
                .threads
                .unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)),
        })
    }
}
