//! Any network in a TorchScript file that takes pictures as the usual `inception-2015-12-05.pt` does: bytes 0–255 as
//! `[n, 3, h, w]`, with `return_features=True` behind them, and gives `[n, features]`.
//!
//! With `legacy` it gets the pictures as they are and scales them itself. With `antialiased` it gets them at 299 × 299, scaled
//! as clean-fid does, as f32 in 0..255.

use std::path::{Path, PathBuf};

use lsgan_data::read_whole;
use tch::{CModule, IValue, Kind, Tensor};

use super::{Extractor, FILE_BYTES_MAX, Session};
use crate::chunks::Pictures;
use crate::error::first_line;
use crate::{EvaluateError, Resize};

/// The side that Inception accepts.
const SIDE: i64 = 299;
/// BLAKE3 is over the file's name too: the same network under two names is one.
const HASH_DIGITS: usize = 16;

/// A network in a file.
pub struct TorchScript {
    path: PathBuf,
    hash: String,
    features: usize,
    resize: Resize,
}

impl TorchScript {
    /// Loads it and tries it on two pictures.
    pub fn open(path: &Path, resize: Resize) -> Result<Self, EvaluateError> {
        let refuse = |problem: String| EvaluateError::Weights { path: path.to_owned(), problem };
        let bytes = read_whole(path, FILE_BYTES_MAX)
            .map_err(|error| refuse(format!("it cannot be read: {error}")))?;
        let hash = blake3::hash(&bytes).to_hex()[..HASH_DIGITS].to_owned();
        let mut opened = Self { path: path.to_owned(), hash, features: 0, resize };
        let module = opened.load()?;
        let two = Pictures { size: 32, channels: 3, bytes: vec![128; 2 * 32 * 32 * 3] };
        let found = module.of(&two).map_err(|problem| {
            refuse(format!(
                "it fails on two grey pictures: {problem}. It must take [n, 3, h, w] of bytes and `return_features=True` \
                 behind them, as inception-2015-12-05.pt does."
            ))
        })?;
        opened.features = match found.size()[..] {
            [2, features] if features > 0 => features as usize,
            ref size => {
                return Err(refuse(format!(
                    "it makes {size:?} of two pictures; features are [2, features]."
                )));
            }
        };
        Ok(opened)
    }

    fn load(&self) -> Result<Module<'_>, EvaluateError> {
        let mut module = CModule::load(&self.path).map_err(|error| EvaluateError::Weights {
            path: self.path.clone(),
            problem: format!(
                "it is no TorchScript: {}. torch.jit.save writes such files.",
                first_line(&error)
            ),
        })?;
        module.set_eval();
        Ok(Module { module, of: self })
    }
}

impl Extractor for TorchScript {
    fn name(&self) -> String {
        self.path
            .file_name()
            .map_or_else(|| self.path.display().to_string(), |name| name.to_string_lossy().into())
    }

    fn version(&self) -> String {
        format!("{}-{}", self.hash, self.resize.word())
    }

    fn features(&self) -> usize {
        self.features
    }

    /// By its name: the file is the user's, and hashes of it differ between the ways to fetch it.
    fn is_inception(&self) -> bool {
        self.name() == "inception-2015-12-05.pt"
    }

    fn session(&self) -> Result<Box<dyn Session + '_>, EvaluateError> {
        Ok(Box::new(self.load()?))
    }
}

struct Module<'a> {
    module: CModule,
    of: &'a TorchScript,
}

impl Module<'_> {
    fn of(&self, pictures: &Pictures) -> Result<Tensor, String> {
        let _no_grad = tch::no_grad_guard();
        let colour = pictures.colour();
        let input = match self.of.resize {
            Resize::Legacy => colour,
            resize @ Resize::Antialiased => resize.apply(&colour.to_kind(Kind::Float), SIDE),
        };
        match self.module.forward_is(&[IValue::Tensor(input), IValue::Bool(true)]) {
            Ok(IValue::Tensor(features)) => Ok(features),
            Ok(other) => Err(format!("it gives no tensor but {other:?}")),
            Err(error) => Err(first_line(&error)),
        }
    }
}

impl Session for Module<'_> {
    fn features(&self, pictures: &Pictures) -> Result<Vec<f32>, EvaluateError> {
        let refuse = |problem| EvaluateError::Extractor { extractor: self.of.name(), problem };
        let features = self.of(pictures).map_err(refuse)?;
        let wanted = [pictures.len() as i64, self.of.features as i64];
        if features.size() != wanted {
            return Err(refuse(format!("it makes {:?}, not {wanted:?}", features.size())));
        }
        let features = features.to_kind(Kind::Float).contiguous().flatten(0, -1);
        Vec::<f32>::try_from(features).map_err(|error| refuse(first_line(&error)))
    }
}
