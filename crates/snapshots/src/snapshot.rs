//! A run's state on the host: parts and tensors, and their way to safetensors bytes and back.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use lsgan_spec::Step;
use safetensors::tensor::{Dtype, SafeTensors, View};

use crate::error::Error;
use crate::layout;

/// The full state at a step: enough to go on bit for bit.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// How many steps are done.
    pub step: Step,
    /// Hash of what decides the run's mathematics, as hex.
    pub identity: String,
    /// Hash of the data that the run reads, as hex.
    pub data_fingerprint: String,
    /// What the run's arithmetic was done with; opaque here.
    pub numerics: String,
    /// The run's file as it was.
    pub spec_yaml: String,
    /// `generator`, `generator_ema`, `discriminator`, … Shared, so that a part of the last snapshot can be
    /// handed to [`crate::Store::write_final`] without a copy.
    pub parts: Vec<Arc<Part>>,
}

/// What goes into one safetensors file.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// 1 to 100 of a-z, 0-9 and _; the file is `<name>.safetensors`.
    pub name: String,
    /// Names are unique. What is loaded comes in the order of the file: I64 before F32, then by name.
    pub tensors: Vec<NamedTensor>,
}

/// A tensor with its name in a state dict.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Any text but `__metadata__`, which the format keeps for itself.
    pub name: String,
    /// Sizes of the dimensions, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// The elements, the last dimension fastest.
    pub data: TensorData,
}

/// The elements of a tensor. Two are equal when their bits are: a NaN equals itself, 0 and −0 differ.
#[derive(Clone, Debug)]
pub enum TensorData {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit integers: counters.
    I64(Vec<i64>),
}

impl Snapshot {
    /// The part of this name, if there is one.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<&Arc<Part>> {
        self.parts.iter().find(|part| part.name == name)
    }
}

impl Part {
    /// The tensor of this name, if there is one.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&NamedTensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// The bytes of the part's file. Equal tensors give equal bytes, whatever their order.
    ///
    /// One copy of the part. No metadata map: the format's crate writes it in random order.
    ///
    /// # Errors
    /// A tensor whose name or shape cannot be written.
    pub fn to_bytes(&self) -> Result<Bytes, Error> {
        self.check()?;
        let views = self.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor));
        match safetensors::serialize(views, None) {
            Ok(bytes) => Ok(Bytes::from(bytes)),
            Err(error) => Err(Error::Unwritable {
                text: format!(
                    "part `{}` cannot be written as safetensors: {error}. Make its tensors fewer or their names shorter.",
                    self.name
                ),
            }),
        }
    }

    /// A part from the bytes of its file; `path` is for the error's text.
    ///
    /// # Errors
    /// Bytes that are no safetensors file, or a tensor that is neither F32 nor I64.
    pub fn from_bytes(name: &str, bytes: &[u8], path: &str) -> Result<Self, Error> {
        let damaged = |text: String| Error::Damaged { text: format!("{text}. Use another snapshot.") };
        let syntax = |error| damaged(format!("`{path}` is not a safetensors file: {error}"));
        let file = SafeTensors::deserialize(bytes).map_err(syntax)?;
        let mut tensors = Vec::with_capacity(file.len());
        for (name, view) in file.iter() {
            let data = match view.dtype() {
                Dtype::F32 => TensorData::F32(elements(view.data(), f32::from_le_bytes)),
                Dtype::I64 => TensorData::I64(elements(view.data(), i64::from_le_bytes)),
                // The format's crate may learn new formats at any time; a snapshot holds these two.
                other => {
                    let text = format!("tensor `{name}` of `{path}` is {other}; F32 and I64 are accepted");
                    return Err(damaged(text));
                }
            };
            tensors.push(NamedTensor { name: name.to_owned(), shape: view.shape().to_vec(), data });
        }
        // By the names and not by the offsets: tensors without elements share one.
        tensors.sort_by(|a, b| (a.data.file_rank(), &a.name).cmp(&(b.data.file_rank(), &b.name)));
        Ok(Self { name: name.to_owned(), tensors })
    }

    fn check(&self) -> Result<(), Error> {
        if !layout::is_part_name(&self.name) {
            return Err(Error::part(&self.name, "its name has another form"));
        }
        let mut names = BTreeSet::new();
        for tensor in &self.tensors {
            let problem = match tensor.name.as_str() {
                "__metadata__" => Some("its name is kept by the safetensors format for itself"),
                name if !names.insert(name) => Some("its name is there twice"),
                _ => None,
            };
            if let Some(problem) = problem {
                return Err(Error::Unwritable {
                    text: format!(
                        "tensor `{}` of part `{}` cannot be written: {problem}. Give each tensor a name of its own.",
                        tensor.name, self.name
                    ),
                });
            }
            tensor.check(&self.name)?;
        }
        Ok(())
    }
}

impl NamedTensor {
    /// A tensor of 32-bit floats.
    #[must_use]
    pub fn f32(name: impl Into<String>, shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Self {
        Self { name: name.into(), shape: shape.into(), data: TensorData::F32(data) }
    }

    /// A tensor of 64-bit integers.
    #[must_use]
    pub fn i64(name: impl Into<String>, shape: impl Into<Vec<usize>>, data: Vec<i64>) -> Self {
        Self { name: name.into(), shape: shape.into(), data: TensorData::I64(data) }
    }

    fn check(&self, part: &str) -> Result<(), Error> {
        let elements = self.shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
        if elements == Some(self.data.len()) {
            return Ok(());
        }
        Err(Error::Unwritable {
            text: format!(
                "tensor `{}` of part `{part}` has the shape {:?} but {} elements. \
                 The product of the shape must be the number of elements.",
                self.name,
                self.shape,
                self.data.len()
            ),
        })
    }
}

impl TensorData {
    /// How many elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::I64(data) => data.len(),
        }
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// I64 stands before F32 in a file: wider elements first, so that all are aligned.
    fn file_rank(&self) -> u8 {
        match self {
            Self::I64(_) => 0,
            Self::F32(_) => 1,
        }
    }

    /// The elements in the format's byte order. It is the host's: for a big-endian host this does not build.
    #[cfg(target_endian = "little")]
    fn le_bytes(&self) -> &[u8] {
        match self {
            Self::F32(data) => bytemuck::cast_slice(data),
            Self::I64(data) => bytemuck::cast_slice(data),
        }
    }
}

impl PartialEq for TensorData {
    fn eq(&self, other: &Self) -> bool {
        (self.file_rank(), self.le_bytes()) == (other.file_rank(), other.le_bytes())
    }
}

impl View for &NamedTensor {
    fn dtype(&self) -> Dtype {
        match self.data {
            TensorData::F32(_) => Dtype::F32,
            TensorData::I64(_) => Dtype::I64,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.data.le_bytes().into()
    }

    fn data_len(&self) -> usize {
        self.data.le_bytes().len()
    }
}

/// The numbers of a tensor's bytes, whose alignment is whatever the header's length left.
fn elements<T, const N: usize>(bytes: &[u8], from_le: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, rest) = bytes.as_chunks::<N>();
    debug_assert!(rest.is_empty(), "the header check has made the bytes fit the shape");
    chunks.iter().map(|&chunk| from_le(chunk)).collect()
}
