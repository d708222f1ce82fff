//! A generator as a file that other programs run. Each format is a file here and a line in [`Format`].
//!
//! The network has one input and one output: `z`, f32 `[n, numbers of one z]` with any n (where the network is told classes, with a
//! number for each behind it: 1 for the sample's own, 0 for the others), to `samples`, f32
//! `[n, channels, side, side]` in −1..1, or `[n, 2]` for points. It works with running statistics, as the run's own pictures do.

mod onnx;
mod onnx_messages;
mod torchscript;

use std::path::{Path, PathBuf};

use tch::Tensor;

use crate::layers::Network;

/// What a file is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `torch.jit.load` of PyTorch, and libtorch.
    TorchScript,
    /// ONNX runtimes; operator set 17.
    Onnx,
}

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: it cannot be written: {problem}", path.display())]
pub struct ExportError {
    path: PathBuf,
    problem: String,
}

impl ExportError {
    pub(crate) fn new(path: &Path, problem: impl ToString) -> Self {
        Self { path: path.to_owned(), problem: problem.to_string() }
    }
}

/// A network with its numbers.
pub(crate) struct Exported<'a> {
    pub network: &'a Network,
    /// One tensor for each parameter, in the order of declaration.
    pub weights: &'a [Tensor],
    /// The same for the running statistics.
    pub running: &'a [Tensor],
}

/// Writes `generator` to `path`, in place of what is there.
///
/// # Errors
/// A place that cannot be written.
pub(crate) fn export(generator: &Exported<'_>, format: Format, path: &Path) -> Result<(), ExportError> {
    let written = match format {
        Format::TorchScript => torchscript::write(generator, path),
        Format::Onnx => onnx::write(generator, path),
    };
    written.map_err(|problem| ExportError::new(path, problem))
}
