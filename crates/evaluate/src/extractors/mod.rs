//! Networks that make features of pictures: a file each, a line in [`Choice::open`], and one [`contract`].

mod clothes;
mod contract;
mod efficientnet_lite0;
mod torchscript;
mod weights;

use std::path::{Path, PathBuf};

pub use contract::contract;
use lsgan_spec::{DataSpec, Source};

use crate::chunks::Pictures;
use crate::{EvaluateError, Resize};

/// The largest file of a network: Inception's has 100 MB.
const FILE_BYTES_MAX: u64 = 4 << 30;

/// A network with its weights. Tensors belong to a thread, so each opens a [`Session`] of its own.
pub trait Extractor: Send + Sync {
    /// Its word in reports: `clothes`.
    fn name(&self) -> String;

    /// A hash over its weights and all else that decides its features.
    fn version(&self) -> String;

    /// How many numbers it makes of a picture.
    fn features(&self) -> usize;

    /// Whether its distances may be compared with published FIDs, which are Inception's.
    fn is_inception(&self) -> bool {
        false
    }

    /// The network, ready for pictures on the calling thread.
    ///
    /// # Errors
    /// Weights that cannot be used.
    fn session(&self) -> Result<Box<dyn Session + '_>, EvaluateError>;
}

/// A network on one thread.
pub trait Session {
    /// `[pictures, features]` of pictures of any size. The same bits for a picture wherever it stands among the others.
    ///
    /// # Errors
    /// What libtorch says.
    fn features(&self, pictures: &Pictures) -> Result<Vec<f32>, EvaluateError>;
}

/// Which extractor is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A small classifier of Fashion-MNIST, which is part of the program.
    Clothes,
    /// EfficientNet-Lite0 with ImageNet's weights, which `scripts/get-efficientnet-lite0` fetches.
    EfficientNetLite0,
    /// A TorchScript file.
    TorchScript(PathBuf),
}

impl Choice {
    /// The word for it, or the file.
    ///
    /// # Errors
    /// What is accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            clothes::NAME => Ok(Self::Clothes),
            efficientnet_lite0::NAME => Ok(Self::EfficientNetLite0),
            file if Path::new(file).extension().is_some_and(|ending| ending == "pt") => {
                Ok(Self::TorchScript(file.into()))
            }
            _ => Err(format!(
                "it must be {}, {} or a TorchScript file, whose name ends with .pt",
                clothes::NAME,
                efficientnet_lite0::NAME
            )),
        }
    }

    /// The one for a run that names none: the small classifier for files of Fashion-MNIST, which a path tells.
    #[must_use]
    pub fn for_data(data: &DataSpec) -> Self {
        let is_fashion = |path: &Path| path.to_string_lossy().to_lowercase().contains("fashion");
        match &data.source {
            Source::Idx(idx) if is_fashion(&idx.images) => Self::Clothes,
            _ => Self::EfficientNetLite0,
        }
    }

    /// How many features it makes of a picture; none where only its file says so.
    #[must_use]
    pub fn features(&self) -> Option<usize> {
        match self {
            Self::Clothes => Some(clothes::FEATURES),
            Self::EfficientNetLite0 => Some(efficientnet_lite0::FEATURES),
            Self::TorchScript(_) => None,
        }
    }

    /// Opens it. Pictures that it does not accept are scaled by `resize`.
    ///
    /// # Errors
    /// Weights that are not there, or cannot be used.
    pub fn open(&self, resize: Resize) -> Result<Box<dyn Extractor>, EvaluateError> {
        Ok(match self {
            Self::Clothes => Box::new(clothes::Clothes::new(resize)),
            Self::EfficientNetLite0 => Box::new(efficientnet_lite0::EfficientNetLite0::installed(resize)?),
            Self::TorchScript(file) => Box::new(torchscript::TorchScript::open(file, resize)?),
        })
    }
}

/// Where extractors' weights are installed: LSGAN_EXTRACTORS, or `lsgan/extractors` in the user's cache.
#[must_use]
pub fn folder() -> PathBuf {
    match std::env::var_os("LSGAN_EXTRACTORS") {
        Some(folder) => folder.into(),
        None => crate::kept::cache().unwrap_or_default().join("extractors"),
    }
}
