//! A run's state on the host, and the way of its parts to safetensors bytes and back.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use half::{bf16, f16};
use lsgan_spec::{NamedTensor, Part, Step, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, View};

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

impl Snapshot {
    /// The part of this name, if there is one.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<&Arc<Part>> {
        self.parts.iter().find(|part| part.name == name)
    }
}

/// The bytes of a part's file. Equal tensors give equal bytes, whatever their order.
///
/// One copy of the part. No metadata map: the format's crate writes it in random order.
///
/// # Errors
/// A tensor whose name or shape cannot be written.
pub fn to_bytes(part: &Part) -> Result<Bytes, Error> {
    check(part)?;
    let views = part.tensors.iter().map(|tensor| (tensor.name.as_str(), Written(tensor)));
    match safetensors::serialize(views, None) {
        Ok(bytes) => Ok(Bytes::from(bytes)),
        Err(error) => Err(Error::Unwritable {
            text: format!(
                "part `{}` cannot be written as safetensors: {error}. Make its tensors fewer or their names shorter.",
                part.name
            ),
        }),
    }
}

/// A part from the bytes of its file; `path` is for the error's text. Its tensors are in the order of the file: I64
/// before F32, then by name.
///
/// # Errors
/// Bytes that are no safetensors file, or a tensor that is neither F32 nor I64.
pub fn from_bytes(name: &str, bytes: &[u8], path: &str) -> Result<Part, Error> {
    let damaged = |text: String| Error::Damaged { text: format!("{text}. Use another snapshot.") };
    read(name, bytes, path, (as_it_is, "F32 and I64")).map_err(damaged)
}

/// The same of a file that need not be a snapshot's: numbers of 16 bits are read too, each as the f32 of its value.
///
/// # Errors
/// In words, with `path`: bytes that are no safetensors file, or a tensor that is neither F32, F16, BF16 nor I64.
pub fn parse_part(name: &str, bytes: &[u8], path: &str) -> Result<Part, String> {
    read(name, bytes, path, (widened, "F32, F16, BF16 and I64"))
}

/// The numbers of a tensor, if it is of an accepted type.
type Numbers = fn(&TensorView<'_>) -> Option<TensorData>;

/// `accepted`: the types that `numbers` takes.
fn read(name: &str, bytes: &[u8], path: &str, (numbers, accepted): (Numbers, &str)) -> Result<Part, String> {
    let syntax = |error| format!("`{path}` is not a safetensors file: {error}");
    let file = SafeTensors::deserialize(bytes).map_err(syntax)?;
    let mut tensors = Vec::with_capacity(file.len());
    for (name, view) in file.iter() {
        let Some(data) = numbers(&view) else {
            return Err(format!("tensor `{name}` of `{path}` is {}; {accepted} are accepted", view.dtype()));
        };
        tensors.push(NamedTensor { name: name.to_owned(), shape: view.shape().to_vec(), data });
    }
    // By the names and not by the offsets: tensors without elements share one.
    tensors.sort_by(|a, b| (file_rank(&a.data), &a.name).cmp(&(file_rank(&b.data), &b.name)));
    Ok(Part { name: name.to_owned(), tensors })
}

/// What a snapshot holds.
fn as_it_is(view: &TensorView<'_>) -> Option<TensorData> {
    match view.dtype() {
        Dtype::F32 => Some(TensorData::F32(elements(view.data(), f32::from_le_bytes))),
        Dtype::I64 => Some(TensorData::I64(elements(view.data(), i64::from_le_bytes))),
        // The format's crate may learn new types at any time.
        _ => None,
    }
}

/// What other programs save too. Every number of 16 bits is one of f32.
fn widened(view: &TensorView<'_>) -> Option<TensorData> {
    match view.dtype() {
        Dtype::F16 => Some(TensorData::F32(elements(view.data(), |two| f16::from_le_bytes(two).to_f32()))),
        Dtype::BF16 => Some(TensorData::F32(elements(view.data(), |two| bf16::from_le_bytes(two).to_f32()))),
        _ => as_it_is(view),
    }
}

fn check(part: &Part) -> Result<(), Error> {
    if !layout::is_part_name(&part.name) {
        return Err(Error::part(&part.name, "its name has another form"));
    }
    let mut names = BTreeSet::new();
    for tensor in &part.tensors {
        let problem = match tensor.name.as_str() {
            "__metadata__" => Some("its name is kept by the safetensors format for itself"),
            name if !names.insert(name) => Some("its name is there twice"),
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(Error::Unwritable {
                text: format!(
                    "tensor `{}` of part `{}` cannot be written: {problem}. Give each tensor a name of its own.",
                    tensor.name, part.name
                ),
            });
        }
        check_shape(tensor, &part.name)?;
    }
    Ok(())
}

fn check_shape(tensor: &NamedTensor, part: &str) -> Result<(), Error> {
    let elements = tensor.shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    if elements == Some(tensor.data.len()) {
        return Ok(());
    }
    Err(Error::Unwritable {
        text: format!(
            "tensor `{}` of part `{part}` has the shape {:?} but {} elements. \
             The product of the shape must be the number of elements.",
            tensor.name,
            tensor.shape,
            tensor.data.len()
        ),
    })
}

/// I64 stands before F32 in a file: wider elements first, so that all are aligned.
fn file_rank(data: &TensorData) -> u8 {
    match data {
        TensorData::I64(_) => 0,
        TensorData::F32(_) => 1,
    }
}

/// A tensor as the format's crate writes it.
struct Written<'a>(&'a NamedTensor);

impl View for Written<'_> {
    fn dtype(&self) -> Dtype {
        match self.0.data {
            TensorData::F32(_) => Dtype::F32,
            TensorData::I64(_) => Dtype::I64,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        le_bytes(&self.0.data).into()
    }

    fn data_len(&self) -> usize {
        le_bytes(&self.0.data).len()
    }
}

/// The elements in the format's byte order. It is the host's: for a big-endian host this does not build.
#[cfg(target_endian = "little")]
fn le_bytes(data: &TensorData) -> &[u8] {
    match data {
        TensorData::F32(data) => bytemuck::cast_slice(data),
        TensorData::I64(data) => bytemuck::cast_slice(data),
    }
}

/// The numbers of a tensor's bytes, whose alignment is whatever the header's length left.
fn elements<T, const N: usize>(bytes: &[u8], from_le: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, rest) = bytes.as_chunks::<N>();
    debug_assert!(rest.is_empty(), "the header check has made the bytes fit the shape");
    chunks.iter().map(|&chunk| from_le(chunk)).collect()
}
