//! What can go wrong on the way to a score.

use std::path::PathBuf;

use lsgan_data::RecordError;
use lsgan_metrics::MetricError;
use lsgan_train::TrainError;
use tch::TchError;

/// Why there is no score.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The metrics refuse.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// The weights are not those of the run's generator.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A record of the data set cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// No record decodes.
    #[error(
        "none of the data set's first {seen} records decodes, so there is nothing to compare samples with"
    )]
    NothingReal {
        /// Records that were tried.
        seen: u64,
    },
    /// An extractor's weights are not installed.
    #[error(
        "the extractor {extractor} needs {}, which is not there. `scripts/get-efficientnet-lite0` of a checkout, or \
         `bin/get-efficientnet-lite0` of the archive, fetches it (17 MB); or choose another with --extractor.",
        path.display()
    )]
    NotInstalled {
        /// Its word.
        extractor: &'static str,
        /// Where its weights would be.
        path: PathBuf,
    },
    /// A file of weights or of a network that cannot be used.
    #[error("{}: {problem}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A network failed on pictures.
    #[error("the extractor {extractor} fails on the pictures: {problem}")]
    Extractor {
        /// Its word, or its file.
        extractor: String,
        /// What libtorch says.
        problem: String,
    },
    /// A file of statistics that cannot be read or written.
    #[error("{}: {problem}", path.display())]
    Statistics {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
}

impl EvaluateError {
    /// What libtorch said of pictures, in its first line: the rest are frames of its C++.
    pub(crate) fn of_network(extractor: &str, error: &TchError) -> Self {
        Self::Extractor { extractor: extractor.to_owned(), problem: first_line(error) }
    }
}

/// The sentence of an error of libtorch, without the frames of C++ below it.
pub(crate) fn first_line(error: &TchError) -> String {
    let text = match error {
        TchError::Torch(text) => text.clone(),
        other => other.to_string(),
    };
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason is given").to_owned()
}
