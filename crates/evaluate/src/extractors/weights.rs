//! Weights in a safetensors file.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use tch::Tensor;

use crate::EvaluateError;

/// Shapes and numbers by name, for any thread.
#[derive(Clone, Debug)]
pub struct Weights {
    by_name: BTreeMap<String, (Vec<i64>, Vec<f32>)>,
    /// BLAKE3 of the file, the first 16 hexadecimal digits.
    pub hash: String,
}

impl Weights {
    /// Of a file's bytes; `path` stands in messages. Tensors of other numbers than f32 are counters and left out.
    ///
    /// # Errors
    /// Bytes that are no safetensors.
    pub fn new(path: &Path, bytes: &[u8]) -> Result<Self, EvaluateError> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| EvaluateError::Weights {
            path: path.to_owned(),
            problem: format!("these are no weights: {error}. Fetch the file again."),
        })?;
        let floats = tensors.iter().filter(|(_, tensor)| tensor.dtype() == Dtype::F32);
        let by_name = floats.map(|(name, tensor)| {
            let (numbers, _) = tensor.data().as_chunks::<4>();
            let shape = tensor.shape().iter().map(|&side| side as i64).collect();
            (name.to_owned(), (shape, numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()))
        });
        let hash = blake3::hash(bytes).to_hex()[..16].to_owned();
        Ok(Self { by_name: by_name.collect(), hash })
    }

    /// Whether it has this tensor with this shape.
    pub fn has(&self, name: &str, shape: &[i64]) -> bool {
        self.by_name.get(name).is_some_and(|(is, _)| is == shape)
    }

    /// A tensor of its own of this name.
    ///
    /// # Panics
    /// There is none: whoever opens a file checks with [`Weights::has`].
    pub fn tensor(&self, name: &str) -> Tensor {
        let (shape, numbers) = self.by_name.get(name).unwrap_or_else(|| panic!("the weights have {name}"));
        Tensor::from_slice(numbers).view(shape.as_slice())
    }
}
